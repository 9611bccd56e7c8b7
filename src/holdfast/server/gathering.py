"""Puts together what all processes of a store answer to what is asked of the whole of it.

Runs in the supervisor. While something is asked, no range changes hands, so each bucket is
seen once and none is missed; a process that has just died is waited for, as anybody's call does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from holdfast.engines.disk import OsDisk
from holdfast.errors import Busy, HoldfastError, InvalidValue, StorageFailed
from holdfast.limits import SECOND_NS
from holdfast.server.figures import Figures, Place
from holdfast.server.whole_money import MoneyGathering
from holdfast.upkeep.backup import Target
from holdfast.upkeep.manifest import Part, manifest_of
from holdfast.upkeep.status import Counted, figures_of
from holdfast.values import CheckReport, CollectReport, DeadLetter, Problem

if TYPE_CHECKING:
    from holdfast.clock import Clock
    from holdfast.server.link import SocketLink

encode = msgspec.msgpack.encode
T = TypeVar("T")


class Gathering:
    """Asks every process and tells the sum.

    Args:
        links: the ways to all of them, in the order of their ranges.
        clock: tells how long it took.
    """

    def __init__(self, links: Sequence[SocketLink], clock: Clock) -> None:
        self._links = links
        self._clock = clock
        self._moving = Lock()
        self._asked = 0
        self._backing_up = Lock()
        self._counting = Lock()
        self._places = [Place() for _ in links]
        self._methods: dict[str, Callable[..., Any]] = {
            "status": self._status,
            "check": self._check,
            "collect": self._collect,
            "rebuild": lambda: self._do("part.rebuild"),
            "tick": lambda budget_s: self._do("part.tick", budget_s),
            "flush": lambda: encode(self._letters("part.flush")),
            "letters": lambda: encode(self._letters("part.letters")),
            "backup": self._backup,
            "figures": self._figures,
            **MoneyGathering(self._each, lambda at, *asked: links[at].ask(*asked)).methods,
        }

    def answer(self, method: str, arguments: Sequence[Any]) -> Any:  # noqa: ANN401 - the method's
        """Do what ``whole.py`` asks; errors of any process are raised."""
        known = self._methods.get(method)
        if known is None:
            raise InvalidValue(argument="method", reason="not known")
        with self._moving:
            self._asked += 1
        try:
            return known(*arguments)
        finally:
            with self._moving:
                self._asked -= 1

    def close(self) -> None:
        """Let go of the ways."""
        for link in self._links:
            link.close()

    @contextmanager
    def moving(self) -> Iterator[bool]:
        """Whether ranges may change hands now; nothing is asked of the whole until it is left."""
        with self._moving:
            yield not self._asked

    def _each(self, method: str, *arguments: object) -> list[Any]:
        """What all processes answer, in the order of their ranges, once the last one has."""
        with ThreadPoolExecutor(len(self._links), "holdfast-gather") as pool:
            waiting = [pool.submit(link.ask, method, *arguments) for link in self._links]
        return [one.result() for one in waiting]

    def _do(self, method: str, *arguments: object) -> None:
        """Have all processes do something that tells nothing."""
        self._each(method, *arguments)

    def _told(self, kind: type[T], method: str, *arguments: object) -> list[T]:
        told = self._each(method, *arguments)
        return [msgspec.msgpack.decode(one, type=kind) for one in told]

    # -- what can be asked -----------------------------------------------------------------

    def _status(self) -> bytes:
        counted = [one for told in self._told(list[Counted], "part.count") for one in told]
        told = self._told(tuple[int, list[Problem]], "part.told")
        problems = [problem for _, found in told for problem in found]
        return encode(figures_of(counted, sum(died for died, _ in told), problems))

    def _letters(self, method: str) -> list[DeadLetter]:
        return [letter for told in self._told(list[DeadLetter], method) for letter in told]

    def _check(self, repair: bool) -> bytes:  # noqa: FBT001 - as of check
        told = self._told(CheckReport, "part.check", repair)
        report = CheckReport(
            all(one.ok for one in told),
            tuple(problem for one in told for problem in one.problems),
            sum(one.buckets for one in told),
            sum(one.records for one in told),
        )
        return encode(report)

    def _collect(self, mode: str) -> bytes:
        began_ns = self._clock.monotonic_ns()
        told = self._told(CollectReport, "part.collect", mode)
        report = CollectReport(
            sum(one.bytes_freed for one in told),
            sum(one.bytes_moved for one in told),
            sum(one.segments for one in told),
            mode,
            (self._clock.monotonic_ns() - began_ns) / SECOND_NS,
            sum(one.removed for one in told),
        )
        return encode(report)

    def _figures(self) -> bytes:
        """What all processes have counted; one that does not answer is told as it was last seen."""
        with ThreadPoolExecutor(len(self._links), "holdfast-gather") as pool:
            found = list(pool.map(_figures_of, self._links))
        with self._counting:
            return encode(list(map(Place.seen, self._places, found)))

    # -- a backup --------------------------------------------------------------------------

    def _backup(self, path: str) -> None:
        """One moment of all processes (rule 17): parts.py says in which steps."""
        if not self._backing_up.acquire(blocking=False):
            raise Busy(reason="another backup is being made")
        try:
            target = Target(OsDisk(), path, links=True, pace=lambda: None)
            target.begin()
            try:
                self._note()
                target.finish(manifest_of(self._told(Part, "part.bring", path)))
            except BaseException:
                self._forget()
                target.clear()
                raise
        except OSError as error:
            raise StorageFailed.of(error, path=error.filename or path) from error
        finally:
            self._backing_up.release()

    def _note(self) -> None:
        """Have every process note where its buckets are while all of them hold their commits."""
        self._each("part.still")
        self._each("part.hold")
        if not all(self._each("part.let_go")):
            raise Busy(reason="the commits of all processes could not be held at once")

    def _forget(self) -> None:
        for link in self._links:
            with suppress(HoldfastError):
                link.ask("part.forget")


def _figures_of(link: SocketLink) -> Figures | None:
    try:
        return msgspec.msgpack.decode(link.ask("part.figures"), type=Figures)
    except HoldfastError:
        return None
