"""Folders that a store has outside its own: whose they are, and that they are there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from crc32c import crc32c

import holdfast
from holdfast.engines.disk import OsDisk
from holdfast.engines.port import Disk
from holdfast.errors import Corrupt, FormatTooNew, HoldfastError, InUse, InvalidValue, StorageFailed
from holdfast.store.folders import NAME, Owner
from holdfast.store.opening import open_on
from holdfast.store.ownership import read_sealed
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, CrashDisk, Mode

SMALL = 64 * 1024
HOLD = "import holdfast,sys; s=holdfast.open(sys.argv[1]); print(1,flush=True); sys.stdin.read()"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a store in it, its values and its index beside."""
    folders = [tmp_path / "one", tmp_path / "two"]
    with holdfast.open(
        tmp_path / "data", data_dirs=folders, index_dir=tmp_path / "index", upkeep=False
    ) as store:
        store.namespace("acme").put("k", b"1")
    return tmp_path


def sealed(root: str) -> bytes:
    """What a folder says that belongs to a store there."""
    told = {"format": 1, "store": "00" * 16, "root": root, "crc": 0}
    return msgspec.json.encode(told | {"crc": crc32c(msgspec.json.encode(told))})


def value(path: Path) -> bytes:
    with holdfast.open(path, upkeep=False) as store:
        assert store.check().ok
        return store.namespace("acme").get("k")


def everything(folder: Path) -> dict[str, bytes]:
    paths = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def used(home: Path) -> tuple[Path, Path]:
    """The data folder that has the store's bucket, and the one that has none."""
    one, two = home / "one", home / "two"
    has = any(path.is_dir() for path in one.iterdir())
    return (one, two) if has else (two, one)


# -- a copy ----------------------------------------------------------------------------


def test_a_copy_beside_an_open_store_is_refused(home: Path) -> None:
    shutil.copytree(home / "data", home / "copy")
    with holdfast.open(home / "data", upkeep=False) as store:
        with pytest.raises(InUse) as caught:
            holdfast.open(home / "copy")
        assert (caught.value.pid, caught.value.path) == (os.getpid(), str(home / "one"))
        store.namespace("acme").put("k", b"2")
    assert value(home / "data") == b"2"


def test_another_process_is_named(home: Path) -> None:
    shutil.copytree(home / "data", home / "copy")
    command = [sys.executable, "-c", HOLD, str(home / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(InUse) as caught:
            holdfast.open(home / "copy")
        assert caught.value.pid == other.pid
        other.kill()  # as a crash does, it lets go
    assert value(home / "data") == b"1"


def test_a_copy_is_refused_while_the_original_is_there(home: Path) -> None:
    shutil.copytree(home / "data", home / "copy")
    before = everything(home / "one") | everything(home / "two")
    for _ in range(2):
        with pytest.raises(InvalidValue) as caught:
            holdfast.open(home / "copy")
        assert caught.value.owner == str(home / "data")
        assert everything(home / "one") | everything(home / "two") == before
    assert value(home / "data") == b"1"


def test_a_copy_of_which_only_the_index_is_shared_is_refused_beside_it(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", index_dir=tmp_path / "index", upkeep=False) as store:
        store.namespace("acme").put("k", b"1")
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
        with pytest.raises(InUse):
            holdfast.open(tmp_path / "copy")
        store.namespace("acme").put("k", b"2")
    assert value(tmp_path / "copy") == b"1"  # an index is judged by the log of who opens it
    assert value(tmp_path / "data") == b"2"


def test_two_stores_may_have_one_folder_for_their_indexes(tmp_path: Path) -> None:
    stores = [
        holdfast.open(tmp_path / name, index_dir=tmp_path / "index", upkeep=False)
        for name in ("one", "two")
    ]
    for store in stores:
        store.namespace("acme").put("k", store.path.encode())
        store.rebuild()
    for store in stores:
        assert store.namespace("acme").get("k") == store.path.encode()
        assert store.check().ok
        store.close()


# -- a store that moves ------------------------------------------------------------------


def test_a_store_that_was_moved_takes_its_folders_along(home: Path) -> None:
    (home / "data").rename(home / "moved")
    assert value(home / "moved") == b"1"
    shutil.copytree(home / "moved", home / "data")
    with pytest.raises(InvalidValue, match="moved"):
        holdfast.open(home / "data")


def test_a_store_that_is_moved_while_it_is_open_keeps_its_folders(home: Path) -> None:
    shutil.copytree(home / "data", home / "copy")
    with holdfast.open(home / "data", upkeep=False):
        (home / "data").rename(home / "moved")
        with pytest.raises(InUse):
            holdfast.open(home / "copy")


@pytest.mark.parametrize("left", ["a file", "another store", "a restored store"])
def test_where_the_original_is_no_more_the_copy_may_go_on(home: Path, left: str) -> None:
    with holdfast.open(home / "data", upkeep=False) as store:
        store.backup(home / "backup")
    (home / "data").rename(home / "copy")
    if left == "a file":
        (home / "data").write_bytes(b"")
    elif left == "another store":
        holdfast.open(home / "data").close()
    else:
        holdfast.restore(home / "backup", home / "data")  # of this id, with values of its own
    assert value(home / "copy") == b"1"


def test_a_store_has_one_name_by_whatever_way_it_is_reached(home: Path) -> None:
    (home / "link").symlink_to(home / "data")
    assert value(home / "link") == b"1"
    assert value(home / "data") == b"1"


def test_a_folder_whose_name_is_no_text_is_named_all_the_same(tmp_path: Path) -> None:
    home = tmp_path / os.fsdecode(b"caf\xe9 %41")
    with holdfast.open(home, data_dirs=[tmp_path / "values"], upkeep=False) as store:
        store.namespace("acme").put("k", b"1")
    shutil.copytree(home, tmp_path / "copy")
    assert value(home) == b"1"
    with pytest.raises(InvalidValue) as caught:
        holdfast.open(tmp_path / "copy")
    assert caught.value.owner == str(home)


# -- folders of others ---------------------------------------------------------------------


def test_no_store_begins_in_a_folder_of_another(home: Path) -> None:
    for folder in used(home):
        with pytest.raises(InvalidValue) as caught:
            holdfast.open(home / "new", data_dirs=[folder])
        assert caught.value.owner == str(home / "data")
        assert not (home / "new" / "HOLDFAST").exists()
    assert value(home / "data") == b"1"


def test_a_folder_of_another_store_is_refused_where_ours_should_be(home: Path) -> None:
    with holdfast.open(home / "other", data_dirs=[home / "three"]) as store:
        store.namespace("acme").put("k", b"2")
    gone, _ = used(home)
    gone.rename(home / "away")
    (home / "three").rename(gone)
    with pytest.raises(InvalidValue, match="another store"):
        holdfast.open(home / "data")


def test_what_a_store_left_that_never_began_is_taken(tmp_path: Path) -> None:
    holdfast.open(tmp_path / "data", data_dirs=[tmp_path / "values"]).close()
    (tmp_path / "data" / "HOLDFAST").unlink()
    for bucket in (path for path in (tmp_path / "values").iterdir() if path.is_dir()):
        shutil.rmtree(bucket)
    with holdfast.open(tmp_path / "data", data_dirs=[tmp_path / "values"]) as store:
        store.namespace("acme").put("k", b"1")
    assert value(tmp_path / "data") == b"1"


def test_a_lock_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "values").mkdir()
    (tmp_path / "values" / "LOCK").write_text("what somebody wrote")
    with pytest.raises(InvalidValue, match="LOCK"):
        holdfast.open(tmp_path / "data", data_dirs=[tmp_path / "values"])
    assert (tmp_path / "values" / "LOCK").read_text() == "what somebody wrote"


# -- a disk that is not mounted --------------------------------------------------------------


@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("which", [0, 1], ids=["with buckets", "without"])
def test_an_empty_data_folder_is_refused_and_nothing_is_written(
    home: Path, which: int, *, crashed: bool
) -> None:
    if crashed:
        (home / "data" / "CLOSED").unlink()
    gone = used(home)[which]
    gone.rename(home / "away")
    gone.mkdir()
    (gone / "lost+found").mkdir()
    before = everything(home)
    with pytest.raises(StorageFailed, match="mounted") as caught:
        holdfast.open(home / "data")
    assert caught.value.path == str(gone)
    assert {path.name for path in gone.iterdir()} == {"lost+found"}
    after = everything(home)
    assert after.keys() == before.keys()
    shutil.rmtree(gone)
    (home / "away").rename(gone)
    assert value(home / "data") == b"1"


@pytest.mark.parametrize("old", [False, True], ids=["new", "from before"])
@pytest.mark.parametrize("crashed", [False, True])
def test_the_stores_own_log_may_be_a_disk_that_is_not_mounted(
    tmp_path: Path, *, crashed: bool, old: bool
) -> None:
    data, log = tmp_path / "data", tmp_path / "data" / "log"
    with holdfast.open(data, upkeep=False) as store:
        store.namespace("acme").put("k", b"1")
    if crashed:
        (data / "CLOSED").unlink()
    if old:
        (log / NAME).unlink()
    log.rename(tmp_path / "away")
    log.mkdir()
    with pytest.raises(StorageFailed, match="mounted") as caught:
        holdfast.open(data)
    assert caught.value.path == str(log)
    assert not any(log.iterdir())
    log.rmdir()
    (tmp_path / "away").rename(log)
    assert value(data) == b"1"


def test_a_store_takes_the_log_in_its_own_folder_along(tmp_path: Path) -> None:
    """What it says there is held against no place: moved, copied, both in use."""
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        store.namespace("acme").put("k", b"1")
    said = (tmp_path / "data" / "log" / NAME).read_bytes()
    assert msgspec.json.decode(said)["root"] == ""
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    (tmp_path / "data").rename(tmp_path / "moved")
    assert value(tmp_path / "copy") == value(tmp_path / "moved") == b"1"
    assert (tmp_path / "copy" / "log" / NAME).read_bytes() == said


def test_a_store_from_before_says_whose_its_folders_are_when_it_is_opened(home: Path) -> None:
    for folder in used(home):
        (folder / NAME).unlink()
    assert value(home / "data") == b"1"
    assert all((folder / NAME).exists() for folder in used(home))


def test_a_claim_that_was_interrupted_is_gone_on_with(home: Path) -> None:
    """The folder without buckets is claimed first: else it would look like one not mounted."""
    (used(home)[0] / NAME).unlink()
    assert value(home / "data") == b"1"


def on(disk: Disk, seed: int, folders: tuple[str, ...] | None) -> Store:
    clock, entropy = ManualClock(), SeededEntropy(seed)
    return open_on(disk, "data", data_dirs=folders, clock=clock, entropy=entropy)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("folders", [("/one", "/two", "/three"), None], ids=["outside", "within"])
def test_a_crash_amid_beginning_or_claiming_leaves_a_store_that_opens(
    mode: Mode, folders: tuple[str, ...] | None
) -> None:
    """At every point of the opening of a new store, and of one from before."""
    claimed = folders or ("data/log",)
    new = CrashDisk()
    with on(new, 1, folders) as store:
        store.namespace("acme").put("k", b"1")
    old = new.after_cut("kept", 0)
    for folder in claimed:
        old.unlink(f"{folder}/{NAME}")
    again = CrashDisk(old)
    with on(again, 2, folders):
        pass
    for disk in (new, again):
        for at in range(1, disk.points + 2):
            left = disk.after_cut(mode, at, at=at)
            with on(left, 3, folders) as store:
                assert store.check().ok
            assert all(NAME in left.list(folder) for folder in claimed)


# -- the file ----------------------------------------------------------------------------


def test_the_file_is_what_the_page_says(home: Path) -> None:
    raw = (home / "one" / NAME).read_bytes()
    told = msgspec.json.decode(raw)
    assert list(told) == ["format", "store", "root", "crc"]
    store = msgspec.json.decode((home / "data" / "HOLDFAST").read_bytes())["store"]
    assert (told["format"], told["store"], told["root"]) == (1, store, str(home / "data"))
    assert told["crc"] == crc32c(raw.replace(b'"crc":%d' % told["crc"], b'"crc":0'))


def test_the_example_on_the_page_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "FORMAT.md").read_bytes()
    (line,) = (line for line in page.splitlines() if line.startswith(b"{") and b'"root"' in line)
    (tmp_path / NAME).write_bytes(line)
    told = read_sealed(OsDisk(), str(tmp_path), NAME, Owner)
    assert told is not None
    assert msgspec.json.encode(told) == line


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", Corrupt),
        (b"\xff", Corrupt),
        (b"[" * 100_000, Corrupt),
        (b'{"format":1,"store":"","root":"","crc":1}', Corrupt),
        (b'{"format":2}', FormatTooNew),
        (sealed("/a\0b"), Corrupt),
        (sealed("/a/\u0100"), Corrupt),
    ],
)
def test_one_that_cannot_be_read_is_refused(
    home: Path, content: bytes, error: type[HoldfastError]
) -> None:
    (home / "one" / NAME).write_bytes(content)
    with pytest.raises(error):
        holdfast.open(home / "data")


@pytest.mark.parametrize(
    "lie",
    [
        {"store": "../.."},
        {"incarnation": 0},
        {"incarnation": 1 << 64},
        {"data_dirs": []},
        {"data_dirs": ["a\0b"]},
        {"index_dir": ""},
    ],
    ids=str,
)
def test_a_store_file_that_says_what_cannot_be_is_refused(
    home: Path, lie: dict[str, object]
) -> None:
    path = home / "data" / "HOLDFAST"
    told = msgspec.json.decode(path.read_bytes()) | lie | {"crc": 0}
    path.write_bytes(msgspec.json.encode(told | {"crc": crc32c(msgspec.json.encode(told))}))
    with pytest.raises(Corrupt, match="HOLDFAST"):
        holdfast.open(home / "data")
