"""Bytes side by side, eight at a time: short hashes of many keys at once.

They tell apart what is not the same nearly always, and are kept nowhere on disk.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Prints = NDArray[np.uint64]
WORD_BYTES: Final = 8
FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
FOLD: Final = np.uint64(29)
END_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)


def chunks_of(data: bytes) -> Prints:
    """The eight bytes from each place on, as an integer; the last seven places have none."""
    return np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))


def prints_of(begins: NDArray[Any], data: bytes | memoryview) -> Prints:
    """A hash of each row of bytes.

    Args:
        begins: where each begins, and the end.
        data: the rows.
    """
    chunks = chunks_of(bytes(data) + bytes(WORD_BYTES))
    starts = begins[:-1].astype(np.int64)
    left = begins[1:] - starts
    prints = left.astype(np.uint64) * FACTOR
    rows = np.flatnonzero(left > 0)
    while len(rows):
        words = chunks[starts[rows]] & END_MASKS[np.minimum(left[rows], WORD_BYTES)]
        mixed = (prints[rows] ^ words) * FACTOR
        prints[rows] = mixed ^ (mixed >> FOLD)
        starts[rows] += WORD_BYTES
        left[rows] -= WORD_BYTES
        rows = rows[left[rows] > 0]
    return prints
