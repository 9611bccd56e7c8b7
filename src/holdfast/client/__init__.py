"""The face of a store over HTTP: the same verbs, the same errors, another place.

Comes in: calls from a program, as ``holdfast.open``'s store takes them; answers of a server.
Goes out: requests as docs/PROTOCOL.md has them; values, and the errors the server raised.
Keeps: pooled connections, where keys lie (direct mode), what ``put_soon`` queued and, with an
outbox, the file that holds it.
Must never know: how a store keeps what it is given. It asks, it does not look.
Invariants: what is said is made without I/O (calls.py, line.py), so both transports say the
same; nothing is sent twice unless that does no harm (writes are numbered: numbers.py), and an
outcome that is not known is told as that; no call waits longer than its deadline.
"""

from __future__ import annotations

from holdfast.client.attested import Attested
from holdfast.client.connecting import aconnect, connect

__all__ = ["Attested", "aconnect", "connect"]
