"""The suite over gRPC: the same questions again, through the other door."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

import holdfast
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.conformance import Opened, StoreSuite
from holdfast.testing.face import StoreFace
from holdfast.testing.serving import Serving
from tests.conformance.awaited import AwaitedStore, Loop

BUCKET_BYTES = 4 << 20


@contextmanager
def served(clock: ManualClock) -> Iterator[Serving]:
    entropy = SeededEntropy(0)
    with (
        holdfast.open(
            ":memory:", clock=clock, entropy=entropy, upkeep=False, bucket_bytes=BUCKET_BYTES
        ) as store,
        Serving(store, grpc_port=0) as serving,
    ):
        yield serving


@pytest.mark.push
class TestThreads(StoreSuite):
    @pytest.fixture
    def opened(self) -> Iterator[Opened]:
        clock = ManualClock()
        with (
            served(clock) as serving,
            holdfast.connect(serving.rpc_url, token=serving.token(), clock=clock) as store,
        ):
            yield cast("StoreFace", store), clock


@pytest.mark.nightly
class TestAsync(StoreSuite):
    @pytest.fixture
    def opened(self) -> Iterator[Opened]:
        clock, loop = ManualClock(), Loop()
        with served(clock) as serving:
            taken = holdfast.aconnect(serving.rpc_url, token=serving.token(), clock=clock)
            store = AwaitedStore(loop, loop.run(taken))
            yield cast("StoreFace", store), clock
            store.close()
        loop.close()
