from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.table import Table

from holdfast.cli.maintenance import bucket_table
from holdfast.cli.output import console
from holdfast.cli.places import draw_places, scale_of, stretches, total
from holdfast.values import BucketStatus, Status


def store_of(buckets: int) -> Status:
    found = tuple(
        BucketStatus(f"b{at}", ("ns", f"k{at:03d}"), None, "open", at, 10 * at, at, 12 * at, 0)
        for at in range(buckets)
    )
    return Status(found, sum(b.live_bytes for b in found), 0, 0, 0)


@pytest.mark.parametrize("buckets", [0, 1, 7, 8, 9, 63, 64, 200])
def test_every_bucket_lies_in_one_stretch(buckets: int) -> None:
    found = store_of(buckets)
    drawn = stretches(found)
    assert len(drawn) == min(8, buckets)
    assert sum(one.buckets for one in drawn) == buckets
    assert sum(one.live_bytes for one in drawn) == found.live_bytes == total(found).live_bytes
    sizes = {one.buckets for one in drawn}
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_stretches_begin_where_their_first_bucket_does() -> None:
    assert [one.start for one in stretches(store_of(16))][:3] == ["k000", "k002", "k004"]


def test_two_drawings_share_a_scale() -> None:
    assert scale_of(store_of(0)) == 1
    assert scale_of(store_of(2), store_of(4)) == 33


class Terminal(io.StringIO):
    """What is printed to a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def large_store(key: str) -> Status:
    large = 1_020_000_000
    found = tuple(
        BucketStatus(f"{at:016x}", ("ns", key), None, "open", 99_999, large, large, large, large)
        for at in range(8)
    )
    return Status(found, 8 * large, 8 * large, 8 * large, 0)


def printed(drawn: Callable[[], Table], columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of a table on a terminal of so many columns."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    console(terminal).print(drawn())
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())  # bold takes no room
    return [line.rstrip() for line in plain.splitlines() if line.strip()]


@pytest.mark.parametrize(("columns", "bar"), [(80, 8), (120, 28)])
def test_every_line_of_a_drawing_fits_the_terminal(
    columns: int, bar: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = large_store("k" * 60 + "\0")
    lines = printed(lambda: draw_places(found, scale_of(found)), columns, monkeypatch)
    assert len(lines) == 2 + 8 + 1
    assert all(len(line) <= columns for line in lines)
    assert sum(line.endswith("░" * (bar // 2)) for line in lines) == 8


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("key", ["k" * 60 + "\0", "日本語" * 20])
def test_every_bucket_is_a_line_with_its_whole_id(
    key: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(lambda: bucket_table(large_store(key)), columns, monkeypatch)
    assert len(lines) == 2 + 8
    assert all(cell_len(line) <= columns for line in lines)
    assert [line.split()[0] for line in lines[2:]] == [f"{at:016x}" for at in range(8)]
