"""Words that say nothing by themselves, by language; they are compared before stemming.

English: the 127 words of the Natural Language Toolkit's first list, which BigSearch used too.
The others: the shortest and most frequent words of the Snowball project's lists.
"""

from __future__ import annotations

from typing import Final

ENGLISH: Final = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her
hers herself it its itself they them their theirs themselves what which who whom this that these
those am is are was were be been being have has had having do does did doing a an the and but if
or because as until while of at by for with about against between into through during before after
above below to from up down in out on off over under again further then once here there when where
why how all any both each few more most other some such no nor not only own same so than too very
s t can will just don should now
"""
GERMAN: Final = """
aber alle als am an auch auf aus bei bin bis bist da damit dann das dass dein dem den der des die
dir doch du ein eine einem einen einer eines er es euch euer
f\u00fcr hat hatte hier ich ihm ihn ihr im
in ist ja kein keine man mein mich mir mit nach nicht noch nur ob oder ohne sehr sein seine sich
sie sind so und uns unser unter vom von vor war waren was weil wenn wer wie wir wird wo zu zum zur
"""
FRENCH: Final = """
au aux avec ce ces dans de des du elle en et eux il je la le les leur lui ma mais me mes moi mon
ne nos notre nous on ou par pas pour qu que qui sa se ses son sur ta te tes toi ton tu un une vos
votre vous c d j l m n s t y est sont
"""
SPANISH: Final = """
al como con de del el ella en entre era es esa ese esta este la las le les lo los me mi muy no nos
o para pero por que se ser si sin sobre su sus te tu un una uno y ya yo
"""
ARABIC: Final = """
\u0645\u0646 \u0641\u064a \u0639\u0644\u0649 \u0627\u0644\u0649 \u0625\u0644\u0649 \u0639\u0646
\u0645\u0639 \u0647\u0630\u0627 \u0647\u0630\u0647 \u0630\u0644\u0643 \u0627\u0646 \u0623\u0646
\u0625\u0646 \u0627\u0648 \u0623\u0648 \u062b\u0645 \u0647\u0648 \u0647\u064a \u0644\u0627
\u0645\u0627 \u0643\u0627\u0646 \u0642\u062f \u0627\u0644\u062a\u064a \u0627\u0644\u0630\u064a
"""
STOP_WORDS: Final = {
    language: frozenset(words.split())
    for language, words in (
        ("en", ENGLISH),
        ("de", GERMAN),
        ("fr", FRENCH),
        ("es", SPANISH),
        ("ar", ARABIC),
    )
}
