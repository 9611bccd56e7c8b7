"""Fingerprints in front of a view: where a plain object's value lies, in about 30 bytes a key.

A seeded 63-bit hash of the composite key leads to ``segment << 40 | offset`` of
the value. Only plain objects are in it: one slice, no expiry, no attributes, no
flags. A hit is a guess that the record itself must confirm (it holds the key,
and its check binds key, version and value); whatever does not confirm, and
whatever is not found, is asked of the view. The seed keeps crafted keys from
colliding on purpose; an accidental collision costs one of the two keys its
short cut.

It holds what the view has absorbed: a checkpoint brings both forward while its
overlay still stands in front of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from cykhash import Int64toInt64Map  # type: ignore[import-untyped]
from xxhash import xxh3_64_intdigest

from holdfast.log.entry import ENTRY

OFFSET_BITS = 40
OFFSET_MASK = (1 << OFFSET_BITS) - 1
ABSENT = -1


class Prints:
    """The fingerprints of one bucket's view.

    Args:
        seed: of the hash; unpredictable.
    """

    __slots__ = ("_map", "find", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._map = Int64toInt64Map()
        self.find = self._map.get  # (fingerprint, ABSENT) -> place

    def put(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take these entries in; those that are not plain are taken out."""
        places, seed = self._map, self.seed
        for key, row in rows:
            print_ = xxh3_64_intdigest(key, seed) >> 1
            if row:
                _, _, expires, _, _, flags, attrs, segment, offset = ENTRY.unpack_from(row)
                if not (flags or expires or attrs):
                    places[print_] = segment << OFFSET_BITS | offset
                    continue
            places.discard(print_)

    def __len__(self) -> int:
        return len(self._map)
