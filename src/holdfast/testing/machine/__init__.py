"""The machine: hypothesis drives a store and the model side by side and compares everything.

In: ``open_store`` (and ``reopen_store``) from a subclass; rules, keys, sizes
and times from hypothesis.
Out: a test case that fails, with the steps that lead there, where the store
answers otherwise than the model.
Keeps: both stores, one clock, the versions and locks that both gave.
Must never know: what is behind the face.
Invariants: every rule makes the same call on both and holds the outcomes
against each other, the value or the class of the error; after every rule the
full listings agree. What two right stores may differ in is left open: ids, and
the values of versions and fences, whose order is compared.

Not compared for a while, each for a reason in the rules: locks that the store
may have begun again (opened, rebuilt, split or merged, rule 7); objects that lost their
last consumer and met a tick, whose upkeep may collect; an atomic batch that the
store refuses with CrossBucket.

    class Mine(StoreMachine):
        def open_store(self, clock):
            return holdfast.open(":memory:", clock=clock, upkeep=False)

        reopens = False

    def test_mine():
        run_state_machine_as_test(Mine, settings=machine_settings(examples=20, steps=50))
"""
# ruff: noqa: S101 - a machine speaks in assertions

from __future__ import annotations

from hypothesis.stateful import invariant

from holdfast.testing.machine.holding import HoldingRules
from holdfast.testing.machine.inputs import NAMESPACES
from holdfast.testing.machine.passing import PassingRules
from holdfast.testing.machine.reading import ReadingRules
from holdfast.testing.machine.running import machine_settings, nightly_settings, search_settings
from holdfast.testing.machine.writing import WritingRules

__all__ = ["StoreMachine", "machine_settings", "nightly_settings", "search_settings"]


class StoreMachine(WritingRules, ReadingRules, HoldingRules, PassingRules):
    """All rules. Inherit, bring ``open_store`` (and ``reopen_store``), run."""

    @invariant()
    def shows_the_same(self) -> None:
        """The full listings and the names of namespaces agree after every rule."""
        self.follow_shape()
        for space in NAMESPACES:
            self.compare_entries(space)
        assert list(self.store.namespaces()) == self.model.namespaces()
