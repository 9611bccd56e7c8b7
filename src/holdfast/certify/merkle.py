"""RFC 9162 (and 6962) Merkle trees: one log, proofs that it holds an entry and only grew.

    leaf    SHA-256(00 | entry)
    node    SHA-256(01 | left | right)
    root    of n entries: node(root of the first k, root of the rest), k the largest power
            of two below n; of none: SHA-256 of nothing

Source: RFC 9162 sections 2.1.1 to 2.1.5. Sizes of 0 prove nothing and are refused, because
every root would "contain" an empty tree; hashes of another length than 32 bytes are refused
where they are concatenated, because the border between them would move.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from hashlib import sha256

from holdfast.errors import ProofInvalid

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
SIZE_BITS = 64  # a log of 2^64 entries; a proof has at most this many hashes and one more


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a log's entry, 32 bytes."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees, 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root over entries' hashes, in order; what ``MerkleLog`` keeps up to date."""
    log = MerkleLog()
    for hashed in leaf_hashes:
        log.append_hash(hashed)
    return log.root()


def verify_inclusion(  # noqa: PLR0917 - the names and their order are the issue's
    index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Hold that the entry at ``index`` of the log of ``size`` entries has this hash.

    Args:
        index: place of the entry, from 0.
        size: entries of the log that ``root`` is the root of.
        leaf_hash: hash of the entry (``leaf_hash(entry)``), 32 bytes.
        proof: hashes of the siblings, from the leaf upwards.
        root: root of the log of ``size`` entries.

    Raises:
        ProofInvalid: ``reason`` is "size", "index", "length", "hash" or "root".
    """
    if root_of_inclusion(index, size, leaf_hash, proof) != root:
        raise ProofInvalid(reason="root")


def root_of_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to; for receipts, which sign it and do not tell it.

    Raises:
        ProofInvalid: as ``verify_inclusion``.
    """
    _check_size(size)
    if type(index) is not int or not 0 <= index < size:
        raise ProofInvalid(reason="index")
    if not isinstance(proof, Sequence):
        raise ProofInvalid(reason="length")
    _check_hashes([leaf_hash, *proof[: SIZE_BITS + 1]])
    hashed, last = leaf_hash, size - 1
    for sibling in proof:
        if last == 0:
            raise ProofInvalid(reason="length")
        if index & 1 or index == last:
            hashed = node_hash(sibling, hashed)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        index, last = index >> 1, last >> 1
    if last:
        raise ProofInvalid(reason="length")
    return hashed


def verify_consistency(  # noqa: PLR0917 - the names and their order are the issue's
    size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]
) -> None:
    """Hold that the log of ``size2`` entries begins with the log of ``size1`` entries.

    Args:
        size1: entries of the older log, at least 1.
        size2: entries of the newer log, at least ``size1``.
        root1: root of the older log.
        root2: root of the newer log.
        proof: hashes as RFC 9162 section 2.1.4.1 orders them; empty for equal sizes.

    Raises:
        ProofInvalid: ``reason`` is "size", "length", "hash" or "root".
    """
    _check_size(size1)
    _check_size(size2)
    if size1 > size2:
        raise ProofInvalid(reason="size")
    if not isinstance(proof, Sequence):
        raise ProofInvalid(reason="length")
    if size1 == size2:
        _check_equal(root1, root2, proof)
        return
    if not proof:
        raise ProofInvalid(reason="length")
    _check_hashes([root1, root2, *proof[: SIZE_BITS + 1]])
    path = [root1, *proof] if size1 & (size1 - 1) == 0 else proof
    if _roots_of_consistency(size1, size2, path) != (root1, root2):
        raise ProofInvalid(reason="root")


def _check_equal(root1: bytes, root2: bytes, proof: Sequence[bytes]) -> None:
    if proof:
        raise ProofInvalid(reason="length")
    if not root1 or root1 != root2:
        raise ProofInvalid(reason="root")


def _check_size(size: int) -> None:
    if type(size) is not int or not 0 < size < 1 << SIZE_BITS:
        raise ProofInvalid(reason="size")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(type(one) is not bytes or len(one) != HASH_BYTES for one in hashes):
        raise ProofInvalid(reason="hash")


def _roots_of_consistency(size1: int, size2: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots of the older and the newer log that a consistency proof leads to."""
    first, last = size1 - 1, size2 - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    older = newer = path[0]
    for hashed in path[1:]:
        if last == 0:
            raise ProofInvalid(reason="length")
        if first & 1 or first == last:
            older, newer = node_hash(hashed, older), node_hash(hashed, newer)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            newer = node_hash(newer, hashed)
        first, last = first >> 1, last >> 1
    if last:
        raise ProofInvalid(reason="length")
    return older, newer


class Log(ABC):
    """A log's hashes, kept so that roots and proofs of any size up to its own can be made."""

    @abstractmethod
    def __len__(self) -> int:
        """How many entries there are."""

    @abstractmethod
    def _at(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree of 2^level entries, the ``index``-th of its level."""

    def root(self, size: int | None = None) -> bytes:
        """The root of the first ``size`` entries; of all where none is given."""
        size = len(self) if size is None else size
        return self._subtree(0, size) if size else EMPTY_ROOT

    def prove_inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Siblings of the entry at ``index`` in the log of ``size`` entries, leaf upwards."""
        start, stop = 0, len(self) if size is None else size
        path = []
        while stop - start > 1:
            middle = start + _split(stop - start)
            if index < middle:
                path.append(self._subtree(middle, stop))
                stop = middle
            else:
                path.append(self._subtree(start, middle))
                start = middle
        return path[::-1]

    def prove_consistency(self, size1: int, size2: int | None = None) -> list[bytes]:
        """Hashes that show the log of ``size2`` entries to begin with that of ``size1``."""
        start, stop = 0, len(self) if size2 is None else size2
        path = []
        while stop > size1:
            middle = start + _split(stop - start)
            if size1 <= middle:
                path.append(self._subtree(middle, stop))
                stop = middle
            else:
                path.append(self._subtree(start, middle))
                start = middle
        return ([self._subtree(start, stop)] if start else []) + path[::-1]

    def _subtree(self, start: int, stop: int) -> bytes:
        """The root over entries start to stop, which begin at a border of their size."""
        complete = []
        while start < stop:
            level = _split(stop - start + 1).bit_length() - 1
            complete.append(self._at(level, start >> level))
            start += 1 << level
        hashed = complete.pop()
        while complete:
            hashed = node_hash(complete.pop(), hashed)
        return hashed


class MerkleLog(Log):
    """A log's hashes in memory, at hand.

    Level 0 has the entries' hashes, level k those of the complete subtrees of 2^k entries,
    one bytearray each: an append costs one hash on average, a proof O(log n) look-ups,
    an entry 64 bytes of memory.

    Example:
        >>> log = MerkleLog()
        >>> for entry in (b"a", b"b", b"c"):
        ...     log.append(entry)
        >>> verify_inclusion(1, 3, leaf_hash(b"b"), log.prove_inclusion(1), log.root())
    """

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]

    def __len__(self) -> int:
        return len(self._levels[0]) // HASH_BYTES

    def append(self, entry: bytes) -> None:
        """Add an entry."""
        self.append_hash(leaf_hash(entry))

    def append_hash(self, hashed: bytes) -> None:
        """Add an entry by its hash, 32 bytes."""
        index = len(self)
        self._levels[0] += hashed
        level = 0
        while index & 1:
            hashed = node_hash(self._at(level, index - 1), hashed)
            index, level = index >> 1, level + 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += hashed

    def _at(self, level: int, index: int) -> bytes:
        return bytes(self._levels[level][index * HASH_BYTES : (index + 1) * HASH_BYTES])


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)
