"""CRC-32Q as 0-stor computes it: polynomial 0x814141AB, reflected, all ones in and out.

    "123456789" -> 0xa9cc8179

Nothing that Python ships with does this polynomial, and a loop over the bytes is slow. So the
message is folded first, as one long integer: bit i of it, read little-endian, is the coefficient
of x^(bits-1-i), and

    x^348    = x^22 + x^18 + x^13 + x^7 + x^4 + x^3 + 1     (mod the polynomial)
    x^106809 = x^27 + x^26 + 1

so the first h bits may be taken off and added again n bits further on, once for each term on the
right. A few shifts of long integers then do what a million steps would. Squaring both sides of
such a relation gives the one for twice the length. What is left is short, and the loop does it.

Measured on one core, Python 3.11: 250 to 400 MiB/s for 64 KiB to 1 MiB, 40 MiB/s for 1 KiB, where
the loop alone does 10 MiB/s.
"""

from __future__ import annotations

from typing import Final

POLYNOMIAL: Final = 0xD5828281  # 0x814141AB with its bits in reverse
ONES: Final = 0xFFFFFFFF
SHORT_BYTES: Final = 128  # from here on the loop is quicker
Relation = tuple[int, tuple[int, ...]]  # x^n is the sum of these powers, in ascending order
FOUND: Final[tuple[Relation, ...]] = (
    (348, (0, 3, 4, 7, 13, 18, 22)),
    (106_809, (0, 26, 27)),
)
LONGEST: Final = 1 << 24  # bits: twice the longest payload


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ POLYNOMIAL if byte & 1 else byte >> 1
    return byte


def _squared() -> tuple[Relation, ...]:
    """The relations that were found, and those that squaring makes of them."""
    relations = []
    for power, terms in FOUND:
        times = 1
        while power * times < LONGEST:
            relations.append((power * times, tuple(term * times for term in terms)))
            times *= 2
    # Where one of few terms is nearly as long, the ones of many terms are not worth it.
    few = FOUND[-1][0]
    return tuple(one for one in relations if len(one[1]) == len(FOUND[-1][1]) or one[0] < few)


TABLE: Final = tuple(map(_entry, range(256)))
RELATIONS: Final = _squared()


def crc32q(data: bytes | bytearray | memoryview) -> int:
    """The CRC-32Q of some bytes.

    Example:
        >>> hex(crc32q(b"123456789"))
        '0xa9cc8179'
    """
    crc = ONES
    if len(data) > SHORT_BYTES:
        data, crc = _folded(data), 0
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ ONES


def _folded(data: bytes | bytearray | memoryview) -> bytes:
    """A short message of the same remainder, what comes in as all ones included."""
    folded = int.from_bytes(data, "little") ^ ONES
    left = len(data)
    while left > SHORT_BYTES:
        taken, power, terms = _longest_step(8 * left)
        head = folded & (1 << taken) - 1
        folded >>= taken
        for term in terms:
            folded ^= head << power - taken - term
        left -= taken // 8
    return folded.to_bytes(left, "little")


def _longest_step(bits: int) -> tuple[int, int, tuple[int, ...]]:
    """How many bits can be taken off a message at once, in whole bytes, and by which relation."""
    steps = ((min(n - terms[-1], bits - n) & ~7, n, terms) for n, terms in RELATIONS)
    return max(steps, key=lambda step: step[0])
