"""The part of a text that says most of what was asked, with its words marked."""

from __future__ import annotations

import re
from typing import Final

from holdfast.search.analysis import DENSE, GAP, WORD, Analyzer, fold
from holdfast.search.build import END, FIELD
from holdfast.search.query import Query, scored

MOST_BYTES: Final = 64 << 10  # of a text that are looked at
AROUND: Final = 80  # characters before the best place
WIDTH: Final = 240
OPEN, CLOSE = "**", "**"
CUT: Final = "\u2026"


def excerpt(text: str, query: Query, one: Analyzer) -> str:
    """About 240 characters around the place where most of the asked words stand together.

    Words are marked with ``**`` before and behind. Where none is met, the text's beginning.

    Example:
        >>> from holdfast.search.analysis import analyzer
        >>> from holdfast.search.parse import Schema, parse
        >>> excerpt("Two cats sat.", parse("cat", Schema()), analyzer("en"))
        'Two **cats** sat.'
    """
    wanted, begun = _wanted(query)
    known: dict[str, bool] = {}
    met = []
    for span in _spans(text):
        word = text[span[0] : span[1]]
        if word not in known:
            known[word] = _is_met(word, one, wanted, begun)
        if known[word]:
            met.append(span)
    start = _best(met)
    low = 0 if start <= AROUND else _edge(text, start - AROUND)
    high = len(text) if low + WIDTH >= len(text) else _edge(text, low + WIDTH)
    pieces, at = [CUT] if low else [], low
    for begin, end in _joined(met):
        if begin >= low and end <= high:
            pieces += [text[at:begin], OPEN, text[begin:end], CLOSE]
            at = end
    pieces += [text[at:high], CUT if high < len(text) else ""]
    return " ".join("".join(pieces).split())


def _wanted(query: Query) -> tuple[set[str], tuple[str, ...]]:
    """Terms that were asked for, and how others may begin."""
    elements = [element for words in scored(query) for row in words.rows for element in row]
    terms = {
        (
            element.term.rpartition(END)[2] if element.term[0] == FIELD else element.term,
            element.open,
        )
        for element in elements
    }
    return {term for term, _ in terms}, tuple(term for term, is_open in terms if is_open)


def _spans(text: str) -> list[tuple[int, int]]:
    """Where words stand, and where pairs of characters of dense scripts do."""
    spans = []
    for word in WORD.finditer(text):
        if DENSE.search(word.group()) is None:
            spans.append(word.span())
        else:
            begin, end = word.span()
            spans += [(at, min(at + 2, end)) for at in range(begin, end)]
    return spans


def _is_met(word: str, one: Analyzer, wanted: set[str], begun: tuple[str, ...]) -> bool:
    pieces = one.split(word)
    terms = [one.words[piece] for piece in pieces[:1]]
    return any(
        term != GAP and (term in wanted or (begun and fold(word).startswith(begun)))
        for term in terms
    )


def _best(met: list[tuple[int, int]]) -> int:
    """The beginning of the stretch in which most words stand."""
    best, most, last = 0, 0, 0
    for first, (begin, _) in enumerate(met):
        while last < len(met) and met[last][1] <= begin + WIDTH - AROUND:
            last += 1
        if last - first > most:
            best, most = begin, last - first
    return best


def _edge(text: str, at: int) -> int:
    """The end of the word that stands here, unless it is long."""
    found = re.compile(r"\s").search(text, at, at + AROUND // 4)
    return at if found is None else found.end()


def _joined(met: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches that touch as one."""
    joined: list[tuple[int, int]] = []
    for begin, end in met:
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
