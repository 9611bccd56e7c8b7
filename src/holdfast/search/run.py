"""A run: the postings of some documents of one namespace, in one piece of bytes, never changed.

    offset  size  field
    0       8     magic "HFSRUN" and the byte order, "<1" or ">1"
    8       8     XXH3-64 of everything behind these 16 bytes
    16      4     documents
    20      4     terms
    24      80    where each of the nine sections ends, u64, from the end of this head (104)

    section     what it holds
    keys_at     u32 x (documents + 1): where each key begins
    keys        the documents' keys, ascending; a document's number is its place here
    lengths     u32 x documents: words that have a term
    expiries    u64 times, ascending, then as many u32 documents: those with a time to live
    terms_at    u32 x (terms + 1): where each term begins
    terms       UTF-8, ascending
    lists_at    u64 x (terms + 1): where each posting list begins
    lists       the posting lists
    numbers     msgpack [[field, f64 ascending, u32 document of each], ...], the two as bytes

A posting list says in which documents a term stands, how often, and where:

    1           bits 0-1 documents: 0 u16 each, 1 u32 each, 2 a Roaring bitmap (its portable form)
                bits 2-3 counts: 0 each is 1, else 1 u8, 2 u16, 3 u32 each
                bits 4-5 positions: 0 none, else 1 u8, 2 u16, 3 u32 each
    1 or 5      documents; 255 says that a u32 follows
    4           only before a bitmap: its bytes
                documents, counts, positions, one after another

Terms of a field are ``01 field 1F term``, what has no position (content type, tags, yes and no)
``02 field 1F value``. Documents in the order of their keys make an ordered answer the order of a
bitmap, and what a bucket gave away in a split two ends of it. A run is a view: it is in the byte
order of the machine that made it, and whoever cannot read it makes it again from the log.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, overload

import msgspec
import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap
from xxhash import xxh3_64_intdigest

from holdfast.errors import Corrupt
from holdfast.search.prints import prints_of
from holdfast.values import Hit

Array = NDArray[Any]
Told = tuple[Array | None, Array | None]  # counts and positions of a posting

MAGIC: Final = b"HFSRUN" + (b"<1" if sys.byteorder == "little" else b">1")
HEAD: Final = struct.Struct("=8sQII9Q")
COVERED_FROM: Final = 16
CODES: Final = ("", "B", "H", "I")
SIZES: Final = {"B": 1, "H": 2, "I": 4}
BITMAP: Final = 2
WIDE: Final = 255
COMMON: Final = 128  # of so many documents one has a common term
NEAR: Final = tuple(int(512 * 1.25**step) for step in range(20))  # documents, the first of a run
FIRST: Final = tuple(BitMap(range(count)) for count in NEAR)
STRIDE: Final = 16  # terms between two that are in memory
KNOWN_HITS: Final = 20_000
KNOWN_LISTS: Final = 4_000_000  # documents in decoded lists that one run keeps


class Plan(msgspec.Struct, frozen=True, gc=False):
    """How the first documents with all of several terms are found in a run.

    ``total`` is how many there are; the first are those that all these bitmaps have, two of
    which there are always. Those of common terms are of the first documents of the run alone.
    """

    total: int
    one: BitMap
    other: BitMap
    others: tuple[BitMap, ...] = ()


class Posting:
    """One term's documents: which, how often, where.

    Args:
        bits: the documents.
        counts: how often in each, in order; None where it is once.
        positions: all positions, document by document; None where it has none.
        unread: gives both, once somebody wants to know.
    """

    __slots__ = ("_counts", "_documents", "_places", "_positions", "_unread", "bits", "near")

    def __init__(
        self,
        bits: BitMap,
        counts: Array | None = None,
        positions: Array | None = None,
        unread: Callable[[], Told] | None = None,
    ) -> None:
        self.bits = bits
        self._counts = counts
        self._positions = positions
        self._unread = unread
        self.near: dict[int, BitMap] = {}  # of a common term: those of the run's first documents
        self._documents: Array | None = None
        self._places: Array | None = None

    def _read(self) -> None:
        unread = self._unread
        if unread is not None:
            self._counts, self._positions = unread()
            self._unread = None  # only now: others may read too

    @property
    def counts(self) -> Array | None:
        """How often in each document, in order; None where it is once."""
        self._read()
        return self._counts

    @property
    def positions(self) -> Array | None:
        """All positions, document by document; None where it has none."""
        self._read()
        return self._positions

    @property
    def documents(self) -> Array:
        """The documents, ascending."""
        if self._documents is None:
            self._documents = np.array(self.bits.to_array(), dtype=np.int64)
        return self._documents

    @property
    def places(self) -> Array:
        """Every occurrence as document x 2^32 + position, ascending."""
        if self._places is None:
            owners = self.documents
            if self.counts is not None:
                owners = np.repeat(owners, self.counts)
            at = 0 if self.positions is None else self.positions.astype(np.int64)
            self._places = (owners << 32) + at
        return self._places


class Rows(Sequence[bytes]):
    """Rows of bytes that stand side by side.

    Args:
        ends: where each begins, and the end.
        data: the bytes.
    """

    __slots__ = ("data", "ends")

    def __init__(self, ends: memoryview, data: memoryview) -> None:
        self.ends = ends
        self.data = data

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        ends = self.ends
        if isinstance(at, slice):
            places = range(*at.indices(len(self)))
            if places.step != 1 or not places:
                return [self[i] for i in places]
            every = ends[places.start : places.stop + 1].tolist()
            first = every[0]
            data = bytes(self.data[first : every[-1]])
            return [data[low - first : high - first] for low, high in pairwise(every)]
        return bytes(self.data[ends[at] : ends[at + 1]])


def _told(data: memoryview, kind: int, count: int) -> Told:
    """Counts and positions of a posting of so many documents, which stand behind those."""
    counts = positions = None
    start, total, code = 0, count, CODES[kind >> 2 & 3]
    if code:
        start = count * SIZES[code]
        counts = np.frombuffer(data[:start], dtype=code)
        total = int(counts.sum())
    code = CODES[kind >> 4 & 3]
    if code:
        positions = np.frombuffer(data[start : start + total * SIZES[code]], dtype=code)
    return counts, positions


class Shown(dict[int, Hit]):
    """What an answer in the order of keys says of a document, made once.

    Args:
        keys: of all documents.
    """

    def __init__(self, keys: Rows) -> None:
        super().__init__()
        self._keys = keys

    def __missing__(self, document: int) -> Hit:
        if len(self) >= KNOWN_HITS:
            self.clear()
        made = self[document] = Hit(self._keys[document].decode())
        return made


class Run:
    """A run, read.

    Args:
        data: all of it.
        where: what to call it in errors.

    Raises:
        Corrupt: it does not verify.
    """

    def __init__(self, data: bytes | memoryview, where: str = "run of postings") -> None:
        self.data = view = memoryview(data)
        self.where = where
        self.path: Path | None = None  # of its file, once it has one (files.py)
        if len(view) < HEAD.size or view[:8] != MAGIC:
            raise Corrupt(position=where, what="not a run of postings")
        _, self.digest, self.count, _, *ends = HEAD.unpack_from(view)
        if (
            xxh3_64_intdigest(view[COVERED_FROM:]) != self.digest
            or ends[-1] != len(view) - HEAD.size
        ):
            raise Corrupt(position=where, what="a run of postings fails its checksum")
        pieces = [
            view[HEAD.size + start : HEAD.size + end]
            for start, end in zip((0, *ends), ends, strict=False)
        ]
        keys_at, keys, lengths, expiries, terms_at, words, lists_at, self.lists, numbers = pieces
        self.keys = Rows(keys_at.cast("I"), keys)
        self.lengths = np.frombuffer(lengths, dtype=np.uint32)
        half = len(expiries) // 12 * 8
        self.expires_ns = expiries[:half].cast("Q")
        self.expiring = expiries[half:].cast("I")
        self.terms = Rows(terms_at.cast("I"), words)
        self.lists_at = lists_at.cast("Q")
        self._numbers = numbers
        self.plans: dict[str, Plan] = {}
        self._known: dict[str, Posting | None] = {}
        self._unions: dict[str, Posting] = {}
        self._signs: list[bytes] | None = None  # every so many terms, once one was looked for
        self._weight = 0
        self.words = int(self.lengths.sum())
        self.shown = Shown(self.keys)
        self.by_key: Run | None = None  # the words of the keys, once somebody asked (matching.py)

    @cached_property
    def prints(self) -> tuple[Array, Array]:
        """Prints of the keys, ascending, and the document of each."""
        prints = prints_of(np.frombuffer(self.keys.ends, dtype=np.uint32), self.keys.data)
        documents = np.argsort(prints).astype(np.uint32)
        return prints[documents], documents

    def posting(self, term: str) -> Posting | None:
        """A term's posting list, or None."""
        known = self._known
        if term in known:
            return known[term]
        raw = term.encode()
        at = self._place(raw)
        found = None
        if at < len(self.terms) and self.terms[at] == raw:
            found = self.posting_at(at)
        self._make_room(1 if found is None else len(found.bits) + 1)
        known[term] = found
        return found

    def _place(self, raw: bytes) -> int:
        """Where a term stands or would."""
        if self._signs is None:
            self._signs = self.terms[::STRIDE]
        behind = bisect_left(self._signs, raw) * STRIDE
        return bisect_left(
            self.terms, raw, max(behind - STRIDE, 0), min(behind + 1, len(self.terms))
        )

    def posting_at(self, at: int) -> Posting:
        """The posting list of the term in this place."""
        data = self.lists[self.lists_at[at] : self.lists_at[at + 1]]
        kind, count, start = data[0], data[1], 2
        if count == WIDE:
            (count,), start = struct.unpack_from("=I", data, 2), 6
        if kind & 3 == BITMAP:
            (size,) = struct.unpack_from("=I", data, start)
            start += 4
            bits = BitMap.deserialize(bytes(data[start : start + size]))
        else:
            size = count * (4 if kind & 3 else 2)
            numbers = np.frombuffer(data[start : start + size], dtype="I" if kind & 3 else "H")
            bits = BitMap(array("I", numbers.astype(np.uint32).tobytes()), optimize=False)
        return Posting(bits, unread=partial(_told, data[start + size :], kind, count))

    def near(self, one: Posting, step: int) -> BitMap:
        """A posting's documents, at least those among so many first ones as this step has."""
        if step == len(NEAR) or len(one.bits) * COMMON < self.count:
            return one.bits
        known = one.near.get(step)
        if known is None:
            known = one.near[step] = one.bits & FIRST[step]
            self._make_room(len(known))
        return known

    def count_from(self, prefix: str) -> int:
        """How many terms begin with a prefix."""
        low, high = self._from(prefix)
        return high - low

    def union_of(self, prefix: str, make: Callable[[list[Posting]], Posting]) -> Posting:
        """All lists of terms that begin with a prefix as one, which is kept like any other."""
        known = self._unions.get(prefix)
        if known is None:
            known = make([self.posting_at(place) for place in range(*self._from(prefix))])
            positions = 0 if known.positions is None else len(known.positions)
            self._make_room(len(known.bits) + positions)
            self._unions[prefix] = known
        return known

    def _from(self, prefix: str) -> tuple[int, int]:
        """The places of the first term that begins so and of the first behind those."""
        raw = prefix.encode()
        low = bisect_left(self.terms, raw)
        return low, bisect_left(self.terms, raw + b"\xff", low)  # which is in no UTF-8

    def _make_room(self, weight: int) -> None:
        """Forget what is known where it becomes too much."""
        self._weight += weight
        if self._weight > KNOWN_LISTS:
            self._known.clear()
            self._unions.clear()
            self.plans.clear()
            self._weight = weight

    def terms_from(self, prefix: str, most: int) -> Iterator[tuple[str, Posting]]:
        """Terms that begin with a prefix, ascending, at most so many."""
        raw = prefix.encode()
        at = bisect_left(self.terms, raw)
        for place in range(at, min(at + most, len(self.terms))):
            term = self.terms[place]
            if not term.startswith(raw):
                return
            yield term.decode(), self.posting_at(place)

    def numbers(self) -> dict[str, tuple[Array, Array]]:
        """By field: its numbers, ascending, and the document of each."""
        rows = msgspec.msgpack.decode(self._numbers, type=list[tuple[str, bytes, bytes]])
        return {
            field: (np.frombuffer(values, "d"), np.frombuffer(documents, "I"))
            for field, values, documents in rows
        }
