"""Models with one bug each: mistakes that stores have made, for the machine to find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Unpack

from holdfast.testing.face import Buffer, ConsumerId, Coverage, PutOptions, Ttl
from holdfast.testing.model import ModelNamespace, ModelStore, arguments
from holdfast.testing.model.handles import ModelConsumers, ModelLock
from holdfast.testing.model.objects import Lock, Object, Options
from holdfast.values import CollectReport, Receipt

Names = list[str]


class LivesOneNanosecondLonger(ModelNamespace):
    def live(self) -> dict[str, Object]:
        now_ns = self.shared.now_ns()
        kept = {key: each for key, each in self.objects.items() if each.expires_ns == now_ns}
        self.objects = {**super().live(), **kept}
        return self.objects


class KeepsTheExpiryWithoutBeingAsked(ModelNamespace):
    def store(self, key: str, value: bytes, options: Options) -> Receipt:
        before = self.find(key)
        expiring = before is not None and before.expires_ns is not None
        plain = options.ttl_ns is None and not options.permanent
        return super().store(
            key, value, replace(options, keep_ttl=(expiring and plain) or options.keep_ttl)
        )


class KeepTtlCreates(ModelNamespace):
    def store(self, key: str, value: bytes, options: Options) -> Receipt:
        absent = self.find(key) is None
        return super().store(key, value, replace(options, keep_ttl=options.keep_ttl and not absent))


class OverwritingForgetsConsumers(ModelNamespace):
    def store(self, key: str, value: bytes, options: Options) -> Receipt:
        found = self.find(key)
        if found is not None and not found.permanent:
            self.objects[key] = replace(found, consumers=None)
        return super().store(key, value, options)


class VersionsBeginAgain(ModelNamespace):
    def delete(self, key: str, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        super().delete(key, missing_ok)
        if not self.objects:
            self.shared.version = 0


class FencesAreForgotten(ModelNamespace):
    def check_fence(self, key: str, fence: int | None) -> None:
        if self.holder(key) is not None:
            super().check_fence(key, fence)


class AnyFenceOfAHeldKey(ModelNamespace):
    def check_fence(self, key: str, fence: int | None) -> None:
        if self.holder(key) is None:
            super().check_fence(key, fence)


class AnybodyUnlocks(ModelNamespace):
    def unlock(self, key: str, lock_id: str) -> None:
        held = self.holder(key)
        super().unlock(key, lock_id if held is None else held.id)


class LocksAreStolen(ModelNamespace):
    def lock(self, key: str, *, ttl: Ttl = 30, wait: float = 0) -> ModelLock:
        held = self.locks.get(key)
        if held is not None and held.until_ns - self.shared.now_ns() < 10**9:
            del self.locks[key]
        return super().lock(key, ttl=ttl, wait=wait)


class RenewingDoesNothing(ModelNamespace):
    def renew(self, key: str, lock_id: str) -> None:
        before: Lock | None = self.holder(key)
        super().renew(key, lock_id)
        if before is not None:
            self.locks[key] = before


class RemovesEveryOccurrence(ModelNamespace):
    def consumers(self, key: str) -> ModelConsumers:
        return _AsASet(self, arguments.key_name(key))


class _AsASet(ModelConsumers):
    def remove(self, ids: Iterable[ConsumerId]) -> list[ConsumerId]:
        given = list(ids)
        missing = super().remove(given)
        while len(super().remove(given)) < len(given):
            pass
        return missing


class PrefixIsTextEverywhere(ModelNamespace):
    def list(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        by: Coverage = "text",
        limit: int | None = None,
        after: str | None = None,
    ) -> Iterator[str]:
        told: Coverage = "text" if by == "component" else by
        return super().list(prefix, recursive=recursive, by=told, limit=limit, after=after)


class AfterIsInclusive(ModelNamespace):
    def list(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        by: Coverage = "text",
        limit: int | None = None,
        after: str | None = None,
    ) -> Iterator[str]:
        shown: Names = [*super().list(prefix, recursive=recursive, by=by)]
        rest = shown if after is None else [name for name in shown if name >= after]
        return iter(rest[: arguments.listing_limit(limit)])


class NegativeRangesWrap(ModelNamespace):
    def get(self, key: str, *, range: tuple[int, int] | None = None) -> bytes:  # noqa: A002
        value = super().get(key)
        return value if range is None else value[slice(*range)]


class AppendForgetsTheExpiry(ModelNamespace):
    def append(self, key: str, data: Buffer) -> int:
        total = super().append(key, data)
        self.objects[key] = replace(self.objects[key], expires_ns=None)
        return total


class AppendCountsTwice(ModelNamespace):
    def append(self, key: str, data: Buffer) -> int:
        before = self.find(key)
        return super().append(key, data) + (0 if before is None else len(data))


class DeletesWhatIsPermanent(ModelNamespace):
    def delete(self, key: str, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        if self.find(key) is not None:
            self.release(key)
        super().delete(key, missing_ok)


class StaleAfterABatch(ModelNamespace):
    stale: dict[str, bytes] = {}  # noqa: RUF012 - a mutant may share

    def put_many(
        self,
        pairs: Iterable[tuple[str, Buffer]],
        *,
        atomic: bool = False,
        **options: Unpack[PutOptions],
    ) -> list[Receipt]:
        given = [*pairs]
        self.stale = {key: each.value for key, each in self.live().items() if key in dict(given)}
        return super().put_many(given, atomic=atomic, **options)

    def get(self, key: str, *, range: tuple[int, int] | None = None) -> bytes:  # noqa: A002
        value = super().get(key, range=range)
        return self.stale.get(key, value) if range is None else value

    def store(self, key: str, value: bytes, options: Options) -> Receipt:
        receipt = super().store(key, value, options)
        if len(value) > 5_000:
            self.stale.pop(key, None)
        return receipt


class HalfOfAnAtomicBatch(ModelNamespace):
    def put_many(
        self,
        pairs: Iterable[tuple[str, Buffer]],
        *,
        atomic: bool = False,
        **options: Unpack[PutOptions],
    ) -> list[Receipt]:
        del atomic
        return super().put_many(pairs, atomic=False, **options)


class CollectsTheUnmanaged(ModelStore):
    def collect(self, mode: str = "auto") -> CollectReport:
        for space in self._spaces.values():
            kept = {key: each for key, each in space.live().items() if each.state != "unmanaged"}
            space.objects = kept or space.objects
        return super().collect(mode)


class NeverCollectsTheMarked(ModelStore):
    def collect(self, mode: str = "auto") -> CollectReport:
        return CollectReport(0, 0, 0, mode, 0.0, 0)


class DropsOneByOne(ModelStore):
    """Stops at the permanent object, when others are already gone."""

    def drop_namespace(self, name: str) -> None:
        space = self.namespace(name)
        for key in [*space.live()]:
            space.delete(key)


class LosesAKeyWhenReopened(ModelStore):
    def reopen(self) -> None:
        super().reopen()
        for space in self._spaces.values():
            if len(space.objects) > 5:
                space.objects.popitem()


class LocksEndWhenReopened(ModelStore):
    def reopen(self) -> None:
        super().reopen()
        for space in self._spaces.values():
            space.locks.clear()


def over(space: type[ModelNamespace]) -> type[ModelStore]:
    """A store whose namespaces are of this kind."""
    return type(f"Store{space.__name__}", (ModelStore,), {"namespace_type": space})


STORES: dict[str, type[ModelStore]] = {
    **{
        mutant.__name__: over(mutant)
        for mutant in (
            LivesOneNanosecondLonger,
            KeepsTheExpiryWithoutBeingAsked,
            KeepTtlCreates,
            OverwritingForgetsConsumers,
            VersionsBeginAgain,
            FencesAreForgotten,
            AnyFenceOfAHeldKey,
            AnybodyUnlocks,
            LocksAreStolen,
            RenewingDoesNothing,
            RemovesEveryOccurrence,
            PrefixIsTextEverywhere,
            AfterIsInclusive,
            NegativeRangesWrap,
            AppendForgetsTheExpiry,
            AppendCountsTwice,
            DeletesWhatIsPermanent,
            StaleAfterABatch,
            HalfOfAnAtomicBatch,
        )
    },
    **{
        mutant.__name__: mutant
        for mutant in (
            CollectsTheUnmanaged,
            NeverCollectsTheMarked,
            DropsOneByOne,
            LosesAKeyWhenReopened,
            LocksEndWhenReopened,
        )
    },
}
