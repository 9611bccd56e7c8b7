"""Rights at every cut of the disk: what was answered holds, and nothing is used too often."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pytest

from holdfast.access.decide import ANONYMOUS, Ask
from holdfast.bucket.settings import Sync
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import Forbidden, Unauthenticated
from holdfast.identity.keys import NAME as KEY
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, CrashDisk, Mode
from holdfast.values import Grant

USES = 20
SYNCS: tuple[Sync, ...] = ("always", "interval", "never")
LOAD = Ask("acme", "load", "a")


class Answered(NamedTuple):
    """What had been answered when the disk had seen so many points."""

    points: int
    allowed: int
    published: bool
    revoked: bool


class Run(NamedTuple):
    """The recorded run: its disk, its tokens, and what was answered when."""

    disk: CrashDisk
    counted: str
    plain: str
    answers: tuple[Answered, ...]


def opened(disk: Disk, sync: Sync, seed: int) -> Store:
    return open_on(disk, "store", sync=sync, clock=ManualClock(), entropy=SeededEntropy(seed))


def allows(store: Store, token: str, ask: Ask = LOAD) -> bool:
    try:
        principal = store.tokens.verify(token) if token else ANONYMOUS
        store.access.decide(principal, ask)
    except (Forbidden, Unauthenticated):
        return False
    return True


@cache
def recorded(sync: Sync) -> Run:
    disk = CrashDisk(MemoryDisk())
    store = opened(disk, sync, 1)
    counted = store.tokens.issue("counted", [Grant("acme", ("read",), uses=USES)], 600)
    plain = store.tokens.mint("plain", [Grant("acme", ("read",))], 600)
    answers = [Answered(disk.points, 0, published=False, revoked=False)]
    for allowed in range(1, 8):
        assert allows(store, counted)
        answers.append(Answered(disk.points, allowed, published=False, revoked=False))
    store.access.publish("acme", "open/")
    answers.append(Answered(disk.points, 7, published=True, revoked=False))
    store.tokens.revoke(plain.id)
    answers.append(Answered(disk.points, 7, published=True, revoked=True))
    return Run(disk, counted, plain.token, tuple(answers))


@pytest.mark.parametrize("sync", SYNCS)
@pytest.mark.parametrize("mode", MODES)
def test_rights_at_every_cut(sync: Sync, mode: Mode) -> None:
    run = recorded(sync)
    for point in range(run.answers[0].points + 1, run.disk.points + 2):
        answered = [one for one in run.answers if one.points < point][-1]
        at = point if point <= run.disk.points else None  # None: after the last one
        store = opened(run.disk.after_cut(mode, point, at=at), sync, 2)
        left = sum(allows(store, run.counted) for _ in range(USES + 1))
        # One more may have been under way: it was taken, and never answered.
        assert left <= USES - answered.allowed, point
        assert allows(store, "", Ask("acme", "load", "open/a")) or not answered.published, point
        assert not (answered.revoked and allows(store, run.plain)), point
        store.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_key_that_signed_is_there_at_every_cut(mode: Mode) -> None:
    """A token that was handed out is believed after any crash: its key was durable first."""
    disk = CrashDisk(MemoryDisk())
    store = opened(disk, "always", 1)
    began = disk.points
    token = store.tokens.issue("ci", [Grant("acme", ("read",))], 600)
    issued = disk.points
    for point in range(began + 1, issued + 2):
        after = disk.after_cut(mode, point, at=point if point <= issued else None)
        again = opened(after, "always", 2)
        assert allows(again, token) or point <= issued
        assert again.tokens.issue("ci", [Grant("acme", ("read",))], 600)
        assert KEY in after.list("store")
        again.close()
