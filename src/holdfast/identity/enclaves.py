"""Enclaves as callers: a document or a session in, a ``Principal`` out.

Two modes. In ``session`` (the default) a document is worth one exchange: it
must carry a nonce of ours and a public key, and gives a session whose requests
are marked. In ``bearer`` the document itself comes with every request, as the
enclave API was first written down; whoever sees it can use it until it is too
old, so it changes nothing about who holds a namespace.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from threading import Lock
from typing import Final, Literal

import msgspec

from holdfast.access.records import Records
from holdfast.clock import Clock, Entropy
from holdfast.errors import AttestationInvalid, InvalidValue, Unauthenticated
from holdfast.identity.attestation import AWS, FUTURE_S, Attestation, roots_of, verify
from holdfast.identity.challenges import Challenges
from holdfast.identity.exchange import KEY_BYTES, public_of, seal
from holdfast.identity.handover import IMAGE, HandOvers, Holding, Statement
from holdfast.identity.sessions import Sessions, principal_of
from holdfast.limits import ENCLAVE_DOCUMENTS, ENCLAVE_SESSION_S, SECOND_NS
from holdfast.values import Principal

log = logging.getLogger("holdfast.attestation")
HEADER_CHARS: Final = 24 << 10  # base64 of the largest document, and then some
Mode = Literal["session", "bearer"]


class AttestationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is believed of enclaves (``attestation.*`` in the configuration).

    Args:
        mode: "session", or "bearer" to accept a document with every request as well.
        max_age_s: how old a document may be, seconds; at most 300.
        roots: which to trust: "aws", the path of a file (PEM or DER), or PEM itself. Any
            but Amazon's own is logged as a warning.
        images: the image ids that may come; None lets any come, each to its own namespace.
        session_s: seconds that a session lasts; at most a day.
    """

    mode: Mode = "session"
    max_age_s: float = 300
    roots: tuple[str, ...] = ("aws",)
    images: tuple[str, ...] | None = None
    session_s: float = ENCLAVE_SESSION_S


AGE_MOST_S: Final = 300
SESSION_MOST_S: Final = 86_400


class Opened(msgspec.Struct, frozen=True):
    """What an enclave gets for its document: the session's id, and its secret, sealed.

    ``public_key`` is the store's half of the exchange (``exchange.py``), ``store`` the
    store's id, ``until_ns`` when the session ends, nanoseconds since 1970.
    """

    session: str
    public_key: bytes
    sealed: bytes
    image_id: str
    namespace: str
    store: str
    until_ns: int


class Enclaves:
    """Settles which enclave asks.

    Args:
        settings: what to believe.
        records: where hand-overs are kept.
        clock: wall time judges documents, monotonic time ends sessions.
        entropy: gives nonces, ids, secrets and keys.
        store: the store's id.

    Raises:
        InvalidValue: ``max_age_s`` is over 300, or not above 0; ``session_s`` is over a day, or
            not above 0; a root is no certificate, or an image no id.
    """

    def __init__(
        self,
        settings: AttestationSettings,
        records: Records,
        *,
        clock: Clock,
        entropy: Entropy,
        store: str,
    ) -> None:
        if not 0 < settings.max_age_s <= AGE_MOST_S:
            raise InvalidValue(argument="attestation.max_age_s", reason="0 to 300")
        if not 0 < settings.session_s <= SESSION_MOST_S:
            raise InvalidValue(argument="attestation.session_s", reason="0 to 86,400")
        self.settings = settings
        self.handovers = HandOvers(records, clock, store)
        self.sessions = Sessions(clock, entropy, settings.session_s)
        self._clock = clock
        self._entropy = entropy
        self._challenges = Challenges(clock, entropy)
        self._documents = Documents(self._verify, clock.wall_ns, settings.max_age_s)
        self._images = images_of(settings.images)
        self._roots = tuple(root for named in settings.roots for root in roots_of(named))
        for root in self._roots:
            if root not in AWS:
                log.warning(
                    "ATTESTATION TRUSTS A ROOT THAT IS NOT AMAZON'S: whoever has its key can be "
                    "any enclave here (SHA-256 of the certificate: %s)",
                    sha256(root).hexdigest(),
                )

    # -- sessions ---------------------------------------------------------------------

    def challenge(self, image_id: str | None = None) -> bytes:
        """A nonce of 32 bytes for one document, within a minute."""
        return self._challenges.make(image_id)

    def exchange(self, document: bytes, namespace: str | None = None) -> Opened:
        """A session for an attested image.

        Args:
            document: carries a nonce of ours, and an X25519 public key (32 bytes).
            namespace: the one to hold; the image's own if None.

        Raises:
            AttestationInvalid: the document does not verify, or has no nonce of ours.
            InvalidValue: it has no such key. InvalidNamespace.
            Forbidden: reason "image": that image does not hold the namespace.
            RateLimited: too many sessions.
        """
        said = self._verify(document)
        if said.public_key is None or len(said.public_key) != KEY_BYTES:
            raise InvalidValue(argument="public_key", reason="not an X25519 public key")
        self._challenges.spend(said.nonce, said.image_id)
        where = said.image_id if namespace is None else namespace
        self.handovers.require(said.image_id, where)
        session = self.sessions.begin(said.image_id, where)
        private = self._entropy.bytes(KEY_BYTES)
        try:
            sealed = seal(
                session.secret,
                private=private,
                peer=said.public_key,
                nonce=said.nonce or b"",
                session=bytes.fromhex(session.id),
            )
        except InvalidValue:
            self.sessions.end(session)
            raise
        until_ns = session.principal.until_ns or 0
        return Opened(
            session.id,
            public_of(private),
            sealed,
            said.image_id,
            where,
            self.handovers.store,
            until_ns,
        )

    def by_session(self, mark: str, method: str, target: str, digest: bytes) -> Principal:
        """Who marked a request: the image by ``name``, its namespace in the one grant.

        Args:
            mark: the header ``Holdfast-Enclave``.
            method: of the request.
            target: path and query as on the request line.
            digest: SHA-256 of the body.

        Raises:
            Unauthenticated: as ``Sessions.find`` says.
            Forbidden: reason "image": the namespace was handed on since.
        """
        session = self.sessions.find(mark, method, target, digest)
        self.handovers.require(session.image_id, session.namespace)
        return session.principal

    def is_open(self, mark: str) -> bool:
        """Whether a mark names a session that is open, be it right or not."""
        session = self.sessions.named(mark)
        return session is not None and self._clock.monotonic_ns() < session.ends_ns

    def knows_session(self, mark: str) -> bool:
        """Whether ``by_session`` answers from memory, without reading a record."""
        session = self.sessions.named(mark)
        return session is None or self.handovers.knows(session.namespace)

    # -- bearer -----------------------------------------------------------------------

    def knows_document(self, header: str, namespace: str | None = None) -> bool:
        """Whether ``by_document`` answers from memory, without verifying or reading."""
        known = self._documents.known(header)
        if known is None:
            return self.settings.mode != "bearer"
        return self.handovers.knows(known.image_id if namespace is None else namespace)

    def by_document(self, header: str, namespace: str | None = None) -> Principal:
        """Who shows a document with a request; verified once, then remembered until too old.

        Args:
            header: the header ``Attestation``: the document in base64.
            namespace: the one to hold; the image's own if None.

        Raises:
            Unauthenticated: reason "bearer": the mode is "session".
            AttestationInvalid: as ``verify``.
            Forbidden: reason "image".
        """
        if self.settings.mode != "bearer":
            raise Unauthenticated(reason="bearer")
        found = self._documents.find(header)
        where = found.image_id if namespace is None else namespace
        self.handovers.require(found.image_id, where)
        if where == found.image_id:
            return found.principal
        credential = found.principal.credential
        return principal_of(found.image_id, where, credential, found.until_ns)

    def _verify(self, document: bytes) -> Attestation:
        settings = self.settings
        return verify(
            document,
            now_ns=self._clock.wall_ns(),
            max_age_s=settings.max_age_s,
            roots=self._roots,
            images=self._images,
        )

    # -- hand-over --------------------------------------------------------------------

    def hand_over(self, caller: Principal, target: str, *, keep: bool = False) -> Holding:
        """Hand the caller's namespace to another image.

        Args:
            caller: whom ``by_session`` told; a document alone must never come here.
            target: the image id that may hold it from now on.
            keep: whether the caller's own image goes on holding it.
        """
        namespace = caller.grants[0].namespace
        statement = Statement(namespace, caller.name, target, keep)
        return self.handovers.hand_over(caller.name, statement)

    def name_owner(self, caller: Principal, owner: bytes | None) -> Holding:
        """Name the Ed25519 key that may sign hand-overs of the namespace of a session."""
        return self.handovers.name_owner(caller.name, caller.grants[0].namespace, owner)


class Known(msgspec.Struct, frozen=True):
    """A document that was verified: whose it is, and how long it counts (ns since 1970)."""

    image_id: str
    principal: Principal
    begins_ns: int
    until_ns: int


class Documents:
    """Verified documents, in memory for as long as they count.

    Args:
        judge: verifies a document.
        now_ns: nanoseconds since 1970.
        max_age_s: how old one may be.
    """

    def __init__(
        self,
        judge: Callable[[bytes], Attestation],
        now_ns: Callable[[], int],
        max_age_s: float,
    ) -> None:
        self._judge = judge
        self._now_ns = now_ns
        self._max_age_ns = round(max_age_s * SECOND_NS)
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._lock = Lock()

    def known(self, header: str) -> Known | None:
        """Whose document this is, if it was verified and still counts."""
        known = self._known.get(header)
        return known if known is not None and self._holds(known) else None

    def find(self, header: str) -> Known:
        """Whose document this is; AttestationInvalid where it does not verify now."""
        known = self.known(header)
        if known is not None:
            return known
        said = self._judge(decode_header(header))
        until_ns = min(said.timestamp_ns + self._max_age_ns + 1, said.ends_ns)
        credential = sha256(header.encode()).hexdigest()[:32]
        principal = principal_of(said.image_id, said.image_id, credential, until_ns)
        known = Known(said.image_id, principal, said.timestamp_ns, until_ns)
        with self._lock:
            self._known[header] = known
            while len(self._known) > ENCLAVE_DOCUMENTS:
                self._known.popitem(last=False)
        return known

    def _holds(self, known: Known) -> bool:
        return known.begins_ns - FUTURE_S * SECOND_NS <= self._now_ns() < known.until_ns


def images_of(named: Sequence[str] | None) -> frozenset[str] | None:
    """The image ids of a setting; InvalidValue where one is none."""
    if named is None:
        return None
    for image_id in named:
        if not IMAGE.fullmatch(image_id):
            raise InvalidValue(argument="attestation.images", reason="not 64 hex digits")
    return frozenset(named)


def decode_header(text: str) -> bytes:
    """The document in a header ``Attestation``; AttestationInvalid where it is no base64."""
    if len(text) <= HEADER_CHARS:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise AttestationInvalid(reason="encoding", what="base64")
