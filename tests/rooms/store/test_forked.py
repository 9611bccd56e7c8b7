"""A child of a process with an open store cannot use it, nor keep it from anybody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from tests.rooms.store.forking import end, in_child, refused

SMALL = 64 << 10


@pytest.mark.parametrize("upkeep", [False, True])
def test_a_child_cannot_write_the_parents_log(tmp_path: Path, *, upkeep: bool) -> None:
    store = holdfast.open(tmp_path / "data", bucket_bytes=SMALL, upkeep=upkeep)
    ns = store.namespace("acme")
    ns.put_many([(f"k{number:03}", bytes(900)) for number in range(200)])
    assert ns.get("k000") == bytes(900)
    ns.put_soon("soon", b"1")
    lock = ns.lock("lock", ttl=3_600)
    writing = ns.open("file", "wb")
    writing.write(b"1")
    calls: list[Callable[[], object]] = [
        lambda: ns.put("k000", b"of the child"),
        lambda: ns.get("k000"),
        lambda: list(ns.list()),
        lambda: ns.put_many([("a", b""), ("z", b"")]),
        lambda: ns.put_soon("soon", b"2"),
        lambda: store.namespace("other"),
        store.status,
        store.collect,
        store.flush,
        lock.renew,
        writing.close,
    ]

    def work() -> str:
        said = refused(calls)
        store.close()  # as a with block would; it is quiet, and lets nobody else in
        return said

    said, child, let_go = in_child(work)
    try:
        assert said == "all refused"
        with pytest.raises(holdfast.InUse):
            holdfast.open(tmp_path / "data")
        ns.put("after", b"1")
        writing.close()
        lock.renew()
        store.close()
        with holdfast.open(tmp_path / "data", bucket_bytes=SMALL) as again:  # the child lives
            there = again.namespace("acme")
            assert there.get_many(["after", "soon", "file"]) == [b"1", b"1", b"1"]
            assert len(list(there.list())) == 203
            assert again.check().ok
    finally:
        end(child, let_go)


def test_a_child_opens_what_is_free(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        store.namespace("acme").put("a", b"1")
    # Buckets that were not asked for anything are not open yet: the child opens none of them.
    dormant = holdfast.open(tmp_path / "data", upkeep=False)

    def work() -> str:
        with holdfast.open(tmp_path / "child", upkeep=False) as own:
            own.namespace("acme").put("a", b"2")
            return f"{own.namespace('acme').get('a')!r}"

    said, child, let_go = in_child(work)
    end(child, let_go)
    assert said == "b'2'"
    assert dormant.namespace("acme").get("a") == b"1"
    dormant.close()


def test_a_store_that_was_closed_has_nothing_to_let_go_of(tmp_path: Path) -> None:
    closed = holdfast.open(tmp_path / "data", upkeep=False)
    closed.close()
    said, child, let_go = in_child(lambda: "heard through what its descriptor is now")
    end(child, let_go)
    assert said == "heard through what its descriptor is now"
    assert repr(closed)
