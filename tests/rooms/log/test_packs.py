"""What comes out of packs is what sorting the rows one by one gives."""

from __future__ import annotations

import sys
import tracemalloc
from random import Random

import pytest
from crc32c import crc32c

from holdfast.log import columns, packs
from holdfast.log.entry import ENTRY_BYTES
from holdfast.log.keyblock import KeyBlock, build, build_packed
from holdfast.log.packs import Ordered, Pack, ordered, packed
from holdfast.views.lmdb_rows import seal

BATCH = 100


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "LEAST", 2)


def no_pace() -> None:
    return


def batches(wide: int, count: int, seed: int = 0) -> list[dict[bytes, bytes]]:
    """Rows of keys of one width, some that end in zeros, some in several batches."""
    chance = Random(seed)
    alphabet = bytes([0, 0, 1, 127, 128, 255])
    drawn = [bytes(chance.choices(alphabet, k=wide)) for _ in range(count)]
    rows = [(key, chance.randbytes(ENTRY_BYTES - 1) + b"\0") for key in drawn]
    return [dict(rows[at : at + BATCH]) for at in range(0, count, BATCH)]


def packs_of(told: list[dict[bytes, bytes]]) -> list[Pack]:
    made = [packed(rows) for rows in told]
    assert None not in made
    return [pack for pack in made if pack is not None]


def in_order(told: list[dict[bytes, bytes]]) -> Ordered | None:
    made = packs_of(told)
    return ordered(made, sum(map(len, made)), no_pace)


@pytest.mark.parametrize("wide", [1, 7, 8, 9, 22, 40, 300])
@pytest.mark.parametrize("count", [2, 256, 257, 3_000])
def test_the_last_row_of_each_key_comes_in_order(wide: int, count: int) -> None:
    told = batches(wide, count)
    last = {key: row for rows in told for key, row in rows.items()}
    made = in_order(told)
    assert made is not None
    assert len(made) == len(last)
    runs = list(made.runs(no_pace))
    assert [pair for run in runs for pair in run] == sorted(last.items())
    assert [key for run in runs for key in run.ascending()] == sorted(last)
    assert all(run[0] == next(iter(run)) and run[-1] == list(run)[-1] for run in runs)
    assert all(list(run[1:]) == list(run)[1:] for run in runs)


def test_keys_that_do_not_differ_are_one() -> None:
    told = [{b"same": bytes([n]) * ENTRY_BYTES} for n in range(3)]
    made = in_order(told)
    assert made is not None
    (run,) = made.runs(no_pace)
    assert list(run) == [(b"same", b"\2" * ENTRY_BYTES)]


@pytest.mark.parametrize("wide", [1, 22, 300])
def test_rows_with_their_checks_are_those_of_one_by_one(wide: int) -> None:
    made = in_order(batches(wide, 1_000))
    assert made is not None
    for run in made.runs(no_pace):
        assert run.checked(crc32c, 7) == seal(7, run) == seal(7, list(run))


@pytest.mark.parametrize("wide", [1, 8, 22, 300])
@pytest.mark.parametrize("count", [2, 300, 9_001])
def test_a_key_block_of_packs_is_the_one_that_is_made_row_by_row(wide: int, count: int) -> None:
    told = batches(wide, count)
    rows = sorted(  # of one key as they came
        (pair for rows in told for pair in rows.items()), key=lambda pair: pair[0]
    )
    body, number = build([([k for k, _ in rows], [1] * len(rows), [row for _, row in rows])])
    made = in_order(told)
    assert made is not None
    assert build_packed(made, 1, (), no_pace) == (body, number)
    assert len(list(KeyBlock(body, 3))) == number == len(rows)


def test_many_rows_are_not_copied_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "JOINED", 3 * BATCH)
    told = packs_of(batches(9, 10 * BATCH))
    paced = []
    assert ordered(told, 10 * BATCH, lambda: paced.append(1)) is not None
    assert len(paced) > len(told) // 3
    assert [len(lot) for lot in packs._lots(told)] == [3, 3, 3, 1]


def test_the_keys_of_a_few_rows_are_told_without_a_copy_of_all() -> None:
    made = in_order(batches(9, 40_000))
    assert made is not None
    run = next(made.runs(no_pace))[:10]
    assert isinstance(run, packs.Flat)
    tracemalloc.start()
    try:
        assert run.ascending() == [key for key, _ in run]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 9 * 10_000  # bytes; all keys are four times as many


def test_a_pack_tells_its_rows_again() -> None:
    (rows,) = batches(9, BATCH)
    (pack,) = packs_of([rows])
    assert list(pack.items()) == list(rows.items())
    assert len(pack) == len(rows)


def test_keys_of_several_widths_are_no_pack_and_make_no_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = bytes(ENTRY_BYTES)
    assert packed({b"a": row, b"bb": row}) is None
    assert in_order([{b"a": row}, {b"bb": row}]) is None
    assert in_order([]) is None
    monkeypatch.setattr(columns, "LEAST", 3)
    assert in_order([{b"a": row}, {b"b": row}]) is None


def test_without_numpy_there_are_no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert in_order(batches(9, BATCH)) is None
