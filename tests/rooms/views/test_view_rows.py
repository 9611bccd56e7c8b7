"""Many rows verified by one CRC: as good as one by one."""

from __future__ import annotations

from random import Random

import pytest

from holdfast.views.lmdb_rows import RUN, SEEDS, are_whole, seal

Rows = list[tuple[bytes, bytes]]


def some_rows(seed: int, count: int = 40) -> Rows:
    chance = Random(seed)
    bare = [
        (chance.randbytes(chance.randrange(1, 40)), chance.randbytes(chance.randrange(90)))
        for _ in range(count)
    ]
    return seal(SEEDS[1], bare)


@pytest.mark.parametrize("seed", range(5))
def test_rows_as_they_were_sealed_are_whole(seed: int) -> None:
    rows = some_rows(seed)
    assert all(are_whole(SEEDS[1], rows[:count]) for count in range(len(rows)))
    assert not are_whole(SEEDS[2], rows)


def test_any_flipped_bit_of_any_row_is_seen() -> None:
    rows = some_rows(9)
    for at, (key, value) in enumerate(rows):
        for bit in range(8 * len(value)):
            flipped = bytearray(value)
            flipped[bit // 8] ^= 1 << bit % 8
            assert not are_whole(SEEDS[1], [*rows[:at], (key, bytes(flipped)), *rows[at + 1 :]])


def test_contents_under_each_others_keys_are_seen() -> None:
    rows = some_rows(7)
    for at in range(1, len(rows)):
        (low, first), (high, second) = rows[at - 1 : at + 1]
        mixed = [*rows[: at - 1], (low, second), (high, first), *rows[at + 1 :]]
        assert not are_whole(SEEDS[1], mixed)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_rows_of_another_kind_do_not_make_up_for_each_other(count: int) -> None:
    rows = some_rows(3)
    for size in range(60):
        run = seal(SEEDS[1 | RUN], [(b"key", bytes(size))])
        assert not are_whole(SEEDS[1], [*rows, *run * count, *rows])
        assert not are_whole(SEEDS[1], [*run, *rows, *run])
