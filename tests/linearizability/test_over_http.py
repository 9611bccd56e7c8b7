"""Threads on few keys through a server, and through a network that loses answers: one order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

import holdfast
from holdfast.testing.linearizability import UNKNOWN
from holdfast.testing.proxy import Proxy
from holdfast.testing.serving import Serving
from tests.linearizability.driving import Broken, Namespace
from tests.linearizability.test_threads import (
    StaleReads,
    are_linearizable,
    count_of_overlaps,
    histories_of,
)

pytestmark = pytest.mark.push
SEEDS = range(2)


class House(NamedTuple):
    """A network, and a namespace behind it."""

    proxy: Proxy
    namespace: Namespace


@pytest.fixture(params=["relayed", "direct", "small buckets"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    small = request.param == "small buckets"
    with (
        holdfast.open(":memory:", bucket_bytes=(64 if small else 4096) * 1024) as store,
        Serving(store) as serving,
        Proxy(serving.url) as proxy,
        holdfast.connect(
            proxy.url, token=serving.token(), direct=request.param == "direct", timeout=60
        ) as remote,
    ):
        yield House(proxy, remote.namespace("acme"))


class Lossy(Broken):
    """A namespace behind a network that loses an answer now and then, or every connection."""

    def __init__(self, house: House) -> None:
        super().__init__(house.namespace)
        self.proxy = house.proxy
        self.calls = itertools.count(1)

    def __getattr__(self, verb: str) -> Callable[..., object]:
        call: Callable[..., object] = getattr(self.below, verb)

        def lossy(*arguments: object, **options: object) -> object:
            number = next(self.calls)
            if number % 60 == 0:
                self.proxy.lose_answers(1)
            elif number % 250 == 0:
                self.proxy.cut()
            return call(*arguments, **options)

        return lossy


def test_threads_behind_a_server_see_one_order(house: House) -> None:
    for seed in SEEDS:
        histories = histories_of(house.namespace, seed)
        assert count_of_overlaps(histories) > 50, "the threads did not meet: nothing was tested"
        assert are_linearizable(histories), f"seed {seed}"


def test_what_is_lost_on_the_way_breaks_no_order_and_stays_unknown_to_nobody(house: House) -> None:
    for seed in SEEDS:
        histories = histories_of(Lossy(house), seed)
        assert are_linearizable(histories), f"seed {seed}"
        answers = [operation.answer for history in histories.values() for operation in history]
        assert UNKNOWN not in answers
    assert house.proxy.lost > len(SEEDS), "no answer was lost: nothing was tested"


def test_a_seeded_bug_is_caught_here_too(house: House) -> None:
    broken = StaleReads(house.namespace)
    assert any(not are_linearizable(histories_of(broken, seed)) for seed in SEEDS)
