"""The service ``holdfast.v1.Holdfast``: which method is answered by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdfast.server.http2.methods import Method
from holdfast.server.rpc.batch import Batches
from holdfast.server.rpc.found import Proving, search
from holdfast.server.rpc.streams import Listing, Loading, Storing
from holdfast.server.rpc.unary import (
    Unary,
    administer,
    administered,
    by_key,
    direct,
    get,
    locate,
    performer,
    prove,
    put,
    session,
)
from holdfast.wire.protobuf import schema
from holdfast.wire.protobuf.schema import METHODS, PACKAGE, SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.server.http2.methods import Methods
    from holdfast.server.rpc.called import Called
    from holdfast.server.site import Site

NAME: Final = f"{PACKAGE}.{SERVICE}"
STREAMS: Final[dict[str, Any]] = {
    "Store": Storing,
    "Load": Loading,
    "List": Listing,
    "Batch": Batches,
    "Proofs": Proving,
}
ADMITS: Final[dict[str, Callable[[Site, Called], None]]] = {
    "Put": by_key("store", direct(put)),
    "Get": by_key("load", direct(get)),
    "Exists": by_key("exists", performer("exists")),
    "Stat": by_key("stat", direct(performer("stat"))),
    "Delete": by_key("delete", performer("delete")),
    "Append": by_key("append", performer("append")),
    "Release": by_key("release", performer("release")),
    "Consumers": by_key("consumers", performer("consumers")),
    "Lock": by_key("lock", performer("lock")),
    "Renew": by_key("renew", performer("renew")),
    "Unlock": by_key("unlock", performer("unlock")),
    "Locate": locate,
    "Prove": prove,
    "BeginSession": session,
    "Administer": administer,
    "Search": search,
}


def holdfast_service(methods: Methods, site: Site) -> str:
    """Add the service; its name."""
    methods.add(NAME, {method.name: _method(site, method) for method in METHODS})
    return NAME


def _method(site: Site, method: schema.Method) -> Method:
    """What answers a method: messages come and go as bytes."""
    answers = STREAMS.get(method.name)
    if answers is not None:
        return Method(answers(site).answer, method.asks_many, method.tells_many)
    dress = administered if method.name == "Administer" else None
    unary = Unary(site, method.asks, ADMITS[method.name], dress)
    return Method(begin=unary.begin)
