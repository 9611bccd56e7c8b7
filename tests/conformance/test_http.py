"""The suite over HTTP: the same questions as of the embedded store, asked through a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, cast

import pytest

import holdfast
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.conformance import Opened, StoreSuite
from holdfast.testing.face import NamespaceFace, StoreFace
from holdfast.testing.serving import Serving
from tests.conformance.awaited import AwaitedStore, Loop

pytestmark = pytest.mark.push
SMALL, MEDIUM = 64 << 10, 4 << 20
Options = dict[str, object]


@contextmanager
def served(clock: ManualClock, bucket_bytes: int) -> Iterator[Serving]:
    entropy = SeededEntropy(0)
    with (
        holdfast.open(
            ":memory:", clock=clock, entropy=entropy, upkeep=False, bucket_bytes=bucket_bytes
        ) as store,
        Serving(store) as serving,
    ):
        yield serving


class OverHttp(StoreSuite):
    bucket_bytes: ClassVar[int] = MEDIUM
    direct: ClassVar[bool] = False

    @pytest.fixture
    def opened(self) -> Iterator[Opened]:
        clock = ManualClock()
        with (
            served(clock, self.bucket_bytes) as serving,
            holdfast.connect(
                serving.url, token=serving.token(), direct=self.direct, clock=clock
            ) as store,
        ):
            yield cast("StoreFace", store), clock


class TestRelayed(OverHttp):
    pass


@pytest.mark.nightly
class TestProven(OverHttp):
    """A client that believes nothing without a proof sees the same.

    Only lives end differently where wall time is set: a proof goes by the time it was signed at.
    """

    grows: ClassVar[bool] = True
    bucket_bytes: ClassVar[int] = SMALL

    @pytest.fixture
    def opened(self) -> Iterator[Opened]:
        clock = ManualClock()
        with (
            served(clock, self.bucket_bytes) as serving,
            holdfast.connect(
                serving.url,
                token=serving.token(),
                public_key=serving.store.public_key(),
                clock=clock,
            ) as store,
        ):
            yield cast("StoreFace", store), clock

    def test_wall_time_set_forward_ends_no_life(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.put("a", b"1", ttl=60)
        clock.step_wall(3_600_000_000_000)
        assert not ns.exists("a")

    def test_wall_time_set_back_revives_nothing(
        self, store: StoreFace, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.put("a", b"1", ttl=60)
        clock.advance(60_000_000_000)
        store.tick()
        clock.step_wall(-3_600_000_000_000)
        assert not ns.exists("a")


class TestDirectSmallBuckets(OverHttp):
    grows: ClassVar[bool] = True
    bucket_bytes: ClassVar[int] = SMALL
    direct: ClassVar[bool] = True


class TestAsync(StoreSuite):
    @pytest.fixture
    def opened(self) -> Iterator[Opened]:
        clock, loop = ManualClock(), Loop()
        with served(clock, MEDIUM) as serving:
            taken = holdfast.aconnect(serving.url, token=serving.token(), clock=clock)
            store = AwaitedStore(loop, loop.run(taken))
            yield cast("StoreFace", store), clock
            store.close()
        loop.close()
