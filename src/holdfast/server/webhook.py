"""Tells an address of the operator's that an account is low: signed, and again until it is heard.

    POST <url>
    Content-Type: application/cloudevents+json
    Holdfast-Signature: t=<seconds since 1970>,v1=<hex of HMAC-SHA256(secret, t "." body)>

The body is a CloudEvent of type ``holdfast.balance.low`` whose ``data`` is ``{"account",
"balance_atto"}``; its ``id`` stays the same when it is sent again. Only 2xx is an answer; nothing
is followed elsewhere. What could not be told in so many tries is logged and given up.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from contextlib import suppress
from queue import Full, Queue
from threading import Event, Thread
from typing import Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from holdfast.clock import Clock
from holdfast.errors import InvalidValue
from holdfast.ledger.entries import canonical
from holdfast.ledger.export import moment
from holdfast.limits import SECOND_NS

TRIES: Final = 8
PAUSE_S: Final = 1.0  # before the second try; each further one is twice as long
PAUSE_MOST_S: Final = 60.0
TIMEOUT_S: Final = 10.0
WAITING: Final = 100  # events, before the newest is given up
SECRET_BYTES: Final = 16
SUCCESS: Final = range(200, 300)
EVENT_TYPE: Final = "holdfast.balance.low"
log = logging.getLogger("holdfast.webhook")


class _Stay(HTTPRedirectHandler):
    """Nothing is followed elsewhere: the secret's holder is at one address."""

    def redirect_request(self, *_: object) -> None:
        """No."""


class Webhook:
    """Sends events from a thread of its own.

    Args:
        url: where to, http or https.
        secret: shared with whoever listens there, at least 16 bytes.
        store: the id of the store.
        clock: the time in signatures.
        pause_s: before the second try.

    Raises:
        InvalidValue: the address is none, or the secret is too short.
    """

    def __init__(
        self, url: str, secret: bytes, *, store: str, clock: Clock, pause_s: float = PAUSE_S
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidValue(argument="webhook.url", reason="http or https")
        if len(secret) < SECRET_BYTES:
            raise InvalidValue(argument="webhook.secret_file", reason="at least 16 bytes")
        self._url = url
        self._secret = secret
        self._store = store
        self._clock = clock
        self._pause_s = pause_s
        self._events: Queue[bytes | None] = Queue(WAITING)
        self._ended = Event()
        self._opener = build_opener(_Stay)
        self._thread = Thread(target=self._run, name="holdfast webhook", daemon=True)
        self._thread.start()

    def tell(self, account: str, balance_atto: int) -> None:
        """Send that an account is low; returns at once."""
        now = self._clock.wall_ns()
        event = {
            "specversion": "1.0",
            "id": f"{account}-{now}",
            "source": f"urn:holdfast:store:{self._store}",
            "type": EVENT_TYPE,
            "subject": account,
            "time": moment(now),
            "datacontenttype": "application/json",
            "data": {"account": account, "balance_atto": str(balance_atto)},
        }
        try:
            self._events.put_nowait(canonical(event))
        except Full:
            log.warning("too many events wait; that %s is low is not told", account)

    def close(self) -> None:
        """End; what waits still is not told."""
        self._ended.set()
        with suppress(Full):  # then the thread sees that it is to end before it takes the next
            self._events.put_nowait(None)
        self._thread.join(TIMEOUT_S + 1)

    def _run(self) -> None:
        while not self._ended.is_set():
            body = self._events.get()
            if body is not None and not self._deliver(body):
                log.error("an event could not be told: %s", body.decode())

    def _deliver(self, body: bytes) -> bool:
        pause_s = self._pause_s
        for _ in range(TRIES):
            if self._is_heard(body):
                return True
            if self._ended.wait(pause_s):
                return False
            pause_s = min(2 * pause_s, PAUSE_MOST_S)
        return False

    def _is_heard(self, body: bytes) -> bool:
        headers = {
            "Content-Type": "application/cloudevents+json",
            "Holdfast-Signature": signature(self._secret, body, self._clock.wall_ns() // SECOND_NS),
        }
        request = Request(self._url, body, headers)  # noqa: S310 - http or https, see above
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return answer.status in SUCCESS
        except HTTPError as refused:
            log.warning("the webhook answered %d", refused.code)
            refused.close()
        except OSError as error:
            log.warning("the webhook cannot be reached: %s", error)
        return False


def signature(secret: bytes, body: bytes, at_s: int) -> str:
    """What stands in ``Holdfast-Signature``.

    Example:
        >>> signature(b"0123456789abcdef", b"{}", 7)[:30]
        't=7,v1=3cd0ad802237a2c96b7ee3b'
    """
    made = hmac.new(secret, b"%d.%b" % (at_s, body), hashlib.sha256).hexdigest()
    return f"t={at_s},v1={made}"
