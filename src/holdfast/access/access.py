"""What the store knows of rights, and the decisions made with it.

    tenant/<namespace>    {"grants": [...], "published": [...], "origins": [...]}

Every record is in memory too: a decision reads no disk, but for the counters of counted
grants. Another process that changes a record says so by ``reload``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from typing import Final

import msgspec

from holdfast.access import audit
from holdfast.access.decide import Given, decide, who
from holdfast.access.grants import EVERY, Ask, check_namespace, checked, inherited, is_prefix
from holdfast.access.policy import Policy, load_policies
from holdfast.access.records import NEW, Records
from holdfast.access.rights import TOLD
from holdfast.access.uses import Uses
from holdfast.clock import Entropy
from holdfast.errors import (
    Exists,
    Forbidden,
    InvalidValue,
    LimitExceeded,
    Unauthenticated,
    VersionMismatch,
)
from holdfast.limits import TENANT_ENTRIES
from holdfast.values import Grant, Principal, planned

FOLDER: Final = "tenant/"
ID_BYTES: Final = 16
TO_CHARS: Final = 1024
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
NOTHING: Final[Sequence[Given]] = ()


@planned
class Tenant(msgspec.Struct, frozen=True, omit_defaults=True):
    """One namespace's record."""

    grants: tuple[Given, ...] = ()
    published: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


class _Known(msgspec.Struct, frozen=True):
    """A record as it is held in memory: grants by who holds them."""

    tenant: Tenant
    by_holder: dict[str, tuple[Given, ...]]


_UNKNOWN: Final = _Known(Tenant(), {})


class Access:
    """The rights of a store. ``store.access`` has one.

    Args:
        records: where rights are kept.
        now_ns: nanoseconds since 1970.
        entropy: gives ids.
        policies: the operator's; those that are installed if None.

    Raises:
        HoldfastError: a record cannot be read.
    """

    def __init__(
        self,
        records: Records,
        now_ns: Callable[[], int],
        entropy: Entropy,
        policies: Sequence[Policy] | None = None,
    ) -> None:
        self.policies: Sequence[Policy] = load_policies() if policies is None else policies
        self.now_ns = now_ns
        self._records = records
        self._entropy = entropy
        self._lock = RLock()
        self._known: dict[str, _Known] = {}
        self._uses = Uses(records, now_ns)
        self.spend = self._uses.spend
        self._uses.prune()
        self.reload()

    # -- deciding -----------------------------------------------------------------------

    def decide(self, principal: Principal, ask: Ask) -> None:
        """Return where it is allowed; an audit line where it is not, or where it administers.

        It waits for the disk only where ``counts`` is true of the principal.

        Raises:
            Unauthenticated, Forbidden: as ``access/decide.py`` says.
        """
        try:
            decide(principal, ask, self)
        except (Unauthenticated, Forbidden) as error:
            audit.tell("refused", principal, ask, code=error.code, **error.facts)
            raise
        if ask.operation in TOLD:
            audit.tell("allowed", principal, ask)

    def counts(self, principal: Principal, namespace: str) -> bool:
        """Whether a decision may have to write a counter, so that a loop must not wait for it."""
        for grant in principal.grants:
            if grant.uses is not None:
                return True
        if namespace not in self._known:  # the quick way: most give nothing of their own
            return False
        return any(one.grant.uses is not None for one in self.given(namespace, who(principal)))

    def may_see(self, principal: Principal, namespace: str) -> bool:
        """Whether somebody may read anything at all in a namespace (for lists of namespaces)."""
        grants = [*principal.grants, *(g.grant for g in self.given(namespace, who(principal)))]
        return any(
            grant.namespace in {namespace, EVERY} and {"read", "admin"}.intersection(grant.rights)
            for grant in grants
        )

    def hand_on(self, principal: Principal, wanted: Grant, ask: Ask) -> Grant:
        """The grant that a principal may give away of what is wanted (``inherited``).

        The operator's credential counts on the operator's machine; what they make with it
        is for others, who may be anywhere.

        Args:
            principal: who gives.
            wanted: what.
            ask: the request that this is part of, for the audit line.

        Raises:
            Forbidden: it is not theirs to give ("right").
        """
        checked(wanted)
        given = self.given(wanted.namespace, who(principal))
        own = principal.grants
        if principal.kind == "operator":
            own = tuple(msgspec.structs.replace(held, networks=()) for held in own)
        for held in (*own, *(one.grant for one in given)):
            grant = inherited(held, wanted)
            if grant is not None:
                return grant
        audit.tell("refused", principal, ask, code=Forbidden.code, reason="right")
        raise Forbidden(reason="right")

    def given(self, namespace: str, to: str) -> Sequence[Given]:
        """What a namespace gives to somebody (``who``)."""
        return self._known.get(namespace, _UNKNOWN).by_holder.get(to, NOTHING)

    # -- what a namespace says -----------------------------------------------------------

    def grants(self, namespace: str) -> Sequence[Given]:
        """What a namespace gives, to whom."""
        return self._tenant(namespace).grants

    def published(self, namespace: str) -> Sequence[str]:
        """The prefixes that anyone may read."""
        return self._tenant(namespace).published

    def origins(self, namespace: str) -> Sequence[str]:
        """The web origins that a browser may ask from; "*" is any."""
        return self._tenant(namespace).origins

    def set_grants(self, namespace: str, grants: Iterable[tuple[str, Grant]]) -> None:
        """Give exactly these; a counted grant that stays goes on counting.

        Args:
            namespace: whose grants; each names it too.
            grants: to whom (``who``) and what.

        Raises:
            InvalidNamespace, InvalidValue: nothing was changed.
            LimitExceeded: over 1,000.
        """
        wanted = [_checked_given(namespace, to, grant) for to, grant in grants]

        def change(tenant: Tenant) -> Tenant:
            ids = {(old.to, old.grant): old.id for old in tenant.grants}
            given = tuple(
                Given(ids.pop((to, grant), "") or self._new_id(), to, grant) for to, grant in wanted
            )
            return msgspec.structs.replace(tenant, grants=given)

        self._change(namespace, change)

    def publish(self, namespace: str, prefix: str) -> None:
        """Let anyone read what is below a prefix ("" is the whole namespace)."""
        _check_prefixes([prefix])
        self._change(
            namespace,
            lambda tenant: msgspec.structs.replace(
                tenant, published=tuple(sorted({*tenant.published, prefix}))
            ),
        )

    def unpublish(self, namespace: str, prefix: str) -> None:
        """No longer let anyone read below a prefix; one that was not published is passed over."""
        self._change(
            namespace,
            lambda tenant: msgspec.structs.replace(
                tenant, published=tuple(one for one in tenant.published if one != prefix)
            ),
        )

    def set_published(self, namespace: str, prefixes: Iterable[str]) -> None:
        """Publish exactly these prefixes."""
        wanted = tuple(dict.fromkeys(prefixes))
        _check_prefixes(wanted)
        self._change(namespace, lambda tenant: msgspec.structs.replace(tenant, published=wanted))

    def set_origins(self, namespace: str, origins: Iterable[str]) -> None:
        """Let browsers ask from exactly these origins ("https://app.example", or "*")."""
        wanted = tuple(dict.fromkeys(origins))
        for origin in wanted:
            if not _is_origin(origin):
                raise InvalidValue(argument="origins", reason="not a web origin", origin=origin)
        self._change(namespace, lambda tenant: msgspec.structs.replace(tenant, origins=wanted))

    def forget(self, namespace: str) -> None:
        """Drop a namespace's record: whoever has the name next begins with nothing given."""
        with self._lock:
            if self._known.pop(namespace, None) is not None:
                self._records.delete(FOLDER + namespace)

    # -- keeping --------------------------------------------------------------------------

    def reload(self) -> None:
        """Read every record again: another process may have changed some."""
        with self._lock:
            self._known = {
                key.removeprefix(FOLDER): _known(msgspec.json.decode(data, type=Tenant))
                for key, data in self._records.list(FOLDER)
            }

    def close(self) -> None:
        """Give back what was taken of counted grants and not used."""
        self._uses.close()

    def _new_id(self) -> str:
        return self._entropy.bytes(ID_BYTES).hex()

    def _tenant(self, namespace: str) -> Tenant:
        return self._known.get(namespace, _UNKNOWN).tenant

    def _change(self, namespace: str, change: Callable[[Tenant], Tenant]) -> None:
        """Change one record, durably before anybody decides by it."""
        check_namespace(namespace)
        key = FOLDER + namespace
        with self._lock:
            while True:
                held = self._records.get(key)
                tenant = msgspec.json.decode(held[0], type=Tenant) if held else Tenant()
                wanted = change(tenant)
                if max(map(len, msgspec.structs.astuple(wanted))) > TENANT_ENTRIES:
                    raise LimitExceeded(limit="TENANT_ENTRIES", most=TENANT_ENTRIES)
                try:
                    self._records.put(key, msgspec.json.encode(wanted), held[1] if held else NEW)
                except (Exists, VersionMismatch):
                    continue  # another process changed it meanwhile
                self._known[namespace] = _known(wanted)
                return


def _known(tenant: Tenant) -> _Known:
    by_holder: dict[str, tuple[Given, ...]] = {}
    for given in tenant.grants:
        by_holder[given.to] = (*by_holder.get(given.to, ()), given)
    return _Known(tenant, by_holder)


def _checked_given(namespace: str, to: str, grant: Grant) -> tuple[str, Grant]:
    if not 0 < len(to) <= TO_CHARS or ":" not in to:
        raise InvalidValue(argument="to", reason="not a principal", to=to)
    if grant.namespace != namespace:
        raise InvalidValue(argument="namespace", reason="a grant of another namespace")
    return to, checked(grant)


def _check_prefixes(prefixes: Iterable[str]) -> None:
    for prefix in prefixes:
        if not is_prefix(prefix):
            raise InvalidValue(argument="prefix", reason="not the beginning of a key")


def _is_origin(origin: str) -> bool:
    """Whether a browser could send it as ``Origin``: a scheme, a host, perhaps a port."""
    return origin == "*" or _ORIGIN.fullmatch(origin) is not None
