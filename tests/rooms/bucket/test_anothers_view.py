"""A view in the wrong place: it says whose it is, and decides nothing about another's log."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

import holdfast
from holdfast.bucket import birth
from holdfast.bucket.checkpoint import CHECKPOINT, Checkpoint, read_checkpoint
from holdfast.log.header import Identity
from holdfast.log.log import Position
from holdfast.store.store import Store
from holdfast.views.port import Table

SMALL = 64 * 1024
VALUES = {f"k{number:03d}": bytes([number]) * 1_000 for number in range(150)}


def opened(path: Path) -> Store:
    return holdfast.open(path, bucket_bytes=SMALL, sync="never", upkeep=False)


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A store of several buckets that was killed, all its views absorbed, none torn."""
    with opened(tmp_path / "data") as store:
        store.namespace("acme").put_many(VALUES.items())
        store.rebuild()
        for at, bucket in enumerate(store.placement.directory):  # logs of different lengths
            for _ in range(5 * at):
                store.namespace("acme").put(bucket.start[5:].decode() or "a", b"more")
        store.rebuild()
        for bucket in store.placement.directory:
            bucket.log.active.sync()
        shutil.copytree(tmp_path / "data", tmp_path / "crashed")
    return tmp_path / "crashed"


def torn(path: Path) -> list[Path]:
    """Tear the last write of every bucket; where their views are."""
    for folder in (path / "log").iterdir():
        if folder.is_dir():
            last = max(folder.glob("*.seg"))
            last.write_bytes(last.read_bytes() + b"torn" * 100)
    return sorted(path.glob("index/*"))


def test_a_view_of_another_bucket_is_derived_anew_behind_a_crash(crashed: Path) -> None:
    views = torn(crashed)
    assert len(views) > 2
    for one in views:
        for other in views:
            if one == other:
                continue
            again = crashed.parent / "again"
            shutil.copytree(crashed, again)
            shutil.rmtree(again / "index" / one.name)
            shutil.copytree(other, again / "index" / one.name)
            with opened(again) as store:
                ns = store.namespace("acme")
                assert {key: ns.get(key) for key in ns.list() if key in VALUES} == expected(crashed)
                assert store.check().ok
            shutil.rmtree(again)


def expected(crashed: Path) -> dict[str, bytes]:
    with opened(crashed.parent / "data") as store:
        ns = store.namespace("acme")
        return {key: ns.get(key) for key in ns.list() if key in VALUES}


def test_a_view_of_an_earlier_life_is_derived_anew(tmp_path: Path) -> None:
    index = tmp_path / "index"
    with holdfast.open(tmp_path / "data", index_dir=index, upkeep=False) as store:
        store.namespace("acme").put("k", b"1")
        store.backup(tmp_path / "backup")
        bucket = next(iter(store.placement.directory))
        bucket.log.switch(bucket.log_state())  # the number that the restored log goes on under
        store.namespace("acme").put_many([(f"lost{at}", b"2") for at in range(100)])
        store.rebuild()
    holdfast.restore(tmp_path / "backup", tmp_path / "again")
    torn(tmp_path / "again")
    with holdfast.open(tmp_path / "again", index_dir=index, upkeep=False) as store:
        assert list(store.namespace("acme").list()) == ["k"]
        assert store.check().ok


def test_a_view_from_before_is_used_on(crashed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(crashed) as store:
        store.rebuild()
        for bucket in store.placement.directory:
            fields = msgspec.msgpack.decode(bucket.view.get(Table.META, CHECKPOINT) or b"")
            assert fields[8:] == [bucket.id, 1]
            with bucket.view.writer() as writer:
                writer.put(Table.META, [(CHECKPOINT, msgspec.msgpack.encode(fields[:8]))])
    monkeypatch.setattr(birth, "rebuild", lambda *_: pytest.fail("derived anew"))
    with opened(crashed) as store:
        for bucket in store.placement.directory:
            assert read_checkpoint(bucket.view.get(Table.META, CHECKPOINT))
        assert store.check().ok


def test_it_is_of_a_bucket_in_a_life() -> None:
    identity = Identity(b"s" * 16, 2)
    before = Checkpoint(Position(1, 88, 88, 0), 1, 1, 0, 0, {}, b"", b"\xff")
    assert before.is_of("a", identity)
    for bucket, incarnation, own in (("a", 2, True), ("b", 2, False), ("a", 1, False)):
        mark = msgspec.structs.replace(before, bucket=bucket, incarnation=incarnation)
        assert mark.is_of("a", identity) is own
