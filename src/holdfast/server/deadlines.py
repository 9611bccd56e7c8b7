"""What may take how long: looked at about four times a second, so that a request pays for no timer.

waits for   a header   header_s since the connection or the request began
a body     body_s without a byte; over body_s, body_bytes_s on average
a reader   send_s with the send buffer full
a request  idle_s
the end    LINGER_S behind a refusal, for the caller to read it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.server.answers import plain

if TYPE_CHECKING:
    from holdfast.server.connection import Connection

IDLE, HEAD, BODY, LINGER = "idle", "head", "body", "linger"
LINGER_S = 2.0
TIMED_OUT = 408


def look_at(connection: Connection, now_s: float) -> None:
    """End a connection that takes longer than it may."""
    settings = connection.site.settings
    passed = now_s - connection.since_s
    if connection.choked_since_s is not None:
        if now_s - connection.choked_since_s > settings.send_s:
            connection.transport.abort()
    elif connection.stage is HEAD:
        if passed > settings.header_s:
            _end_late(connection)
    elif connection.stage is BODY:
        _look_at_body(connection, now_s, passed)
    elif passed > (LINGER_S if connection.stage is LINGER else settings.idle_s):
        _end_idle(connection)


def _look_at_body(connection: Connection, now_s: float, passed: float) -> None:
    settings = connection.site.settings
    if not connection.reading:
        return  # it is we who do not read
    spent = now_s - connection.body_since_s - settings.body_s
    slow = spent > 0 and connection.body_bytes < spent * settings.body_bytes_s
    if passed > settings.body_s or slow:
        _end_late(connection)


def _end_late(connection: Connection) -> None:
    request = connection.request
    if request is None:  # nothing was asked: there is nothing to answer
        connection.transport.close()
    elif request.sink is not None:
        connection.transport.abort()
    else:
        connection.refuse(plain(TIMED_OUT, "timeout", "the request did not come in time"))


def _end_idle(connection: Connection) -> None:
    if connection.is_clear and connection.sending is None:
        connection.transport.close()
