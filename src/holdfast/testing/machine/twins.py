"""A store and the model under one clock, and the ways to hold one against the other."""
# ruff: noqa: S101 - a machine speaks in assertions

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from hypothesis.stateful import RuleBasedStateMachine

from holdfast.errors import HoldfastError
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.face import LockFace, NamespaceFace, StoreFace
from holdfast.testing.machine.inputs import NAMESPACES, Key
from holdfast.testing.model import ModelStore
from holdfast.values import Stat

Name = tuple[str, str]  # namespace, key


class Outcome(NamedTuple):
    """What a call came to: a value, or the code of an error."""

    value: object
    error: str | None


class Pair(NamedTuple):
    """A version (or a fence) of the same write in the store and in the model."""

    store: int
    model: int


@dataclass(frozen=True)
class Taken:
    """A lock that both gave at the same moment; the handles end when the store is reopened."""

    name: Name
    store: LockFace
    model: LockFace
    life: int


def attempt(call: Callable[[], object]) -> Outcome:
    """Make a call; an error of the house is an outcome, any other is a failure."""
    try:
        return Outcome(call(), None)
    except HoldfastError as error:
        return Outcome(None, error.code)


class Twins(RuleBasedStateMachine):
    """A store and the model under one clock, and the ways to compare them."""

    reopens: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.model = ModelStore(self.clock, SeededEntropy(1))
        self.store = self.open_store(self.clock)
        self.writes = 0
        self.life = 0  # how often the store was reopened
        self.versions: dict[Name, Pair] = {}  # of what is there now
        self.past: dict[Name, list[Pair]] = {}  # of what was there before
        self.highest: dict[Name, int] = {}  # version or fence that the store told of a key
        self.loose: set[Name] = set()  # released since they were written: changed, or not
        self.taken: list[Taken] = []
        self.lock_ttls: dict[Name, int] = {}  # of the last lock that was not given back
        self.shape = self.shape_now()
        self.shape_since_ns = self.clock.monotonic_ns()

    # -- what a subclass brings ------------------------------------------------

    def open_store(self, clock: ManualClock) -> StoreFace:
        """An empty store with small buckets and without upkeep of its own."""
        raise NotImplementedError

    def reopen_store(self, store: StoreFace) -> StoreFace:
        """Close the store and open it again; only where ``reopens``."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close the store."""
        self.store.close()

    # -- comparing -------------------------------------------------------------

    def both(
        self, space: str, call: Callable[[NamespaceFace], object], *, same: bool = True
    ) -> tuple[Outcome, Outcome]:
        """Make the call on both; the errors must be the same, and with ``same`` the values."""
        store = attempt(lambda: call(self.store.namespace(space)))
        model = attempt(lambda: call(self.model.namespace(space)))
        assert store.error == model.error, f"store {store}, model {model}"
        if same and store.error is None:
            assert store.value == model.value, f"store {store.value!r}, model {model.value!r}"
        return store, model

    def value(self, size: int) -> bytes:
        """``size`` bytes that no other write has, as far as they have room to differ."""
        self.writes += 1
        line = b"%d;" % self.writes
        return (line * (size // len(line) + 1))[:size]

    def key_of(self, space: str, key: Key) -> str:
        """The key itself; for a number one of the keys that hold something now."""
        if isinstance(key, str):
            return key
        present = sorted(self.model.namespace(space).live())
        return present[key % len(present)] if present else "a"

    def compare_entries(self, space: str) -> None:
        """The full listings, and how the versions moved since the last comparison."""
        ours = list(self.model.namespace(space).entries())
        theirs = list(self.store.namespace(space).entries())
        listed, wanted = [entry.key for entry in theirs], [entry.key for entry in ours]
        assert listed == wanted, (
            f"missing {[key for key in wanted if key not in listed]}, "
            f"beyond {[key for key in listed if key not in wanted]}, listed {listed}"
        )
        for store, model in zip(theirs, ours, strict=True):
            name = (space, model.key)
            self.compare_version(name, Pair(store.version, model.version))
            assert self.told(space, store) == self.told(space, model), f"{store}\n{model}"

    def compare_version(self, name: Name, new: Pair) -> None:
        """A version stands still where the model's does, and else passes all before it."""
        old = self.versions.get(name)
        if old is not None and old.model == new.model:
            same = new.store == old.store or (name in self.loose and new.store > old.store)
            assert same, f"{name}: version {new.store} after {old.store} without a write"
        else:
            self.loose.discard(name)
            highest = self.highest.get(name, -1)
            assert new.store > highest, f"{name}: version {new.store} after {highest}"
            if old is not None:
                self.past.setdefault(name, []).append(old)
        self.versions[name] = new
        self.highest[name] = max(new.store, self.highest.get(name, -1))

    def told(self, space: str, stat: Stat) -> tuple[object, ...]:
        """What two right stores must agree in: all but the bucket and the version."""
        modified_ns = stat.modified_ns if stat.terminal else None
        return (
            stat.key,
            stat.size,
            stat.terminal,
            None if (space, stat.key) in self.loose else modified_ns,
            stat.expires_ns,
            stat.consumers,
            stat.permanent,
            stat.state,
            stat.content_type,
            stat.crc32c,
        )

    # -- locks, as far as they are certain -----------------------------------------

    def shape_now(self) -> frozenset[object]:
        """Which buckets there are, over which ranges."""
        return frozenset((each.id, each.start, each.stop) for each in self.store.status().buckets)

    def is_held(self, name: Name) -> bool:
        """Whether the model says so; the store must too."""
        return self.model.namespace(name[0]).holder(name[1]) is not None

    def is_uncertain(self, name: Name) -> bool:
        """Whether the store may hold a lock longer: it began again since the lock was taken."""
        self.follow_shape()
        ttl_ns = self.lock_ttls.get(name)
        if ttl_ns is None or self.is_held(name):
            return False
        return self.clock.monotonic_ns() < self.shape_since_ns + ttl_ns

    def follow_shape(self) -> None:
        """Note when the buckets changed."""
        shape = self.shape_now()
        if shape != self.shape:
            self.shape, self.shape_since_ns = shape, self.clock.monotonic_ns()

    def follow_collection(self) -> None:
        """Where the store has collected what was marked, the model does."""
        for space in NAMESPACES:
            objects = self.model.namespace(space).live()
            for key in [key for key, found in objects.items() if found.state == "marked"]:
                if not objects[key].permanent and not self.store.namespace(space).exists(key):
                    del objects[key]
