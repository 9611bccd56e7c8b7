"""Tokens: who shows one is somebody, until it ends or is revoked.

    header   {"alg": "EdDSA", "kid": ..., "typ": "JWT"}
    payload  {"iss": "urn:holdfast:<store>", "aud": the same, "sub": name, "jti": id,
              "iat": s, "exp": s, to the ms, "knd": "token" | "link" | "operator",
              "grants": [...], "via": [ids of the tokens it was handed on by]}

Those are the store's own. A trusted issuer's token says who it is for in ``sub`` and what
it may in ``scope`` (``scopes.py``); nothing else of it counts.

    token/<id>      what was issued, for lists and for who may revoke it
    revoked/<id>    it counts no more; nor does what was handed on by it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from threading import Lock
from typing import Final, Literal, TypeVar

import msgspec

from holdfast.access.grants import checked
from holdfast.access.records import Records
from holdfast.clock import Clock, Entropy
from holdfast.errors import Forbidden, InvalidExpiry, InvalidValue, LimitExceeded, Unauthenticated
from holdfast.identity import jws
from holdfast.identity.issuers import ANYBODY, Issuer, key_for
from holdfast.identity.keys import SigningKey
from holdfast.identity.scopes import grants_of
from holdfast.limits import SECOND_NS, TOKEN_CHARS, TOKEN_TTL_S, TOKENS_CACHED
from holdfast.values import Grant, Principal, planned

MS_NS: Final = 1_000_000
AHEAD_NS: Final = 60 * SECOND_NS  # how far an issuer's clock may be ahead of ours
AFTER_NS: Final = 7 * 86_400 * SECOND_NS  # past its end before what we know of it may go
LATEST_S: Final = 253_402_300_799  # the end of the year 9999
ID_BYTES: Final = 16
NAME_CHARS: Final = 128
LINEAGE: Final = 8
ISSUED: Final = "token/"
REVOKED: Final = "revoked/"

Kind = Literal["token", "link", "operator"]
Seconds = int | float
T = TypeVar("T")


class Issued(msgspec.Struct, frozen=True):
    """A token that was made, and what it says."""

    token: str
    id: str
    name: str
    grants: tuple[Grant, ...]
    until_ns: int


@planned
class Noted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the store remembers of a token it issued: not the token."""

    id: str
    name: str
    kind: Kind
    grants: tuple[Grant, ...]
    until_ns: int
    via: tuple[str, ...] = ()
    revoked: bool = False


@planned
class _Claims(msgspec.Struct):
    """The claims of RFC 7519 that are looked at; the rest of a foreign token decides nothing."""

    iss: str
    exp: Seconds
    aud: str | list[str] | None = None
    iat: Seconds | None = None
    nbf: Seconds | None = None


@planned
class _Own(msgspec.Struct, forbid_unknown_fields=True):
    """Every claim of a token of ours; one that is not known could mean less than all of it."""

    iss: str
    aud: str
    sub: str
    jti: str
    iat: int
    exp: Seconds
    knd: Kind
    grants: tuple[Grant, ...]
    via: tuple[str, ...] = ()


@planned
class _Foreign(msgspec.Struct):
    """What else counts of a trusted issuer's token."""

    sub: str = ""
    username: str = ""
    azp: str = ""
    jti: str = ""
    scope: str | list[str] = ""


class _Verified(msgspec.Struct, frozen=True):
    """A token that was verified: until when it counts, and which revocations end it."""

    until_ns: int
    principal: Principal
    ids: tuple[str, ...]


class Tokens:
    """Issues, verifies and revokes. ``store.tokens`` is one.

    Args:
        key: the store's signing key.
        store: the store's id, in hex.
        clock: tells the time.
        entropy: gives ids.
        records: where revocations are kept; None where none can be known (signing alone).
        issuers: trusted besides the store itself.

    Example:
        >>> import holdfast
        >>> with holdfast.open(":memory:") as store:
        ...     token = store.tokens.issue("ci", [holdfast.Grant("acme", ("read",))], 60)
        ...     store.tokens.verify(token).name
        'ci'
    """

    def __init__(
        self,
        key: SigningKey,
        store: str,
        *,
        clock: Clock,
        entropy: Entropy,
        records: Records | None = None,
        issuers: Iterable[Issuer] = (),
    ) -> None:
        self.name = f"urn:holdfast:{store}"
        self.key = key
        self._clock = clock
        self._entropy = entropy
        self._records = records
        self._lock = Lock()
        self._cache: dict[str, _Verified] = {}
        self.epoch = 0  # another one whenever a token that counted may not count any more
        self._revoked: frozenset[str] = frozenset()
        own = jws.VerifyingKey("EdDSA", key.private.public_key(), key.id)
        self._issuers = {self.name: Issuer(self.name, self.name, (own,))}
        self.trust(issuers)
        self._prune()
        self.reload()

    # -- issuing --------------------------------------------------------------------------

    def issue(self, name: str, grants: Sequence[Grant], ttl_s: float) -> str:
        """A token for whoever is to have these grants; ``mint`` tells its id too."""
        return self.mint(name, grants, ttl_s).token

    def mint(
        self,
        name: str,
        grants: Sequence[Grant],
        ttl_s: float,
        *,
        kind: Kind = "token",
        by: Principal | None = None,
    ) -> Issued:
        """Make a token and note it durably.

        Args:
            name: whom it is for, 1 to 128 printable characters without "#"; for people to
                read: it gives no rights.
            grants: what it allows, at least one.
            ttl_s: seconds until it ends, at most 10 years.
            kind: "link" for one that travels in an address, "operator" for the operator.
            by: who hands it on: it ends no later than their own credential, and with it.

        Raises:
            InvalidValue, InvalidNamespace, InvalidExpiry: nothing was made.
            LimitExceeded: so many grants make no token ("TOKEN_CHARS").
            Forbidden: it was handed on too often ("lineage").
        """
        _check_name(name)
        if not grants:
            raise InvalidValue(argument="grants", reason="none")
        if ttl_s > TOKEN_TTL_S:
            raise InvalidExpiry(ttl=ttl_s, limit="TOKEN_TTL_S", most=TOKEN_TTL_S)
        if not ttl_s > 0:  # nor is this no number
            raise InvalidExpiry(ttl=ttl_s)
        now_ns = self._clock.wall_ns()
        until_ns = now_ns + round(ttl_s * SECOND_NS)
        if by is not None and by.until_ns is not None:
            until_ns = min(until_ns, by.until_ns)
        claims = _Own(
            iss=self.name,
            aud=self.name,
            sub=name,
            jti=self._entropy.bytes(ID_BYTES).hex(),
            iat=now_ns // SECOND_NS,
            exp=_seconds(until_ns),
            knd=kind,
            grants=tuple(map(checked, grants)),
            via=() if by is None else self._lineage(by),
        )
        return self._sign(claims, now_ns)

    def _sign(self, claims: _Own, now_ns: int) -> Issued:
        token = jws.signed(msgspec.json.encode(claims), self.key.private, self.key.id)
        if len(token) > TOKEN_CHARS:
            raise LimitExceeded(limit="TOKEN_CHARS", most=TOKEN_CHARS, asked=len(token))
        until_ns = _nanoseconds(claims.exp)
        if self._records is not None:
            noted = Noted(claims.jti, claims.sub, claims.knd, claims.grants, until_ns, claims.via)
            kept_ns = max(until_ns - now_ns, 0) + AFTER_NS
            key = ISSUED + claims.jti
            self._records.put(key, msgspec.json.encode(noted), ttl_ns=kept_ns)
        return Issued(token, claims.jti, claims.sub, claims.grants, until_ns)

    def _lineage(self, by: Principal) -> tuple[str, ...]:
        """The ids that end what ``by`` hands on: its own, and those it came by."""
        noted = self.noted(by.credential) if _is_own(by.credential) else None
        ids = (by.credential, *(noted.via if noted else ()))
        if len(ids) > LINEAGE:
            raise Forbidden(reason="lineage", most=LINEAGE)
        return ids

    def issued(self) -> list[Noted]:
        """Every token of ours that was noted and has not ended, with whether it was revoked."""
        now_ns = self._clock.wall_ns()
        noted = [msgspec.json.decode(data, type=Noted) for _, data in self._must().list(ISSUED)]
        return [
            msgspec.structs.replace(one, revoked=one.id in self._revoked)
            for one in noted
            if one.until_ns > now_ns
        ]

    def noted(self, credential: str) -> Noted | None:
        """What is known of a token by its id."""
        held = self._must().get(ISSUED + credential)
        return msgspec.json.decode(held[0], type=Noted) if held else None

    # -- verifying ------------------------------------------------------------------------

    def verify(self, token: str) -> Principal:
        """Who shows this token.

        Raises:
            Unauthenticated: ``reason`` is malformed, too_long, issuer, key, algorithm,
                signature, claims, audience, not_yet, expired or revoked.
        """
        held = self._cache.get(token)
        if held is not None and self._clock.wall_ns() < held.until_ns:
            return held.principal
        found = self._verify(token)
        with self._lock:
            if not self._revoked.isdisjoint(found.ids):  # revoked since it was looked at
                raise Unauthenticated(reason="revoked")
            self._cache.pop(token, None)
            while len(self._cache) >= TOKENS_CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[token] = found
        return found.principal

    def _verify(self, token: str) -> _Verified:
        parts = jws.split(token)
        claims = _read(parts, _Claims)
        issuer = self._issuers.get(claims.iss)
        if issuer is None:
            raise Unauthenticated(reason="issuer")
        jws.verify(parts, key_for(issuer, parts.header.kid))  # from here on it is the issuer's word
        _hold_audience(issuer, claims.aud)
        until_ns = self._timely(claims)
        ours = issuer.name == self.name
        found = _ours(parts, until_ns) if ours else _foreign(parts, until_ns, issuer)
        if not self._revoked.isdisjoint(found.ids):
            raise Unauthenticated(reason="revoked")
        return found

    def _timely(self, claims: _Claims) -> int:
        """When a token ends, in ns, if it has begun and has not."""
        now_ns = self._clock.wall_ns()
        for begin in (claims.iat, claims.nbf):
            if begin is not None and not 0 <= begin <= LATEST_S:
                raise Unauthenticated(reason="claims")
            if begin is not None and int(begin * SECOND_NS) > now_ns + AHEAD_NS:
                raise Unauthenticated(reason="not_yet")
        if not 0 <= claims.exp <= LATEST_S:
            raise Unauthenticated(reason="claims")
        until_ns = _nanoseconds(claims.exp)
        if now_ns >= until_ns:
            raise Unauthenticated(reason="expired")
        return until_ns

    # -- trusting and revoking ---------------------------------------------------------------

    def trust(self, issuers: Iterable[Issuer]) -> None:
        """Believe these issuers besides the store, and no others any more.

        Raises:
            InvalidValue: two have one name, or one has the store's.
        """
        wanted = {self.name: self._issuers[self.name]}
        for issuer in issuers:
            if not issuer.name or not issuer.audience or issuer.name in wanted:
                raise InvalidValue(argument="issuers", reason="unnamed or named twice")
            wanted[issuer.name] = issuer
        with self._lock:
            self._issuers = wanted
            self._cache.clear()
            self.epoch += 1

    def revoke(self, credential: str) -> bool:
        """End a token, and all that was handed on by it, durably before this returns.

        Args:
            credential: its id: ``Principal.credential``.

        Returns:
            Whether a token with this id was noted here. An issuer's never is, nor one that
            was signed while another process had the store open; it is revoked all the same.
        """
        if not 0 < len(credential) <= TOKEN_CHARS:
            raise InvalidValue(argument="id", reason="not the id of a token")
        records = self._must()
        noted = self.noted(credential) if _is_own(credential) else None
        until_ns = noted.until_ns if noted else None
        records.put(REVOKED + _name(credential), msgspec.json.encode([credential, until_ns]))
        with self._lock:
            self._end({*self._revoked, credential})
        return noted is not None

    def reload(self) -> None:
        """Read again what was revoked: another process may have revoked something."""
        if self._records is None:
            return
        pairs = (msgspec.json.decode(data) for _, data in self._records.list(REVOKED))
        revoked = {credential for credential, _ in pairs}
        with self._lock:
            # Something may have been revoked here since the list was read; it stays so.
            self._end({*self._revoked, *revoked})

    def _end(self, revoked: set[str]) -> None:
        self._revoked = frozenset(revoked)
        for token in [t for t, one in self._cache.items() if not revoked.isdisjoint(one.ids)]:
            del self._cache[token]
        self.epoch += 1

    def _prune(self) -> None:
        """Forget that tokens were revoked which ended long ago."""
        if self._records is None:
            return
        past_ns = self._clock.wall_ns() - AFTER_NS
        for key, data in self._records.list(REVOKED):
            until_ns = msgspec.json.decode(data)[1]
            if until_ns is not None and until_ns < past_ns:
                self._records.delete(key)

    def _must(self) -> Records:
        if self._records is None:
            raise InvalidValue(argument="records", reason="signing alone")
        return self._records


def _read(parts: jws.Parts, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(parts.payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unauthenticated(reason="claims") from None


def _hold_audience(issuer: Issuer, told: str | list[str] | None) -> None:
    """Hold that a token was made for us, unless its issuer makes them for nobody in particular."""
    if issuer.audience == ANYBODY:
        return
    if told is None:
        raise Unauthenticated(reason="claims")
    if issuer.audience not in ([told] if isinstance(told, str) else told):
        raise Unauthenticated(reason="audience")


def _ours(parts: jws.Parts, until_ns: int) -> _Verified:
    claims = _read(parts, _Own)
    if not _is_own(claims.jti):
        raise Unauthenticated(reason="claims")
    principal = Principal(claims.knd, claims.sub, claims.grants, claims.jti, until_ns)
    return _Verified(until_ns, principal, (claims.jti, *claims.via))


def _foreign(parts: jws.Parts, until_ns: int, issuer: Issuer) -> _Verified:
    """What an issuer's word makes of somebody: a name, and the grants of its scopes."""
    claims = _read(parts, _Foreign)
    subject = claims.sub
    if issuer.audience == ANYBODY:
        subject = subject or claims.username or claims.azp
    if not subject:
        raise Unauthenticated(reason="claims")
    scopes = claims.scope.split() if isinstance(claims.scope, str) else claims.scope
    grants = tuple(
        grant
        for grant in grants_of(scopes)
        if issuer.namespaces is None or grant.namespace in issuer.namespaces
    )
    credential = f"{issuer.name}#{claims.jti or sha256(parts.signed).hexdigest()}"
    name = f"{issuer.name}#{subject}"
    principal = Principal("token", name, grants, credential, until_ns)
    return _Verified(until_ns, principal, (credential,))


def _is_own(credential: str) -> bool:
    return len(credential) == 2 * ID_BYTES and set(credential) <= set("0123456789abcdef")


def _name(credential: str) -> str:
    """A credential as the name of a record: ids of others may be of any length."""
    return credential if _is_own(credential) else sha256(credential.encode()).hexdigest()


def _seconds(at_ns: int) -> int | float:
    """A time as a claim has it, not after it; to the millisecond, so that a short life is that."""
    at_ms = at_ns // MS_NS
    return at_ms / 1000 if at_ms % 1000 else at_ms // 1000


def _nanoseconds(told_s: float) -> int:
    """The time that a claim says, to the millisecond: its fraction is not exact."""
    return round(told_s * 1_000) * MS_NS


def _check_name(name: str) -> None:
    if not 0 < len(name) <= NAME_CHARS or not name.isprintable() or "#" in name:
        raise InvalidValue(argument="name", reason="1 to 128 printable characters without #")
