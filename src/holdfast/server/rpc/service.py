"""The service ``holdfast.v1.Holdfast``: which method is answered by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

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
from holdfast.wire.protobuf.schema import METHODS, PACKAGE, SERVICE, Method

if TYPE_CHECKING:
    from collections.abc import Callable

    from grpc.aio import Server

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


def holdfast_service(server: Server, site: Site) -> str:
    """Add the service; its name."""
    handlers = {method.name: _handler(site, method) for method in METHODS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    return NAME


def _handler(site: Site, method: Method) -> grpc.RpcMethodHandler:
    """What answers a method: messages come and go as bytes."""
    answers = STREAMS.get(method.name)
    if answers is None:
        dress = administered if method.name == "Administer" else None
        unary = Unary(site, method.asks, ADMITS[method.name], dress)
        return grpc.unary_unary_rpc_method_handler(unary.answer)
    kinds = {
        (True, False): grpc.stream_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return kinds[method.asks_many, method.tells_many](answers(site).answer)
