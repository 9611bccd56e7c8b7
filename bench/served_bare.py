"""A protocol that answers everything with a constant, on the loop that the server stands on.

    python -m bench.served_bare

What is left of a latency here is the machine's and the load generator's, not ours: it shows
which tail no server could have had in the same run.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

VALUE_BYTES = 1024
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (VALUE_BYTES, b"x" * VALUE_BYTES)
)


class Constant(asyncio.Protocol):
    """One connection; whatever comes in at once is one request."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is of no such class

    def data_received(self, data: bytes) -> None:
        """Answer."""
        del data
        self.transport.write(ANSWER)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    sys.stdout.write(f"listening on http://{host}:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
