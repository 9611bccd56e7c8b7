"""A Ctrl-C reaches a thread that waits for others, or writes for them: the store goes on."""

from __future__ import annotations

from contextlib import suppress
from threading import Event, Thread
from typing import Any

import pytest

import holdfast
from holdfast.bucket import commit
from holdfast.errors import StorageFailed
from holdfast.store.store import Store

WAIT_S = 60


class Interrupted:
    """A gate at which the wait ends by a Ctrl-C, once it is told to."""

    def __init__(self, gate: Any, go: Event) -> None:  # noqa: ANN401 - a lock
        self._gate, self._go = gate, go

    def acquire(self) -> None:
        self._go.wait(WAIT_S)
        raise KeyboardInterrupt

    def release(self) -> None:
        self._gate.release()


def only(store: Store) -> Any:  # noqa: ANN401 - a bucket whose log's sync is replaced
    return next(iter(store.placement.directory))


@pytest.mark.parametrize("handed", [False, True])
def test_who_is_interrupted_at_the_gate_hands_on_the_lead(
    monkeypatch: pytest.MonkeyPatch, *, handed: bool
) -> None:
    """Whether the lead came to it already or not."""
    entered, go, interrupt = Event(), Event(), Event()
    with holdfast.open(":memory:", upkeep=False) as store:
        ns, bucket = store.namespace("acme"), only(store)
        ns.put("warm", b"1")
        sync, queue = bucket.log.sync, commit.queue

        def slow() -> None:
            entered.set()
            go.wait(WAIT_S)
            sync()

        def queued(bucket: Any, group: Any) -> Any:  # noqa: ANN401 - as it is
            gate = queue(bucket, group)
            if gate is None:
                return None
            group.waiters[-1] = Interrupted(gate, interrupt)
            return group.waiters[-1]

        monkeypatch.setattr(bucket.log, "sync", slow)
        first = Thread(target=ns.put, args=("a", b"1"))
        first.start()
        assert entered.wait(WAIT_S)
        monkeypatch.setattr(commit, "queue", queued)
        second = Thread(target=lambda: suppressed(lambda: ns.put("b", b"1")))
        second.start()
        while bucket.gathering is None or not bucket.gathering.waiters:
            Event().wait(0.001)
        monkeypatch.setattr(commit, "queue", queue)
        for event in (go, interrupt) if handed else (interrupt, go):
            event.set()
            if event is go:
                first.join(WAIT_S)
            else:
                second.join(WAIT_S)
        third = Thread(target=ns.put, args=("c", b"1"), daemon=True)
        third.start()
        third.join(WAIT_S)
        assert not third.is_alive()
        assert ns.exists("a")
        assert ns.exists("c")


def suppressed(call: Any) -> None:  # noqa: ANN401 - whatever is called
    with suppress(KeyboardInterrupt):
        call()


def test_an_interrupted_sync_of_others_writes_tells_them(  # noqa: C901 - three threads
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who holds a bucket alone brings to disk what others gathered: they hear of it."""
    entered, go = Event(), Event()
    store = holdfast.open(":memory:", upkeep=False)
    ns, bucket = store.namespace("acme"), only(store)
    ns.put("warm", b"1")
    sync, told, calls = bucket.log.sync, [], []

    def syncing() -> None:
        calls.append(1)
        if len(calls) == 1:
            entered.set()
            go.wait(WAIT_S)
        if len(calls) == 2:
            raise KeyboardInterrupt
        sync()

    def put(key: str) -> None:
        try:
            ns.put(key, b"1")
        except StorageFailed as error:
            told.append(error)

    def free() -> None:
        while not bucket.barriers:
            Event().wait(0.001)
        go.set()

    monkeypatch.setattr(bucket.log, "sync", syncing)
    first = Thread(target=put, args=("a",))
    first.start()
    assert entered.wait(WAIT_S)
    second = Thread(target=put, args=("b",))
    second.start()
    while bucket.gathering is None or not bucket.gathering.waiters:
        Event().wait(0.001)
    freeing = Thread(target=free)
    freeing.start()
    with pytest.raises(KeyboardInterrupt), commit.alone(bucket):
        pass
    for thread in (first, second, freeing):
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert [error.errno for error in told] == ["EINTR"]
    ns.put("c", b"1")
    assert sorted(ns.list()) == ["a", "c", "warm"]
    store.close()
