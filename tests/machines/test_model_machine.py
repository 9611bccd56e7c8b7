"""The machine itself: two models agree, and a model with a bug is told apart."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis.stateful import run_state_machine_as_test

from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.face import StoreFace
from holdfast.testing.machine import StoreMachine, machine_settings, search_settings
from holdfast.testing.model import ModelStore
from tests.machines.mutants import STORES

# Found within moments whatever the machine draws; the others may take it seconds.
QUICK = {
    "AfterIsInclusive",
    "AnybodyUnlocks",
    "FencesAreForgotten",
    "HalfOfAnAtomicBatch",
    "KeepTtlCreates",
    "LivesOneNanosecondLonger",
    "LosesAKeyWhenReopened",
    "NegativeRangesWrap",
    "OverwritingForgetsConsumers",
    "RemovesEveryOccurrence",
    "StaleAfterABatch",
}


class ModelMachine(StoreMachine):
    store_type: ClassVar[type[ModelStore]] = ModelStore

    def open_store(self, clock: ManualClock) -> StoreFace:
        return self.store_type(clock, SeededEntropy(2))

    def reopen_store(self, store: StoreFace) -> StoreFace:
        assert isinstance(store, ModelStore)
        store.close()
        store.reopen()
        return store


def test_two_models_agree() -> None:
    run_state_machine_as_test(ModelMachine, settings=machine_settings(examples=60, steps=50))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.push) for name in STORES],
)
def test_a_bug_is_found(name: str) -> None:
    machine = type(f"{name}Machine", (ModelMachine,), {"store_type": STORES[name]})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=search_settings(examples=400, steps=50))
