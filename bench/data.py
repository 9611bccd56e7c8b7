"""The keys and values of every workload: functions of a number, the same for all engines.

A key is 16 characters, ``GGGGGG/HHHHHHHHH``: the decimal number of its group of
1,000 keys, and nine hexadecimal digits that scatter the keys of a group. So a
prefix list of one group is a list of exactly 1,000 keys.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

GROUP = 1_000  # keys below one prefix
KEY_BYTES = 16
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: neighbours land far apart
_SEED = 20_240_607
_POOL = 1_024  # distinct values; more would measure the generator's cache misses


def key_at(index: int) -> str:
    """The key with this number.

    >>> key_at(0), key_at(1_001)
    ('000000/000000000', '000001/cacbe7b02')
    """
    scattered = (index * _GOLDEN & 0xFFFFFFFFFFFFFFFF) >> 28
    return f"{index // GROUP:06d}/{scattered:09x}"


def prefix_of(group: int) -> str:
    """The prefix that the 1,000 keys of a group share, with its "/"."""
    return f"{group:06d}/"


def scattered(first: int, count: int) -> Iterator[int]:
    """The numbers ``first .. first + count - 1``, each once, neighbours far apart.

    A stride near the golden section of ``count`` visits all groups evenly; unlike
    a shuffle it needs no memory, so ten million keys are as cheap as ten.
    """
    if count <= 0:
        return
    stride = max(1, round(count * 0.6180339887))
    while math.gcd(stride, count) != 1:
        stride += 1
    position = 0
    for _ in range(count):
        yield first + position
        position = (position + stride) % count


def sample(keys: int, count: int) -> list[int]:
    """At most ``count`` different numbers below ``keys``, in random order, by a fixed seed."""
    chance = random.Random(_SEED)
    return chance.sample(range(keys), min(keys, count))


def drawn(keys: int, count: int) -> list[int]:
    """``count`` numbers below ``keys`` at random, repeats allowed, by a fixed seed."""
    chance = random.Random(_SEED)
    return chance.choices(range(keys), k=count)


def values(size_bytes: int) -> Sequence[bytes]:
    """A pool of incompressible values; number ``index`` has ``pool[index % len(pool)]``."""
    chance = random.Random(_SEED)
    distinct = max(16, min(_POOL, (1 << 24) // max(1, size_bytes)))
    return [chance.randbytes(size_bytes) for _ in range(distinct)]
