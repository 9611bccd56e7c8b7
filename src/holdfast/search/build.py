"""Documents become a run (``run.py`` draws it)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap
from xxhash import xxh3_64_intdigest

from holdfast.search.analysis import GAP, Analyzer
from holdfast.search.run import BITMAP, COVERED_FROM, HEAD, MAGIC, WIDE, Run

Numbers = NDArray[np.uint32]
FIELD, MARK, END = "\x01", "\x02", "\x1f"
SLICE: Final = 32  # posting lists between two looks at the clock
FEW: Final = 16  # documents up to which a list of numbers is smaller than a bitmap
NARROW: Final = 1 << 16


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


class _Kept(msgspec.Struct, gc=False):
    """A document as the builder keeps it: numbers of terms, and what stands beside them."""

    terms: array[int]
    beside: Sequence[tuple[int, int]]
    numbers: Sequence[tuple[str, float]]
    expires_ns: int


class Builder:
    """Gathers documents; the last one of a key counts."""

    def __init__(self) -> None:
        self._ids = _Ids({GAP: 0})
        self._word_ids: dict[str, _WordIds] = {}
        self._kept: dict[bytes, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, key: bytes, document: Document, analyzer: Analyzer) -> None:
        """Take a document in, whose words are of this language."""
        ids = self._word_ids.get(analyzer.language)
        if ids is None:
            ids = self._word_ids[analyzer.language] = _WordIds(analyzer.words, self._ids)
        beside: Sequence[tuple[int, int]] = ()
        if document.placed or document.marks:
            numbered = self._ids
            beside = [(numbered[term], position) for term, position in document.placed]
            beside += [(numbered[mark], 0) for mark in dict.fromkeys(document.marks)]
        terms = array("I", map(ids.__getitem__, document.words))
        self._kept[key] = _Kept(terms, beside, document.numbers, document.expires_ns)

    def finish(self) -> Run:
        """The run of everything that was added."""
        return next(run for run in self.steps() if run is not None)

    def steps(self) -> Iterator[Run | None]:
        """The same in slices: None between them, the run at the end."""
        keys = sorted(self._kept)
        kept = [self._kept[key] for key in keys]
        term, owner, place = _occurrences(kept)
        lengths = np.bincount(owner[: sum(len(one.terms) for one in kept)], minlength=len(kept))
        gaps = _gaps(kept, term, owner)
        order = np.flatnonzero(term)
        order = order[np.argsort(term[order], kind="stable")]
        rows: list[tuple[bytes, bytes]] = []
        yield None
        for row in _lists(sorted(self._ids.items()), term[order], owner[order], place[order]):
            rows.append(row)
            if len(rows) % SLICE == 0:
                yield None
        expiries = sorted((one.expires_ns, at) for at, one in enumerate(kept) if one.expires_ns)
        told = (lengths - gaps).astype(np.uint32)
        yield assemble((keys, told), rows, expiries, _numbers_of(kept))


def _occurrences(kept: Sequence[_Kept]) -> tuple[Numbers, Numbers, Numbers]:
    """Of each word: its term, its document, its position; those of fields and marks behind."""
    flat = np.frombuffer(b"".join([one.terms for one in kept]), dtype=np.uint32)
    sizes = np.array([len(one.terms) for one in kept], dtype=np.int64)
    owner = np.repeat(np.arange(len(kept), dtype=np.uint32), sizes)
    begins = np.cumsum(sizes) - sizes
    place = (np.arange(len(flat)) - np.repeat(begins, sizes)).astype(np.uint32)
    extra = [(t, at, position) for at, one in enumerate(kept) for t, position in one.beside]
    if not extra:
        return flat, owner, place
    beside = np.array(extra, dtype=np.uint32)
    return (
        np.concatenate((flat, beside[:, 0])),
        np.concatenate((owner, beside[:, 1])),
        np.concatenate((place, beside[:, 2])),
    )


def _gaps(kept: Sequence[_Kept], term: Numbers, owner: Numbers) -> NDArray[np.int64]:
    """How many words of each document have no term."""
    return np.bincount(owner[term == 0], minlength=len(kept))


def _lists(
    named: Sequence[tuple[str, int]], term: Numbers, owner: Numbers, place: Numbers
) -> Iterator[tuple[bytes, bytes]]:
    """Every term with its posting list; the occurrences are sorted by the terms' numbers."""
    if not len(term):
        return
    fresh = np.empty(len(term), dtype=bool)  # where a document begins in a term's list
    fresh[0] = True
    fresh[1:] = (term[1:] != term[:-1]) | (owner[1:] != owner[:-1])
    first = np.flatnonzero(fresh)
    counts = np.diff(np.append(first, len(term))).astype(np.uint32)
    owners = owner[first]
    most = int(term[-1]) + 2
    ends = np.searchsorted(term, np.arange(most)).tolist()  # of occurrences, by term
    stops = np.searchsorted(term[first], np.arange(most)).tolist()  # of documents, by term
    for name, number in named:
        if not number or number + 1 >= most or stops[number] == stops[number + 1]:
            continue
        low, high = stops[number], stops[number + 1]
        positions = None if name[0] == MARK else place[ends[number] : ends[number + 1]]
        yield name.encode(), encode(owners[low:high], counts[low:high], positions)


def _numbers_of(kept: Iterable[_Kept]) -> dict[str, list[tuple[float, int]]]:
    found: dict[str, list[tuple[float, int]]] = {}
    for at, one in enumerate(kept):
        for field, value in one.numbers:
            found.setdefault(field, []).append((value, at))
    return {field: sorted(pairs) for field, pairs in found.items()}


def encode(documents: Numbers, counts: Numbers, positions: Numbers | None) -> bytes:
    """A posting list as bytes.

    Args:
        documents: ascending.
        counts: how often in each; not told where there are no positions.
        positions: document by document, or None.
    """
    count = len(documents)
    if count == 1 and positions is not None and len(positions) == 1:
        document, position = int(documents[0]), int(positions[0])
        if document < NARROW and position < WIDE:
            return struct.pack("=BBHB", 1 << 4, 1, document, position)
    kind, told = _encode_documents(documents)
    packed_counts = packed_positions = b""
    if positions is not None:
        if len(positions) > count:
            code, packed_counts = _packed(counts)
            kind |= code << 2
        code, packed_positions = _packed(positions)
        kind |= code << 4
    head = bytes((kind, count)) if count < WIDE else struct.pack("=BBI", kind, WIDE, count)
    return b"".join((head, told, packed_counts, packed_positions))


def _encode_documents(documents: Numbers) -> tuple[int, bytes]:
    if len(documents) > FEW:
        bits = BitMap(array("I", documents.tobytes()))
        bits.run_optimize()
        told = bits.serialize()
        return BITMAP, struct.pack("=I", len(told)) + told
    if documents[-1] < NARROW:
        return 0, documents.astype(np.uint16).tobytes()
    return 1, documents.tobytes()


def _packed(values: Numbers) -> tuple[int, bytes]:
    """Numbers in the narrowest array that holds them: its code and its bytes."""
    most = int(values.max())
    if most < WIDE:
        return 1, values.astype(np.uint8).tobytes()
    if most < NARROW:
        return 2, values.astype(np.uint16).tobytes()
    return 3, values.tobytes()


def assemble(
    documents: tuple[Sequence[bytes], Numbers],
    rows: Sequence[tuple[bytes, bytes]],
    expiries: Sequence[tuple[int, int]],
    numbers: dict[str, list[tuple[float, int]]],
) -> Run:
    """A run of its parts; keys, terms, expiries and numbers ascending.

    Args:
        documents: their keys, and how many words of each have a term.
        rows: terms with their posting lists.
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
        *_table("I", [term for term, _ in rows]),
        *_table("Q", [found for _, found in rows]),
        msgspec.msgpack.encode(told),
    )
    ends = list(accumulate(map(len, sections)))
    head = HEAD.pack(MAGIC, 0, len(keys), len(rows), *ends)
    covered = b"".join((head[COVERED_FROM:], *sections))
    return Run(b"".join((MAGIC, struct.pack("=Q", xxh3_64_intdigest(covered)), covered)))


def _table(code: str, rows: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Where each row begins, and the rows."""
    return array(code, (0, *accumulate(map(len, rows)))).tobytes(), b"".join(rows)
