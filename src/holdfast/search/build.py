"""Documents become a run (``run.py`` draws it)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from holdfast.search.analysis import GAP, Analyzer
from holdfast.search.lists import NARROW, Lists, lists_of
from holdfast.search.run import COVERED_FROM, HEAD, MAGIC, Run
from holdfast.search.vocabulary import Vocabulary

Numbers = NDArray[np.uint32]
FIELD, MARK, END = "\x01", "\x02", "\x1f"
NO_WORDS: Final = np.empty(0, dtype=np.uint32)
NO_SIZES: Final = np.empty(0, dtype=np.int64)


class Document(msgspec.Struct, gc=False):
    """What one object says, analysed.

    ``words`` are those of its text by position (``Analyzer.split``); ``placed`` terms of
    fields with their positions; ``marks`` terms without a position; ``numbers`` numbers of
    fields; ``expires_ns`` bucket time or 0.
    """

    words: list[str]
    placed: Sequence[tuple[str, int]] = ()
    marks: Sequence[str] = ()
    numbers: Sequence[tuple[str, float]] = ()
    expires_ns: int = 0


class _Ids(dict[str, int]):
    """Each term's number, given when it is first met; ``GAP`` is 0."""

    def __missing__(self, term: str) -> int:
        number = self[term] = len(self)
        return number


class _WordIds(dict[str, int]):
    """The number of each word's term."""

    def __init__(self, words: dict[str, str], ids: _Ids) -> None:
        super().__init__()
        self._words = words
        self._ids = ids

    def __missing__(self, word: str) -> int:
        number = self[word] = self._ids[self._words[word]]
        return number


class _Texts(msgspec.Struct, gc=False):
    """Texts that were taken in together: the numbers of their words, and how many each has.

    ``terms`` are those that the numbers stand for; None: those of the builder itself.
    """

    words: Numbers
    sizes: NDArray[np.int64]
    terms: list[str] | None = None


class _Beside(msgspec.Struct, gc=False):
    """What stands beside the words of a document."""

    placed: Sequence[tuple[int, int]]
    numbers: Sequence[tuple[str, float]]


class Builder:
    """Gathers documents. A key is given once."""

    def __init__(self) -> None:
        self._ids = _Ids({GAP: 0})
        self._word_ids: dict[str, _WordIds] = {}
        self._vocabularies: dict[str, Vocabulary] = {}
        self._keys: list[bytes] = []
        self._texts: list[_Texts] = []
        self._beside: dict[int, _Beside] = {}  # by the document's place among the keys
        self._expiries: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes, document: Document, analyzer: Analyzer) -> None:
        """Take a document in, whose words are of this language."""
        ids = self._word_ids.get(analyzer.language)
        if ids is None:
            ids = self._word_ids[analyzer.language] = _WordIds(analyzer.words, self._ids)
        number = len(self._keys)
        if document.placed or document.marks or document.numbers:
            numbered = self._ids
            placed = [(numbered[term], position) for term, position in document.placed]
            placed += [(numbered[mark], 0) for mark in dict.fromkeys(document.marks)]
            self._beside[number] = _Beside(placed, document.numbers)
        if document.expires_ns:
            self._expiries.append((document.expires_ns, number))
        words = np.array(list(map(ids.__getitem__, document.words)), dtype=np.uint32)
        self._texts.append(_Texts(words, np.array([len(words)])))
        self._keys.append(key)

    def add_texts(
        self,
        keys: Sequence[bytes],
        texts: Sequence[bytes],
        expiries: Sequence[int],
        analyzer: Analyzer,
    ) -> bool:
        """Take documents in that are nothing but a text each.

        Args:
            keys: theirs.
            texts: of ASCII without zero bytes; False, and nothing is done, where they are not.
            expiries: of each its bucket time, or 0.
            analyzer: of the language.
        """
        known = self._vocabularies.get(analyzer.language)
        if known is None:
            known = self._vocabularies[analyzer.language] = analyzer.vocabulary
        found = known.numbers(texts)
        if found is None:
            return False
        if any(expiries):
            first = len(self._keys)
            self._expiries += [(time, first + at) for at, time in enumerate(expiries) if time]
        self._texts.append(_Texts(*found, known.terms))
        self._keys += keys
        return True

    def finish(self) -> Run:
        """The run of everything that was added."""
        return next(run for run in self.steps() if run is not None)

    def steps(self) -> Iterator[Run | None]:
        """The same in slices: None between them, the run at the end."""
        count = len(self._keys)
        order = sorted(range(count), key=self._keys.__getitem__)
        keys = [self._keys[at] for at in order]
        number = np.empty(count, dtype=np.uint32)  # of a document, by when it came
        number[order] = np.arange(count, dtype=np.uint32)
        yield None
        met = self._meet()
        names = sorted(self._ids)
        rank = np.empty(len(names), dtype=np.uint32)  # of a term, by the builder's own number
        rank[[self._ids[name] for name in names]] = np.arange(len(names), dtype=np.uint32)
        yield None
        words = self._ranked(rank, met)
        term, owner, place = self._said(words, np.array(order, dtype=np.int64))
        lengths = np.bincount(owner, minlength=count).astype(np.uint32)
        yield None
        extra = [
            (t, at, position) for at, one in self._beside.items() for t, position in one.placed
        ]
        if extra:
            beside = np.array(extra, dtype=np.uint32)
            term = np.concatenate((term, rank[beside[:, 0]]))
            owner = np.concatenate((owner, number[beside[:, 1]]))
            place = np.concatenate((place, beside[:, 2]))
            by_owner = np.argsort(owner, kind="stable")
            term, owner, place = term[by_owner], owner[by_owner], place[by_owner]
            yield None
        by_term = _order(term, len(names))
        yield None
        term, owner, place = term[by_term], owner[by_term], place[by_term]
        yield None
        for lists in lists_of([name.encode() for name in names], term, owner, place):
            if lists is None:
                yield None
                continue
            expiries = sorted((time, int(number[at])) for time, at in self._expiries)
            yield assemble((keys, lengths), lists, expiries, self._numbers(number))

    def _said(
        self, words: Sequence[Numbers], order: NDArray[np.int64]
    ) -> tuple[Numbers, Numbers, Numbers]:
        """Of each occurrence in the texts its term's rank, its document and its position."""
        sizes = np.concatenate([NO_SIZES, *(texts.sizes for texts in self._texts)])
        term = np.concatenate([NO_WORDS, *words])
        starts = np.cumsum(sizes) - sizes
        if (order[1:] < order[:-1]).any():
            sizes, moved = sizes[order], starts[order]
            starts = np.cumsum(sizes) - sizes
            term = term[np.arange(len(term)) + np.repeat(moved - starts, sizes)]
        owner = np.repeat(np.arange(len(order), dtype=np.uint32), sizes)
        place = np.arange(len(term), dtype=np.uint32) - np.repeat(starts.astype(np.uint32), sizes)
        if term.all():
            return term, owner, place
        said = np.flatnonzero(term)  # gaps have no term
        return term[said], owner[said], place[said]

    def _meet(self) -> dict[int, tuple[list[str], NDArray[np.int64], list[int]]]:
        """Of each vocabulary its terms, which of them are met, and the builder's own numbers."""
        found = {}
        for known in self._vocabularies.values():
            terms = known.terms
            words = [texts.words for texts in self._texts if texts.terms is terms]
            met = np.flatnonzero(np.bincount(np.concatenate([NO_WORDS, *words])))
            found[id(terms)] = terms, met, [self._ids[terms[number]] for number in met.tolist()]
        return found

    def _ranked(
        self, rank: Numbers, met: dict[int, tuple[list[str], NDArray[np.int64], list[int]]]
    ) -> list[Numbers]:
        """The words of all texts by the ranks of their terms."""
        ranks = {}
        for key, (terms, numbers, own) in met.items():
            ranks[key] = np.zeros(len(terms), dtype=np.uint32)
            ranks[key][numbers] = rank[own]
        return [
            rank[texts.words] if texts.terms is None else ranks[id(texts.terms)][texts.words]
            for texts in self._texts
        ]

    def _numbers(self, number: Numbers) -> dict[str, list[tuple[float, int]]]:
        found: dict[str, list[tuple[float, int]]] = {}
        for at, one in self._beside.items():
            for field, value in one.numbers:
                found.setdefault(field, []).append((value, int(number[at])))
        return {field: sorted(pairs) for field, pairs in found.items()}


def _order(term: Numbers, count: int) -> NDArray[np.int64]:
    """What sorts numbers below a count, equal ones as they stand: by 16 bits at a time."""
    order = np.argsort(term.astype(np.uint16), kind="stable")
    if count > NARROW:
        above = (term >> np.uint32(16)).astype(np.uint16)
        order = order[np.argsort(above[order], kind="stable")]
    return order


def assemble(
    documents: tuple[Sequence[bytes], Numbers],
    lists: Lists,
    expiries: Sequence[tuple[int, int]],
    numbers: dict[str, list[tuple[float, int]]],
) -> Run:
    """A run of its parts; keys, terms, expiries and numbers ascending.

    Args:
        documents: their keys, and how many words of each have a term.
        lists: of every term.
        expiries: times with the document that ends then.
        numbers: by field, numbers with the document of each.
    """
    keys, lengths = documents
    told: list[Any] = [
        [
            field,
            array("d", (value for value, _ in pairs)).tobytes(),
            array("I", (document for _, document in pairs)).tobytes(),
        ]
        for field, pairs in sorted(numbers.items())
    ]
    times = array("Q", (time for time, _ in expiries)).tobytes()
    expiring = array("I", (document for _, document in expiries)).tobytes()
    sections = (
        *_table("I", keys),
        lengths.tobytes(),
        times + expiring,
        *_table("I", lists.terms),
        lists.begins,
        lists.data,
        msgspec.msgpack.encode(told),
    )
    ends = list(accumulate(map(len, sections)))
    head = HEAD.pack(MAGIC, 0, len(keys), len(lists.terms), *ends)
    covered = b"".join((head[COVERED_FROM:], *sections))
    return Run(b"".join((MAGIC, struct.pack("=Q", xxh3_64_intdigest(covered)), covered)))


def _table(code: str, rows: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Where each row begins, and the rows."""
    return array(code, (0, *accumulate(map(len, rows)))).tobytes(), b"".join(rows)
