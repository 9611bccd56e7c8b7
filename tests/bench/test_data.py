from __future__ import annotations

from itertools import pairwise

import pytest

from bench import data


def test_a_key_is_16_bytes_and_starts_with_its_groups_prefix() -> None:
    for index in (0, 999, 1_000, 123_456, 9_999_999):
        key = data.key_at(index)
        assert len(key.encode()) == data.KEY_BYTES
        assert key.startswith(data.prefix_of(index // data.GROUP))


def test_the_keys_of_a_group_differ() -> None:
    for group in (0, 7, 1_999, 9_999):
        first = group * data.GROUP
        assert len({data.key_at(first + number) for number in range(data.GROUP)}) == data.GROUP


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1_000, 4_181, 10_946])
def test_scattered_numbers_come_once_each(count: int) -> None:
    numbers = list(data.scattered(50, count))
    assert sorted(numbers) == list(range(50, 50 + count))


def test_scattered_neighbours_are_far_apart() -> None:
    numbers = list(data.scattered(0, 10_000))
    assert all(abs(here - there) > data.GROUP for here, there in pairwise(numbers))


def test_nothing_scattered_is_nothing() -> None:
    assert list(data.scattered(0, 0)) == []


def test_values_are_the_same_in_every_process_and_have_the_size() -> None:
    pool = data.values(1_024)
    assert pool == data.values(1_024)
    assert {len(value) for value in pool} == {1_024}
    assert len(set(pool)) == len(pool)


def test_a_sample_repeats_nothing_and_is_at_most_everything() -> None:
    assert sorted(data.sample(10, 100)) == list(range(10))
    assert len(set(data.sample(1_000, 100))) == 100
