"""``kill -9`` of a real writer, again and again on the same store."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.values import CheckReport
from tests.crash.writer import BUCKET_BYTES, WIDE_BYTES, operations

KILLS = 50
STORES = 5
WRITER = Path(__file__).with_name("writer.py")


def killed_after(
    folder: Path, number: int, lines: int, *options: str, writer: Path = WRITER
) -> int:
    """Run a writer, kill it after so many answers; how many operations it was told of."""
    command = [sys.executable, str(writer), str(folder), str(number), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        told += process.stdout.readlines()
    whole = [line for line in told if line.endswith(b"\n")]
    assert len(whole) >= lines, "the writer ended by itself"
    return len(whole)


@pytest.mark.timeout(300)  # seconds: at load 10 it took 36
@pytest.mark.parametrize("store_number", range(STORES))
def test_a_writer_is_killed_again_and_again(store_number: int, tmp_path: Path) -> None:
    chance = Random(store_number)
    folder = tmp_path / "data"
    expected: dict[str, bytes] = {}
    most = 0
    for number in range(KILLS // STORES):
        done = killed_after(folder, number, chance.randint(1, 200))
        report = left_behind(folder, number, done, expected, bucket_bytes=BUCKET_BYTES)
        most = max(most, report.buckets)
    assert most >= 2  # it grew on the way, under upkeep that was killed too


def test_what_was_copied_into_memory_outlives_its_writer(tmp_path: Path) -> None:
    chance = Random(1)
    folder = tmp_path / "data"
    expected: dict[str, bytes] = {}
    for number in range(3):
        done = killed_after(folder, number, chance.randint(200, 500), "never")
        left_behind(folder, number, done, expected, bucket_bytes=WIDE_BYTES)


def left_behind(
    folder: Path, number: int, done: int, expected: dict[str, bytes], *, bucket_bytes: int
) -> CheckReport:
    """Hold that a killed writer left what it was told of, and of its next operation all or none.

    ``expected`` is what was there before its round, and becomes what is there now.
    """
    *acknowledged, unsure = islice(operations(number), done + 1)
    for operation in acknowledged:
        apply(expected, operation.after)
    with holdfast.open(folder, bucket_bytes=bucket_bytes, upkeep=False) as store:
        space = store.namespace("n")
        found = {key: space.get(key) for key in space.list()}
        if found != expected:
            apply(expected, unsure.after)
        assert found == expected, f"round {number}"
        report = store.check()
        assert report.ok, report.problems
    return report


def apply(expected: dict[str, bytes], after: dict[str, bytes | None]) -> None:
    for key, value in after.items():
        if value is None:
            expected.pop(key, None)
        else:
            expected[key] = value
