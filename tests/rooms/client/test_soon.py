"""``put_soon`` against a server that fails at every point: each write is applied once, in order."""

from __future__ import annotations

import random
import shutil
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event

import pytest

from holdfast.client import soon as client_soon
from holdfast.client.asks import Pause, Work
from holdfast.client.box import Box, Queued
from holdfast.client.outbox import Outbox
from holdfast.client.soon import Soon
from holdfast.errors import (
    Busy,
    Closed,
    HoldfastError,
    LimitExceeded,
    Permanent,
    SessionUnknown,
    Unauthenticated,
    Unavailable,
)
from holdfast.limits import DEAD_LETTERS, MIB, SESSION_IDLE_NS, SESSION_NUMBERS
from holdfast.testing import ManualClock
from holdfast.values import DeadLetter
from holdfast.wire.headers import Numbered
from tests.rooms.client.test_outbox import watch_syncs
from tests.rooms.request.test_soon import CtrlC, InterruptedAt, in_time, queued_until_refused

CLOCK = ManualClock()
LEAST_PLACES = 15  # where a signal can come in the first store


class Ledger:
    """What a server must do with numbered writes (rule 9), and a way to make it fail.

    ``faults`` is asked before and after a request is carried out; what it raises is what the
    caller sees.
    """

    def __init__(self, seed: int = 0, faults: float = 0) -> None:
        self.random = random.Random(seed)
        self.faults = faults
        self.sessions: dict[bytes, dict[int, object]] = {}
        self.applied: list[tuple[str, str, bytes]] = []
        self.refused: set[str] = set()
        self.busy: dict[str, int] = {}
        self.over = 0  # requests that a bound refuses
        self.limit = "requests_per_s"
        self.largest = 0

    def begin_session(self) -> Work[bytes]:
        yield from ()
        self.fail()
        session = self.random.randbytes(16)
        self.sessions[session] = {}
        self.fail()
        return session

    def store_numbered(
        self, namespace: str, queued: Sequence[Queued], numbered: Numbered
    ) -> Work[list[object]]:
        yield from ()
        self.fail()
        if self.over > 0:
            self.over -= 1
            raise LimitExceeded(limit=self.limit, namespace=namespace)
        self.largest = max(self.largest, len(queued))
        outcomes = [
            self.store(namespace, one, numbered, numbered.number + at)
            for at, one in enumerate(queued)
        ]
        self.fail()
        return outcomes

    def store(self, namespace: str, one: Queued, numbered: Numbered, number: int) -> object:
        assert number == one.number
        known = self.sessions.get(numbered.session)
        if known is None:
            return SessionUnknown()
        for old in [old for old in known if old < numbered.floor]:
            del known[old]
        assert number >= numbered.floor, "a number below its own floor"
        if number in known:
            return known[number]
        if self.busy.get(one.key, 0) > 0:
            self.busy[one.key] -= 1
            return Busy()
        if one.key in self.refused:
            known[number] = Permanent(key=one.key)
        else:
            self.applied.append((namespace, one.key, one.value))
            known[number] = True
        return known[number]

    def fail(self) -> None:
        if self.random.random() < self.faults:
            raise Unavailable(cause="drawn")


def run(work: Work[object]) -> object:
    while True:
        try:
            asked = next(work)
        except StopIteration as end:
            return end.value
        assert isinstance(asked, Pause)


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.client.soon.REST_S", 0.001)


@pytest.fixture(params=["memory", "outbox"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Box:
    return Box() if request.param == "memory" else Outbox(tmp_path / "out")


def flushed(soon: Soon, passing: type[HoldfastError] = Unavailable) -> list[str]:
    """Flush until it succeeds; the codes of what died.

    Where the server failed until now, a round that was begun then may fail yet, as ``passing``.
    """
    while True:
        try:
            return [letter.code for letter in soon.flush()]
        except passing:
            continue


@pytest.mark.parametrize("seed", range(10))
def test_each_is_applied_once_and_in_order(box: Box, seed: int) -> None:
    server = Ledger(seed, faults=0.3)
    soon = Soon(server, run, box, CLOCK.wall_ns)
    sent = [(f"n{at % 2}", f"k{at % 5}", b"%d" % at) for at in range(60)]
    for at, (namespace, key, value) in enumerate(sent):
        soon.put(namespace, key, value)
        if at % 20 == 19:
            flushed(soon)
    assert flushed(soon) == []
    assert server.applied == sent
    server.faults = 0
    soon.close()


def test_writes_travel_together(box: Box) -> None:
    server = Ledger(faults=1)
    soon = Soon(server, run, box, CLOCK.wall_ns)
    for at in range(50):
        soon.put("n", f"k{at}", b"1")
    server.faults = 0
    assert flushed(soon) == []
    assert server.largest > 10
    soon.close()


def test_what_is_refused_is_a_dead_letter_and_told_once(box: Box) -> None:
    server = Ledger()
    server.refused = {"a"}
    soon = Soon(server, run, box, CLOCK.wall_ns)
    for key in "abab":
        soon.put("n", key, b"1")
    assert flushed(soon) == ["permanent", "permanent"]
    assert flushed(soon) == []
    assert [(letter.namespace, letter.key) for letter in soon.letters()] == [("n", "a")] * 2
    assert [key for _, key, _ in server.applied] == ["b", "b"]
    soon.close()


@pytest.mark.parametrize("limit", ["requests_per_s", "concurrent_max"])
def test_what_a_bound_on_requests_refuses_waits_for_it(box: Box, limit: str) -> None:
    server = Ledger()
    server.over, server.limit = 3, limit
    soon = Soon(server, run, box, CLOCK.wall_ns)
    soon.put("n", "a", b"1")
    assert flushed(soon) == []
    server.over = 1_000_000
    soon.put("n", "a", b"2")
    with pytest.raises(LimitExceeded):  # for longer than anybody waits
        soon.flush()
    server.over = 0
    assert flushed(soon, LimitExceeded) == []
    assert [value for _, _, value in server.applied] == [b"1", b"2"]
    assert soon.letters() == []
    soon.close()


def test_what_no_waiting_makes_fit_is_a_dead_letter(box: Box) -> None:
    server = Ledger()
    server.over, server.limit = 1, "bytes_max"
    soon = Soon(server, run, box, CLOCK.wall_ns)
    soon.put("n", "a", b"1")
    assert flushed(soon) == ["limit_exceeded"]
    soon.close()


def test_an_older_write_never_overtakes_a_newer_one(box: Box) -> None:
    server = Ledger()
    server.busy = {"a": 1}
    soon = Soon(server, run, box, CLOCK.wall_ns)
    server.faults = 1
    soon.put("n", "a", b"old")
    soon.put("n", "a", b"new")
    soon.put("n", "b", b"1")
    server.faults = 0
    assert flushed(soon) == []
    assert [value for _, key, value in server.applied if key == "a"][-1] == b"new"
    soon.close()


def test_what_stays_busy_dies_in_the_end(box: Box) -> None:
    server = Ledger()
    server.busy = {"a": 1_000}
    soon = Soon(server, run, box, CLOCK.wall_ns)
    soon.put("n", "a", b"1")
    soon.put("n", "b", b"1")
    codes: list[str] = []
    while not codes:
        try:
            codes = [letter.code for letter in soon.flush()]
        except Busy:
            continue
    assert codes == ["busy"]
    assert [key for _, key, _ in server.applied] == ["b"]
    soon.close()


def test_a_failed_round_is_told_and_loses_nothing(box: Box) -> None:
    server = Ledger(faults=1)
    soon = Soon(server, run, box, CLOCK.wall_ns)
    soon.put("n", "a", b"1")
    with pytest.raises(Unavailable):
        soon.flush()
    assert soon.letters() == []
    server.faults = 0
    assert flushed(soon) == []
    assert server.applied == [("n", "a", b"1")]
    soon.close()


def test_what_was_sent_never_changes_its_session(box: Box) -> None:
    # Rule 9: a write of an unknown session is not applied; it may have been, in the old one.
    server = Ledger()
    soon = Soon(server, run, box, CLOCK.wall_ns)
    soon.put("n", "a", b"1")
    assert flushed(soon) == []
    server.sessions.clear()
    soon.put("n", "b", b"1")
    assert flushed(soon) == ["session_unknown"]
    soon.put("n", "c", b"1")
    assert flushed(soon) == []
    assert [key for _, key, _ in server.applied] == ["a", "c"]
    soon.close()


def test_a_session_is_followed_by_another_long_before_it_may_end(box: Box) -> None:
    server, clock = Ledger(), ManualClock()
    soon = Soon(server, run, box, clock.wall_ns)
    for at in range(21):
        clock.advance(SESSION_IDLE_NS // 21)
        soon.put("n", "a", b"%d" % at)
        assert flushed(soon) == []
    assert 4 <= len(server.sessions) <= 7
    assert [value for _, _, value in server.applied] == [b"%d" % at for at in range(21)]
    server.faults = 1
    soon.put("n", "a", b"sent, perhaps")
    with pytest.raises(Unavailable):
        soon.flush()
    begun = len(server.sessions)
    clock.advance(2 * SESSION_IDLE_NS)
    server.faults = 0
    assert flushed(soon) == []
    assert len(server.sessions) == begun
    soon.close()


def test_a_queue_in_memory_says_what_it_loses() -> None:
    server = Ledger(faults=1)
    soon = Soon(server, run, Box(), CLOCK.wall_ns)
    soon.put("n", "a", b"1")
    with pytest.raises(Unavailable):
        soon.close()
    with pytest.raises(Closed):
        soon.put("n", "a", b"1")


def test_a_credential_that_ended_buries_nothing(tmp_path: Path) -> None:
    class Closing(Ledger):
        def fail(self) -> None:
            raise Unauthenticated(reason="expired")

    soon = Soon(Closing(), run, Outbox(tmp_path / "out"), CLOCK.wall_ns)
    soon.put("n", "a", b"1")
    with pytest.raises(Unauthenticated):
        soon.flush()
    assert soon.letters() == []
    soon.close()
    server = Ledger()
    soon = Soon(server, run, Outbox(tmp_path / "out"), CLOCK.wall_ns)
    assert flushed(soon) == []
    assert server.applied == [("n", "a", b"1")]
    soon.close()


def test_a_failure_of_our_own_is_told_and_does_not_end_the_worker(box: Box) -> None:
    class Broken(Ledger):
        def fail(self) -> None:
            if self.faults:
                raise ZeroDivisionError

    server = Broken(faults=1)
    soon = Soon(server, run, box, CLOCK.wall_ns)
    soon.put("n", "a", b"1")
    with pytest.raises(HoldfastError, match="ZeroDivisionError"):
        soon.flush()
    server.faults = 0
    assert flushed(soon, HoldfastError) == []
    assert server.applied == [("n", "a", b"1")]
    soon.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_client_that_dies_at_any_moment_sends_the_rest_once(tmp_path: Path, seed: int) -> None:
    """The file is copied while the client works, as a kill would leave it, and gone on with."""
    server = Ledger(seed, faults=0.3)
    sent: list[tuple[str, str, bytes]] = []
    path = tmp_path / "0"
    for life in range(5):
        soon = Soon(server, run, Outbox(path), CLOCK.wall_ns)
        for at in range(10):
            sent.append(("n", f"k{at % 3}", b"%d-%d" % (life, at)))
            soon.put(*sent[-1])
        following = tmp_path / str(life + 1)
        with soon._changed:  # the worker is between two steps
            shutil.copy(path, following)
            server.faults, before = 1, server.faults
        soon.close()  # its last words reach nobody
        server.faults = before
        path = following
    server.faults = 0
    soon = Soon(server, run, Outbox(path), CLOCK.wall_ns)
    assert flushed(soon) == []
    soon.close()
    assert server.applied == sent


def test_what_is_queued_in_an_outbox_is_durable_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = watch_syncs(monkeypatch)
    soon = Soon(Ledger(faults=1), run, Outbox(tmp_path / "out"), CLOCK.wall_ns)
    for key in "abc":
        soon.put("acme", key, key.encode())
        assert synced[-1] == (tmp_path / "out").stat().st_size
    soon.close()


def test_what_is_queued_is_bounded_as_it_lies_in_memory(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the values are: who finds no room waits for some, and then is refused."""
    monkeypatch.setattr("holdfast.client.soon.QUEUE_BYTES", MIB)
    monkeypatch.setattr("holdfast.client.soon.ROOM_S", 0.05)
    monkeypatch.setattr(type(box), "sync", lambda _: None)
    gate = Event()

    class Slow(Ledger):
        def fail(self) -> None:
            assert gate.wait(30)

    server = Slow()
    soon = Soon(server, run, box, CLOCK.wall_ns)
    tracemalloc.start()
    queued = queued_until_refused(lambda key: soon.put("n", key, b""))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert MIB / 2 < held < 2 * MIB
    gate.set()
    assert flushed(soon) == []
    assert len(server.applied) == queued
    assert soon._bytes == 0
    soon.close()


def test_dead_letters_are_bounded_and_all_of_them_counted(box: Box) -> None:
    server = Ledger()
    server.refused = {"a", "b"}
    soon = Soon(server, run, box, CLOCK.wall_ns)
    for letters in ["a"] * 5, ["b"] * DEAD_LETTERS:
        box.settle([], [DeadLetter("n", key, "permanent", "") for key in letters])
    assert {letter.key for letter in soon.letters()} == {"b"}
    soon.put("n", "a", b"1")
    assert flushed(soon) == ["permanent"]
    assert len(soon.letters()) == DEAD_LETTERS
    assert soon.letters()[-1].key == "a"
    assert soon.died() == DEAD_LETTERS + 6
    soon.close()


@pytest.mark.parametrize("durable", [False, True])
def test_a_ctrl_c_at_any_place_of_the_first_store_leaves_what_goes_on_and_closes(
    tmp_path: Path, *, durable: bool
) -> None:
    for nth in count(1):
        server = Ledger()
        box = Outbox(tmp_path / str(nth)) if durable else Box()
        soon = Soon(server, run, box, CLOCK.wall_ns)
        interrupted = InterruptedAt(nth, client_soon.__file__)
        with suppress(CtrlC), interrupted:
            soon.put("n", "first", b"1")
        most = 20 if durable else SESSION_NUMBERS + 20
        sent = [("n", "key", b"%d" % number) for number in range(most)]
        for one in sent:
            soon.put(*one)
        in_time(partial(flushed, soon))
        assert [one for one in server.applied if one[1] == "key"] == sent
        assert all(len(known) <= SESSION_NUMBERS for known in server.sessions.values())
        in_time(soon.close)
        if interrupted.left > 0:
            assert nth > LEAST_PLACES
            return
