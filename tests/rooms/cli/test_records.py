"""Folders of 0-stor's records, in and out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.adapters.sdstor import Form, Record, read_record, write_record

Run = Callable[..., Any]
BARE = {
    "with": Record((b"a", b"0123456789abcdef"), b"payload"),
    "without": Record((), bytes(range(256))),
}
COUNTED = {
    "held": Record((b"a", b"b"), b"payload"),
    "no-text": Record((b"\xff\xfe",), b"payload"),
    "marked": Record((), b"on its way out"),
    "permanent": Record((b"a",), b"stays", permanent=True),
    "unheld": Record((), b"stays too", permanent=True),
}


def written(root: Path, records: dict[str, Record], form: Form) -> dict[str, bytes]:
    root.mkdir()
    files = {name: write_record(record, form) for name, record in records.items()}
    for name, data in files.items():
        (root / name).write_bytes(data)
    return files


@pytest.mark.parametrize("form", ["counted", "bare"])
def test_a_folder_comes_back_to_the_byte(run: Run, tmp_path: Path, form: Form) -> None:
    records = COUNTED if form == "counted" else BARE
    asked = "sdstor" if form == "counted" else "sdstor-bare"
    files = written(tmp_path / "in", records, form)
    told = run("import", "data", "acme", "in", "--format", asked, "--json").document
    assert told["imported"] == len(records)
    assert run("export", "data", "acme", "out", "--format", asked).code == 0
    out = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert out == files
    for name, record in records.items():
        assert run("get", "data", "acme", name).raw == record.payload


def test_what_records_say_is_what_objects_are(run: Run, tmp_path: Path) -> None:
    written(tmp_path / "in", COUNTED, "counted")
    assert run("import", "data", "acme", "in", "--format", "sdstor").code == 0
    with holdfast.open(tmp_path / "data") as store:
        acme = store.namespace("acme")
        assert acme.stat("marked").state == "marked"
        assert acme.consumers("held").list() == ["a", "b"]
        assert acme.consumers("no-text").list() == [b"\xff\xfe"]
        assert [acme.stat(name).permanent for name in ("permanent", "unheld", "held")] == [
            True,
            True,
            False,
        ]


def test_what_is_no_record_stops_an_import_before_it_begins(run: Run, tmp_path: Path) -> None:
    files = written(tmp_path / "in", COUNTED, "counted")
    damaged = bytearray(files["held"])
    damaged[-1] ^= 1
    (tmp_path / "in" / "held").write_bytes(damaged)
    (tmp_path / "in" / "huge").write_bytes(bytes(3 << 20))
    refused = run("import", "data", "acme", "in", "--format", "sdstor", "--json")
    assert refused.code == 3
    assert "held" in refused.err
    assert "huge" in refused.err
    assert run("ls", "data", "acme").lines == []
    told = run("import", "data", "acme", "in", "--format", "sdstor", "--skip", "--json").document
    assert told["imported"] == len(COUNTED) - 1
    assert [one["name"] for one in told["left_out"]] == ["held", "huge"]


def test_what_cannot_be_a_record_is_told(run: Run, tmp_path: Path) -> None:
    run("put", "data", "acme", "plain", "--text", "nobody holds it")
    assert run("export", "data", "acme", "out", "--format", "sdstor").code == 3
    assert run("export", "data", "acme", "out", "--format", "sdstor-bare").code == 0
    data = (tmp_path / "out" / "plain").read_bytes()
    assert read_record(data, "bare") == Record((), b"nobody holds it")


def test_records_do_not_expire(run: Run, tmp_path: Path) -> None:
    written(tmp_path / "in", COUNTED, "counted")
    assert run("import", "data", "acme", "in", "--format", "sdstor", "--ttl", "30").code == 3
