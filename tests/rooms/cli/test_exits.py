from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import errors
from holdfast.cli.exits import ExitCode, exit_code
from holdfast.errors import Correctable, HoldfastError, Payable, StorageFailed, Untrusted, Waitable

Run = Callable[..., Any]
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "CLI.md"


def leaves(branch: type[HoldfastError]) -> list[type[HoldfastError]]:
    below = [leaf for child in branch.__subclasses__() for leaf in leaves(child)]
    return below or [branch]


@pytest.mark.parametrize(
    ("branch", "code"),
    [
        (Correctable, ExitCode.CORRECTABLE),
        (Payable, ExitCode.PAY),
        (Waitable, ExitCode.WAIT),
        (Untrusted, ExitCode.UNTRUSTED),
    ],
)
def test_every_error_exits_as_its_branch_says(branch: type[HoldfastError], code: ExitCode) -> None:
    for leaf in leaves(branch):
        wanted = ExitCode.NOT_FOUND if leaf is errors.NotFound else code
        assert exit_code(leaf()) is wanted, leaf


def test_what_is_not_of_the_tree_is_unexpected() -> None:
    assert exit_code(OSError(5, "no")) is ExitCode.UNEXPECTED
    assert exit_code(KeyError("a")) is ExitCode.UNEXPECTED


@pytest.mark.parametrize(
    ("first", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "holdfast: interrupted\n"),
        (SystemExit(143), 143, ""),
        (SystemExit(129), 129, ""),
        (OSError(5, "no"), 6, None),
        (SystemExit(2), 6, None),
    ],
)
@pytest.mark.parametrize("way", ["__context__", "__cause__"])
def test_what_a_signal_made_of_the_work_exits_as_the_signal(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    *,
    first: BaseException,
    code: int,
    told: str | None,
    way: str,
) -> None:
    middle, last = OSError(5, "no"), StorageFailed(bucket="b1", cause="a write was interrupted")
    setattr(middle, way, first)
    last.__context__ = middle

    def fail(*_: object, **__: object) -> None:
        raise last

    monkeypatch.setattr("holdfast.cli.maintenance.opened", fail)
    ended = run("status", "data")
    assert ended.code == code
    assert told is None or ended.err == told
    if told:
        assert run("--json", "status", "data").error["error"] == "interrupted"


def test_the_document_has_every_exit_code_and_every_error() -> None:
    text = DOCUMENT.read_text()
    rows = dict(re.findall(r"^\| (\d+) \| (.*)$", text, re.MULTILINE))
    assert {int(code) for code in rows} == {int(code) for code in ExitCode}
    for leaf in leaves(HoldfastError):
        assert f"`{leaf.code}`" in rows[str(int(exit_code(leaf())))], leaf


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("import data acme n.json", "what follows cannot be taken; --skip passes over it"),
        ("export data acme n.json --as folder", "a file is there already"),
        ("collect data --mode hard", "'--mode': 'hard' is not one of"),
        ("consumers data acme k list a", "for ID: list takes no ids"),
        ("token create data --namespace acme --grant fly --ttl 9", "of read, write, delete, admin"),
        ("token list --help", "[PATH]"),
        ("tariff use --help", "{NAMESPACE} [NAME]"),
    ],
)
def test_what_is_wrong_is_said_in_words(run: Run, tmp_path: Path, words: str, told: str) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    (tmp_path / "n.json").write_text('{"a": 1}')
    said = run(*words.split())
    heard = said.err + said.out
    assert told in heard
    assert "[[" not in heard
    assert "the key is not valid" not in heard


def test_settings_that_cannot_be_read_are_told_in_a_line(run: Run, tmp_path: Path) -> None:
    for asked in (("config", "show"), ("serve",)):
        told = run(*asked, "data", "--config", str(tmp_path))
        assert (told.code, "Traceback" in told.err) == (2, False)
    told = run("serve", "/dev/null/store")
    assert (told.code, "Traceback" in told.err) == (3, False)
    assert "port" in run("config", "show", "--origin").out  # of the folder "data", as of serve


def test_settings_that_the_disk_refuses_are_told_with_its_number(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "holdfast.toml").mkdir(parents=True)
    told = run("config", "show", "data", "--json")
    assert (told.code, told.error["error"], told.error["errno"]) == (6, "storage_failed", "EISDIR")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("ls {}", 6),
        ("demo {}", 3),
        ("key {}", 3),
        ("import data acme {}", 3),
        ("export data acme {}", 3),
        ("restore {} into", 3),
        ("watch data {}", 3),
        ("put data acme k {}", 3),
        ("put {} acme k", 6),
    ],
)
def test_a_path_that_cannot_be_looked_at_is_told_in_a_line(run: Run, words: str, code: int) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    told = run(*words.format("long" * 100).split())
    assert (told.code, told.err.count("\n")) == (code, 1)
    assert "File name too long" in told.err
