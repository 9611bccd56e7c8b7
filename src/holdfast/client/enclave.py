"""The sessions of an enclave's client: opened when they are needed, one request in each at a time.

A session's counter must grow in the order in which the server sees it, so requests
that are under way side by side have a session each; they are kept and used again.
Without I/O, like line.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar

import msgspec

from holdfast.client.asks import Answer, Ask, BrokenError, LostError, UnsentError, Work
from holdfast.clock import Entropy
from holdfast.errors import HoldfastError, Unauthenticated
from holdfast.identity.attestation.document import parse
from holdfast.identity.attestation.verification import image_of
from holdfast.identity.exchange import KEY_BYTES, mac_of, public_of, unseal
from holdfast.wire.problems import error_of, unreadable

MARK: Final = "holdfast-enclave"
KEPT: Final = 32  # sessions; as many calls may be under way without opening new ones
OVER: Final = frozenset(("session", "counter"))  # reasons after which another session helps
UNAUTHORIZED, BAD = 401, 400
T = TypeVar("T")
JSON: Final = {"content-type": "application/json"}


class Enclave:
    """Who a client is that has no token: an enclave that can show documents.

    Args:
        attest: asks the security module for a document that carries this nonce and this
            public key, 32 bytes each, and returns it.
        namespace: one that was handed over; the image's own if None.

    Example:
        >>> enclave = Enclave(lambda nonce, public_key: b"...", namespace="0" * 64)
        >>> enclave.namespace == "0" * 64
        True
    """

    def __init__(
        self, attest: Callable[[bytes, bytes], bytes], namespace: str | None = None
    ) -> None:
        self.attest = attest
        self._namespace = namespace

    @property
    def image_id(self) -> str:
        """The id of this enclave's image, as hex; asks the security module.

        Raises:
            AttestationInvalid: what ``attest`` gave is no document.
        """
        return image_of(parse(self.attest(bytes(KEY_BYTES), bytes(KEY_BYTES))).pcrs)

    @property
    def namespace(self) -> str:
        """The namespace that its sessions hold."""
        return self._namespace or self.image_id

    @property
    def asked(self) -> str | None:
        """The namespace that it asks for by name."""
        return self._namespace


class _Session(msgspec.Struct):
    id: str
    secret: bytes
    counter: int = 0

    def mark(self, ask: Ask) -> str:
        """The mark of its next request."""
        self.counter += 1
        digest = sha256(ask.body).digest()
        mac = mac_of(self.secret, ask.method, ask.target, counter=self.counter, digest=digest)
        return f"{self.id};{self.counter};{mac.hex()}"


class _Challenge(msgspec.Struct):
    nonce: bytes


class _Opened(msgspec.Struct):
    session: str
    public_key: bytes
    sealed: bytes


class Marks:
    """Sends requests, each marked by a session.

    Args:
        enclave: whose.
        entropy: gives the key pair of each session.
    """

    def __init__(self, enclave: Enclave, entropy: Entropy) -> None:
        self._enclave = enclave
        self._entropy = entropy
        self._idle: deque[_Session] = deque(maxlen=KEPT)

    def send(self, ask: Ask) -> Work[Answer]:
        """Send a request; once more in a new session where the server has forgotten the old."""
        session = self._kept()
        if session is not None:
            answer = yield from self._send(ask, session)
            if not _is_over(answer):
                return answer
            self._idle.clear()  # it has forgotten the others too
        opened = yield from self._open(ask)
        if isinstance(opened, Answer):
            return opened
        return (yield from self._send(ask, opened))

    def _kept(self) -> _Session | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _send(self, ask: Ask, session: _Session) -> Work[Answer]:
        headers = ask.headers | {MARK: session.mark(ask)}
        try:
            answer = yield msgspec.structs.replace(ask, headers=headers)
        except LostError:
            self._idle.append(session)  # its next counter keeps a late one from counting still
            raise
        if not _is_over(answer):
            self._idle.append(session)
        return answer

    def _open(self, ask: Ask) -> Work[_Session | Answer]:
        """A new session, or the refusal of it."""
        try:
            answer = yield self._asking(ask, "/challenge", b"")
            if answer.status >= BAD:
                return answer
            nonce = _decoded(answer, _Challenge).nonce
            private = self._entropy.bytes(KEY_BYTES)
            document = self._enclave.attest(nonce, public_of(private))
            told = {"document": document, "namespace": self._enclave.asked}
            answer = yield self._asking(ask, "/session", msgspec.json.encode(told))
        except BrokenError as error:  # the request itself was never sent
            raise UnsentError(error.cause, late=error.late) from error
        if answer.status >= BAD:
            return answer
        opened = _decoded(answer, _Opened)
        secret = unseal(
            opened.sealed,
            private=private,
            peer=opened.public_key,
            nonce=nonce,
            session=bytes.fromhex(opened.session),
        )
        return _Session(opened.session, secret)

    @staticmethod
    def _asking(ask: Ask, target: str, body: bytes) -> Ask:
        return Ask("POST", target, JSON, body, origin=ask.origin, timeout_s=ask.timeout_s)


def _is_over(answer: Answer) -> bool:
    """Whether the server refused the session, and so did nothing."""
    if answer.status != UNAUTHORIZED:
        return False
    try:
        error = error_of(msgspec.json.decode(answer.body, type=dict[str, object]))
    except (msgspec.MsgspecError, HoldfastError):
        return False
    return isinstance(error, Unauthenticated) and error.facts.get("reason") in OVER


def _decoded(answer: Answer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError:
        raise unreadable("an answer about sessions") from None
