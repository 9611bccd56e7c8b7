"""Holdfast, opened as anybody opens it; the only file here that looks inside."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import holdfast
from bench.compare.engine import Durability, Engine, Key, Setting
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.printing import PRINTS_LEAST
from holdfast.engines.disk import OsDisk
from holdfast.log.log import Position
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing import ManualClock
from holdfast.testing.clock import SeededEntropy
from holdfast.testing.disk import CountingDisk

_NAMESPACE = "bench"
_NOW_NS = 1_700_000_000 * 1_000_000_000  # any moment will do


class Ours(Engine):
    """One Holdfast store with one namespace."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Open with the defaults, but for what the setting says."""
        own: dict[str, Any] = {"sync": setting.durability}
        if setting.bucket_bytes is not None:
            own["bucket_bytes"] = setting.bucket_bytes
        if setting.upkeep is not None:
            own["upkeep"] = setting.upkeep
        self.store = holdfast.open(folder, **own)
        self.namespace = self.store.namespace(_NAMESPACE)
        self.put = self.namespace.put
        self.put_many = self.namespace.put_many
        self.get = self.namespace.get

    @staticmethod
    def native(key: str) -> Key:
        """Text: Holdfast's keys are UTF-8, and the encoding is ours to pay."""
        return key

    def list(self, prefix: Key, count: int) -> list[Key]:
        """One prefix list."""
        return list(self.namespace.list(prefix, limit=count))

    def warm(self) -> None:
        """Upkeep builds the fingerprints in front of the index after an open; let it finish."""
        while any(lacks_prints(bucket) for bucket in self.store.placement.directory):
            self.store.tick(1)

    def overlay_keys(self) -> int | None:
        """Entries of all buckets' overlays; not on the public face."""
        return overlay_keys(self.store)

    def close(self) -> None:
        """Close: the last checkpoint is taken here."""
        self.store.close()


def lacks_prints(bucket: Bucket) -> bool:
    """Whether a bucket is large enough for fingerprints and does not have them all yet."""
    return bucket.prints is None and bucket.view_tally.keys >= PRINTS_LEAST


def overlay_keys(store: Store) -> int:
    """How many index entries no checkpoint has absorbed, over all buckets."""
    return sum(
        len(layer.keys)
        for bucket in list(store.placement.directory)
        for layer in (bucket.state.active, *bucket.state.frozen)
    )


def start(folder: Path, setting: Setting) -> Engine:
    """Open (or create) a Holdfast store in ``folder``."""
    return Ours(folder, setting)


class Trace(NamedTuple):
    """What upkeep has done so far: compare two to see whether it did anything between them."""

    buckets: tuple[str, ...]
    absorbed: tuple[Position | None, ...]
    absorbing: bool
    ended: frozenset[tuple[str, int]]  # segments that nothing is appended to any more

    def moved_since(self, before: Trace) -> bool:
        """Whether a checkpoint, a collection, a split or a merge was at work."""
        changed = self.buckets != before.buckets or self.absorbed != before.absorbed
        return changed or self.absorbing or not before.ended <= self.ended


def trace(store: Store) -> Trace:
    """Look at every bucket, without asking it to do anything."""
    buckets = list(store.placement.directory)
    return Trace(
        tuple(bucket.id for bucket in buckets),
        tuple(bucket.absorbed for bucket in buckets),
        any(bucket.state.frozen for bucket in buckets),
        frozenset((bucket.id, number) for bucket in buckets for number in list(bucket.log.ended)),
    )


class Counted:
    """A store on a disk that counts, alone with a clock that stands still.

    Args:
        folder: where the store is made or opened.
        durability: "always" or "never".
    """

    def __init__(self, folder: Path, durability: Durability) -> None:
        self.disk = CountingDisk(OsDisk())
        self.store = open_on(
            self.disk,
            str(folder),
            sync=durability,
            clock=ManualClock(_NOW_NS),
            entropy=SeededEntropy(0),
        )
        self.namespace = self.store.namespace(_NAMESPACE)

    def __enter__(self) -> Self:
        """The store is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.store.close()


def counted(folder: Path, durability: Durability) -> Counted:
    """Open (or create) a store whose disk counts every call."""
    return Counted(folder, durability)
