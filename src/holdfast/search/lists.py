"""Posting lists as bytes (``run.py`` draws them): one by one, or all of a batch at once.

Most terms stand in few documents. Those lists are not made one by one: where every byte of all
of them goes is arithmetic on arrays.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from holdfast.search.run import BITMAP, WIDE

Numbers = NDArray[np.uint32]
Counts = NDArray[np.int64]
MARK: Final = b"\x02"  # begins a term that has no position
BEHIND_MARK: Final = b"\x03"
SLICE: Final = 32  # posting lists between two looks at the clock
FEW: Final = 16  # documents up to which a list of u32 is smaller than a bitmap
FEW_NARROW: Final = 254  # the same of u16: a bitmap is no smaller, and dearer to make
NARROW: Final = 1 << 16
HEAD_BYTES: Final = 2  # of a list of few documents
IS_LITTLE: Final = sys.byteorder == "little"


class Lists(msgspec.Struct, frozen=True):
    """Posting lists side by side.

    ``terms`` ascend; ``begins`` says where each one's list begins in ``data``, and the end.
    """

    terms: Sequence[bytes]
    begins: bytes
    data: bytes


def side_by_side(rows: Sequence[tuple[bytes, bytes]]) -> Lists:
    """Terms with a list each, as one."""
    begins = array("Q", (0, *accumulate(len(found) for _, found in rows))).tobytes()
    return Lists([term for term, _ in rows], begins, b"".join([found for _, found in rows]))


def lists_of(
    names: Sequence[bytes], term: Numbers, owner: Numbers, place: Numbers
) -> Iterator[Lists | None]:
    """The lists of all occurrences, in slices: None between them, the lists at the end.

    Args:
        names: of the terms by number; a term's number is its place in their order.
        term: of each occurrence its term, ascending.
        owner: its document, ascending within a term.
        place: its position, ascending within a document.
    """
    if not len(term):
        yield side_by_side(())
        return
    batch = _Batch(names, term, owner, place)
    yield None
    batch.measure()
    yield None
    for count, at in enumerate(np.flatnonzero(~batch.few).tolist()):
        batch.encode(at)
        if count % SLICE == SLICE - 1:
            yield None
    batch.place_heads()
    yield None
    batch.place_numbers()
    yield batch.lists()


class _Batch:
    """Occurrences, sorted, on their way to bytes.

    *Pairs* are terms with one of their documents each. What has an entry for each term, each
    pair or each occurrence says so by its name.
    """

    def __init__(
        self, names: Sequence[bytes], term: Numbers, owner: Numbers, place: Numbers
    ) -> None:
        fresh = np.empty(len(term), dtype=bool)
        fresh[0] = True
        fresh[1:] = (term[1:] != term[:-1]) | (owner[1:] != owner[:-1])
        pair_at = np.flatnonzero(fresh)
        term_of_pair = term[pair_at]
        self._pair_of_term = np.flatnonzero(np.diff(term_of_pair, prepend=NARROW << 15))
        self._documents = owner[pair_at]
        self._often = np.diff(pair_at, append=len(term)).astype(np.uint32)
        self._places = place
        self._at_of_term = pair_at[self._pair_of_term]
        present = term_of_pair[self._pair_of_term].tolist()
        self.terms = [names[number] for number in present]
        self._pairs = np.diff(self._pair_of_term, append=len(pair_at))
        self._count = np.diff(self._at_of_term, append=len(term))
        last = self._documents[self._pair_of_term + self._pairs - 1]
        self._document_bytes = np.where(last < NARROW, 2, 4)
        self.few = self._pairs <= np.where(last < NARROW, FEW_NARROW, FEW)
        self._rows: dict[int, bytes] = {}

    def measure(self) -> None:
        """How wide the numbers of each term's list are, and how long the list of few is."""
        is_placed = np.ones(len(self.terms), dtype=bool)
        is_placed[bisect_left(self.terms, MARK) : bisect_left(self.terms, BEHIND_MARK)] = False
        often = np.maximum.reduceat(self._often, self._pair_of_term)
        places = np.maximum.reduceat(self._places, self._at_of_term)
        repeats = is_placed & (self._count > self._pairs)
        self._often_bytes = np.where(repeats, _width(often), 0)
        self._place_bytes = np.where(is_placed, _width(places), 0)
        self._sizes = (
            HEAD_BYTES
            + self._pairs * (self._document_bytes + self._often_bytes)
            + self._count * self._place_bytes
        )

    def encode(self, at: int) -> None:
        """The list of a term with many documents."""
        low, pair = int(self._at_of_term[at]), int(self._pair_of_term[at])
        high, last = low + int(self._count[at]), pair + int(self._pairs[at])
        positions = self._places[low:high] if self._place_bytes[at] else None
        row = encode(self._documents[pair:last], self._often[pair:last], positions)
        self._rows[at] = row
        self._sizes[at] = len(row)

    def place_heads(self) -> None:
        """Put every long list where it belongs, and the heads of the short ones."""
        self._begins = np.append(0, np.cumsum(self._sizes))
        self._data = np.zeros(self._begins[-1], dtype=np.uint8)
        for at, row in self._rows.items():
            begin = self._begins[at]
            self._data[begin : begin + len(row)] = np.frombuffer(row, dtype=np.uint8)
        few = np.flatnonzero(self.few)
        begins = self._begins[few]
        kind = (
            (self._document_bytes[few] == 4)  # noqa: PLR2004 - u32
            + (_CODES[self._often_bytes[few]] << 2)
            + (_CODES[self._place_bytes[few]] << 4)
        )
        self._data[begins] = kind
        self._data[begins + 1] = self._pairs[few]

    def place_numbers(self) -> None:
        """Put the numbers of the short lists behind their heads."""
        few = np.flatnonzero(self.few)
        begins = self._begins[few] + HEAD_BYTES
        pairs, count = self._pairs[few], self._count[few]
        of_pairs = _ranges(self._pair_of_term[few], pairs)
        self._put(begins, pairs, self._document_bytes[few], self._documents[of_pairs])
        begins = begins + pairs * self._document_bytes[few]
        self._put(begins, pairs, self._often_bytes[few], self._often[of_pairs])
        begins = begins + pairs * self._often_bytes[few]
        places = self._places[_ranges(self._at_of_term[few], count)]
        self._put(begins, count, self._place_bytes[few], places)

    def _put(self, begins: Counts, counts: Counts, widths: Counts, values: Numbers) -> None:
        """Put so many values of so many bytes from each place on."""
        width = np.repeat(widths, counts)
        at = np.repeat(begins, counts) + within(counts) * width
        for byte in range(int(widths.max(initial=0))):
            wide = np.flatnonzero(width > byte)
            place = at[wide] + (byte if IS_LITTLE else width[wide] - 1 - byte)
            self._data[place] = (values[wide] >> np.uint32(8 * byte)) & 0xFF

    def lists(self) -> Lists:
        """All of them."""
        return Lists(self.terms, self._begins.astype(np.uint64).tobytes(), self._data.tobytes())


_CODES: Final = np.array([0, 1, 2, 0, 3])  # of a number of bytes, as a list's head says it


def _width(most: Any) -> Counts:  # noqa: ANN401 - an array of any integers
    return np.where(most < WIDE, 1, np.where(most < NARROW, 2, 4))


def within(counts: Counts) -> Counts:
    """0, 1, 2, ... below each count."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _ranges(starts: Counts, counts: Counts) -> Counts:
    """All numbers of several ranges."""
    return np.repeat(starts, counts) + within(counts)


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
    if len(documents) > (FEW_NARROW if documents[-1] < NARROW else FEW):
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
