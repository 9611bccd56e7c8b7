"""The conformance suite of the embedded face: pytest classes that any store inherits.

In: a fixture ``opened`` that answers a store and the ManualClock it was opened
with (and ``reopen`` for DurableSuite), from the inheriting class.
Out: what the store does otherwise than docs/GUARANTEES.md says.
Keeps: nothing.
Must never know: what is behind the face. It asserts no ids, no counts of
buckets, no order between two errors that both apply.
Invariants: every test begins with an empty store and moves time by hand;
comments name the system whose mistake a test comes from.

    class TestMine(StoreSuite):
        @pytest.fixture
        def opened(self):
            clock = ManualClock()
            with holdfast.open(":memory:", clock=clock, upkeep=False) as store:
                yield store, clock
"""
# ruff: noqa: E402 - pytest must be told before it imports the modules whose assertions it rewrites

from __future__ import annotations

import pytest

_PARTS = (
    "appends",
    "base",
    "batches",
    "conditions",
    "consumers",
    "durable",
    "expiry",
    "growth",
    "listing",
    "locks",
    "mapping",
    "objects",
    "stores",
    "streams",
)
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from holdfast.testing.conformance.appends import AppendTests
from holdfast.testing.conformance.base import Opened, SuiteBase
from holdfast.testing.conformance.batches import BatchTests
from holdfast.testing.conformance.conditions import ConditionTests
from holdfast.testing.conformance.consumers import ConsumerTests
from holdfast.testing.conformance.durable import DurableSuite
from holdfast.testing.conformance.expiry import ExpiryTests
from holdfast.testing.conformance.growth import GrowthTests
from holdfast.testing.conformance.listing import ListTests
from holdfast.testing.conformance.locks import LockTests
from holdfast.testing.conformance.mapping import MappingTests
from holdfast.testing.conformance.objects import ObjectTests
from holdfast.testing.conformance.stores import StoreTests
from holdfast.testing.conformance.streams import StreamTests

__all__ = ["DurableSuite", "Opened", "StoreSuite", "SuiteBase"]


class StoreSuite(
    ObjectTests,
    AppendTests,
    ExpiryTests,
    ConditionTests,
    ListTests,
    ConsumerTests,
    LockTests,
    BatchTests,
    StreamTests,
    StoreTests,
    GrowthTests,
    MappingTests,
):
    """Everything that the face promises while the store is open."""
