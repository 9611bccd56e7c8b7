"""What each process does of a thing that is asked of the whole store.

The supervisor asks all of them and puts together what they answer (gathering.py). Values
go as msgpack of their own types, so each end reads exactly what the other means.

A backup is of one moment, when the commits of all buckets of all processes are held. So it is
asked for in steps, each of all processes before the next of any:

    still    ranges change no more; writers go on
    hold     every bucket's commits are held, and its position is noted
    let_go   they go on; whether they were held until now
    bring    what was noted is copied into the folder
    forget   in place of it, where another process failed

Whoever is not asked to go on in time lets go by itself: no writer waits for a process that died.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

import msgspec

from holdfast.engines.disk import OsDisk
from holdfast.errors import Busy, HoldfastError, StorageFailed
from holdfast.store.question import RENEW, SEARCH, STATUS
from holdfast.upkeep.backup import Noted, Target, held, let_go
from holdfast.upkeep.check import check
from holdfast.upkeep.pacing import paced
from holdfast.upkeep.status import count
from holdfast.values import Progress

if TYPE_CHECKING:
    from holdfast.placement.placement import Placement
    from holdfast.store.store import Store
    from holdfast.values import DeadLetter

STILL_S: Final = 60.0  # how long ranges stay as they are without a backup going on
HELD_S: Final = 2.0  # how long writers may be kept waiting by one
encode = msgspec.msgpack.encode


class Moment:
    """The commits of one process's buckets, held while the others hold theirs.

    Locks belong to threads, so one thread takes them all and gives them back.
    """

    def __init__(self, placement: Placement) -> None:
        self.noted: list[Noted] = []
        self.was_kept = False
        self._placement = placement
        self._error: HoldfastError | None = None
        self._still, self._hold, self._held, self._go_on = Event(), Event(), Event(), Event()
        self._thread = Thread(target=self._run, name="holdfast-moment", daemon=True)
        self._thread.start()
        self._still.wait()

    def hold(self) -> None:
        """Hold every commit and note where each bucket is; StorageFailed where one is broken."""
        self._hold.set()
        self._held.wait()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Let writers go on."""
        self._go_on.set()
        self._hold.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._placement.changing:
                self._still.set()
                if not self._hold.wait(STILL_S) or self._go_on.is_set():
                    return
                with held(self._placement) as self.noted:
                    self._held.set()
                    self.was_kept = self._go_on.wait(HELD_S)
        except HoldfastError as error:
            self._error = error
        finally:
            self._still.set()
            self._held.set()


class Parts:
    """Answers the supervisor for one process.

    Args:
        store: the part of the store that this process holds.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._moment: Moment | None = None
        self._noted: list[Noted] = []
        self.methods: dict[str, Callable[..., Any]] = {
            "part.count": self._count,
            "part.check": self._check,
            "part.collect": lambda mode: encode(store.collect(mode)),
            "part.rebuild": store.rebuild,
            "part.tick": store.tick,
            "part.flush": lambda: encode(store.flush()),
            "part.letters": self._letters,
            "part.told": self._told,
            "part.still": self._stand_still,
            "part.hold": self._hold,
            "part.let_go": self._let_go,
            "part.bring": self._bring,
            "part.forget": self._forget,
            SEARCH: self._search,
            RENEW: self._renew,
            STATUS: lambda namespace: encode(store.searcher.standing(namespace)),
        }

    def _count(self) -> bytes:
        store = self._store
        return encode(count(store.placement.directory, store.search_behind()))

    def _search(self, told: bytes, start: bytes, stop: bytes, weighed: bytes) -> bytes:
        return self._store.searcher.answering.portion(told, start, stop, weighed)

    def _renew(self, namespace: str) -> None:
        self._store.searcher.renew(namespace)

    def _told(self) -> bytes:
        store = self._store
        return encode((store.soon.died(), store.upkeep.scrub.problems))

    def _letters(self) -> bytes:
        letters: list[DeadLetter] = self._store.dead_letters()
        return encode(letters)

    def _check(self, repair: bool) -> bytes:  # noqa: FBT001 - as of check
        return encode(check(self._store.placement, repair=repair, progress=Progress()))

    # -- a backup -----------------------------------------------------------------------

    def _stand_still(self) -> None:
        self._forget()
        self._moment = Moment(self._store.placement)

    def _hold(self) -> None:
        if self._moment is None:
            raise Busy
        self._moment.hold()

    def _let_go(self) -> bool:
        moment, self._moment = self._moment, None
        if moment is None:
            return False
        moment.end()
        self._noted = moment.noted
        return moment.was_kept

    def _bring(self, path: str) -> bytes:
        noted, self._noted = self._noted, []
        store = self._store
        pace = paced()
        target = Target(OsDisk(), path, links=True, pace=pace)
        try:
            return encode(target.bring(noted, store.placement.settings.identity))
        except OSError as error:
            raise StorageFailed.of(error, path=error.filename or path) from error

    def _forget(self) -> None:
        self._let_go()
        noted, self._noted = self._noted, []
        let_go(noted)
