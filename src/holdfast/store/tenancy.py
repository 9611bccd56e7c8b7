"""What the store knows of rights, and how they are handed on.

Records of rights are objects like any other, under a name that no caller can spell
(``request/arguments.py:RESERVED``): durable, split, moved, backed up and restored with
the rest, and shown by no list.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from holdfast.access.access import FOLDER as TENANTS
from holdfast.access.access import Access
from holdfast.access.grants import EVERY, Ask
from holdfast.access.links import link
from holdfast.access.records import NEW
from holdfast.clock import Clock, Entropy
from holdfast.engines.disk import OsDisk
from holdfast.errors import Corrupt, InvalidValue, LimitExceeded, NotFound
from holdfast.identity.enclaves import AttestationSettings, Enclaves
from holdfast.identity.handover import FOLDER as HANDED
from holdfast.identity.keys import signing_key
from holdfast.identity.tokens import REVOKED, Issued, Tokens
from holdfast.limits import SECOND_NS, VALUE_RECORD_BYTES
from holdfast.operations import Delete, StoreOptions
from holdfast.operations import Store as StoreOperation
from holdfast.request import arguments, listing
from holdfast.store.ownership import read_store_file
from holdfast.values import Grant, Principal, Receipt, Right

if TYPE_CHECKING:
    from holdfast.store.store import Store

SPACE: Final = arguments.RESERVED + arguments.VISIBLE
HELD: Final = (TENANTS, REVOKED, HANDED)  # records that every process has in memory
END: Final = arguments.RESERVED + arguments.HIDDEN
# What a link lets do, by right: no lists, no locks, nothing but the object itself.
LINKED: Final[dict[Right, tuple[str, ...]]] = {
    "read": ("load", "exists", "stat"),
    "write": ("store", "append"),
    "delete": ("delete",),
}


class StoreRecords:
    """The records of rights in a store (``access/records.py``).

    Args:
        store: the open store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._corridor = store.corridor

    def get(self, key: str) -> tuple[bytes, int] | None:
        """A record and its version, or None where there is none."""
        composite = arguments.compose(SPACE, key)
        while True:
            try:
                found = self._version(composite)
                value = self._corridor.read(composite, lambda bucket: bucket.load(composite))
                if not isinstance(value, bytes):
                    raise Corrupt(position=key, what="a record of rights in several pieces")
                if self._version(composite) == found:  # value and version are of one moment
                    return value, found
            except NotFound:
                return None

    def _version(self, composite: bytes) -> int:
        return self._corridor.read(composite, lambda bucket: bucket.object(composite).entry.version)

    def put(
        self, key: str, value: bytes, version: int | None = None, *, ttl_ns: int | None = None
    ) -> int:
        """Store a record, durably whatever the sync mode; its new version."""
        if len(value) > VALUE_RECORD_BYTES:
            raise LimitExceeded(limit="VALUE_RECORD_BYTES", most=VALUE_RECORD_BYTES)
        options = StoreOptions(
            ttl_ns=ttl_ns,
            if_absent=version == NEW,
            if_version=version if version != NEW else None,
        )
        composite = arguments.compose(SPACE, key)
        receipt: Receipt = self._corridor.write(StoreOperation(composite, key, value, options))
        self._written(key)
        return receipt.version

    def delete(self, key: str) -> None:
        """Remove a record, durably; one that is absent is passed over."""
        try:
            self._corridor.write(Delete(arguments.compose(SPACE, key), key))
        except NotFound:
            return
        self._written(key)

    def _written(self, key: str) -> None:
        """Durable, and known to every process that has read it: others are asked for each time."""
        self._store.sync()
        if key.startswith(HELD):
            self._store.rights_changed()

    def list(self, prefix: str) -> list[tuple[str, bytes]]:
        """Every record below a prefix."""
        return [*self.walk(prefix)]

    def walk(self, prefix: str, after: str = "") -> Iterator[tuple[str, bytes]]:
        """The same one by one, behind the key ``after`` where one is given."""
        first = SPACE + prefix.encode()
        start = SPACE + after.encode() + arguments.VISIBLE if after else first
        for page in listing.rows(self._corridor, start, min(listing.successor(first), END)):
            for composite, _ in page:
                key = composite[len(SPACE) :].decode()
                held = self.get(key)
                if held is not None:
                    yield key, held[0]


def make_tokens(store: Store) -> Tokens:
    """The tokens of a store: its key is made now, if it has none."""
    return Tokens(
        signing_key(store.disk, store.path, store.entropy),
        store.file.store,
        clock=store.clock,
        entropy=store.entropy,
        records=StoreRecords(store),
    )


def make_access(store: Store) -> Access:
    """The rights of a store."""
    return Access(StoreRecords(store), store.clock.wall_ns, store.entropy)


def make_enclaves(store: Store, settings: AttestationSettings) -> Enclaves:
    """What settles which enclave asks of a store."""
    return Enclaves(
        settings,
        StoreRecords(store),
        clock=store.clock,
        entropy=store.entropy,
        store=store.file.store,
    )


def object_grant(
    namespace: str, key: str, rights: Sequence[Right], uses: int | None = None
) -> Grant:
    """What a link to one object grants."""
    arguments.compose(b"", key)
    unknown = set(rights) - set(LINKED)
    if unknown or not rights:
        raise InvalidValue(argument="rights", reason="of read, write and delete")
    operations = tuple(name for right in rights for name in LINKED[right])
    return Grant(namespace, tuple(rights), operations=operations, uses=uses, key=key)


def linked(
    tokens: Tokens,
    grant: Grant,
    ttl: float | str,
    *,
    base: str | None,
    by: Principal | None = None,
) -> str:
    """A link that carries a grant of one key."""
    key = grant.key or ""
    link(base, grant.namespace, key, "")  # refused before anything is signed
    ttl_s = arguments.duration_ns(ttl) / SECOND_NS
    made = tokens.mint("link", [grant], ttl_s, kind="link", by=by)
    return link(base, grant.namespace, key, made.token)


# -- on behalf of a principal --------------------------------------------------------


def share_by(
    store: Store,
    principal: Principal,
    wanted: Grant,
    ttl: float | str,
    *,
    address: str = "",
    base: str | None = None,
) -> str:
    """A link made by somebody at a door: of what they may do themselves, no longer than that.

    Args:
        store: the open store.
        principal: who shares.
        wanted: as ``object_grant`` makes it.
        ttl: seconds, or text like "30d".
        address: where they ask from.
        base: where the server answers.

    Raises:
        Forbidden, Unauthenticated: they may not do it themselves; nothing was made.
    """
    first = LINKED[wanted.rights[0]][0]
    grant = store.access.hand_on(
        principal, wanted, Ask(wanted.namespace, first, wanted.key, 0, address)
    )
    for right in wanted.rights:
        ask = Ask(wanted.namespace, LINKED[right][0], wanted.key, 0, address)
        store.access.decide(principal, ask)
    return linked(store.tokens, grant, ttl, base=base or store.base_url, by=principal)


def issue_by(
    store: Store,
    principal: Principal,
    wanted: Grant,
    *,
    name: str,
    ttl: float | str,
    address: str = "",
) -> Issued:
    """A token made by an administrator of a namespace: no more than they have, no longer.

    Raises:
        Forbidden, Unauthenticated: they may not; nothing was made.
    """
    ask = Ask("" if wanted.namespace == EVERY else wanted.namespace, "tokens", None, 0, address)
    store.access.decide(principal, ask)
    grant = store.access.hand_on(principal, wanted, ask)
    ttl_s = arguments.duration_ns(ttl) / SECOND_NS
    return store.tokens.mint(name, [grant], ttl_s, by=principal)


def revoke_by(store: Store, principal: Principal, credential: str, *, address: str = "") -> None:
    """End a token: one's own, or one that is for namespaces that one administers.

    Raises:
        Forbidden, Unauthenticated: they may not; it goes on.
    """
    if principal.kind == "anonymous" or principal.credential != credential:
        noted = store.tokens.noted(credential)
        names = {grant.namespace for grant in noted.grants} if noted else {EVERY}
        for name in sorted(names):
            ask = Ask("" if name == EVERY else name, "revoke", None, 0, address)
            store.access.decide(principal, ask)
    store.tokens.revoke(credential)


def signing_alone(path: str, clock: Clock, entropy: Entropy) -> Tokens:
    """Tokens of a store that another process has open: they can be made, not revoked.

    Raises:
        InvalidValue: there is no store in the folder.
    """
    disk = OsDisk()
    root = os.path.abspath(path)  # noqa: PTH100 - plain paths
    found = read_store_file(disk, root)
    if found is None:
        raise InvalidValue(argument="path", reason="there is no store")
    key = signing_key(disk, root, entropy)
    return Tokens(key, found.store, clock=clock, entropy=entropy)
