"""The data routes of docs/PROTOCOL.md: what each is called, and who answers it."""

from __future__ import annotations

from holdfast.server import (
    batches,
    consumers,
    direct,
    listing,
    locks,
    numbers,
    objects,
    probes,
    proofs,
    searching,
)
from holdfast.server.enclave import enclave_routes
from holdfast.server.enclave_callers import Callers
from holdfast.server.routes import Route, Routes
from holdfast.server.sdstor.face import Sdstor


def data_routes(callers: Callers) -> Routes:
    """Every route that is answered from the parser's callback.

    Args:
        callers: settles which enclave asks.
    """
    routes = Routes()
    routes.keyed |= _keyed()
    routes.spaced |= {
        b"objects": {
            "GET": Route("list", listing.page, summary="Keys or objects below a prefix, by pages"),
        },
        b"search": {
            "GET": Route("search", searching.search, summary="What a query finds below a prefix"),
        },
        b"batch": {
            "POST": Route("batch", batches.batch, "alone", "batch", "Many operations at once"),
        },
    }
    routes.certified |= {"GET": Route("load", proofs.get, summary="A value with its proof")}
    routes.direct |= {
        b"objects": {
            "GET": Route("load", direct.get, summary="A value of this bucket"),
            "HEAD": Route("load", direct.get, summary="What GET would say of it"),
            "PUT": Route("store", direct.put, "write", "value", "Store an object in this bucket"),
        },
        b"stat": {"GET": Route("stat", direct.stat, summary="What is known of an object of it")},
    }
    routes.fixed |= {
        b"/ping": {"GET": Route("", probes.ping, summary="Whether anybody is there")},
        b"/livez": {"GET": Route("", probes.live, summary="Whether the server lives")},
        b"/readyz": {"GET": Route("", probes.ready, summary="Whether it takes requests")},
        b"/v1/sessions": {
            "POST": Route("session", numbers.begin, summary="Begin a session of numbered writes"),
        },
        b"/v1/root": {"GET": Route("root", proofs.root, summary="The newest signed root")},
        b"/v1/locate": {"GET": Route("locate", direct.locate, summary="Where a key lives")},
    }
    routes.fixed |= callers.routes() | enclave_routes(callers)
    routes.faces.append(Sdstor())
    return routes


def _keyed() -> dict[bytes, dict[str, Route]]:
    return {
        b"objects": {
            "GET": Route("load", objects.get, summary="A value, or a range of it"),
            "HEAD": Route("load", objects.get, summary="What GET would say of it"),
            "PUT": Route("store", objects.put, "write", "value", "Create or replace an object"),
            "DELETE": Route(
                "delete", objects.delete, "write", summary="Remove an object", answers=204
            ),
        },
        b"stat": {"GET": Route("stat", objects.stat, summary="What is known of an object")},
        b"exists": {"GET": Route("exists", objects.exists, summary="Whether there is an object")},
        b"append": {
            "POST": Route("append", objects.append, "write", "batch", "Add bytes to an object"),
        },
        b"release": {
            "POST": Route(
                "release", objects.release, "write", summary="Lift `permanent`", answers=204
            ),
        },
        b"consumers": {
            "GET": Route("consumers.list", consumers.listed, summary="An object's reference list"),
            "PUT": Route("consumers.set", consumers.replaced, "write", "small", "Replace the list"),
            "POST": Route(
                "consumers.append", consumers.appended, "write", "small", "Add ids to it"
            ),
            "DELETE": Route(
                "consumers.remove", consumers.removed, "write", "small", "Take ids out of it"
            ),
        },
        b"locks": {
            "POST": Route("lock", locks.lock, "write", "small", "Take a lease on a key"),
            "PUT": Route("renew", locks.renew, "write", "small", "Begin a lease anew"),
            "DELETE": Route("unlock", locks.unlock, "write", "small", "Give a lease back", 204),
        },
    }
