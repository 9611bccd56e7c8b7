"""The server: its methods, its connections, where they listen, how they end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from holdfast.server.http2.connection import Connection
from holdfast.server.http2.methods import Methods

if TYPE_CHECKING:
    import socket
    import ssl

    from holdfast.clock import Clock
    from holdfast.server.http2.bounds import Bounds

LOOK_S: Final = 0.25
WAIT_S: Final = 0.01
BACKLOG: Final = 2048


class Http2Server:
    """Answers calls. Made and used on the loop.

    Args:
        bounds: what callers may make it keep.
        clock: for deadlines.
    """

    def __init__(self, bounds: Bounds, clock: Clock) -> None:
        self.bounds = bounds
        self.clock = clock
        self.methods = Methods()
        self.loop = asyncio.get_running_loop()
        self.now_s = self.loop.time()
        self.under_way = 0  # calls
        self.held_bytes = 0  # of messages that came and are not taken
        self.connections: set[Connection] = set()
        self._listening: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_draining = False

    async def listen(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Take connections from a socket."""
        self._listening = await self.loop.create_server(
            lambda: Connection(self), sock=bound, ssl=tls, backlog=BACKLOG
        )
        self._look()

    def enter(self, connection: Connection) -> bool:
        """Count a connection; whether it may stay."""
        if self._is_draining or len(self.connections) >= self.bounds.connections:
            return False
        self.connections.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)

    def _look(self) -> None:
        self.now_s = self.loop.time()
        now_ns = self.clock.monotonic_ns()
        for connection in list(self.connections):
            connection.look(self.now_s, now_ns)
        self._timer = self.loop.call_later(LOOK_S, self._look)

    async def stop(self, grace_s: float) -> None:
        """Take no more, answer what is under way for so many seconds, and end."""
        self._is_draining = True
        if self._listening is not None:
            self._listening.close()
        for connection in list(self.connections):
            connection.drain()
        until = self.loop.time() + grace_s
        # A connection that ends tells nobody.
        while (self.connections or self.under_way) and self.loop.time() < until:
            for connection in list(self.connections):
                connection.close_if_done()
            await asyncio.sleep(WAIT_S)
        for connection in list(self.connections):
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()
