"""A query's tree against one run: which documents, and how often each of its words.

Documents are bitmaps, so AND, OR and NOT are theirs. A phrase is found in the row of all
occurrences, document x 2^32 + position: where the second word's row holds what the first
word's does, moved by their distance.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
from pyroaring import BitMap

from holdfast.errors import LimitExceeded
from holdfast.limits import SEARCH_EXPANSIONS
from holdfast.search.analysis import analyzer
from holdfast.search.build import Builder, Document
from holdfast.search.query import (
    And,
    Element,
    Everything,
    Key,
    KeyWords,
    Mark,
    Not,
    Nothing,
    Or,
    Query,
    Range,
    Wanted,
    Words,
)
from holdfast.search.run import NEAR, Array, Plan, Posting, Run

KNOWN_PLANS: Final = 4_096
ABSENT: Final = Posting(BitMap())


def matches(query: Query, run: Run) -> BitMap:
    """The documents that a query finds, hidden ones among them. Not to be changed."""
    return _ANSWERS[type(query)](query, run)


def first_of_all(wanted: Wanted, run: Run) -> tuple[int, Iterable[int]]:
    """How many documents have all of several terms, and the first of them.

    A run does not change, so how many they are, and where to look for the first, is found out
    once; the documents themselves each time.
    """
    plan = run.plans.get(wanted.name)
    if plan is None:
        plan = _planned(wanted, run)
    bits = plan.one & plan.other
    for other in plan.others:
        bits &= other
    return plan.total, islice(bits, wanted.most)


def _planned(wanted: Wanted, run: Run) -> Plan:
    if len(run.plans) >= KNOWN_PLANS:
        run.plans.clear()
    plan = _plan([run.posting(term) for term in wanted.terms], run, wanted.most)
    run.plans[wanted.name] = plan
    return plan


def _plan(lists: Sequence[Posting | None], run: Run, most: int) -> Plan:
    found = sorted((one for one in lists if one is not None), key=lambda one: len(one.bits))
    if len(found) < len(lists):
        return Plan(0, ABSENT.bits, ABSENT.bits)
    found = found if len(found) > 1 else found * 2
    every = found[0].bits & found[1].bits
    for other in found[2:]:
        every &= other.bits
    total = len(every)
    bits = [one.bits for one in found]
    if run.count > NEAR[-1] and total >= most > 0:
        step = bisect_right(NEAR, every[most - 1])  # among so many documents are the first
        bits = [run.near(one, step) for one in found]
    return Plan(total, bits[0], bits[1], tuple(bits[2:]))


def words_of(words: Words, run: Run) -> Posting:
    """The documents of words in a row, and how often in each."""
    rows = words.rows
    if len(rows) == 1:
        return _row(rows[0], run)
    return _union([_row(row, run) for row in rows])


def _row(row: tuple[Element, ...], run: Run) -> Posting:
    if len(row) == 1:
        return _element(row[0], run)
    found = [_element(element, run) for element in row]
    bits = found[0].bits
    for posting in found[1:]:
        bits = bits & posting.bits
        if not bits:
            return ABSENT
    return _in_a_row(
        [(posting.places, element.at) for posting, element in zip(found, row, strict=True)]
    )


def _in_a_row(rows: list[tuple[Array, int]]) -> Posting:
    """Where all rows have an occurrence at their distance."""
    rows.sort(key=lambda one: len(one[0]))
    places, at = rows[0]
    places = places - at
    for other, distance in rows[1:]:
        wanted = places + distance
        near = np.searchsorted(other, wanted)
        near[near == len(other)] = 0
        places = places[other[near] == wanted]
        if not len(places):
            return ABSENT
    return counted(places >> 32)


def counted(documents: Array) -> Posting:
    """A posting of documents that ascend, each as often as it stands there."""
    if not len(documents):
        return ABSENT
    distinct, counts = np.unique(documents, return_counts=True)
    return Posting(BitMap(distinct.astype(np.uint32)), counts)


def _element(element: Element, run: Run) -> Posting:
    if not element.open:
        return run.posting(element.term) or ABSENT
    return run.union_of(element.term, _union)


def bound(beginnings: Sequence[str], run: Run) -> None:
    """Refuse what would have too many lists read.

    Args:
        beginnings: of words that a query asks for, each once.
        run: where they are looked for.

    Raises:
        LimitExceeded: more than SEARCH_EXPANSIONS terms begin so, of all together.
    """
    count = sum(map(run.count_from, beginnings))
    if count > SEARCH_EXPANSIONS:
        raise LimitExceeded(limit="SEARCH_EXPANSIONS", most=SEARCH_EXPANSIONS, asked=count)


def _union(postings: list[Posting]) -> Posting:
    """The occurrences of any of them."""
    met = [posting for posting in postings if posting.bits]
    if len(met) <= 1:
        return met[0] if met else ABSENT
    if any(posting.positions is None for posting in met):
        documents = np.sort(np.concatenate([_repeated(posting) for posting in met]))
        return counted(documents)
    places = np.unique(np.concatenate([posting.places for posting in met]))
    whole = counted(places >> 32)
    return Posting(whole.bits, whole.counts, places & 0xFFFFFFFF)


def _repeated(posting: Posting) -> Array:
    """The documents, each as often as it counts."""
    if posting.counts is None:
        return posting.documents
    return np.repeat(posting.documents, posting.counts)


def _everything(_query: Everything, run: Run) -> BitMap:
    return BitMap(range(run.count))


def _nothing(_query: Nothing, _run: Run) -> BitMap:
    return ABSENT.bits


def _words(query: Words, run: Run) -> BitMap:
    return words_of(query, run).bits


def _mark(query: Mark, run: Run) -> BitMap:
    if not query.open:
        found = run.posting(query.term)
        return ABSENT.bits if found is None else found.bits
    return run.union_of(query.term, _union).bits


def _range(query: Range, run: Run) -> BitMap:
    found = run.numbers().get(query.field)
    if found is None:
        return ABSENT.bits
    values, documents = found
    low = np.searchsorted(values, query.low, "left" if query.closed[0] else "right")
    high = np.searchsorted(values, query.high, "right" if query.closed[1] else "left")
    return BitMap(documents[low:high].copy()) if low < high else ABSENT.bits


def _key(query: Key, run: Run) -> BitMap:
    if query.open:
        return below(run, query.key)
    at = bisect_left(run.keys, query.key)
    return BitMap([at]) if at < run.count and run.keys[at] == query.key else ABSENT.bits


def below(run: Run, prefix: bytes) -> BitMap:
    """The documents whose keys begin with a prefix."""
    above = above_prefix(prefix)
    high = run.count if above is None else bisect_left(run.keys, above)
    return BitMap(range(bisect_left(run.keys, prefix), high))


def above_prefix(prefix: bytes) -> bytes | None:
    """The least that is above everything that begins with a prefix; None where nothing is."""
    cut = prefix.rstrip(b"\xff")
    return cut[:-1] + bytes((cut[-1] + 1,)) if cut else None


def _key_words(query: KeyWords, run: Run) -> BitMap:
    if run.by_key is None:
        builder, plain = Builder(), analyzer("none")
        for key in run.keys:
            builder.add(key, Document(plain.split(key.decode())), plain)
        run.by_key = builder.finish()
    return words_of(query.words, run.by_key).bits


def _and(query: And, run: Run) -> BitMap:
    found: BitMap | None = None
    for part in query.parts:
        if type(part) is not Not:
            bits = _ANSWERS[type(part)](part, run)
            found = bits if found is None else found & bits
    if found is None:
        found = BitMap(range(run.count))
    for part in query.parts:
        if type(part) is Not:
            found = found - matches(part.part, run)
    return found


def _or(query: Or, run: Run) -> BitMap:
    return BitMap.union(*(matches(part, run) for part in query.parts))


def _not(query: Not, run: Run) -> BitMap:
    return BitMap(range(run.count)) - matches(query.part, run)


_ANSWERS: Final[dict[type, Callable[[Any, Run], BitMap]]] = {
    Everything: _everything,
    Nothing: _nothing,
    Words: _words,
    Mark: _mark,
    Range: _range,
    Key: _key,
    KeyWords: _key_words,
    And: _and,
    Or: _or,
    Not: _not,
}
