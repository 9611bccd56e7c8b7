"""Rows in order by columns are those that sorting the keys one by one gives."""

from __future__ import annotations

from random import Random

import pytest

from holdfast.log import columns
from holdfast.log.columns import runs
from holdfast.log.keyblock import KeyBlock, build, build_plain

WIDTH = 52


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "LEAST", 2)


def no_pace() -> None:
    return


def listed(table: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [pair for run in runs(table, no_pace) for pair in zip(*run, strict=True)]


def table_of(keys: set[bytes], seed: int) -> dict[bytes, bytes]:
    chance = Random(seed)
    order = sorted(keys)
    chance.shuffle(order)
    return {key: chance.randbytes(WIDTH - 1) + b"\0" for key in order}


@pytest.mark.parametrize("widest", [1, 8, 22, 300])
@pytest.mark.parametrize("seed", range(3))
def test_keys_of_any_lengths_come_in_order_with_their_rows(widest: int, seed: int) -> None:
    chance = Random(seed)
    keys = {chance.randbytes(chance.randint(1, widest)) for _ in range(3_000)}
    assert any(key.endswith(b"\0") for key in keys)
    table = table_of(keys, seed)
    assert listed(table) == sorted(table.items())


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 1_000, 2_001])
def test_every_row_comes_once_whatever_their_number(count: int) -> None:
    table = table_of({b"acme\0%06d" % n for n in range(count)}, count)
    assert listed(table) == sorted(table.items())
    assert all(len(run.keys) <= 2 * columns.RUN for run in runs(table, no_pace))


def test_columns_serve_plain_rows_and_only_those() -> None:
    table = table_of({b"acme\0%06d" % n for n in range(500)}, 0)
    assert columns._copied(table, no_pace) is not None
    assert columns._copied(table | {b"acme\0gone": b""}, no_pace) is None
    assert columns._copied(table | {b"acme\0more": bytes(WIDTH + 9)}, no_pace) is None
    assert columns._copied(table | {b"acme\0zero\0": bytes(WIDTH)}, no_pace) is None
    assert columns._copied(table | {b"acme\0" + b"k" * 900: bytes(WIDTH)}, no_pace) is None


@pytest.mark.parametrize("widest", [1, 8, 22, 300])
@pytest.mark.parametrize("count", [1, 2, 300, 9_001])
def test_a_key_block_by_columns_is_the_one_that_is_made_row_by_row(widest: int, count: int) -> None:
    chance = Random(count)
    keys = {chance.randbytes(chance.randint(1, widest)) for _ in range(count)}
    rows = table_of({key for key in keys if not key.endswith(b"\0")} or {b"k"}, count)
    order = sorted(rows)
    told = build([(order, [1] * len(order), [rows[key] for key in order])])
    assert build_plain(rows, 1, no_pace) == told
    assert [row.key for row in KeyBlock(told[0], 3)] == order


@pytest.mark.parametrize("odd", [b"", bytes(WIDTH + 9)])
def test_other_rows_come_in_order_too(odd: bytes) -> None:
    table = table_of({b"acme\0%06d" % n for n in range(500)}, 0) | {b"acme\0000100x": odd}
    assert listed(table) == sorted(table.items())


def test_without_numpy_the_same_rows_come(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of({b"acme\0%06d" % n for n in range(700)}, 1)
    by_columns = listed(table)
    monkeypatch.setattr(columns, "LEAST", 1_000)
    assert listed(table) == by_columns
