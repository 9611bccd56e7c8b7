"""``watch`` as whoever trusts nobody runs it: what happened to the folder, it tells."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.rooms.cli.conftest import Run


def looked(run: Run, folder: str, seen: str = "seen", *more: str) -> tuple[int, list[str]]:
    said = run("watch", folder, seen, *more, "--json")
    return said.code, said.document["findings"]


def change(run: Run, folder: str, *values: str) -> None:
    """Write, and have it signed."""
    for number, value in enumerate(values):
        assert run("put", folder, "acme", "k", "--text", value).code == 0
        assert run("prove", folder, "acme", "k", "-o", f"proof-{number}").code == 0


def test_a_store_that_only_grew_goes_on(run: Run) -> None:
    change(run, "data", "1")
    assert looked(run, "data") == (0, [])
    change(run, "data", "2", "3")
    assert looked(run, "data") == (0, [])


def test_a_folder_that_was_put_back_is_a_rollback(run: Run) -> None:
    change(run, "data", "1")
    shutil.copytree("data", "copy")
    change(run, "data", "2", "3")
    assert looked(run, "data") == (0, [])
    kept = Path("seen").read_bytes()
    assert looked(run, "copy") == (6, ["rollback"])
    assert Path("seen").read_bytes() == kept


def test_what_grew_on_behind_a_copy_is_a_fork(run: Run) -> None:
    change(run, "data", "1")
    shutil.copytree("data", "copy")
    change(run, "data", "2")
    assert looked(run, "data") == (0, [])
    change(run, "copy", "two", "three", "four")
    assert looked(run, "copy") == (6, ["fork"])


def test_a_restore_is_told_once(run: Run) -> None:
    change(run, "data", "1")
    assert run("backup", "data", "kept").code == 0
    change(run, "data", "2")
    assert looked(run, "data") == (0, [])
    assert run("restore", "kept", "again").code == 0
    shutil.copy("data/signing-key.pem", "again/signing-key.pem")
    assert looked(run, "again") == (0, ["restore"])
    assert looked(run, "again") == (0, [])
    assert looked(run, "data") == (6, ["rollback"])


def test_two_who_were_shown_one_history_agree(run: Run) -> None:
    change(run, "data", "1")
    assert looked(run, "data", "mine") == (0, [])
    change(run, "data", "2", "3")
    assert looked(run, "data", "theirs") == (0, [])
    kept = [Path(name).read_bytes() for name in ("mine", "theirs")]
    for one, other in (("mine", "theirs"), ("theirs", "mine"), ("mine", "mine")):
        assert looked(run, "data", one, "--compare", other) == (0, [])
    assert [Path(name).read_bytes() for name in ("mine", "theirs")] == kept


@pytest.mark.parametrize("further", [(), ("three", "four")])
def test_two_who_were_shown_two_histories_find_out(run: Run, further: tuple[str, ...]) -> None:
    change(run, "data", "1")
    shutil.copytree("data", "copy")
    change(run, "data", "2")
    assert looked(run, "data", "mine") == (0, [])
    change(run, "copy", "two", *further)
    assert looked(run, "copy", "theirs") == (0, [])
    for folder in ("data", "copy"):
        for one, other in (("mine", "theirs"), ("theirs", "mine")):
            assert looked(run, folder, one, "--compare", other) == (6, ["fork"])


def test_what_is_of_another_store_or_no_such_file_is_told(run: Run) -> None:
    change(run, "data", "1")
    change(run, "other", "1")
    assert looked(run, "data", "mine") == (0, [])
    assert looked(run, "other", "theirs") == (0, [])
    assert looked(run, "data", "mine", "--compare", "theirs") == (6, ["store"])
    assert run("watch", "other", "mine", "--public-key", "missing").code == 3
    Path("broken").write_text(json.dumps({"store": 1}))
    assert run("watch", "data", "mine", "--compare", "broken").code == 6
    assert run("watch", "data", "mine", "--compare", "nowhere").code == 3
