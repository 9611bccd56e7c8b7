from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from holdfast.cli.output import (
    Output,
    counted,
    edge_text,
    shown,
    size_text,
    time_text,
    to_json,
)
from holdfast.errors import InvalidValue
from holdfast.values import Problem


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 40, "5.0 TiB"),
        (3 << 60, "3072.0 PiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain/näme 猫", "plain/näme 猫"),
        ("a\nb", r"a\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202eleft", r"\u202eleft"),
    ],
)
def test_a_name_never_steers_the_terminal(name: str, text: str) -> None:
    assert shown(name) == text
    assert shown(name).isprintable()


@pytest.mark.parametrize(
    ("edge", "text"),
    [("a/b", "a/b"), ("a/b\0", "after a/b"), ("a\n\0", r"after a\n"), ("a\0b", r"a\x00b")],
)
def test_where_a_rolled_bucket_begins_is_told_by_the_key_before(edge: str, text: str) -> None:
    assert edge_text(edge) == text


def test_times_are_utc() -> None:
    assert time_text(None) == "-"
    assert time_text(1_700_000_000_999_999_999) == "2023-11-14T22:13:20Z"


def test_amounts_have_their_number() -> None:
    assert [counted(amount, "key") for amount in (0, 1, 2)] == ["0 keys", "1 key", "2 keys"]


def test_json_keeps_other_scripts_where_the_stream_can() -> None:
    wide = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert to_json({"key": "猫"}, wide) == '{"key": "猫"}'
    assert to_json({"key": "猫"}, narrow) == '{"key": "\\u732b"}'


def test_json_takes_structs_and_bytes() -> None:
    problem = Problem("b1", "7:1", "torn", repaired=True)
    found = json.loads(to_json({"problems": (problem,), "id": b"\xff", "names": {"b", "a"}}))
    assert found == {
        "problems": [{"bucket": "b1", "position": "7:1", "what": "torn", "repaired": True}],
        "id": "b'\\xff'",
        "names": ["a", "b"],
    }


def test_json_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError):
        to_json({"path": Path("data")})


def test_an_error_is_told_whatever_it_carries(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).error(InvalidValue(argument="path", path=Path("data")))
    assert json.loads(capsys.readouterr().err)["path"] == "data"
