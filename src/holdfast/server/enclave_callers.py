"""Enclaves at the door: who marks a request or shows a document, sessions, hand-overs."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from holdfast.access import audit
from holdfast.access.decide import ANONYMOUS
from holdfast.access.grants import Ask
from holdfast.errors import (
    AttestationInvalid,
    Forbidden,
    HoldfastError,
    InvalidValue,
    RateLimited,
    Unauthenticated,
)
from holdfast.identity.enclaves import Enclaves, Opened
from holdfast.identity.handover import Holding, Statement
from holdfast.limits import CHALLENGE_S
from holdfast.server.answers import Answer, told
from holdfast.server.requests import Request
from holdfast.server.routes import Methods, Route
from holdfast.values import Principal
from holdfast.wire.values import decode

if TYPE_CHECKING:
    from holdfast.server.site import Site

MARK, DOCUMENT, SPACE = "holdfast-enclave", "attestation", "holdfast-namespace"
IMAGE = re.compile(r"[0-9a-f]{64}", re.ASCII)
EMPTY = sha256().digest()
VERIFIERS = 2  # threads that verify documents
VERIFYING = 64  # documents that may wait for them
REFUSALS = (Unauthenticated, AttestationInvalid, Forbidden)
Act = Callable[["Site", Request, Principal], Answer | None]


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field that nobody knows may change what is meant: it is refused."""


class Challenged(_Asked, frozen=True):
    """What a challenge is asked with."""

    image_id: str | None = None


class Shown(_Asked, frozen=True):
    """What a session is asked with."""

    document: str
    namespace: str | None = None


class Handed(_Asked, frozen=True):
    """What a session hands over, and to whom."""

    to: str
    keep: bool = False


class Signed(_Asked, frozen=True, rename={"source": "from"}):
    """What an owner has signed."""

    namespace: str
    source: str
    to: str
    keep: bool
    number: int
    signature: str


class Named(_Asked, frozen=True):
    """The owner key that a session names."""

    public_key: str | None


class Callers:
    """Settles which enclave asks, and answers what only enclaves ask.

    Args:
        enclaves: their documents, sessions and hand-overs.
    """

    def __init__(self, enclaves: Enclaves) -> None:
        self._enclaves = enclaves
        self._pool = ThreadPoolExecutor(VERIFIERS, "holdfast-verify")
        self._verifying = 0

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=True)

    def routes(self) -> dict[bytes, Methods]:
        """Challenge, session, hand-over, owner."""
        paths = (
            ("challenge", self._challenge, "A nonce for one attestation document"),
            ("session", self._session, "A session for an attestation document"),
            ("handover", self._handover, "Hand a namespace over to another image"),
            ("owner", self._owner, "Name the key that may sign hand-overs"),
        )
        return {
            f"/{name}".encode(): {
                "POST": Route(f"enclave.{name}", handle, "alone", "small", summary, late=True)
            }
            for name, handle, summary in paths
        }

    # -- who asks ---------------------------------------------------------------------

    def settled(self, act: Act, site: Site, request: Request) -> Answer | None:
        """Have a request done for whom it proves to come from, in the one namespace they hold."""

        def do(principal: Principal) -> Answer | None:
            request.principal = principal
            tenant = request.tenant = site.tenants.find(principal.grants[0].namespace.encode())
            if site.charging.known:
                site.charging.hold(request, tenant, _operation(request))
            return act(site, request, principal)

        return self.settle(site, request, do)

    def expect(self, request: Request) -> None:
        """Unauthenticated, before any body is read, where no such session is open."""
        if not self._enclaves.is_open(request.headers[MARK]):
            error = Unauthenticated(reason="session")
            _tell_refused(request, error)
            raise error

    def settle(
        self, site: Site, request: Request, then: Callable[[Principal], Answer | None]
    ) -> Answer | None:
        """Go on with a request once it is settled who asks.

        On the loop where that is known, on a thread where a document must be verified or
        the record of a namespace read.
        """

        def go_on(principal: object) -> Answer | None:
            if not isinstance(principal, Principal):
                raise TypeError(principal)
            return then(principal)

        if self._is_known(request):
            return go_on(self._who(request))
        if MARK in request.headers:
            site.work(request, partial(self._who, request), go_on)
        else:
            self._verify(site, request, partial(self._who, request), go_on)
        return None

    def _verify(
        self,
        site: Site,
        request: Request,
        work: Callable[[], object],
        told: Callable[[object], Answer | None],
    ) -> None:
        """Have a document verified on a thread that does nothing else.

        Anybody may send any number of them, and each costs milliseconds.

        Raises:
            RateLimited: too many wait already.
        """
        if self._verifying >= VERIFYING:
            raise RateLimited(retry_after_s=1)

        def settle(outcome: object) -> None:
            self._verifying -= 1
            site.conclude(request, outcome, told)

        site.on_thread(self._pool, work, settle)
        self._verifying += 1

    def _is_known(self, request: Request) -> bool:
        headers = request.headers
        if MARK in headers:
            return self._enclaves.knows_session(headers[MARK])
        return self._enclaves.knows_document(headers.get(DOCUMENT, ""), headers.get(SPACE))

    def _who(self, request: Request) -> Principal:
        headers = request.headers
        try:
            if MARK in headers:
                return self._marked(request)
            if DOCUMENT not in headers:
                raise Unauthenticated(reason="missing")
            return self._enclaves.by_document(headers[DOCUMENT], headers.get(SPACE))
        except REFUSALS as error:
            _tell_refused(request, error)
            raise

    def shown(self, headers: Mapping[str, str]) -> Principal | None:
        """Who shows a document that was verified before, where that needs no record.

        Raises:
            Unauthenticated, Forbidden: it does not count here, or its image holds nothing.
        """
        document, space = headers.get(DOCUMENT, ""), headers.get(SPACE)
        if not self._enclaves.knows_document(document, space):
            return None
        return self._enclaves.by_document(document, space)

    def in_session(self, mark: str) -> Principal | None:
        """Who could mark a request so, where that needs no record; nothing is proven yet."""
        session, handovers = self._enclaves.sessions.named(mark), self._enclaves.handovers
        if session is None or not handovers.knows(session.namespace):
            return None
        handovers.require(session.image_id, session.namespace)
        return session.principal

    def spend(self, mark: str, method: str, path: bytes) -> None:
        """Take a mark that is ``in_session``, of a request without a body.

        Raises:
            Unauthenticated: it is not right.
        """
        self._enclaves.sessions.find(mark, method, path.decode("latin-1"), EMPTY)

    def _marked(self, request: Request) -> Principal:
        """Whose session marked a request; a document alone is not enough."""
        mark = request.headers.get(MARK)
        if mark is None:
            raise Unauthenticated(reason="session")
        digest = sha256(request.body).digest() if request.body else EMPTY
        return self._enclaves.by_session(mark, request.method, target_of(request), digest)

    # -- sessions ---------------------------------------------------------------------

    def _challenge(self, site: Site, request: Request) -> None:
        asked = decode(bytes(request.body), Challenged) if request.body else Challenged()
        if asked.image_id is not None and not IMAGE.fullmatch(asked.image_id):
            raise InvalidValue(argument="image_id", reason="not 64 hex digits")
        work = partial(self._enclaves.challenge, asked.image_id)
        site.work(request, work, lambda nonce: told({"nonce": nonce, "seconds": CHALLENGE_S}))

    def _session(self, site: Site, request: Request) -> None:
        asked = decode(bytes(request.body), Shown)
        document = _octets(asked.document, "document")

        def opened(found: object) -> Answer:
            if not isinstance(found, Opened):
                raise TypeError(found)
            return told(found)

        def exchange() -> Opened:
            with _told_if_refused(request):
                return self._enclaves.exchange(document, asked.namespace)

        self._verify(site, request, exchange, opened)

    # -- hand-overs -------------------------------------------------------------------

    def _handover(self, site: Site, request: Request) -> None:
        body = bytes(request.body)
        if "signature" in decode(body, dict[str, msgspec.Raw]):
            signed = decode(body, Signed)
            signature = _octets(signed.signature, "signature")
            statement = Statement(
                signed.namespace, signed.source, signed.to, signed.keep, signed.number
            )
            site.work(request, partial(self._by_owner, request, statement, signature), _held)
            return
        asked = decode(body, Handed)
        site.work(request, partial(self._by_session, request, asked), _held)

    def _by_session(self, request: Request, asked: Handed) -> Holding:
        with _told_if_refused(request):
            caller = self._marked(request)
            found = self._enclaves.hand_over(caller, asked.to, keep=asked.keep)
        namespace = caller.grants[0].namespace
        _tell(request, caller, namespace, to=asked.to, keep=asked.keep)
        return found

    def _by_owner(self, request: Request, statement: Statement, signature: bytes) -> Holding:
        with _told_if_refused(request):
            found = self._enclaves.handovers.hand_over_signed(statement, signature)
        facts = {"by": "owner", "from": statement.source, "to": statement.target}
        _tell(request, ANONYMOUS, statement.namespace, **facts, keep=statement.keep)
        return found

    def _owner(self, site: Site, request: Request) -> None:
        asked = decode(bytes(request.body), Named)
        key = None if asked.public_key is None else _octets(asked.public_key, "public_key")
        site.work(request, partial(self._name_owner, request, key), _held)

    def _name_owner(self, request: Request, key: bytes | None) -> Holding:
        with _told_if_refused(request):
            caller = self._marked(request)
            found = self._enclaves.name_owner(caller, key)
        told = None if key is None else base64.b64encode(key).decode()
        _tell(request, caller, caller.grants[0].namespace, public_key=told)
        return found


def target_of(request: Request) -> str:
    """Path and query as on the request line."""
    query = b"?" + request.query if request.query else b""
    return (request.path + query).decode("latin-1")


@contextmanager
def _told_if_refused(request: Request) -> Iterator[None]:
    """Leave a line in the audit log where a credential is refused."""
    try:
        yield
    except REFUSALS as error:
        _tell_refused(request, error)
        raise


def _tell_refused(request: Request, error: HoldfastError) -> None:
    ask = Ask("", _operation(request), address=request.address)
    audit.tell("refused", ANONYMOUS, ask, code=error.code, **error.facts)


def _tell(request: Request, principal: Principal, namespace: str, **facts: object) -> None:
    ask = Ask(namespace, _operation(request), address=request.address)
    audit.tell("allowed", principal, ask, **facts)


def _operation(request: Request) -> str:
    return request.route.operation if request.route is not None else ""


def _held(holding: object) -> Answer:
    if not isinstance(holding, Holding):
        raise TypeError(holding)
    return told({"images": holding.images, "number": holding.number})


def _octets(text: str, argument: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue(argument=argument, reason="not base64") from None
