"""The suite over the model: what the oracle of the machines says is what the suite asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance import DurableSuite, Opened, StoreSuite
from holdfast.testing.conformance.durable import Reopen
from holdfast.testing.face import StoreFace
from holdfast.testing.model import ModelStore


class TestModel(StoreSuite, DurableSuite):
    @pytest.fixture
    def opened(self) -> Iterator[Opened]:
        clock = ManualClock()
        with ModelStore(clock) as store:
            yield store, clock

    @pytest.fixture
    def reopen(self) -> Reopen:
        def again(store: StoreFace) -> StoreFace:
            assert isinstance(store, ModelStore)
            store.close()
            store.reopen()
            return store

        return again


def test_no_part_of_the_suite_hides_a_test_of_another() -> None:
    names = Counter(
        name
        for part in (*StoreSuite.__mro__, DurableSuite)
        for name in vars(part)
        if name.startswith("test_")
    )
    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) > 120
