"""The transport for asyncio: carries out calls over a pool of connections, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import httpcore

from holdfast.client.address import Address
from holdfast.client.asks import Answer, Ask, LostError, Pause, UnsentError, Work
from holdfast.client.pool import (
    CONNECTIONS,
    FAILURES,
    KEPT_S,
    Idle,
    Tls,
    answer_of,
    lost,
    request_of,
    timeouts_of,
)
from holdfast.client.sync import NO_ANSWER
from holdfast.clock import Clock, SystemClock

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
Asked = Coroutine[Any, Any, R]


class AsyncSender:
    """Carries out calls on an event loop.

    Args:
        address: the server's.
        tls: verifies the server's certificate; None without TLS.
        clock: one of the caller's own waits through pauses itself, on a thread.
    """

    def __init__(self, address: Address, tls: Tls, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._tls = tls
        self._idle: Idle[httpcore.AsyncHTTPConnection] = Idle()
        self._room = asyncio.Semaphore(CONNECTIONS)

    async def run(self, work: Work[R]) -> R:
        """Carry out a call to its end."""
        try:
            step = next(work)
            while True:
                try:
                    answer = await self._carry(step)
                except LostError as error:
                    step = work.throw(error)
                else:
                    step = work.send(answer)
        except StopIteration as end:
            value: R = end.value
            return value

    async def _carry(self, step: Ask | Pause) -> Answer:
        if isinstance(step, Ask):
            return await self.send(step)
        if isinstance(self._clock, SystemClock):
            await asyncio.sleep(step.seconds)
        else:
            await asyncio.to_thread(self._clock.sleep, step.seconds)
        return NO_ANSWER

    async def send(self, ask: Ask) -> Answer:
        """Send one request and read its answer whole.

        Raises:
            UnsentError, BrokenError: there is none.
        """
        try:
            async with asyncio.timeout(ask.timeout_s):
                await self._room.acquire()
        except TimeoutError:
            raise UnsentError("every connection is in use", late=True) from None
        try:
            return await self._send(ask)
        finally:
            self._room.release()

    async def _send(self, ask: Ask) -> Answer:
        url, headers = request_of(ask, self._address)
        content = None if not ask.body and ask.method == "GET" else bytes(ask.body)
        origin = str(url.origin)
        connection, expired = self._idle.take(origin)
        for one in expired:
            await one.aclose()
        if connection is None:
            connection = httpcore.AsyncHTTPConnection(
                url.origin, self._tls, KEPT_S, uds=self._address.socket
            )
        try:
            response = await connection.request(
                ask.method, url, headers=headers, content=content, extensions=timeouts_of(ask)
            )
        except BaseException as error:
            await connection.aclose()
            if isinstance(error, FAILURES):
                await self.close()  # where one broke, those that wait may have, too
                raise lost(error) from error
            raise
        if connection.is_available():
            self._idle.give(origin, connection)
        else:
            await connection.aclose()
        return answer_of(response)

    async def close(self) -> None:
        """Let go of the connections that wait."""
        for one in self._idle.drain():
            await one.aclose()


class AsyncRemote(Generic[S]):
    """Stands before calls, and carries them out."""

    def __init__(self, sender: AsyncSender, calls: S) -> None:
        self._sender = sender
        self._calls = calls


def asked(method: Callable[Concatenate[S, P], Work[R]]) -> Callable[Concatenate[Any, P], Asked[R]]:
    """A call, to be awaited."""

    @wraps(method)
    async def carried_out(self: AsyncRemote[S], /, *args: P.args, **options: P.kwargs) -> R:
        return await self._sender.run(method(self._calls, *args, **options))

    return carried_out
