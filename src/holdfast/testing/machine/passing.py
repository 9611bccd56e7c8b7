"""Rules of time and upkeep."""
# ruff: noqa: S101 - a machine speaks in assertions

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.limits import TIME_MARK_NS
from holdfast.testing.machine.inputs import MODES, PAUSES_NS, spaces
from holdfast.testing.machine.twins import Twins


class PassingRules(Twins):
    """Waiting, upkeep, closing and opening again."""

    @rule(pause_ns=st.sampled_from(PAUSES_NS))
    def wait(self, pause_ns: int) -> None:
        """Time passes for both."""
        self.clock.advance(pause_ns)

    @rule(space=spaces, which=st.integers(0, 99), offset_ns=st.integers(-1, 1))
    def wait_for_an_expiry(self, space: str, which: int, offset_ns: int) -> None:
        """To the nanosecond, one before and one after."""
        entries = self.model.namespace(space).entries()
        ends = [entry.expires_ns for entry in entries if entry.expires_ns is not None]
        if ends:
            pause_ns = ends[which % len(ends)] + offset_ns - self.clock.wall_ns()
            self.clock.advance(max(0, pause_ns))

    @rule(times=st.integers(1, 20))
    def tick(self, times: int) -> None:
        """Due upkeep; it may collect what is marked."""
        for _ in range(times):
            self.store.tick()
        self.follow_collection()

    @rule(mode=st.sampled_from(MODES))
    def collect(self, mode: str) -> None:
        """Both remove what is marked, and nothing else that can be seen."""
        self.store.collect(mode)
        self.model.collect(mode)

    @rule()
    def rebuild(self) -> None:
        """Views made anew say the same; locks may run their full ttl again, as after opening."""
        self.store.rebuild()
        self.shape_since_ns = self.clock.monotonic_ns()

    @rule()
    def check(self) -> None:
        """Nothing is ever wrong."""
        report = self.store.check()
        assert report.ok, report.problems

    @precondition(lambda self: self.reopens)
    @rule(pause_ns=st.sampled_from(PAUSES_NS))
    def reopen(self, pause_ns: int) -> None:
        """Closed for longer than a time mark reaches, so that both know the same time."""
        self.clock.advance(TIME_MARK_NS + pause_ns)
        self.store = self.reopen_store(self.store)
        self.model.reopen()
        self.life += 1
        self.shape, self.shape_since_ns = self.shape_now(), self.clock.monotonic_ns()
