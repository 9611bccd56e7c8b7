"""The transports over gRPC: the same calls, carried out over one channel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from threading import Lock
from typing import Any, Final

import grpc
import grpc.aio
import msgspec

from holdfast.bucket.bills import OPENED
from holdfast.client.address import Address
from holdfast.client.asks import Answer, Ask
from holdfast.client.rpc_words import (
    CHANNEL,
    Rpc,
    failure_of,
    is_too_large,
    metadata_of,
    reader,
    rpc_of,
    serialize,
)
from holdfast.client.sync import Sender
from holdfast.client.tasks import AsyncSender
from holdfast.clock import Clock
from holdfast.wire.headers import COST

CALLS: Final = 100  # at once


def credentials_of(address: Address, authorities: bytes | None) -> grpc.ChannelCredentials | None:
    """What verifies the server; None without TLS."""
    return grpc.ssl_channel_credentials(authorities) if address.is_private else None


def priced(answer: Answer, trailers: Iterable[tuple[str, str | bytes]]) -> Answer:
    """An answer with what its trailers say that it cost."""
    for name, value in trailers or ():
        if name == COST and isinstance(value, str):
            return msgspec.structs.replace(answer, headers={**answer.headers, COST: value})
    return answer


class RpcSender(Sender):
    """Carries out calls over gRPC, each on the thread that makes it.

    Args:
        address: the server's.
        authorities: PEM of who may vouch for it; the system's if None.
        clock: waits through pauses.
    """

    def __init__(self, address: Address, authorities: bytes | None, clock: Clock) -> None:
        super().__init__(address, None, clock)
        self._credentials = credentials_of(address, authorities)
        self._target = address.origin.partition("://")[2]
        self._gate = Lock()
        self._channel: Any = None

    def _opened(self) -> Any:  # noqa: ANN401 - grpc has no types
        with self._gate:
            if self._channel is None:
                if self._credentials is None:
                    self._channel = grpc.insecure_channel(self._target, CHANNEL)
                else:
                    self._channel = grpc.secure_channel(self._target, self._credentials, CHANNEL)
            return self._channel

    def send(self, ask: Ask, body: bytes | Iterator[bytes]) -> Answer:
        """Ask once and read the reply whole.

        Raises:
            UnsentError, BrokenError: there is none.
        """
        rpc = rpc_of(ask, body)
        answer = self._call(rpc, ask)
        if rpc.instead is not None and is_too_large(answer):
            return self._call(rpc.instead, ask)
        return answer

    def _call(self, rpc: Rpc, ask: Ask) -> Answer:
        make = getattr(self._opened(), rpc.kind)
        call = make(rpc.path, serialize, reader(rpc.method))
        asked = rpc.first if rpc.is_one else iter(rpc.asked)
        options = {"timeout": ask.timeout_s, "metadata": metadata_of(ask)}
        try:
            if rpc.tells_one and not OPENED:
                return rpc.tell(call(asked, **options))
            if rpc.tells_one:
                reply, done = call.with_call(asked, **options)
                return priced(rpc.tell(reply), done.trailing_metadata())
            done = call(asked, **options)
            return priced(rpc.tell(list(done)), done.trailing_metadata())
        except grpc.RpcError as error:
            return failure_of(error)

    def close(self) -> None:
        """Let go of the channel; it is opened anew where it is used again."""
        with self._gate:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()


class AsyncRpcSender(AsyncSender):
    """Carries out calls over gRPC on an event loop.

    Args:
        address: the server's.
        authorities: PEM of who may vouch for it; the system's if None.
        clock: one of the caller's own waits through pauses itself, on a thread.
    """

    def __init__(self, address: Address, authorities: bytes | None, clock: Clock) -> None:
        super().__init__(address, None, clock)
        self._calls = asyncio.Semaphore(CALLS)
        target = address.origin.partition("://")[2]
        credentials = credentials_of(address, authorities)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, CHANNEL)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, CHANNEL)

    async def send(self, ask: Ask) -> Answer:
        """Ask once and read the reply whole.

        Raises:
            UnsentError, BrokenError: there is none.
        """
        rpc = rpc_of(ask, bytes(ask.body))
        answer = await self._call(rpc, ask)
        if rpc.instead is not None and is_too_large(answer):
            return await self._call(rpc.instead, ask)
        return answer

    async def _call(self, rpc: Rpc, ask: Ask) -> Answer:
        make = getattr(self._channel, rpc.kind)
        call = make(rpc.path, serialize, reader(rpc.method))
        asked = rpc.first if rpc.is_one else iter(rpc.asked)
        async with self._calls:
            try:
                reply = call(asked, timeout=ask.timeout_s, metadata=metadata_of(ask))
                told = await reply if rpc.tells_one else [one async for one in reply]
                answer = rpc.tell(told)
                return priced(answer, await reply.trailing_metadata()) if OPENED else answer
            except grpc.RpcError as error:
                return failure_of(error)

    async def close(self) -> None:
        """Let go of the channel."""
        await self._channel.close()
