"""A client that remembers one root catches a store that rolls back, forks or is restored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from holdfast.certify import roots, watch
from holdfast.certify.merkle import MerkleLog
from holdfast.certify.roots import SignedRoot
from holdfast.certify.watch import History, Seen
from holdfast.errors import ProofInvalid
from tests.rooms.certify.making import KEY, NOW_NS, PUBLIC, SECOND_NS, STORE


@dataclass
class Notary:
    """A store's sequencer: signs roots, each over the log of those before it."""

    log: MerkleLog = field(default_factory=MerkleLog)
    messages: list[bytes] = field(default_factory=list)
    incarnation: int = 0
    revision: int = 0

    def sign(self, mark: int = 0, time_ns: int | None = None) -> Seen:
        self.revision += 1
        when = NOW_NS + self.revision if time_ns is None else time_ns
        place = (self.incarnation, self.revision, when)
        log = (len(self.log), self.log.root())
        message = roots.sign(SignedRoot(STORE, *place, bytes([mark]) * 32, *log), KEY)
        self.messages.append(message)
        self.log.append(message)
        return watch.seen_of(message, roots.verify(message, PUBLIC))

    def history(self, before: Seen, now: Seen) -> History:
        older = before.log_size
        consistency = self.log.prove_consistency(older, now.log_size) if older else []
        inclusion = self.log.prove_inclusion(older, now.log_size)
        return History(tuple(consistency), tuple(inclusion))


def judge(before: Seen | None, now: Seen, history: History) -> list[watch.Finding]:
    return watch.judge(before, now, history, wall_ns=NOW_NS + SECOND_NS)


@pytest.mark.parametrize("first", range(1, 9))
@pytest.mark.parametrize("more", [1, 2, 3, 8])
def test_an_honest_store_is_believed(first: int, more: int) -> None:
    notary = Notary()
    before = [notary.sign() for _ in range(first)][-1]
    now = [notary.sign() for _ in range(more)][-1]
    assert judge(None, before, History()) == []
    assert judge(before, before, History()) == []
    assert judge(before, now, notary.history(before, now)) == []
    assert watch.compare(now, before, notary.history(before, now)) == []


def test_a_rollback_is_caught() -> None:
    notary = Notary()
    earlier, now = notary.sign(), notary.sign()
    assert judge(now, earlier, History())[:1] == ["rollback"]


@pytest.mark.parametrize("shared", range(6))
def test_a_fork_is_caught(shared: int) -> None:
    notary, twin = Notary(), Notary()
    for _ in range(shared):
        notary.sign(), twin.sign()
    mine, theirs = notary.sign(mark=1), twin.sign(mark=2)
    assert judge(mine, theirs, History()) == ["fork"]
    later = [twin.sign() for _ in range(3)][-1]
    assert judge(mine, later, twin.history(theirs, later)) == ["fork"]
    assert watch.compare(later, mine, twin.history(theirs, later)) == ["fork"]
    assert judge(mine, later, History()) == ["fork"]


def test_a_restore_that_goes_on_as_if_nothing_was_is_a_fork() -> None:
    notary = Notary()
    for _ in range(3):
        notary.sign()
    copy = Notary(MerkleLog(), [], 0, notary.revision)
    for message in notary.messages:
        copy.log.append(message)
    seen = [notary.sign(mark=1) for _ in range(2)][-1]
    assert judge(seen, copy.sign(), History())[:1] == ["rollback"]
    later = [copy.sign() for _ in range(5)][-1]
    assert judge(seen, later, copy.history(seen, later)) == ["fork"]


def test_a_declared_restore_is_a_fact() -> None:
    notary = Notary()
    seen = notary.sign()
    again = Notary(incarnation=1, revision=1 << roots.INCARNATION_BITS)
    now = again.sign(time_ns=NOW_NS + SECOND_NS)
    assert judge(seen, now, History()) == ["restore"]
    assert judge(now, seen, History())[:1] == ["rollback"]


def test_a_clock_out_of_bounds_is_told() -> None:
    notary = Notary()
    seen = notary.sign()
    back = notary.sign(time_ns=NOW_NS - 1)
    assert judge(seen, back, notary.history(seen, back)) == ["clock"]
    ahead = notary.sign(time_ns=NOW_NS + 120 * SECOND_NS)
    assert judge(None, ahead, History()) == ["clock"]
    assert judge(seen, ahead, notary.history(seen, ahead)) == ["clock"]


def test_another_store_is_another_store() -> None:
    seen = Notary().sign()
    assert judge(seen, replace(seen, store="00" * 16), History()) == ["store"]


def test_the_file_says_what_was_seen() -> None:
    seen = Notary().sign()
    assert watch.decode(seen.encode()) == seen
    for wrong in (b"", b"[]", b"{}", seen.encode()[:-9], seen.encode().replace(b'"0', b'"zz', 1)):
        with pytest.raises(ProofInvalid, match="encoding"):
            watch.decode(wrong)
    with pytest.raises(ProofInvalid, match="encoding"):
        watch.decode(replace(seen, root="00").encode())
    with pytest.raises(ProofInvalid, match="encoding"):
        watch.decode(seen.encode().replace(b'"revision": 1', b'"revision": true'))
