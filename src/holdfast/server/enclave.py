"""The enclave API (docs/PROTOCOL.md section 5): its operations, for who proves to be an enclave.

Who asks is settled when the body is there, because a session marks the body
too. That happens on the loop where it is known already, and on a thread where
a document must be verified or a record read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.access.grants import Ask
from holdfast.errors import InvalidValue, LimitExceeded, NotFound
from holdfast.limits import ENCLAVE_LIST, LOCK_ID_BYTES, LOCK_TTL_S, VALUE_RECORD_BYTES
from holdfast.operations import Delete, Lock, Store, StoreOptions, Unlock
from holdfast.request import arguments, reading
from holdfast.server.answers import JSON_TYPE, Answer, done
from holdfast.server.enclave_callers import Callers
from holdfast.server.requests import Request
from holdfast.server.routes import Methods, Route
from holdfast.values import Principal, Receipt, Stat
from holdfast.wire import enclave as wire
from holdfast.wire.enclave import Keyed, Listed, Shape, Stored, Unlocked

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.store.namespace import Namespace

LOCK_TTL_NS = LOCK_TTL_S * 1_000_000_000
# What is asked is of the kind that wire.KINDS has for the path.
Act = Callable[["Site", Request, Any, Shape], Answer | None]


def enclave_routes(callers: Callers) -> dict[bytes, Methods]:
    """The paths of the enclave API.

    Args:
        callers: settles who asks.
    """
    return {
        f"/{name}".encode(): {
            "POST": Route(
                name,
                partial(callers.settled, _act),
                "write" if name in WRITES else "read",
                "small",
                summary,
                late=True,
            )
        }
        for name, (_, summary) in ACTS.items()
    }


def _act(site: Site, request: Request, principal: Principal) -> Answer | None:
    """Read what is asked, hold it against the caller's rights, and do it."""
    name = request.route.operation if request.route is not None else ""
    asked, shape = wire.asked(name, bytes(request.body))
    request.key = asked.prefix if isinstance(asked, Listed) else asked.key
    namespace, size = site.tenant_of(request).name, len(request.body)
    # An enclave's own grant needs no counter, so the loop may ask (``Door.waits``).
    if not site.door.passes(principal, namespace, name, request.address):
        site.door.allow(principal, Ask(namespace, name, request.key, size, request.address))
    act, _ = ACTS[name]
    return act(site, request, asked, shape)


def _composite(site: Site, request: Request) -> bytes:
    return arguments.compose(site.tenant_of(request).space, request.key)


def _space(site: Site, request: Request) -> Namespace:
    return site.store.namespace(site.tenant_of(request).name)


def _told(body: bytes) -> Answer:
    return Answer(200, JSON_TYPE, body)


# -- values ---------------------------------------------------------------------------


def _load(site: Site, request: Request, asked: Keyed, shape: Shape) -> Answer | None:
    try:
        near = reading.look_at_row(site.corridor, _composite(site, request))
    except NotFound:
        raise NotFound(key=asked.key) from None
    if near is not None and near[1] is not None:
        return _value_told(request, asked, shape, near[1])
    read = partial(_read, site, request, asked.key)
    site.ask(request, read, partial(_value_told, request, asked, shape))
    return None


def _read(site: Site, request: Request, key: str) -> bytes:
    """A value that is not in memory, or that another process holds; waits."""
    found = reading.look(site.corridor, _composite(site, request), key)
    if found.entry.size > VALUE_RECORD_BYTES:
        raise LimitExceeded(limit="VALUE_RECORD_BYTES", most=VALUE_RECORD_BYTES)
    if found.value is not None:
        return found.value
    return b"".join(reading.pieces(site.corridor, _composite(site, request), key, found.entry))


def _value_told(request: Request, asked: Keyed, shape: Shape, value: object) -> Answer:
    if not isinstance(value, bytes):
        raise TypeError(value)
    request.sent_bytes = len(value)
    return _told(wire.told_value(value, shape, asked.encoding))


def _store(site: Site, request: Request, asked: Stored, shape: Shape) -> None:
    del shape  # the answer is empty
    value, ttl_ns = asked.payload, asked.ttl_ns
    if len(value) > VALUE_RECORD_BYTES:
        raise LimitExceeded(limit="VALUE_RECORD_BYTES", most=VALUE_RECORD_BYTES)
    options = StoreOptions(ttl_ns=ttl_ns, keep_ttl=ttl_ns is None)
    operation = Store(_composite(site, request), asked.key, value, options)
    site.commit(request, operation, _stored, len(value))


def _stored(receipt: object) -> Answer:
    if not isinstance(receipt, Receipt):
        raise TypeError(receipt)
    return Answer(cost_atto=receipt.cost_atto)


def _delete(site: Site, request: Request, asked: Keyed, shape: Shape) -> None:
    del shape
    site.commit(request, Delete(_composite(site, request), asked.key), lambda _: done(), 0)


# -- looking --------------------------------------------------------------------------


def _exists(site: Site, request: Request, asked: Keyed, shape: Shape) -> Answer | None:
    def told(found: object) -> Answer:
        return _told(wire.told_exists(bool(found), shape))

    try:
        near = reading.look_at_row(site.corridor, _composite(site, request))
    except NotFound:
        return told(False)  # noqa: FBT003 - it is the answer
    if near is not None:
        return told(True)  # noqa: FBT003
    site.ask(request, partial(_space(site, request).exists, asked.key), told)
    return None


def _stat(site: Site, request: Request, asked: Keyed, shape: Shape) -> None:
    def told(found: object) -> Answer:
        if not isinstance(found, Stat):
            raise TypeError(found)
        return _told(wire.told_stat(found, shape))

    site.ask(request, partial(_space(site, request).stat, asked.key), told)


def _list(site: Site, request: Request, asked: Listed, shape: Shape) -> None:
    def told(names: object) -> Answer:
        if not isinstance(names, list):
            raise TypeError(names)
        return _told(wire.told_keys(names, shape))

    site.ask(request, partial(names_of, _space(site, request), asked), told)


def names_of(space: Namespace, asked: Listed) -> list[str]:
    """What a list of the enclave API tells.

    Args:
        space: the caller's namespace.
        asked: the prefix; every key below it as text, or the children of that directory.

    Raises:
        LimitExceeded: more than 100,000, and no ``limit`` was asked.
        InvalidValue: the limit is none.
    """
    if asked.limit is not None and not 0 < asked.limit <= ENCLAVE_LIST:
        raise InvalidValue(argument="limit", reason="1 to 100,000")
    base, after = asked.prefix, asked.after
    if not asked.is_recursive and base:
        base += "" if base.endswith("/") else "/"
        after = max(base, after or "")  # the directory is not its own child
    deep, most = asked.is_recursive, asked.limit
    if most is None:
        found = space.list_whole(base, recursive=deep, after=after, most=ENCLAVE_LIST)
    else:
        found = list(space.list(base, recursive=deep, after=after, limit=most))
    return found if asked.is_recursive else wire.children(found)


# -- locks ----------------------------------------------------------------------------


def _lock(site: Site, request: Request, asked: Keyed, shape: Shape) -> None:
    del shape  # told alike in both
    lock_id = site.store.entropy.bytes(LOCK_ID_BYTES)
    operation = Lock(_composite(site, request), asked.key, lock_id, LOCK_TTL_NS)
    site.commit(request, operation, lambda _: _told(wire.told_lock(lock_id)), 0)


def _unlock(site: Site, request: Request, asked: Unlocked, shape: Shape) -> None:
    del shape
    operation = Unlock(_composite(site, request), asked.key, asked.id)
    site.commit(request, operation, lambda _: done(), 0)


WRITES = frozenset(("store", "delete", "lock", "unlock"))
ACTS: dict[str, tuple[Act, str]] = {
    "load": (_load, "A value"),
    "store": (_store, "Create or replace an object, with an expiry in nanoseconds"),
    "exists": (_exists, "Whether there is an object"),
    "list": (_list, "Every key below a prefix, or the children of a directory"),
    "stat": (_stat, "What is known of an object"),
    "delete": (_delete, "Remove an object"),
    "lock": (_lock, "Take a lease on a key"),
    "unlock": (_unlock, "Give a lease back"),
}
