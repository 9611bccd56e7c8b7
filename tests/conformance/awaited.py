"""The sync face over an async store: each call is carried out by a loop on a thread of its own.

So the suite of the embedded face asks the async client the same questions. Nothing is decided
here: arguments, results and errors pass through as they are.
"""

# ruff: noqa: ANN401 - everything passes through as it is

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from holdfast.request.handles import NamespaceMapping

T = TypeVar("T")
PLAIN = {"id", "fence", "name"}


class Loop:
    """An event loop on a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Awaited:
    """Something async, whose methods are carried out when they are called."""

    def __init__(self, loop: Loop, inner: Any) -> None:
        self._loop = loop
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in PLAIN:
            return found

        def call(*args: Any, **options: Any) -> Any:
            return self._carried_out(found, *args, **options)

        return call

    def _carried_out(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        outcome = method(*args, **options)
        if isinstance(outcome, Coroutine):
            return self._loop.run(outcome)
        if isinstance(outcome, AsyncIterator):
            return self._each(outcome)
        return outcome

    def _each(self, rows: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self._loop.run(anext(rows))
            except StopAsyncIteration:
                return

    def __enter__(self) -> Self:
        self._loop.run(self._inner.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.run(self._inner.__aexit__(kind, error, trace))


class AwaitedNamespace(Awaited):
    def __contains__(self, key: object) -> bool:
        found: bool = self.exists(key)
        return found

    def open(self, key: str, mode: str = "rb") -> Awaited:
        return Awaited(self._loop, self._loop.run(self._inner.open(key, mode)))

    def lock(self, key: str, **options: Any) -> Awaited:
        return Awaited(self._loop, self._loop.run(self._inner.lock(key, **options)))

    def consumers(self, key: str) -> Awaited:
        return Awaited(self._loop, self._inner.consumers(key))

    def mapping(self) -> NamespaceMapping:
        return NamespaceMapping(self)


class AwaitedStore(Awaited):
    """An async store, as a sync one; ``close`` ends its loop as well."""

    def namespace(self, name: str) -> AwaitedNamespace:
        return AwaitedNamespace(self._loop, self._inner.namespace(name))

    def bucket(self, id: str) -> Awaited:  # noqa: A002 - the face
        return Awaited(self._loop, self._inner.bucket(id))
