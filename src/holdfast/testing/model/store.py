"""The whole model: namespaces by name, one bucket for the whole keyspace."""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar, Self

from holdfast.clock import Clock, Entropy
from holdfast.errors import NotFound, Permanent
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.face import Buffer
from holdfast.testing.model import arguments
from holdfast.testing.model.namespace import ModelNamespace
from holdfast.testing.model.objects import BUCKET
from holdfast.testing.model.shared import Shared
from holdfast.values import (
    BucketStatus,
    CheckReport,
    CollectReport,
    DeadLetter,
    Place,
    Receipt,
    Stat,
    Status,
)


class ModelStore:
    """What ``holdfast.open`` does, as plain dicts in one process: the oracle of the machines.

    Nothing is durable, nothing grows, nothing runs in parallel.

    Args:
        clock: time; a ManualClock of its own where none is given.
        entropy: lock ids; seeded where none is given.

    Example:
        >>> store = ModelStore()
        >>> receipt = store.namespace("acme").put("a", b"1")
        >>> store.namespaces()
        ['acme']
    """

    namespace_type: ClassVar[type[ModelNamespace]] = ModelNamespace  # mutants put another here

    def __init__(self, clock: Clock | None = None, entropy: Entropy | None = None) -> None:
        self.shared = Shared(clock or ManualClock(), entropy or SeededEntropy(0))
        self._spaces: dict[str, ModelNamespace] = {}

    # -- namespaces ------------------------------------------------------------

    def namespace(self, name: str) -> ModelNamespace:
        """The namespace of that name; it need not hold anything."""
        self.shared.require_open()
        arguments.namespace_name(name)
        if name not in self._spaces:
            self._spaces[name] = self.namespace_type(self.shared, name)
        return self._spaces[name]

    def namespaces(self) -> list[str]:
        """The names of those that hold an object, sorted."""
        self.shared.require_open()
        return sorted(name for name, space in self._spaces.items() if space.live())

    def drop_namespace(self, name: str) -> None:
        """Remove every object and lock of it, or nothing where one is permanent."""
        space = self.namespace(name)
        for key, found in space.live().items():
            if found.permanent:
                raise Permanent(namespace=name, key=key)
        space.objects = {}
        space.locks = {}

    # -- buckets ---------------------------------------------------------------

    def locate(self, namespace: str, key: str) -> Place:
        """Everything lives in the one bucket."""
        self.namespace(namespace)
        arguments.key_name(key)
        return Place(BUCKET, None, None, "", self.shared.version)

    def bucket(self, id: str) -> ModelBucket:  # noqa: A002 - the face's word
        """The one bucket, by its id."""
        self.shared.require_open()
        if id != BUCKET:
            raise NotFound(bucket=id)
        return ModelBucket(self)

    def status(self) -> Status:
        """Figures of the one bucket: nothing is ever dead, nothing lies on a disk."""
        self.shared.require_open()
        live = [found for space in self._spaces.values() for found in space.live().values()]
        size = sum(len(found.value) for found in live)
        only = BucketStatus(BUCKET, None, None, "open", len(live), size, 0, 0, size)
        return Status((only,), size, 0, 0, len(self.shared.dead_letters))

    # -- upkeep ----------------------------------------------------------------

    def check(self, repair: bool = False) -> CheckReport:  # noqa: FBT001, FBT002 - the face's form
        """A dict is always sound."""
        self.shared.require_open()
        arguments.truth(repair, "repair")
        return CheckReport(ok=True, problems=(), buckets=1)

    def collect(self, mode: str = "auto") -> CollectReport:
        """Remove the objects that lost their last consumer, unless they are permanent."""
        self.shared.require_open()
        arguments.collect_mode(mode)
        removed = sum(_remove_marked(space) for space in self._spaces.values())
        return CollectReport(0, 0, 0, mode, 0.0, removed)

    def rebuild(self) -> None:
        """Nothing is derived, so nothing is rebuilt."""
        self.shared.require_open()

    def tick(self, budget_s: float = 0.05) -> None:
        """Nothing is ever due."""
        self.shared.require_open()
        arguments.budget(budget_s)

    def flush(self) -> list[DeadLetter]:
        """The failures of put_soon since the last flush."""
        self.shared.require_open()
        failures, self.shared.failures = self.shared.failures, []
        return failures

    def dead_letters(self) -> list[DeadLetter]:
        """Every put_soon that could not be stored."""
        self.shared.require_open()
        return [*self.shared.dead_letters]

    # -- life ------------------------------------------------------------------

    def reopen(self) -> None:
        """Be closed and opened again: locks that hold run their full ttl again (rule 7)."""
        self.shared.closed = False
        for space in self._spaces.values():
            for key in [*space.locks]:
                self._run_again(space, key)

    def _run_again(self, space: ModelNamespace, key: str) -> None:
        held = space.holder(key)
        if held is not None:
            space.renew(key, held.id)

    def close(self) -> None:
        """Refuse everything from now on; closing again is fine."""
        self.shared.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ModelBucket:
    """The one bucket, addressed directly: no key lies outside its range."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store

    def get(self, namespace: str, key: str) -> bytes:
        """The value."""
        return self._store.namespace(namespace).get(key)

    def put(self, namespace: str, key: str, data: Buffer) -> Receipt:
        """Create or replace."""
        return self._store.namespace(namespace).put(key, data)

    def stat(self, namespace: str, key: str) -> Stat:
        """What is known of an object."""
        return self._store.namespace(namespace).stat(key)


def _remove_marked(space: ModelNamespace) -> int:
    live = space.live()
    marked = [key for key, found in live.items() if found.state == "marked" and not found.permanent]
    for key in marked:
        del live[key]
    return len(marked)
