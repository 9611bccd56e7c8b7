"""Text becomes terms: the one way for what is stored and for what is asked.

    1  Unicode NFKC, lower case, marks of Arabic and Hebrew vowels gone
    2  words: runs of letters and digits with the signs that belong to them; all else parts them
    3  words of the language's list of stop words leave a gap and no term
    4  Snowball stems (snowballstem.org) of the language
    5  Chinese, Japanese, Korean, Thai and their neighbours: each two characters that stand
       together are a term, and the last of a run one by itself, so that any part of a text
       is found by what it says

A term's position is its place among the words, gaps counted, so a phrase is a row of positions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import Stemmer

from holdfast.errors import InvalidValue
from holdfast.limits import SEARCH_TERM_CHARS
from holdfast.search.stopwords import STOP_WORDS
from holdfast.search.vocabulary import Vocabulary

GAP: Final = ""  # stands where a word has no term
KNOWN_WORDS: Final = 200_000  # of which one language keeps the terms in memory
ALGORITHMS: Final = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
PLAIN: Final = "none"  # no stems, no stop words
LANGUAGES: Final = frozenset((PLAIN, "ja", "ko", "zh", *ALGORITHMS))

# What stands above, below or beside a letter and belongs to its word: vowel signs above all.
SIGNS: Final = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a"
    "\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u07a6-\u07b0\u07eb-\u07f3"
    "\u0900-\u0903\u093a-\u093c\u093e-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc-\u09cd"
    "\u09d7-\u09e3\u09fe\u0a01-\u0a03\u0a3c-\u0a51\u0a70\u0a71\u0a75\u0a81-\u0a83\u0abc-\u0acd"
    "\u0ae2\u0ae3\u0afa-\u0aff\u0b01-\u0b03\u0b3c-\u0b57\u0b62\u0b63\u0b82\u0bbe-\u0bcd\u0bd7"
    "\u0c00-\u0c04\u0c3c-\u0c56\u0c62\u0c63\u0c81-\u0c83\u0cbc-\u0cd6\u0ce2\u0ce3\u0d00-\u0d03"
    "\u0d3b-\u0d4d\u0d57\u0d62\u0d63\u0d81-\u0d83\u0dca-\u0ddf\u0df2\u0df3\u135d-\u135f"
    "\u1ab0-\u1ace\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f"
)
WORD: Final = re.compile(rf"[^\W_](?:[^\W_]|[{SIGNS}])*")
ASCII_WORDS: Final = {code: " " for code in range(128) if not chr(code).isalnum()}
VOWEL_MARKS: Final = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]+"
)
DOTTED: Final = "i\u0307"  # what lower case makes of the Turkish capital I with a dot
# Scripts that are written without spaces, or (Hangul) with few.
DENSE: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u30ff"
    "\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff]+"
)
MARK_OF_WORD: Final = re.compile(r"[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]")


class Words(dict[str, str]):
    """What each word's term is, found out once; a stop word's is ``GAP``.

    Args:
        language: one of ``LANGUAGES``.
    """

    def __init__(self, language: str) -> None:
        super().__init__()
        name = ALGORITHMS.get(language)
        self._stemmer = None if name is None else Stemmer.Stemmer(name, 0)
        self._stops = STOP_WORDS.get(language, frozenset())

    def __missing__(self, word: str) -> str:
        if len(self) > KNOWN_WORDS:
            self.clear()
        term = GAP
        if word not in self._stops:
            stem = word if self._stemmer is None else self._stemmer.stemWord(word)
            term = (stem or word)[:SEARCH_TERM_CHARS]
        self[word] = term
        return term


class Analyzer:
    """Terms of texts in one language. Made by ``analyzer``; safe for threads.

    Example:
        >>> analyzer("en").terms("The cats of Tokyo: \u6771\u4eac\u90fd")
        ['', 'cat', '', 'tokyo', '\u6771\u4eac', '\u4eac\u90fd', '\u90fd']
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self.words = Words(language)
        self._vocabulary = Vocabulary(self.words.__getitem__)

    @property
    def vocabulary(self) -> Vocabulary:
        """Numbers of terms, for who takes in many texts at once; a new one when it is full."""
        if len(self._vocabulary) > KNOWN_WORDS:
            self._vocabulary = Vocabulary(self.words.__getitem__)
        return self._vocabulary

    def split(self, text: str) -> list[str]:
        """The words of a text by position: ``words`` has the term of each."""
        if text.isascii():
            return text.lower().translate(ASCII_WORDS).split()
        folded = fold(text)
        found = WORD.findall(folded)
        if DENSE.search(folded) is None:
            return found
        return [piece for word in found for piece in self._pieces(word)]

    def terms(self, text: str) -> list[str]:
        """The terms of a text by position; ``GAP`` where a position has none."""
        return list(map(self.words.__getitem__, self.split(text)))

    def _pieces(self, word: str) -> Iterator[str]:
        """A word that may hold characters of dense scripts, in the pieces that have terms."""
        at = 0
        for run in DENSE.finditer(word):
            if at < run.start():
                yield word[at : run.start()]
            dense = run.group()
            yield from (dense[i : i + 2] for i in range(len(dense)))
            at = run.end()
        if at < len(word):
            yield word[at:]


def fold(text: str) -> str:
    """A text as its words are compared: NFKC, lower case, without marks of vowels."""
    folded = unicodedata.normalize("NFKC", text).lower()
    folded = VOWEL_MARKS.sub("", folded).replace(DOTTED, "i")
    return MARK_OF_WORD.sub("", folded)


def is_dense(word: str) -> bool:
    """Whether a word is of a script whose terms are pairs of characters."""
    return DENSE.fullmatch(word) is not None


@lru_cache(maxsize=len(LANGUAGES))
def analyzer(language: str) -> Analyzer:
    """The analyzer of a language.

    Raises:
        InvalidValue: not one of ``LANGUAGES``.
    """
    if language not in LANGUAGES:
        raise InvalidValue(argument="language", reason="unknown", language=language)
    return Analyzer(language)
