"""A store proves what it holds, through everything that happens to it; and a lying one is caught.

Whatever a store does (split, merge, collect, expire, rebuild, crash, restore), a client that
has its public key and remembers one root is convinced of what is there and of what is not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from random import Random
from typing import Any

import pytest

import holdfast
from holdfast import Namespace, NotFound, ProofInvalid, Store
from holdfast.certify import receipts, roots, watch
from holdfast.certify.absorb import Absorbed
from holdfast.certify.parts import Parts
from holdfast.certify.trie import digest_of
from holdfast.certify.verify import verify_parts
from holdfast.certify.watch import History, Seen
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import InvalidValue
from holdfast.store.opening import open_on
from holdfast.store.restore import restore_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import CrashDisk

LEAST = 64 * 1024
SECOND_NS = 1_000_000_000


SEEDS = count()  # a store that is opened again draws other ids


@contextmanager
def opened(
    disk: Disk | None = None, clock: ManualClock | None = None, path: str = "store"
) -> Iterator[Store]:
    with open_on(
        MemoryDisk() if disk is None else disk,
        path,
        bucket_bytes=LEAST,
        sync="always",
        clock=clock or ManualClock(),
        entropy=SeededEntropy(next(SEEDS)),
    ) as store:
        yield store


class Client:
    """Somebody outside: has the public key, remembers the newest root, believes nothing else."""

    def __init__(self, store: Store) -> None:
        self.key = store.public_key()
        self.revision = 0
        self.seen: Seen | None = None

    def check(self, name: str, key: str, value: bytes | None, proof: bytes) -> None:
        said = holdfast.verify(
            name, key, value, proof, public_key=self.key, min_revision=self.revision
        )
        self.revision = said.revision

    def check_list(self, name: str, prefix: str, proof: bytes) -> list[str]:
        said = holdfast.verify_list(
            name, prefix, proof, public_key=self.key, min_revision=self.revision
        )
        return list(said)

    def look(self, store: Store) -> list[watch.Finding]:
        seal = store.certifier.seal()
        root = roots.verify(seal.message, self.key)
        now = watch.seen_of(seal.message, root)
        history = History()
        if self.seen is not None and now.revision > self.seen.revision:
            with suppress(InvalidValue):
                history = store.certifier.history(self.seen, now)
        found = watch.judge(self.seen, now, history, wall_ns=store.clock.wall_ns())
        if found in ([], ["restore"]):
            self.seen = now
        return found


def hold(client: Client, space: Namespace, values: dict[str, bytes], chance: Random) -> None:
    """What is there is proved, so is what is not, and every list is whole."""
    keys = chance.sample(sorted(values), min(len(values), 12))
    for key in keys:
        proven = space.get(key, prove=True)
        assert proven.value == values[key]
        client.check(space.name, key, values[key], proven.proof)
    for key in (f"{key}!" for key in [*keys[:4], "", "zzz"]):
        with pytest.raises(NotFound) as absent:
            space.get(key, prove=True)
        proof = absent.value.proof
        assert isinstance(proof, bytes)
        client.check(space.name, key, None, proof)
    for prefix in ("", "k0", "nothing"):
        proof = space.prove_list(prefix).proof
        wanted = sorted(key for key in values if key.startswith(prefix))
        assert client.check_list(space.name, prefix, proof) == wanted
    assert client.look(space._store) == []


def tree_of(store: Store) -> dict[bytes, bytes]:
    """The digests of every namespace in every bucket, absorbed from nothing."""
    pieces = store.certifier._absorbing.pieces
    found = {}
    for bucket in store.placement.directory:
        absorbed = Absorbed(bucket, pieces)
        absorbed.catch_up()
        for name, made in absorbed.tries.items():
            found[bucket.id.encode() + name] = digest_of(made)
    return found


def tree_kept(store: Store) -> dict[bytes, bytes]:
    """The same as the certifier keeps it, which came there change by change."""
    store.certifier.seal()
    return {
        piece.bucket.id.encode() + name: digest_of(made)
        for piece in store.certifier._absorbing.absorbed.values()
        for name, made in piece.tries.items()
    }


class Life:
    """A store, what it should hold, and what may happen to it."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.clock = ManualClock()
        self.disk = CrashDisk()
        self.values: dict[str, bytes] = {}
        self.gone: dict[str, int] = {}
        self.store = self._open(self.disk)
        self.client = Client(self.store)

    def _open(self, disk: Disk) -> Store:
        manager = opened(disk, self.clock)
        self._manager = manager
        return manager.__enter__()

    def close(self) -> None:
        self._manager.__exit__(None, None, None)

    def step(self) -> None:
        doing = [self.put, self.put, self.delete, self.append, self.expire]
        doing += [self.collect, self.shrink, self.rebuild, self.reopen, self.crash]
        self.chance.choice(doing)()
        self._forget_expired()

    def key(self) -> str:
        return f"k{self.chance.randrange(400):03d}"

    def put(self) -> None:
        pairs = {self.key(): self.chance.randbytes(900) for _ in range(60)}
        self.store.namespace("acme").put_many(pairs)
        self.store.namespace("other").put("k000", self.chance.randbytes(9))
        self.values |= pairs
        for key in pairs:
            self.gone.pop(key, None)

    def delete(self) -> None:
        for key in self.chance.sample(sorted(self.values), len(self.values) // 3):
            self.store.namespace("acme").delete(key)
            self._forget(key)

    def append(self) -> None:
        key, more = self.key(), self.chance.randbytes(50)
        self.store.namespace("acme").append(key, more)
        self.values[key] = self.values.get(key, b"") + more

    def expire(self) -> None:
        key, value = self.key(), self.chance.randbytes(40)
        self.store.namespace("acme").put(key, value, ttl=5, content_type="text/plain")
        self.values[key] = value
        self.gone[key] = self.clock.wall_ns() + 5 * SECOND_NS
        self.clock.advance(2 * SECOND_NS)

    def collect(self) -> None:
        self.store.collect()

    def shrink(self) -> None:
        for key in sorted(self.values)[3:]:
            self.store.namespace("acme").delete(key)
            self._forget(key)
        self.store.collect()
        for _ in range(20):
            self.clock.advance(SECOND_NS)
            self.store.tick(1.0)

    def rebuild(self) -> None:
        self.store.rebuild()

    def reopen(self) -> None:
        self.close()
        self.store = self._open(self.disk)

    def crash(self) -> None:
        after = self.disk.after_cut("dropped", self.chance.randrange(1_000))
        self.close()
        self.disk = CrashDisk(after)
        self.store = self._open(self.disk)

    def _forget(self, key: str) -> None:
        self.values.pop(key, None)
        self.gone.pop(key, None)

    def _forget_expired(self) -> None:
        now = self.clock.wall_ns()
        for key in [key for key, until in self.gone.items() if until <= now + SECOND_NS]:
            self.clock.advance(2 * SECOND_NS)
            self._forget(key)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.push)])
def test_a_life_is_proved_at_every_step(seed: int) -> None:
    assert live(seed) > 1  # there was growth to be proved through


def live(seed: int) -> int:
    """One life, proved after each step; how many buckets it had at most."""
    life = Life(seed)
    most = 0
    for _ in range(25):
        life.step()
        hold(life.client, life.store.namespace("acme"), life.values, life.chance)
        assert tree_kept(life.store) == tree_of(life.store)
        most = max(most, len(life.store.placement.directory))
    life.close()
    return most


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_lives_are_proved(seed: int) -> None:
    live(seed)


def test_a_value_of_any_size_is_proved() -> None:
    with opened() as store:
        space, client = store.namespace("acme"), Client(store)
        values = {"empty": b"", "large": bytes(3 << 20) + b"tail", "whole": bytes(2 << 20)}
        for key, value in values.items():
            space.put(key, value)
        space.append("large", b"more")
        values["large"] += b"more"
        for key, value in values.items():
            client.check("acme", key, value, space.prove(key).proof)
        assert client.check_list("acme", "", space.prove_list().proof) == sorted(values)


def test_a_sealed_proof_may_be_older_and_is_never_wrong() -> None:
    clock = ManualClock()
    with opened(clock=clock) as store:
        space, client = store.namespace("acme"), Client(store)
        space.put("a", b"1")
        first = space.get("a", prove="sealed")
        clock.advance(5 * SECOND_NS)
        space.put("b", b"2")
        again = space.get("a", prove="sealed")
        assert (again.revision, again.time_ns) == (first.revision, first.time_ns)
        fresh = space.get("a", prove=True)
        assert fresh.revision > first.revision
        assert fresh.time_ns - first.time_ns == 5 * SECOND_NS
        space.put("a", b"3")
        newer = space.get("a", prove="sealed")  # the seal says what is no longer there
        assert newer.value == b"3"
        client.check("acme", "a", b"3", newer.proof)


def test_what_expired_a_moment_ago_is_proved_absent() -> None:
    clock = ManualClock()
    with opened(clock=clock) as store:
        space, client = store.namespace("acme"), Client(store)
        space.put("a", b"1", ttl=0.5)
        client.check("acme", "a", b"1", space.prove("a").proof)
        clock.advance(SECOND_NS // 2)  # nothing is written, and the seal is young
        assert space.prove("a").value is None
        client.check("acme", "a", None, space.prove("a").proof)
        space.put("b", b"1", ttl=0.5)
        assert client.check_list("acme", "", space.prove_list().proof) == ["b"]
        clock.advance(SECOND_NS // 2)
        assert client.check_list("acme", "", space.prove_list().proof) == []


def test_a_proof_says_how_it_is_asked_for() -> None:
    with opened() as store:
        space = store.namespace("acme")
        space.put("a", b"1")
        with pytest.raises(InvalidValue, match="prove"):
            space.get("a", prove="later")  # type: ignore[call-overload]


def test_nothing_is_made_before_a_proof_is_asked_for() -> None:
    with opened() as store:
        store.namespace("acme").put("a", b"1")
        assert store.namespace("acme").get("a") == b"1"
        assert store._certifier is None
        assert store.namespaces() == ["acme"]
        store.namespace("acme").prove("a")
        assert store.namespaces() == ["acme"]


def test_one_seal_serves_all_who_wait() -> None:
    with opened() as store:
        space, client = store.namespace("acme"), Client(store)
        space.put_many({f"k{number}": b"%d" % number for number in range(40)})
        proofs: dict[str, bytes] = {}

        def ask(key: str) -> None:
            proofs[key] = space.get(key, prove=True).proof

        asking = [threading.Thread(target=ask, args=(f"k{number}",)) for number in range(8)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        for number in range(8):
            client.revision = 0
            client.check("acme", f"k{number}", b"%d" % number, proofs[f"k{number}"])


def test_writers_go_on_while_proofs_are_made() -> None:
    with opened() as store:
        space, client = store.namespace("acme"), Client(store)

        def write() -> None:
            for number in range(1_000):
                space.put(f"k{number % 50:02d}", b"%d" % number)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(20):
                proven = space.prove(f"k{number * 3:02d}")
                client.check("acme", f"k{number * 3:02d}", proven.value, proven.proof)
        finally:
            writer.join()


def test_history_and_receipts_of_signed_roots() -> None:
    clock = ManualClock()
    with opened(clock=clock) as store:
        space, client = store.namespace("acme"), Client(store)
        revisions = []
        for number in range(9):
            space.put("a", b"%d" % number)
            assert client.look(store) == []
            revisions.append(space.prove("a").revision)
        for revision in revisions:
            receipt, message = store.certifier.receipt(revision)
            receipts.verify(receipt, leaf=message, key=client.key)
            assert roots.verify(message, client.key).revision == revision
            with pytest.raises(ProofInvalid):
                receipts.verify(receipt, leaf=message + b"\x00", key=client.key)
        with pytest.raises(NotFound):
            store.certifier.receipt(revisions[-1] + 1)
        assert client.seen is not None
        with pytest.raises(InvalidValue):
            store.certifier.history(client.seen, client.seen)


def test_a_restore_is_declared_and_revisions_go_on() -> None:
    disk, clock = CrashDisk(), ManualClock()
    with opened(disk, clock) as store:
        space, client = store.namespace("acme"), Client(store)
        space.put("a", b"1")
        assert client.look(store) == []
        store.backup("backup")
        space.put("a", b"2")
        assert client.look(store) == []
        key = disk.open("store/signing-key.pem")
        kept = key.read(0, key.size())
        key.close()
    restore_on(disk, "backup", "again")
    file = disk.open("again/signing-key.pem", create=True)
    file.write(0, (kept,))
    file.close()
    with opened(disk, clock, "again") as store:
        assert client.look(store) == ["restore"]
        client.check("acme", "a", b"1", store.namespace("acme").prove("a").proof)
        assert client.look(store) == []


# -- a store that lies -----------------------------------------------------------------


def test_an_older_state_shown_again_is_caught() -> None:
    disk, clock = CrashDisk(), ManualClock()
    with opened(disk, clock) as store:
        space, client = store.namespace("acme"), Client(store)
        space.put("a", b"1")
        old = space.prove("a")
        client.check("acme", "a", b"1", old.proof)
        space.put("a", b"2")
        client.check("acme", "a", b"2", space.prove("a").proof)
        for claimed in (b"1", b"2", None):
            with pytest.raises(ProofInvalid):
                client.check("acme", "a", claimed, old.proof)


def test_a_wrong_value_or_a_hidden_key_is_caught() -> None:
    with opened() as store:
        space, client = store.namespace("acme"), Client(store)
        space.put_many({"a": b"1", "b": b"2", "c": b"3"})
        store.namespace("other").put("b", b"2")
        there, absent = space.prove("b").proof, space.prove("bb").proof
        for claimed in (b"3", None):
            with pytest.raises(ProofInvalid):
                client.check("acme", "b", claimed, there)
        with pytest.raises(ProofInvalid):
            client.check("acme", "b", None, absent)
        with pytest.raises(ProofInvalid):
            client.check("other", "b", None, there)


def test_a_store_that_was_put_back_silently_is_caught() -> None:
    disk, clock = CrashDisk(), ManualClock()
    with opened(disk, clock) as store:
        space, client = store.namespace("acme"), Client(store)
        space.put("a", b"1")
        assert client.look(store) == []
    before = disk.after_cut("kept", 0)
    with opened(disk, clock) as store:
        for number in range(4):
            store.namespace("acme").put("a", b"%d" % number)
            assert client.look(store) == []
    with opened(CrashDisk(before), clock) as store:
        space = store.namespace("acme")
        assert client.look(store) == ["rollback"]
        for number in range(9):  # on, past what the client has seen
            space.put("a", b"other %d" % number)
            store.certifier.seal()
        assert client.look(store) == ["fork"]


def test_upkeep_reads_on_so_that_a_seal_has_little_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    absorb = Absorbed._absorb

    def counted(self: Absorbed, changes: Any, unsaid: Any, group: Any) -> None:  # noqa: ANN401
        read.append(group.head.records)
        absorb(self, changes, unsaid, group)

    monkeypatch.setattr(Absorbed, "_absorb", counted)
    with holdfast.open(":memory:", upkeep=False) as store:
        space, client = store.namespace("acme"), Client(store)
        store.certifier.seal()
        values = {f"k{number:04d}": b"v" * 8 for number in range(3_000)}
        for key, value in values.items():
            space.put(key, value)
        space.append("k0001", b"w")
        values["k0001"] += b"w"
        space.delete("k0002")
        del values["k0002"]
        for _ in range(100):
            store.tick(60)
        followed = sum(read)
        assert followed >= len(values)
        hold(client, space, values, Random(7))
        assert sum(read) - followed < 100  # of what the store itself wrote since
        assert tree_of(store) == tree_kept(store)


@pytest.mark.parametrize("size", [0, 5, 1 << 20, (3 << 20) + 17])
def test_a_range_is_proved_by_the_parts_that_it_reaches_into(size: int) -> None:
    value = Random(size).randbytes(size)
    with holdfast.open(":memory:", upkeep=False) as store:
        space, key = store.namespace("acme"), store.public_key()
        space.put("film", value)
        for start, stop in ((0, 1), (size // 2, size), (max(size - 1, 0), size + 9)):
            some = space.get("film", range=(start, stop), prove=True)
            assert some.value is not None
            parts = Parts(some.first, some.value, some.paths)
            said = verify_parts("acme", "film", parts, some.proof, public_key=key)
            assert said.size == size
            assert parts.data[start - parts.start : stop - parts.start] == value[start:stop]
            assert len(parts.data) <= -(-(stop - start) // (1 << 20)) + 1 << 20
            wrong = Parts(some.first, some.value[:-1] + b"!" + some.value[-1:], some.paths)
            with pytest.raises(ProofInvalid):
                verify_parts("acme", "film", wrong, some.proof, public_key=key)
        with pytest.raises(NotFound) as absent:
            space.get("nothing", range=(0, 1), prove=True)
        assert isinstance(absent.value.proof, bytes)
        with pytest.raises(InvalidValue):
            space.get("film", range=(2, 1), prove=True)
