"""Enclaves at the door: who marks a request or shows a document, sessions, hand-overs."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import InvalidValue, Unauthenticated
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
            request.tenant = site.tenants.find(principal.grants[0].namespace.encode())
            return act(site, request, principal)

        return self.settle(site, request, do)

    def expect(self, request: Request) -> None:
        """Unauthenticated, before any body is read, where no such session is open."""
        if not self._enclaves.is_open(request.headers[MARK]):
            raise Unauthenticated(reason="session")

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
        site.work(request, partial(self._who, request), go_on)
        return None

    def _is_known(self, request: Request) -> bool:
        headers = request.headers
        if MARK in headers:
            return self._enclaves.knows_session(headers[MARK])
        return self._enclaves.knows_document(headers.get(DOCUMENT, ""), headers.get(SPACE))

    def _who(self, request: Request) -> Principal:
        headers = request.headers
        if MARK in headers:
            return self._marked(request)
        if DOCUMENT not in headers:
            raise Unauthenticated(reason="missing")
        return self._enclaves.by_document(headers[DOCUMENT], headers.get(SPACE))

    def _marked(self, request: Request) -> Principal:
        """Whose session marked a request; a document alone is not enough."""
        mark = request.headers.get(MARK)
        if mark is None:
            raise Unauthenticated(reason="session")
        digest = sha256(request.body).digest()
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

        site.work(request, partial(self._enclaves.exchange, document, asked.namespace), opened)

    # -- hand-overs -------------------------------------------------------------------

    def _handover(self, site: Site, request: Request) -> None:
        body = bytes(request.body)
        if "signature" in decode(body, dict[str, msgspec.Raw]):
            signed = decode(body, Signed)
            signature = _octets(signed.signature, "signature")
            statement = Statement(
                signed.namespace, signed.source, signed.to, signed.keep, signed.number
            )
            handovers = self._enclaves.handovers
            work = partial(handovers.hand_over_signed, statement, signature)
            site.work(request, work, _held)
            return
        asked = decode(body, Handed)
        site.work(request, partial(self._hand_over, request, asked), _held)

    def _hand_over(self, request: Request, asked: Handed) -> Holding:
        return self._enclaves.hand_over(self._marked(request), asked.to, keep=asked.keep)

    def _owner(self, site: Site, request: Request) -> None:
        asked = decode(bytes(request.body), Named)
        key = None if asked.public_key is None else _octets(asked.public_key, "public_key")
        site.work(request, partial(self._name_owner, request, key), _held)

    def _name_owner(self, request: Request, key: bytes | None) -> Holding:
        return self._enclaves.name_owner(self._marked(request), key)


def target_of(request: Request) -> str:
    """Path and query as on the request line."""
    query = b"?" + request.query if request.query else b""
    return (request.path + query).decode("latin-1")


def _held(holding: object) -> Answer:
    if not isinstance(holding, Holding):
        raise TypeError(holding)
    return told({"images": holding.images, "number": holding.number})


def _octets(text: str, argument: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue(argument=argument, reason="not base64") from None
