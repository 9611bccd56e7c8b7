"""A numbered write is applied once, whatever becomes of its bucket between two tries (rule 9)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import holdfast
from holdfast import limits
from holdfast.bucket import commit
from holdfast.bucket import sessions as room
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.bucket.sessions import Sessions, new_session
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import (
    Exists,
    FenceTooOld,
    HoldfastError,
    InvalidValue,
    LimitExceeded,
    LockHeld,
    LockLost,
    NotFound,
    Permanent,
    SessionUnknown,
    StorageFailed,
    VersionMismatch,
)
from holdfast.log.header import Identity, SessionRecord
from holdfast.log.records import Type
from holdfast.operations import Lock, Once
from holdfast.store import Namespace, Store
from holdfast.store.opening import open_on
from holdfast.testing import ManualClock, SeededEntropy
from holdfast.testing.simulator_world import Faulty
from tests.growth.growing import SECOND_NS, in_memory, tick_on
from tests.rooms.gate import Gate

DAY_NS = 86_400 * SECOND_NS
WEEK_NS = 7 * DAY_NS
BIG = bytes(2 << 20) + b"tail"
HELD = b"\x11" * 20
IDENTITY = Identity(bytes(16), 1)


def only(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


# -- each verb ---------------------------------------------------------------------------


def _consumers(ns: Namespace) -> object:
    ns.consumers("c").append(["a"])
    return ns.consumers("c").list()


def _lock(ns: Namespace) -> object:
    lock = ns.lock("k")
    return lock.id, lock.fence


def _stream(ns: Namespace) -> object:
    with ns.open("s", "wb") as file:
        file.write(BIG)
    return None


VERBS: dict[str, Callable[[Namespace], object]] = {
    "put": lambda ns: ns.put("a", b"1"),
    "put with options": lambda ns: ns.put("a", b"1", ttl=50, consumers=["x"], content_type="a/b"),
    "put of many": lambda ns: ns.put_many([("a", b"1"), ("b", b"2"), ("a", b"3")]),
    "put of many at once": lambda ns: ns.put_many({"a": b"1", "b": b"2"}, atomic=True),
    "large put": lambda ns: ns.put("a", BIG),
    "stream": _stream,
    "append": lambda ns: ns.append("log", b"x"),
    "delete": lambda ns: ns.delete("d"),
    "release": lambda ns: ns.release("p"),
    "consumers": _consumers,
    "remove consumers": lambda ns: ns.consumers("c").remove(["held", "none"]),
    "lock": _lock,
    "unlock": lambda ns: ns.unlock("l", HELD.hex()),
}


def prepared(store: Store) -> Namespace:
    """Something for each verb to change."""
    ns = store.namespace("acme")
    ns.put("d", b"gone")
    ns.put("p", b"kept", permanent=True)
    ns.put("c", b"", consumers=["held"])
    store.corridor.write(Lock(b"acme\0l", "l", HELD, 1_000 * SECOND_NS))
    return ns


@pytest.mark.parametrize("verb", VERBS)
def test_a_number_is_applied_once(verb: str) -> None:
    with in_memory(bucket_bytes=8 << 20) as (store, _):
        ns, session = prepared(store), store.begin_session()
        ask = VERBS[verb]
        first = ask(ns.numbered(session, 7))
        stats = [(stat.key, stat.version) for stat in ns.entries()]
        assert ask(ns.numbered(session, 7)) == first
        assert [(stat.key, stat.version) for stat in ns.entries()] == stats
        store.rebuild()
        assert ask(ns.numbered(session, 7)) == first
        assert [(stat.key, stat.version) for stat in ns.entries()] == stats


def test_a_second_try_of_a_large_object_leaves_no_parts() -> None:
    with in_memory(bucket_bytes=64 << 20) as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        ns.numbered(session, 1).put("a", BIG)
        live = store.status().live_bytes
        ns.numbered(session, 1).put("a", BIG)
        assert store.status().live_bytes == live
        assert ns.get("a") == BIG


def test_a_full_list_of_extents_takes_one_number() -> None:
    with in_memory(bucket_bytes=64 << 20) as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        piece = bytes(limits.VALUE_RECORD_BYTES)
        for number in range(limits.EXTENTS + 3):
            numbered = ns.numbered(session, number, number)
            assert numbered.append("log", piece) == (number + 1) * len(piece)
        assert ns.numbered(session, number, number).append("log", piece) == ns.stat("log").size


# -- refusals ----------------------------------------------------------------------------

REFUSALS: dict[type[HoldfastError], Callable[[Namespace], object]] = {
    NotFound: lambda ns: ns.delete("none"),
    Exists: lambda ns: ns.put("d", b"", if_absent=True),
    VersionMismatch: lambda ns: ns.put("d", b"", if_version=99),
    FenceTooOld: lambda ns: ns.put("k", b"", fence=0),
    LockLost: lambda ns: ns.put("d", b"", fence=5),
    Permanent: lambda ns: ns.put("p", b""),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_by_the_object_is_kept(kind: type[HoldfastError]) -> None:
    with in_memory() as (store, _):
        ns, session = prepared(store), store.begin_session()
        lock = ns.lock("k")
        with pytest.raises(kind) as first:
            REFUSALS[kind](ns.numbered(session, 1))
        ns.put("none", b"")
        ns.release("p")
        ns.delete("d")
        lock.release()
        with pytest.raises(kind) as again:
            REFUSALS[kind](ns.numbered(session, 1))
        assert again.value.facts == first.value.facts
        assert sorted(ns.list()) == ["c", "none", "p"]


def test_what_may_pass_is_decided_anew() -> None:
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        held = ns.lock("k")
        with pytest.raises(LockHeld):
            ns.numbered(session, 1).lock("k")
        held.release()
        lock = ns.numbered(session, 1).lock("k")
        assert ns.numbered(session, 1).lock("k").id == lock.id


def test_waiting_for_a_lock_takes_one_number() -> None:
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        ns.lock("k", ttl=1)
        lock = ns.numbered(session, 1).lock("k", wait=5)
        assert ns.numbered(session, 1).lock("k").fence == lock.fence


def test_a_refused_atomic_batch_keeps_nothing() -> None:
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        ns.put("b", b"kept", permanent=True)
        pairs = {"a": b"1", "b": b"2"}
        with pytest.raises(Permanent):
            ns.numbered(session, 1).put_many(pairs, atomic=True)
        assert "a" not in ns
        ns.release("b")
        first = ns.numbered(session, 1).put_many(pairs, atomic=True)
        assert ns.numbered(session, 1).put_many(pairs, atomic=True) == first


def test_what_cannot_be_numbered_is_refused() -> None:
    with in_memory() as (store, _):
        ns = store.namespace("acme").numbered(store.begin_session(), 1)
        for ask, refusal in (
            (lambda: ns.put_soon("a", b""), InvalidValue),
            (lambda: ns.append("a", BIG), InvalidValue),
            (lambda: ns.put_many({"a": BIG}), LimitExceeded),
        ):
            with pytest.raises(refusal):
                ask()
        assert list(ns.list()) == []


# -- floors, bounds, ends ---------------------------------------------------------------


def test_below_the_floor_nothing_is_applied() -> None:
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        ns.numbered(session, 1).append("a", b"x")
        ns.numbered(session, 9, 5).append("a", b"y")
        for number in (1, 4):
            with pytest.raises(InvalidValue) as told:
                ns.numbered(session, number).append("a", b"z")
            assert told.value.facts == {"argument": "number", "reason": "settled", "floor": 5}
        assert ns.get("a") == b"xy"
        assert ns.numbered(session, 9).append("a", b"y") == 2


@pytest.mark.parametrize(
    ("number", "floor"), [(-1, 0), (1, 2), (1, -1), (1 << 63, 0), (True, 0), ("1", 0), (1, None)]
)
def test_numbers_that_are_none(number: object, floor: object) -> None:
    with in_memory() as (store, _), pytest.raises(InvalidValue):
        store.namespace("acme").numbered(store.begin_session(), number, floor)  # type: ignore[arg-type]


@pytest.mark.parametrize("session", ["", "00" * 15, "g" * 32, "00" * 16, "ff" * 16, 7, None])
def test_sessions_that_are_none(session: object) -> None:
    with in_memory() as (store, _):
        with pytest.raises(SessionUnknown):
            store.namespace("acme").numbered(session, 1).put("a", b"")  # type: ignore[arg-type]
        assert store.namespaces() == []


def test_every_bit_of_a_session_counts() -> None:
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        for bit in range(128):
            other = f"{int(session, 16) ^ 1 << bit:032x}"
            with pytest.raises(SessionUnknown):
                ns.numbered(other, 1).put("a", b"")
        ns.numbered(session, 1).put("a", b"")


def test_a_session_of_another_store_is_unknown() -> None:
    with in_memory(seed=1) as (one, _), in_memory(seed=2) as (other, _):
        ns = one.namespace("acme").numbered(other.begin_session(), 1)
        with pytest.raises(SessionUnknown):
            ns.put("a", b"")


def test_a_session_that_is_not_begun_yet_is_unknown() -> None:
    now = 10**18
    ahead = new_session(IDENTITY, now + limits.SESSION_AHEAD_NS + 1, SeededEntropy(1))
    with pytest.raises(SessionUnknown):
        Sessions(IDENTITY).admit(b"acme", Once(ahead, 1), now)
    near = new_session(IDENTITY, now + limits.SESSION_AHEAD_NS, SeededEntropy(1))
    assert Sessions(IDENTITY).admit(b"acme", Once(near, 1), now).numbers() == 0


def test_a_session_ends_when_it_was_idle() -> None:
    with in_memory() as (store, clock):
        ns, session = store.namespace("acme"), store.begin_session()
        for day in range(9):
            clock.advance(DAY_NS)
            ns.numbered(session, day, day).append("a", b"x")
        clock.advance(WEEK_NS + 1)
        for number in (day, day + 1):
            with pytest.raises(SessionUnknown):
                ns.numbered(session, number).append("a", b"x")
        only(store).sessions.told(clock.wall_ns())
        with pytest.raises(SessionUnknown):
            ns.numbered(session, day).append("a", b"x")
        assert ns.get("a") == b"x" * 9


@pytest.mark.parametrize("ahead", [0, limits.SESSION_AHEAD_NS])
@pytest.mark.parametrize("replayed", [False, True])
def test_what_was_forgotten_is_never_taken_for_new(ahead: int, *, replayed: bool) -> None:
    now, sessions = 10**18, Sessions(IDENTITY)
    once = Once(new_session(IDENTITY, now + ahead, SeededEntropy(1)), 1)
    if replayed:
        kept = ((1, b"\x92\x01\xc0"),)
        value = msgspec.msgpack.encode(SessionRecord(once.session, 0, kept))
        sessions.replay(b"acme\0a", value, now)
    else:
        sessions.admit(b"acme", once, now)
    late = now
    while sessions.told(late).spaces:
        sessions.admit(b"acme", once, now)
        late += SECOND_NS * 1_000
    for after in (late, late + SECOND_NS, late + WEEK_NS):
        with pytest.raises(SessionUnknown):
            sessions.admit(b"acme", once, after)


def test_a_time_mark_ends_no_session_early() -> None:
    with in_memory() as (store, clock):
        ns, session = store.namespace("acme"), store.begin_session()
        ns.numbered(session, 1).append("a", b"x")
        ns.put("e", b"", ttl="8w")
        clock.advance(WEEK_NS - 5 * SECOND_NS)
        store.tick(1)
        bucket = only(store)
        assert bucket.time_mark > clock.wall_ns()
        for _ in range(2):
            with commit.alone(bucket):
                commit.switch(bucket)
        assert ns.numbered(session, 1).append("a", b"x") == 1
        assert ns.get("a") == b"x"


def test_a_bucket_takes_a_session_it_does_not_know_for_new_while_that_is_young() -> None:
    with in_memory() as (store, clock):
        ns, session = store.namespace("acme"), store.begin_session()
        clock.advance(WEEK_NS)
        ns.numbered(session, 1).put("a", b"")
        late = store.begin_session()
        clock.advance(WEEK_NS + 1)
        with pytest.raises(SessionUnknown):
            ns.numbered(late, 1).put("a", b"")


def test_a_session_holds_so_many_numbers() -> None:
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        most = limits.SESSION_NUMBERS
        ns.numbered(session, 0).put_many([(f"k{n}", b"") for n in range(most)])
        with pytest.raises(LimitExceeded) as told:
            ns.numbered(session, most).put("b", b"")
        assert told.value.limit == "SESSION_NUMBERS"
        assert "b" not in ns
        assert ns.numbered(session, 5).put("k5", b"").version == ns.stat("k5").version
        ns.numbered(session, most, 1).put("b", b"")


def test_a_batch_beyond_the_bound_is_refused_in_part() -> None:
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        pairs = [(f"k{n:04}", b"") for n in range(limits.SESSION_NUMBERS + 10)]
        with pytest.raises(LimitExceeded) as told:
            ns.numbered(session, 0).put_many(pairs)
        assert told.value.index == limits.SESSION_NUMBERS
        assert len(list(ns.list())) == limits.SESSION_NUMBERS


def test_sessions_that_are_spare_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SESSIONS", 10)
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        old = [store.begin_session() for _ in range(10)]
        for session in old:
            clock.advance(SECOND_NS)
            ns.numbered(session, 1).append("a", b"x")
        fresh = store.begin_session()
        with pytest.raises(LimitExceeded) as told:
            ns.numbered(fresh, 1).append("a", b"y")
        assert told.value.limit == "SESSIONS"
        clock.advance(limits.SESSION_SPARE_NS)
        fresh = store.begin_session()
        ns.numbered(fresh, 1).append("a", b"y")
        for session in old[:5]:
            with pytest.raises(SessionUnknown):
                ns.numbered(session, 1).append("a", b"x")
        for session in old[5:]:
            assert ns.numbered(session, 1).append("a", b"x") > 5
        assert ns.get("a") == b"x" * 10 + b"y"
        assert store.namespace("zeta").numbered(old[0], 1).append("a", b"") == 0


def test_a_namespace_holds_so_many_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SPACE_NUMBERS", 20)
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        sessions = [store.begin_session() for _ in range(4)]
        for session in sessions:
            for number in range(5):
                ns.numbered(session, number).append("a", b"x")
        with pytest.raises(LimitExceeded) as told:
            ns.numbered(sessions[0], 5).append("a", b"x")
        assert told.value.limit == "SPACE_NUMBERS"
        store.namespace("zeta").numbered(sessions[0], 5).append("a", b"x")
        ns.numbered(sessions[0], 5, 5).append("a", b"x")
        clock.advance(2 * limits.SESSION_SPARE_NS)
        for number in range(6, 12):
            ns.numbered(sessions[0], number).append("a", b"x")
        assert len(ns.get("a")) == 27


def test_tenants_do_not_meet_in_a_session() -> None:
    with in_memory() as (store, _):
        acme, zeta, session = (
            store.namespace("acme"),
            store.namespace("zeta"),
            store.begin_session(),
        )
        acme.numbered(session, 1).put("a", b"acme")
        zeta.numbered(session, 1).put("a", b"zeta")
        zeta.numbered(session, 900, 900).put("a", b"zeta")
        assert acme.numbered(session, 2).append("a", b"!") == 5
        assert zeta.get("a") == b"zeta"


# -- what becomes of a bucket ------------------------------------------------------------


def kept_in(disk: Disk, clock: ManualClock, *, bucket_bytes: int = 64 << 10) -> Store:
    return open_on(
        disk,
        "store",
        sync="always",
        bucket_bytes=bucket_bytes,
        clock=clock,
        entropy=SeededEntropy(7),
    )


def test_numbers_outlive_every_end_of_a_segment() -> None:
    disk, clock = MemoryDisk(), ManualClock()
    with kept_in(disk, clock) as store:
        ns, session = store.namespace("acme"), store.begin_session()
        first = ns.numbered(session, 3).append("log", b"x")
        for round_ in range(3):
            for number in range(40):
                ns.put("filler", bytes(2_000) + bytes([number]))
            store.collect("compacting" if round_ == 1 else "copying")
            checkpoint(only(store))
        segments = only(store).log.number
    assert segments > 5
    with kept_in(disk, clock) as store:
        ns = store.namespace("acme")
        assert ns.numbered(session, 3).append("log", b"x") == first
        assert store.check().ok
        store.rebuild()
        assert ns.numbered(session, 3).append("log", b"x") == first
        assert ns.get("log") == b"x"


def grown(store: Store, session: str, count: int = 400) -> dict[int, object]:
    """Many numbered puts, over several buckets; what each answered."""
    ns = store.namespace("acme")
    return {
        number: ns.numbered(session, number, max(0, number - 500)).put(f"k{number:04}", bytes(900))
        for number in range(count)
    }


def same_version(ns: Namespace, session: str, number: int) -> bool:
    receipt = ns.numbered(session, number).put(f"k{number:04}", b"never")
    stat = ns.stat(f"k{number:04}")
    return receipt.version == stat.version and stat.size == 900


def test_both_halves_of_a_split_know_the_numbers() -> None:
    disk, clock = MemoryDisk(), ManualClock()
    with kept_in(disk, clock, bucket_bytes=1 << 20) as store:
        ns, session = store.namespace("acme"), store.begin_session()
        grown(store, session)
        assert store.placement.grow(only(store), b"acme\x00k0000")
        assert len(store.placement.directory) == 2
        assert all(same_version(ns, session, number) for number in range(0, 400, 7))
    with kept_in(disk, clock, bucket_bytes=1 << 20) as store:
        ns = store.namespace("acme")
        assert all(same_version(ns, session, number) for number in range(0, 400, 7))


def test_numbers_survive_growing_and_shrinking() -> None:
    disk, clock = MemoryDisk(), ManualClock()
    with kept_in(disk, clock) as store:
        ns, session = store.namespace("acme"), store.begin_session()
        grown(store, session)
        buckets = len(store.placement.directory)
        assert buckets > 4
        assert all(same_version(ns, session, number) for number in range(400))
        for number in range(400):
            if number % 20:
                ns.delete(f"k{number:04}")
        store.collect()
        tick_on(store, clock, 5)
        assert len(store.placement.directory) < buckets
        assert all(same_version(ns, session, number) for number in range(0, 400, 20))
        deleted = ns.numbered(session, 7).put("k0007", b"never")
        assert deleted.size == 900
        assert "k0007" not in ns
        assert store.check().ok
    with kept_in(disk, clock) as store:
        ns = store.namespace("acme")
        assert all(same_version(ns, session, number) for number in range(0, 400, 20))
        ns.numbered(session, 7).put("k0007", b"never")
        assert "k0007" not in ns


def test_a_state_longer_than_a_segment_does_not_end_each_at_once() -> None:
    with in_memory(bucket_bytes=1 << 20) as (store, _):
        spaces = [store.namespace(name) for name in "abcdef"]
        session = store.begin_session()
        for ns in spaces:
            ns.numbered(session, 0).put_many([(f"k{n:03}", b"") for n in range(900)])
        while only(store).log.begun < store.placement.settings.segment_bytes:
            spaces[0].put("filler", bytes(20_000))
        before = only(store).log.number
        for number in range(30):
            spaces[0].put("filler", bytes([number]))
        assert only(store).log.number <= before + 1


def test_a_restore_ends_sessions(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data") as store:
        session = store.begin_session()
        store.namespace("acme").numbered(session, 1).append("a", b"x")
        store.backup(tmp_path / "backup")
        assert store.namespace("acme").numbered(session, 1).append("a", b"x") == 1
    holdfast.restore(tmp_path / "backup", tmp_path / "again")
    with holdfast.open(tmp_path / "again") as store:
        with pytest.raises(SessionUnknown):
            store.namespace("acme").numbered(session, 1).append("a", b"x")
        session = store.begin_session()
        assert store.namespace("acme").numbered(session, 1).append("a", b"x") == 2


def test_a_number_whose_write_failed_is_free() -> None:
    disk, clock = Faulty(MemoryDisk(), 1), ManualClock()
    with kept_in(disk, clock) as store:
        ns, session = store.namespace("acme"), store.begin_session()
        ns.numbered(session, 1).append("a", b"x")
        disk.armed = True
        with pytest.raises(StorageFailed):
            ns.numbered(session, 2).append("a", b"y")
        assert ns.get("a") == b"x"
        assert ns.numbered(session, 1).append("a", b"x") == 1
        assert ns.numbered(session, 2).append("a", b"y") == 2
        assert ns.numbered(session, 2).append("a", b"y") == 2
        assert ns.get("a") == b"xy"


def test_two_tries_at_once_are_one() -> None:
    with holdfast.open(":memory:") as store:
        ns, session = store.namespace("acme"), store.begin_session()
        answers: list[int] = []

        def work() -> None:
            for number in range(30):
                size = ns.numbered(session, number).append(f"k{number}", b"x")
                answers.append(size)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [1] * 120
        assert {stat.size for stat in ns.entries()} == {1}


def test_a_number_that_comes_again_waits_for_its_write() -> None:
    """The first try is on its way to the disk: the second is told the same, behind it."""
    disk = Gate(MemoryDisk(), "sync")
    with kept_in(disk, ManualClock()) as store:
        ns, session = store.namespace("acme"), store.begin_session()
        ns.append("a", b"x")
        answers: list[int] = []

        def work() -> None:
            answers.append(ns.numbered(session, 1).append("a", b"y"))

        tries = [threading.Thread(target=work) for _ in range(2)]
        disk.shut = True
        tries[0].start()
        assert disk.entered.wait(30)
        tries[1].start()
        tries[1].join(0.05)  # it has been decided, or will be: it is one either way
        disk.go.set()
        for one in tries:
            one.join(30)
        assert answers == [2, 2]
        assert ns.get("a") == b"xy"


def test_a_number_is_in_the_group_of_its_write() -> None:
    """So that a crash takes both or neither."""
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        ns.numbered(session, 1).append("a", b"x")
        ns.numbered(session, 2).put_many([("b", b"1"), ("c", b"2")])
        (bucket,) = store.placement.directory
        groups = [list(group.records()) for group in bucket.log.groups(bucket.log.number)]
        kinds = [[Type(record.type) for record in group] for group in groups]
        assert [Type.STORE, Type.SESSION] in kinds
        assert [Type.STORE, Type.STORE, Type.SESSION] in kinds


def test_a_session_of_another_life_of_the_store_is_unknown() -> None:
    now = 10**18
    session = new_session(IDENTITY, now, SeededEntropy(1))
    known = Sessions(IDENTITY)
    known.admit(b"n", Once(session, 1, 0), now)
    later = Sessions(Identity(IDENTITY.store, IDENTITY.incarnation + 1))
    with pytest.raises(SessionUnknown):
        later.admit(b"n", Once(session, 1, 0), now)
