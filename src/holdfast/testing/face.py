"""The embedded face as types: what a suite may ask of anything that calls itself a store.

Structural, so nothing has to inherit: ``holdfast.open`` and the model satisfy
it by having the methods. docs/GUARANTEES.md has the meanings;
``holdfast.testing.conformance`` says them as tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO, Literal, Protocol, Self, TypedDict, Unpack

from holdfast.values import CheckReport, DeadLetter, Place, Receipt, Stat, Status

Buffer = bytes | bytearray | memoryview
Ttl = float | str
ConsumerId = str | bytes
Coverage = Literal["text", "component"]
Receipts = list[Receipt]  # named here: inside the classes ``list`` is a verb
Values = list[bytes | None]


class PutOptions(TypedDict, total=False):
    """The options of a put; ``ttl`` is seconds or text such as "30d"."""

    ttl: Ttl | None
    keep_ttl: bool
    if_absent: bool
    if_version: int | None
    fence: int | None
    consumers: Iterable[ConsumerId] | None
    permanent: bool
    content_type: str | None
    index: str | bool | None
    tags: Mapping[str, str] | None


class LockFace(Protocol):
    """A lease on one key: ``id`` releases it, ``fence`` guards writes."""

    @property
    def id(self) -> str: ...

    @property
    def fence(self) -> int: ...

    def renew(self) -> object: ...

    def release(self) -> object: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> object: ...


class ConsumersFace(Protocol):
    """The reference list of one object: a multiset in the order it was given."""

    def set(self, ids: Iterable[ConsumerId]) -> object: ...

    def append(self, ids: Iterable[ConsumerId]) -> object: ...

    def remove(self, ids: Iterable[ConsumerId]) -> Sequence[ConsumerId]: ...

    def list(self) -> Sequence[ConsumerId]: ...


class NamespaceFace(Protocol):
    """A tenant's keyspace."""

    def put(self, key: str, data: Buffer, **options: Unpack[PutOptions]) -> Receipt: ...

    def put_many(
        self,
        pairs: Iterable[tuple[str, Buffer]],
        *,
        atomic: bool = False,
        **options: Unpack[PutOptions],
    ) -> Receipts: ...

    def put_soon(self, key: str, data: Buffer) -> object: ...

    def get(self, key: str, *, range: tuple[int, int] | None = None) -> bytes: ...  # noqa: A002 - the face's word

    def get_many(self, keys: Iterable[str]) -> Values: ...

    def open(self, key: str, mode: str = "rb") -> AbstractContextManager[IO[bytes]]: ...

    def append(self, key: str, data: Buffer) -> int: ...

    def delete(self, key: str, missing_ok: bool = False) -> None: ...  # noqa: FBT001, FBT002 - the face's form

    def release(self, key: str) -> object: ...

    def exists(self, key: str) -> bool: ...

    def __contains__(self, key: str) -> bool: ...

    def stat(self, key: str) -> Stat: ...

    def list(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        by: Coverage = "text",
        limit: int | None = None,
        after: str | None = None,
    ) -> Iterator[str]: ...

    def entries(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        by: Coverage = "text",
        limit: int | None = None,
        after: str | None = None,
    ) -> Iterator[Stat]: ...

    def lock(self, key: str, *, ttl: Ttl = 30, wait: float = 0) -> LockFace: ...

    def unlock(self, key: str, lock_id: str) -> object: ...

    def consumers(self, key: str) -> ConsumersFace: ...

    def mapping(self) -> MutableMapping[str, bytes]: ...


class BucketFace(Protocol):
    """One bucket, addressed directly after ``locate``."""

    def get(self, namespace: str, key: str) -> bytes: ...

    def put(self, namespace: str, key: str, data: Buffer) -> Receipt: ...

    def stat(self, namespace: str, key: str) -> Stat: ...


class StoreFace(Protocol):
    """Everything under one path."""

    def namespace(self, name: str) -> NamespaceFace: ...

    def namespaces(self) -> Sequence[str]: ...

    def drop_namespace(self, name: str) -> object: ...

    def locate(self, namespace: str, key: str) -> Place: ...

    def bucket(self, id: str) -> BucketFace: ...  # noqa: A002 - the face's word

    def status(self) -> Status: ...

    def check(self, repair: bool = False) -> CheckReport: ...  # noqa: FBT001, FBT002 - the face's form

    def collect(self, mode: str = "auto") -> object: ...

    def rebuild(self) -> object: ...

    def tick(self, budget_s: float = 0.05) -> object: ...

    def flush(self) -> Sequence[object]: ...

    def dead_letters(self) -> Sequence[DeadLetter]: ...

    def close(self) -> object: ...
