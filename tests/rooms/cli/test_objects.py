from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_file_goes_in_and_comes_out(run: Run, tmp_path: Path) -> None:
    value = bytes(range(256)) * 100
    (tmp_path / "7.pdf").write_bytes(value)
    stored = run("put", "data", "acme", "invoices/7.pdf", "./7.pdf", "--ttl", "30d")
    assert (stored.code, stored.err) == (0, "")
    assert stored.out.startswith("invoices/7.pdf: 25,600 bytes, version ")
    assert "expires 20" in stored.out
    assert run("get", "data", "acme", "invoices/7.pdf").raw == value


def test_only_a_file_is_replaced_by_a_value(run: Run, tmp_path: Path) -> None:
    run("put", "data", "acme", "k", "--text", "hello")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    assert run("get", "data", "acme", "k", "-o", "pipe").code == 0
    assert os.read(reader, 99) == b"hello"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link").symlink_to("there")
    assert run("get", "data", "acme", "k", "-o", "link").code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "hello"


def test_standard_input_is_the_default_and_the_dash(run: Run) -> None:
    assert run("put", "data", "acme", "a", stdin=b"one").code == 0
    assert run("put", "data", "acme", "b", "-", stdin=b"two").code == 0
    assert run("get", "data", "acme", "a").raw == b"one"
    assert run("get", "data", "acme", "b").raw == b"two"


def test_a_receipt_in_json(run: Run) -> None:
    receipt = run("put", "data", "acme", "a", "--text", "grüße", "--json").document
    assert receipt["key"] == "a"
    assert receipt["size"] == 7
    assert receipt["expires_ns"] is None
    assert isinstance(receipt["version"], int)
    assert isinstance(receipt["bucket"], str)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_values_of_any_size(run: Run, tmp_path: Path, size: int) -> None:
    value = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    (tmp_path / "in").write_bytes(value)
    assert run("put", "data", "acme", "k", "in", "--json").document["size"] == size
    assert run("get", "data", "acme", "k").raw == value
    assert run("get", "data", "acme", "k", "-o", "out").code == 0
    assert (tmp_path / "out").read_bytes() == value


def test_a_large_value_with_options(run: Run) -> None:
    value = b"x" * 3_000_000
    receipt = run("put", "data", "acme", "k", "--ttl", "1h", "--json", stdin=value).document
    assert receipt["expires_ns"] > 0
    assert run("get", "data", "acme", "k").raw == value


@pytest.mark.parametrize(
    ("part", "value"), [("0:3", b"012"), ("4:", b"456789"), ("8:99", b"89"), ("3:3", b"")]
)
def test_ranges(run: Run, part: str, value: bytes) -> None:
    run("put", "data", "acme", "k", "--text", "0123456789")
    assert run("get", "data", "acme", "k", "--range", part).raw == value


@pytest.mark.parametrize("part", ["3", "a:b", "-1:4", ":"])
def test_an_unreadable_range_is_a_usage_error(run: Run, part: str) -> None:
    run("put", "data", "acme", "k", "--text", "0123456789")
    assert run("get", "data", "acme", "k", f"--range={part}").code == 2


def test_get_in_json_says_how_the_bytes_are_written(run: Run) -> None:
    run("put", "data", "acme", "text", "--text", "grüße")
    run("put", "data", "acme", "bytes", stdin=b"\xff\x00")
    text = run("get", "data", "acme", "text", "--json").document
    assert text == {"key": "text", "size": 7, "encoding": "utf-8", "value": "grüße"}
    packed = run("get", "data", "acme", "bytes", "--json").document
    assert packed["encoding"] == "base64"
    assert base64.b64decode(packed["value"]) == b"\xff\x00"


def test_a_dash_is_standard_output(run: Run, tmp_path: Path) -> None:
    run("put", "data", "acme", "k", "--text", "0123456789")
    assert run("get", "data", "acme", "k", "-o", "-").raw == b"0123456789"
    assert run("get", "data", "acme", "k", "-o", "-", "--range", "2:4").raw == b"23"
    assert run("get", "data", "acme", "k", "-o", "-", "--json").document["value"] == "0123456789"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_was_not_there_was_not_deleted(run: Run) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    told = run("rm", "data", "acme", "nope", "k", "--missing-ok")
    assert (told.code, told.lines) == (0, ["nope: not there", "k: deleted"])
    again = run("rm", "data", "acme", "k", "--missing-ok", "--release", "--json")
    assert (again.code, again.document) == (0, {"key": "k", "deleted": False})


def test_a_missing_key_writes_no_file(run: Run, tmp_path: Path) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    missing = run("get", "data", "acme", "nope", "-o", "out", "--json")
    assert missing.code == 4
    assert missing.raw == b""
    assert missing.error["error"] == "not_found"
    assert missing.error["key"] == "nope"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_output_that_cannot_be_written(run: Run) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    failed = run("get", "data", "acme", "k", "-o", "no/such/folder/out")
    assert failed.code == 3
    assert "No such file or directory" in failed.err


def test_a_missing_input_makes_no_store(run: Run, tmp_path: Path) -> None:
    failed = run("put", "data", "acme", "k", "nothing.txt", "--json")
    assert failed.code == 3
    assert failed.error["path"] == "nothing.txt"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ("get", "typo", "acme", "k"),
        ("ls", "typo"),
        ("rm", "typo", "acme", "k"),
        ("stat", "typo", "acme", "k"),
        ("status", "typo"),
        ("check", "typo"),
        ("export", "typo", "acme", "out"),
        ("backup", "typo", "out"),
        ("restore", "typo", "out"),
    ],
)
def test_a_mistyped_path_is_a_usage_error_and_makes_nothing(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    failed = run(*command)
    assert failed.code == 2
    assert "typo" in failed.err
    assert list(tmp_path.iterdir()) == []


def test_conditions(run: Run) -> None:
    first = run("put", "data", "acme", "k", "--text", "1", "--if-absent", "--json").document
    again = run("put", "data", "acme", "k", "--text", "2", "--if-absent", "--json")
    assert (again.code, again.error["error"]) == (3, "exists")
    version = str(first["version"])
    assert run("put", "data", "acme", "k", "--text", "2", "--if-version", version).code == 0
    stale = run("put", "data", "acme", "k", "--text", "3", "--if-version", version, "--json")
    assert (stale.code, stale.error["error"]) == (3, "version_mismatch")
    assert run("get", "data", "acme", "k").raw == b"2"


def test_expiry_is_kept_cleared_and_refused(run: Run) -> None:
    run("put", "data", "acme", "k", "--text", "1", "--ttl", "1h")
    before = run("stat", "data", "acme", "k", "--json").document["expires_ns"]
    run("put", "data", "acme", "k", "--text", "2", "--keep-ttl")
    assert run("stat", "data", "acme", "k", "--json").document["expires_ns"] == before
    run("put", "data", "acme", "k", "--text", "3")
    assert run("stat", "data", "acme", "k", "--json").document["expires_ns"] is None
    for ttl in ("0", "soon", "nan"):
        refused = run("put", "data", "acme", "k", "--text", "4", f"--ttl={ttl}", "--json")
        assert (refused.code, refused.error["error"]) == (3, "invalid_expiry"), ttl
    assert run("get", "data", "acme", "k").raw == b"3"


def test_permanent_objects_refuse_until_released(run: Run) -> None:
    run("put", "data", "acme", "k", "--text", "1", "--permanent", "--content-type", "text/plain")
    found = run("stat", "data", "acme", "k", "--json").document
    assert (found["permanent"], found["content_type"]) == (True, "text/plain")
    refused = run("rm", "data", "acme", "k", "--json")
    assert (refused.code, refused.error["error"]) == (3, "permanent")
    assert run("rm", "data", "acme", "k", "--release").code == 0
    assert run("get", "data", "acme", "k").code == 4


def test_append_creates_and_adds(run: Run) -> None:
    assert run("append", "data", "acme", "log", "--text", "one\n", "--json").document["size"] == 4
    assert run("append", "data", "acme", "log", stdin=b"two\n").out == "log: 8 bytes now\n"
    assert run("get", "data", "acme", "log").raw == b"one\ntwo\n"


def test_rm_goes_on_and_fails_at_the_end(run: Run) -> None:
    for key in ("a", "b", "c"):
        run("put", "data", "acme", key, "--text", key)
    removed = run("rm", "data", "acme", "a", "nope", "c", "--json")
    assert removed.code == 4
    assert [line["key"] for line in removed.documents] == ["a", "c"]
    assert removed.error["key"] == "nope"
    assert run("ls", "data", "acme").lines == ["b"]
    assert run("rm", "data", "acme", "nope", "b", "--missing-ok").code == 0


def test_ls_in_every_way(run: Run) -> None:
    for key in ("a", "a/1", "a/2/x", "ab", "b"):
        run("put", "data", "acme", key, "--text", "v")
    run("put", "data", "other.org", "z", "--text", "v")
    assert run("ls", "data").lines == ["acme", "other.org"]
    assert run("ls", "data", "acme").lines == ["a", "a/1", "a/2/x", "ab", "b"]
    assert run("ls", "data", "acme", "a").lines == ["a", "a/1", "a/2/x", "ab"]
    assert run("ls", "data", "acme", "a", "--by", "component").lines == ["a", "a/1", "a/2/x"]
    assert run("ls", "data", "acme", "a/", "--no-recursive").lines == ["a/1", "a/2/"]
    assert run("ls", "data", "acme", "--limit", "2", "--after", "a/1").lines == ["a/2/x", "ab"]
    assert run("ls", "data", "acme", "b", "--json").documents == [{"key": "b"}]
    assert run("ls", "data", "nobody").lines == []


def test_ls_long_has_a_line_for_each(run: Run) -> None:
    run("put", "data", "acme", "a b/c", "--text", "four", "--ttl", "1h")
    run("put", "data", "acme", "z", "--text", "v", "--permanent")
    long = run("ls", "data", "acme", "-l").lines
    assert [line.split()[0] for line in long] == ["4", "1"]
    assert long[0].endswith("a b/c")
    assert "permanent" in long[1]
    entries = run("ls", "data", "acme", "--long", "--json").documents
    assert [entry["size"] for entry in entries] == [4, 1]
    folder = run("ls", "data", "acme", "-l", "--no-recursive").lines[0]
    assert folder.split() == ["-", "-", "-", "-", "-", "a", "b/"]


def test_hostile_names_are_shown_harmless_and_told_exactly(run: Run) -> None:
    key = "\x1b[2J\n[red]x"
    run("put", "data", "acme", key, "--text", "v")
    listed = run("ls", "data", "acme")
    assert listed.out == "\\x1b[2J\\n[red]x\n"
    assert run("ls", "data", "acme", "--json").documents == [{"key": key}]
    missing = run("get", "data", "acme", key + "?")
    assert "\x1b" not in missing.err


def test_stat_of_an_object_and_of_a_folder(run: Run) -> None:
    run("put", "data", "acme", "dir/x", "--text", "hello")
    found = run("stat", "data", "acme", "dir/x", "--json").document
    assert (found["size"], found["terminal"], found["state"]) == (5, True, "unmanaged")
    assert "5 bytes" in run("stat", "data", "acme", "dir/x").out
    folder = run("stat", "data", "acme", "dir", "--json").document
    assert (folder["terminal"], folder["size"]) == (False, 0)
    assert "only other keys" in run("stat", "data", "acme", "dir").out


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        (("put", "data", "acme", "", "--text", "v"), 3, "invalid_key"),
        (("put", "data", "acme", "k" * 1025, "--text", "v"), 3, "invalid_key"),
        (("put", "data", "no/such", "k", "--text", "v"), 3, "invalid_namespace"),
        (("put", "data", "acme", "k", "--text", "v", "--fence", "1"), 3, "lock_lost"),
        (("put", "data", "acme"), 2, "usage"),
        (("fly", "data"), 2, "usage"),
        (("put", "data", "acme", "k", "file", "--text", "v"), 2, "usage"),
        (("append", "data", "acme", "k", "file", "--text", "v"), 2, "usage"),
        (("ls", "data", "acme", "--limit", "many"), 2, "usage"),
    ],
)
def test_errors_are_json_too(run: Run, command: tuple[str, ...], code: int, error: str) -> None:
    run("put", "data", "acme", "k", "--text", "before")
    failed = run(*command, "--json")
    assert failed.code == code
    assert failed.raw == b""
    assert failed.error["error"] == error
    assert failed.error["message"]
    assert run("get", "data", "acme", "k").raw == b"before"


def test_json_may_stand_before_the_command(run: Run) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    assert run("--json", "ls", "data", "acme").documents == [{"key": "k"}]
    assert json.loads(run("--json", "get", "data", "acme", "x").err)["error"] == "not_found"


def test_words_after_two_dashes_are_keys(run: Run) -> None:
    assert run("put", "--text", "v", "--", "data", "acme", "--json").code == 0
    assert run("get", "data", "acme", "--", "--json").raw == b"v"
    missing = run("get", "data", "acme", "--", "-x")
    assert missing.err.startswith("holdfast: no object has this key")


def test_help_and_version(run: Run) -> None:
    assert "Exit codes" in run("--help").out
    assert "Usage: holdfast put" in run("put", "--help").out
    assert run().code == 2


def test_an_unexpected_failure_shows_where(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    run("put", "data", "acme", "k", "--text", "v")
    monkeypatch.setattr("holdfast.cli.opening.open_store", fail)
    failed = run("ls", "data")
    assert failed.code == 1
    assert "Traceback" in failed.err
    told = run("ls", "data", "--json")
    assert (told.code, told.error["kind"]) == (1, "ZeroDivisionError")


TOO_LONG = "k" * 1025


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["put", "data", "no/name", "k", "--text", "v"], "invalid_namespace"),
        (["put", "data", "acme", TOO_LONG, "--text", "v"], "invalid_key"),
        (["put", "data", "acme", "k", "--text", "v", "--ttl", "soon"], "invalid_expiry"),
        (["put", "data", "acme", "k", "--text", "v", "--consumer", "c" * 17], "invalid_value"),
        (["append", "data", "no/name", "k", "--text", "v"], "invalid_namespace"),
        (["append", "data", "acme", TOO_LONG, "--text", "v"], "invalid_key"),
        (["lock", "data", "no/name", "k"], "invalid_namespace"),
        (["lock", "data", "acme", TOO_LONG], "invalid_key"),
        (["lock", "data", "acme", "k", "--ttl", "0"], "invalid_expiry"),
        (["lock", "data", "acme", "k", "--wait", "inf"], "invalid_value"),
        (["import", "data", "no/name", "in.json"], "invalid_namespace"),
        (["import", "data", "acme", "in.json", "--ttl", "soon"], "invalid_expiry"),
    ],
)
def test_what_is_refused_makes_no_store(
    run: Run, tmp_path: Path, words: list[str], error: str
) -> None:
    (tmp_path / "in.json").write_text('{"a": "b"}')
    refused = run(*words, "--json")
    assert (refused.code, refused.error["error"]) == (3, error)
    assert not (tmp_path / "data").exists()
