"""Sessions of enclaves: a secret that only an attested image knows, and requests marked with it.

    Holdfast-Enclave: <session, 32 hex>;<counter, decimal>;<mac, 64 hex>

The counter only grows, so a request that was seen on the way is worth nothing
a second time. Sessions live in this process and end with it.
"""

from __future__ import annotations

import hmac
import re
from collections import OrderedDict
from threading import Lock
from typing import Final

import msgspec

from holdfast.clock import Clock, Entropy
from holdfast.errors import RateLimited, Unauthenticated
from holdfast.identity.exchange import SECRET_BYTES, Keyed, message_of
from holdfast.limits import (
    ENCLAVE_SESSION_S,
    ENCLAVE_SESSIONS,
    ENCLAVE_SESSIONS_PER_IMAGE,
    SECOND_NS,
)
from holdfast.values import Grant, Principal, Right

ID_BYTES: Final = 16
RIGHTS: Final[tuple[Right, ...]] = ("read", "write", "delete", "admin")
MARK: Final = re.compile(r"([0-9a-f]{32});([1-9][0-9]{0,17});([0-9a-f]{64})", re.ASCII)


class Session(msgspec.Struct, kw_only=True):
    """One session: whose, for which namespace, until when (monotonic ns), the last counter.

    ``secret`` marks its requests, ``keyed`` has taken it in already;
    ``principal`` is who asks with them.
    """

    id: str
    secret: bytes
    keyed: Keyed
    image_id: str
    namespace: str
    ends_ns: int
    principal: Principal
    counter: int = 0


def principal_of(image_id: str, namespace: str, credential: str, until_ns: int) -> Principal:
    """An attested image as somebody: it may do everything in the one namespace it holds."""
    grants = (Grant(namespace, RIGHTS),)
    return Principal("enclave", image_id, grants, credential, until_ns)


class Sessions:
    """The sessions that are open.

    Args:
        clock: they end by its monotonic time.
        entropy: gives ids and secrets.
        life_s: seconds that one lasts.
    """

    def __init__(self, clock: Clock, entropy: Entropy, life_s: float = ENCLAVE_SESSION_S) -> None:
        self._clock = clock
        self._entropy = entropy
        self._life_ns = round(life_s * SECOND_NS)
        self._open: OrderedDict[str, Session] = OrderedDict()  # the oldest first
        self._of_image: dict[str, OrderedDict[str, None]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, image_id: str, namespace: str) -> Session:
        """A new session of an image; the oldest of its own ends where it has too many.

        Raises:
            RateLimited: too many are open in all.
        """
        now_ns = self._clock.monotonic_ns()
        name = self._entropy.bytes(ID_BYTES).hex()
        secret = self._entropy.bytes(SECRET_BYTES)
        until_ns = self._clock.wall_ns() + self._life_ns
        session = Session(
            id=name,
            secret=secret,
            keyed=Keyed(secret),
            image_id=image_id,
            namespace=namespace,
            ends_ns=now_ns + self._life_ns,
            principal=principal_of(image_id, namespace, name, until_ns),
        )
        with self._lock:
            self._end_old(now_ns)
            own = self._of_image.get(image_id, ())
            if len(own) >= ENCLAVE_SESSIONS_PER_IMAGE:
                self._end(self._open[next(iter(own))])
            if len(self._open) >= ENCLAVE_SESSIONS:
                raise RateLimited(retry_after_s=self._wait_s(now_ns))
            self._open[session.id] = session
            self._of_image.setdefault(image_id, OrderedDict())[session.id] = None
        return session

    def find(self, mark: str, method: str, target: str, digest: bytes) -> Session:
        """The session that marked a request.

        Args:
            mark: the header ``Holdfast-Enclave``.
            method: of the request.
            target: path and query, as on the request line.
            digest: SHA-256 of the body.

        Raises:
            Unauthenticated: reason "session" (unknown, or ended), "signature" (the mark is
                another request's, or nobody's), "counter" (not above ``counter``, the last).
        """
        match = MARK.fullmatch(mark)
        if match is None:
            raise Unauthenticated(reason="signature")
        session = self._open.get(match[1])
        if session is None or self._clock.monotonic_ns() >= session.ends_ns:
            raise Unauthenticated(reason="session")
        counter = int(match[2])
        right = session.keyed.digest(message_of(method, target, counter, digest))
        if not hmac.compare_digest(right, bytes.fromhex(match[3])):
            raise Unauthenticated(reason="signature")
        with self._lock:
            if counter <= session.counter:
                raise Unauthenticated(reason="counter", counter=session.counter)
            session.counter = counter
        return session

    def named(self, mark: str) -> Session | None:
        """The session that a mark names, whether or not it is right."""
        return self._open.get(mark.partition(";")[0])

    def end(self, session: Session) -> None:
        """End a session."""
        with self._lock:
            self._end(session)

    def _end(self, session: Session) -> None:
        if self._open.pop(session.id, None) is None:
            return
        own = self._of_image[session.image_id]
        del own[session.id]
        if not own:
            del self._of_image[session.image_id]

    def _end_old(self, now_ns: int) -> None:
        """All last equally long, so those that have ended are in front."""
        while self._open:
            oldest = next(iter(self._open.values()))
            if oldest.ends_ns > now_ns:
                return
            self._end(oldest)

    def _wait_s(self, now_ns: int) -> float:
        oldest = next(iter(self._open.values()))
        return (oldest.ends_ns - now_ns) / SECOND_NS
