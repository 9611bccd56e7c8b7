"""Who has a store's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast


@pytest.mark.parametrize("name", ["LOCK", "CLOSED", "TIME"])
def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("what somebody wrote")
    with pytest.raises(holdfast.InvalidValue, match=name):
        holdfast.open(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [
        (name, "what somebody wrote")
    ]


@pytest.mark.parametrize("left", ["", "4711\n"])
def test_what_an_interrupted_opening_left_is_no_hindrance(tmp_path: Path, left: str) -> None:
    (tmp_path / "LOCK").write_text(left)
    with holdfast.open(tmp_path) as store:
        store.namespace("acme").put("k", b"v")


def test_a_disk_without_room_for_the_owners_name_is_opened_all_the_same(tmp_path: Path) -> None:
    there = tmp_path / "data"
    there.mkdir()
    (there / "LOCK").symlink_to("/dev/full")
    with holdfast.open(there) as store:
        store.namespace("acme").put("k", b"v")
        with pytest.raises(holdfast.InUse) as caught:
            holdfast.open(there)
        assert caught.value.pid is None
    with holdfast.open(there) as store:
        store.namespace("acme").delete("k")


def test_what_the_system_refuses_has_the_name_of_its_error(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", data_dirs=[tmp_path / "values"]) as store:
        store.namespace("acme").put("k", b"v")
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(holdfast.StorageFailed) as caught:
            store.backup("/proc/backup")
        assert caught.value.errno == "ENOENT"
        store.backup(tmp_path / "backup")
    with pytest.raises(holdfast.StorageFailed) as caught:
        holdfast.restore(tmp_path / "backup", "/proc/again")
    assert caught.value.errno == "ENOENT"
    (tmp_path / "values").rename(tmp_path / "elsewhere")
    with pytest.raises(holdfast.StorageFailed) as caught:
        holdfast.open(tmp_path / "data")
    assert (caught.value.errno, caught.value.path) == ("ENOENT", str(tmp_path / "values"))
    (tmp_path / "other" / "LOCK").mkdir(parents=True)
    with pytest.raises(holdfast.StorageFailed) as caught:
        holdfast.open(tmp_path / "other")
    assert caught.value.errno == "EISDIR"
