"""Bare handlers of grpc.aio, which bench/rpc.py measures ours beside.

    python -m bench.rpc_bare [file]

They keep values in a dict; with a file, a write is answered when it is appended there and synced.
They serve until the standard input ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
import uvloop

from holdfast.wire.protobuf.words import CLASSES

Said: TypeAlias = Any  # a message, or something of grpc's: it has no types
SERVICE: Final = "holdfast.v1.Holdfast"
DUE: Final = 32  # batches of a stream that wait for their sync
Value, Receipt, Result = (CLASSES[name] for name in ("Value", "Receipt", "Result"))


class Bare:
    """Handlers that keep values in a dict."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get(self, request: Said, _context: Said) -> Said:
        return Value(value=self._values[request.key], version=1, modified_ns=1)

    async def put(self, request: Said, _context: Said) -> Said:
        return self._keep(request)

    async def batch(self, requests: AsyncIterator[Said], context: Said) -> None:
        async for request in requests:
            await context.write(self._answer(request))

    def _answer(self, request: Said) -> Said:
        return CLASSES["BatchReply"](results=[self._result(one) for one in request.operations])

    def _result(self, operation: Said) -> Said:
        if operation.WhichOneof("verb") == "load":
            return Result(load=Value(value=self._values[operation.load.key]))
        return Result(store=self._keep(operation.store))

    def _keep(self, stored: Said) -> Said:
        key, value = stored.key, stored.value
        self._values[key] = value
        return Receipt(key=key, version=1, size=len(value), bucket="0" * 16, cost_atto="0")


class Synced(Bare):
    """The same, and a file: what comes while a sync runs is appended and synced together.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self._waiting: list[tuple[Sequence[bytes], asyncio.Future[None]]] = []
        self._syncing: asyncio.Future[None] | None = None

    async def put(self, request: Said, _context: Said) -> Said:
        reply = self._keep(request)
        await self._sync((request.value,))
        return reply

    async def batch(self, requests: AsyncIterator[Said], context: Said) -> None:
        due: asyncio.Queue[asyncio.Future[Said] | None] = asyncio.Queue(DUE)
        taking = asyncio.ensure_future(self._take(requests, due))
        while (reply := await due.get()) is not None:
            await context.write(await reply)
        await taking

    async def _take(
        self, requests: AsyncIterator[Said], due: asyncio.Queue[asyncio.Future[Said] | None]
    ) -> None:
        async for request in requests:
            await due.put(asyncio.ensure_future(self._durable(request)))
        await due.put(None)

    async def _durable(self, request: Said) -> Said:
        reply = self._answer(request)
        if request.operations[0].HasField("store"):
            await self._sync([one.store.value for one in request.operations])
        return reply

    async def _sync(self, values: Sequence[bytes]) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((values, done))
        if self._syncing is None:
            self._syncing = asyncio.ensure_future(self._sync_all())
        await done

    async def _sync_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            data = b"".join([value for values, _ in group for value in values])
            await asyncio.to_thread(_append, self._file, data)
            for _, done in group:
                done.set_result(None)
        self._syncing = None


def _append(file: int, data: bytes) -> None:
    os.write(file, data)
    os.fdatasync(file)


def _told(make: Said, handle: Said, asks: str) -> Said:
    return make(handle, CLASSES[asks].FromString, lambda message: message.SerializeToString())


async def serve(bare: Bare) -> None:
    handlers = {
        "Get": _told(grpc.unary_unary_rpc_method_handler, bare.get, "LoadRequest"),
        "Put": _told(grpc.unary_unary_rpc_method_handler, bare.put, "StoreRequest"),
        "Batch": _told(grpc.stream_stream_rpc_method_handler, bare.batch, "BatchRequest"),
    }
    server = grpc.aio.server()
    server.add_registered_method_handlers(SERVICE, handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on grpc://127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(serve(Synced(sys.argv[1]) if len(sys.argv) > 1 else Bare()))
