"""The HTTP door: docs/PROTOCOL.md, served from one event loop.

Comes in: bytes from sockets, from anybody; an open store, from whoever serves it.
Goes out: calls down the way of a request; answers, in the order they were asked for.
Keeps: its connections, what each has asked and not been answered, writes that wait for
their commit, counters for ``/metrics``. Nothing that outlives the process.
Must never know: how objects are stored. It decides nothing about rights or prices either;
it asks identity, access and metering.
Invariants: the event loop never waits for the disk; no connection can make the server keep
more than its bounds (settings.py, limits.py) in memory, nor for longer than its deadlines;
nothing is begun for a caller who was not allowed to ask for it.
"""

from __future__ import annotations

from holdfast.server.serving import Server, serve
from holdfast.server.settings import Settings

__all__ = ["Server", "Settings", "serve"]
