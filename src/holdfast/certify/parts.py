"""Parts of a value, proved by themselves: what a range of a large object needs.

The digest in an object's leaf is the RFC 9162 root over the value's parts of 1 MiB (leaf.py),
so some of them are proved by their siblings on the way to that root. Stands alone, as verify.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from holdfast.certify import merkle
from holdfast.certify.leaf import PART_BYTES, part_hash
from holdfast.errors import ProofInvalid

PARTS_MOST: Final = 1 << 20  # in one answer; a terabyte


@dataclass(frozen=True)
class Parts:
    """Whole parts of a value that follow one another, and what proves each.

    ``first`` is the place of the first, ``data`` their bytes, ``paths`` for each the hashes of
    its siblings, from the leaf upwards.
    """

    first: int
    data: bytes
    paths: Sequence[Sequence[bytes]]

    @property
    def start(self) -> int:
        """Where in the value the first begins, in bytes."""
        return self.first * PART_BYTES


def count_of(size: int) -> int:
    """How many parts a value of so many bytes has; the empty one has one."""
    return max(1, -(-size // PART_BYTES))


def check(parts: Parts, size: int, digest: bytes) -> None:
    """Hold that these are the parts of a value of this size and digest, at their places.

    Raises:
        ProofInvalid: ``reason`` is "parts" where they are not whole, "value" where they are others.
    """
    count = count_of(size)
    pieces = _cut(parts.data)
    last = parts.first + len(pieces)
    stop = size if last == count else last * PART_BYTES
    if not 0 <= parts.first < last <= min(count, parts.first + PARTS_MOST):
        raise ProofInvalid(reason="parts")
    if len(parts.paths) != len(pieces) or parts.start + len(parts.data) != stop:
        raise ProofInvalid(reason="parts")
    try:
        for at, (piece, path) in enumerate(zip(pieces, parts.paths, strict=True)):
            merkle.verify_inclusion(parts.first + at, count, part_hash(piece), path, digest)
    except ProofInvalid:
        raise ProofInvalid(reason="value") from None


def _cut(data: bytes) -> list[memoryview]:
    view = memoryview(data)
    return [view[at : at + PART_BYTES] for at in range(0, max(1, len(view)), PART_BYTES)]


class Window:
    """Keeps the parts that a range of a value reaches into, as the value goes by.

    Args:
        start: where the range begins, in bytes.
        stop: where it ends, exclusive.
    """

    def __init__(self, start: int, stop: int) -> None:
        self._start, self._stop = start, max(stop, start + 1)
        self._kept: list[bytes] = []
        self._hashes: list[bytes] = []
        self._first = 0

    def watch(self, pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
        """The same bytes as ``pieces``, in parts.

        Args:
            pieces: the whole value, in pieces of any size.
            size: its length; a range behind its end has the last part.
        """
        last = count_of(size) - 1
        self._kept, self._hashes = [], []
        self._first = min(self._start // PART_BYTES, last)
        until = min((self._stop - 1) // PART_BYTES, last)
        for at, part in enumerate(_parts(pieces)):
            self._hashes.append(sha256(b"\x00" + part).digest())
            if self._first <= at <= until:
                self._kept.append(part)
            yield part

    def parts(self) -> Parts:
        """What was kept, with its proofs, once all has gone by."""
        log = merkle.MerkleLog()
        for hashed in self._hashes:
            log.append_hash(hashed)
        places = range(self._first, self._first + len(self._kept))
        paths = tuple(tuple(log.prove_inclusion(at)) for at in places)
        return Parts(self._first, b"".join(self._kept), paths)


def _parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of any size as parts of 1 MiB; one empty one of nothing."""
    held = bytearray()
    told = False
    for piece in pieces:
        held += piece
        while len(held) >= PART_BYTES:
            yield bytes(held[:PART_BYTES])
            told = True
            del held[:PART_BYTES]
    if held or not told:
        yield bytes(held)
