"""What every part of the suite stands on: the fixtures, and a few words for its tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import pytest

from holdfast.limits import SECOND_NS
from holdfast.testing.clock import ManualClock
from holdfast.testing.face import NamespaceFace, StoreFace

Opened = tuple[StoreFace, ManualClock]


class SuiteBase:
    """Fixtures over ``opened``, which the inheriting class brings: a store and its clock.

    ``grows`` says that the store cuts itself into buckets of 64 KiB, so that
    the tests of growth have something to see.
    """

    grows: ClassVar[bool] = False

    @pytest.fixture
    def store(self, opened: Opened) -> StoreFace:
        """The store under test."""
        return opened[0]

    @pytest.fixture
    def clock(self, opened: Opened) -> ManualClock:
        """The clock that it was opened with."""
        return opened[1]

    @pytest.fixture
    def ns(self, store: StoreFace) -> NamespaceFace:
        """A namespace that holds nothing yet."""
        return store.namespace("acme")


def pass_seconds(clock: ManualClock, seconds: float) -> None:
    """Let time pass."""
    clock.advance(round(seconds * SECOND_NS))


def fill(ns: NamespaceFace, keys: Iterable[str]) -> None:
    """Store every key with its own name as its value."""
    ns.put_many([(key, key.encode()) for key in keys])


def patterned(size: int, seed: int = 1) -> bytes:
    """``size`` bytes that differ by place and by seed, so that a shifted slice shows."""
    line = b"".join(
        ((at * 2654435761 + seed) % (1 << 32)).to_bytes(4, "little") for at in range(1024)
    )
    return (line * (size // len(line) + 1))[:size]
