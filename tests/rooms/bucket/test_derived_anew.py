"""A bucket that is derived anew while its old index refuses: what that says counts no more."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast.bucket import birth
from holdfast.bucket.checkpoint import checkpoint
from holdfast.errors import StorageFailed
from holdfast.store import Namespace, Store
from holdfast.views.lmdb_commit import Commit

KEYS = 300


class CtrlC(KeyboardInterrupt):
    """Not the real one, which would end the tests if it came through."""


def refuse_once(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, done: bool) -> None:
    """The next index that is cleared refuses, or fails once that is done."""
    clear, finish = Commit.clear, Commit.__exit__
    failing = [error]

    def refused(self: Commit) -> None:
        if failing and not done:
            raise failing.pop()
        clear(self)

    def refused_behind(self: Commit, *arguments: object) -> None:
        finish(self, *arguments)  # type: ignore[arg-type]
        if failing and done:
            raise failing.pop()

    monkeypatch.setattr(Commit, "clear", refused)
    monkeypatch.setattr(Commit, "__exit__", refused_behind)


def indexed(store: Store) -> Namespace:
    """Some objects, all in the index, one of them deleted since."""
    ns = store.namespace("n")
    ns.put_many([(f"k{number}", b"%d" % number) for number in range(KEYS)])
    store.rebuild()
    ns.delete("k7")
    return ns


def hold(store: Store) -> None:
    """The deleted stay so, the new are there."""
    ns = store.namespace("n")
    assert len(list(ns.list())) == KEYS
    assert not ns.exists("k7")
    assert (ns.get("new"), ns.get("k8")) == (b"1", b"8")
    assert store.check().ok


@pytest.mark.parametrize("done", [False, True], ids=["not cleared", "cleared"])
def test_an_opening_goes_on_where_it_cannot_clear_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, done: bool
) -> None:
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        ns = indexed(store)
        ns.put("new", b"1")
    (tmp_path / "data" / "CLOSED").unlink()
    monkeypatch.setattr(birth, "read_checkpoint", lambda _: None)  # so the index counts for nothing
    refuse_once(monkeypatch, StorageFailed(errno="ENOSPC"), done=done)
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        hold(store)
        for bucket in store.placement.directory:
            checkpoint(bucket)
        hold(store)
    monkeypatch.undo()
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        hold(store)


@pytest.mark.parametrize("done", [False, True], ids=["not cleared", "cleared"])
@pytest.mark.parametrize("error", [StorageFailed(errno="ENOSPC"), CtrlC()], ids=["full", "CtrlC"])
@pytest.mark.parametrize("divided", [False, True], ids=["whole", "split"])
def test_an_index_that_could_not_be_cleared_is_no_part_of_the_state(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    *,
    done: bool,
    divided: bool,
) -> None:
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        ns = indexed(store)
        refuse_once(monkeypatch, error, done=done)
        with pytest.raises(type(error)):
            store.rebuild()
        ns.put("new", b"1")
        hold(store)
        if divided:  # a child reads what its parent does
            (bucket,) = store.placement.directory
            assert store.placement.grow(bucket, b"n\0k5")
            hold(store)
        for bucket in store.placement.directory:
            checkpoint(bucket)
        hold(store)
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        hold(store)
