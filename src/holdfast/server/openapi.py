"""The OpenAPI 3.1 document, made from the tables of routes that the server answers by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from holdfast.limits import KEY_BYTES, LIST_PAGE, NAMESPACE_CHARS, SEARCH_PAGE
from holdfast.server.admin import ADMIN, MODES, MOST_BUDGET_S, Admin
from holdfast.server.enclave import ACTS
from holdfast.server.money import MONEY
from holdfast.server.probes import VERSION
from holdfast.server.routes import Methods, Route, Routes
from holdfast.server.schemas import (
    BOTH,
    FIXED,
    SPACED,
    Bodies,
    Schema,
    components,
    resolved,
)
from holdfast.server.sdstor.rest import PER_PAGE, PER_PAGE_MOST, STATS
from holdfast.server.sdstor.rest import SPACE as SPACE_OF_SDSTOR
from holdfast.wire.sdstor import ID_CHARS, Error
from holdfast.wire.sdstor import PATTERN as WORDS
from holdfast.wire.values import JSON, MSGPACK

SPACE = "/v1/namespaces/{namespace}"
BUCKET = "/v1/buckets/{bucket}/namespaces/{namespace}"
OPEN = frozenset(("/ping", "/livez", "/readyz"))
# The paths of enclaves: by a session or a document; beginning one needs neither, and a hand-over
# may bear the owner's signature instead.
PROVEN: list[dict[str, list[str]]] = [{"session": []}, {"document": []}]
ENCLAVE: dict[str, list[dict[str, list[str]]]] = {
    **{f"/{name}": PROVEN for name in ACTS},
    "/challenge": [],
    "/session": [],
    "/handover": [{"session": []}, {}],
    "/owner": [{"session": []}],
}
SDSTOR = (SPACE_OF_SDSTOR, STATS)
SDSTOR_REFUSAL = {"$ref": "#/components/responses/Error"}
REFUSAL = {"$ref": "#/components/responses/Refusal"}
# Whatever is asked can be no HTTP, too late, too much, for nobody, or too early.
ALWAYS = (400, 408, 413, 422, 429, 431, 500, 503, 504)
TO_SOMEBODY = (401, 403, 404)
WRITING = (402, 409, 412, 423, 507)
MOVED, BAD_REQUEST = 421, 400
OF_CHOICE = {
    "GET objects/{key}": (206, 304, 412, 416),
    "HEAD objects/{key}": (206, 304, 412, 416),
}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "integer", "minimum": 0, "maximum": (1 << 63) - 1}
PROOF: Schema = {"enum": ["1", "sealed"]}
WANTED: dict[str, Schema] = {
    "query": TEXT,
    "limit": {"type": "integer", "minimum": 0, "maximum": SEARCH_PAGE},
    "rank": {"enum": ["bm25", "key"]},
}
QUERIES: dict[str, dict[str, Schema]] = {
    "GET objects": {
        "prefix": TEXT,
        "recursive": FLAG,
        "by": {"enum": ["text", "component"]},
        "limit": {"type": "integer", "minimum": 1, "maximum": LIST_PAGE},
        "after": TEXT,
        "details": FLAG,
        "proof": PROOF,
        "since": NUMBER,
    },
    "GET objects/{key}": {"proof": PROOF, "value": FLAG, "since": NUMBER},
    "GET search": {
        **WANTED,
        "after": TEXT,
        "highlight": FLAG,
        "fresh": FLAG,
        "max_wait": {"type": "number", "minimum": 0},
        "prefix": TEXT,
        "facets": TEXT,
    },
    "GET /v1/search": WANTED,
    "DELETE objects/{key}": {"strict": FLAG},
    "GET /namespaces/{nsid}/objects": {
        "page": {"type": "integer", "minimum": 1, "default": 1},
        "per_page": {
            "type": "integer",
            "minimum": 1,
            "maximum": PER_PAGE_MOST,
            "default": PER_PAGE,
        },
    },
    "GET /namespaces/{nsid}/check": {"ids": TEXT},
    "GET /v1/locate": {"namespace": TEXT, "key": TEXT},
    "GET /v1/root": {"size": NUMBER},
    "GET /v1/tokens": {"namespace": {"type": "string"}},
    "GET /v1/accounts/{account}/statement": {"start_ns": NUMBER, "stop_ns": NUMBER},
    "POST /v1/check": {"repair": FLAG},
    "POST /v1/collect": {"mode": {"enum": sorted(MODES)}},
    "POST /v1/tick": {"budget_s": {"type": "number", "minimum": 0, "maximum": MOST_BUDGET_S}},
}
NAME = f"^[A-Za-z0-9._-]{{1,{NAMESPACE_CHARS}}}$"
IN_PATHS: dict[str, Schema] = {
    "namespace": {"type": "string", "pattern": NAME},
    "key": {"type": "string", "minLength": 1, "maxLength": KEY_BYTES},
    "bucket": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    "account": {"type": "string", "pattern": NAME},
    "name": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}
# Paths of 0-stor, whose ids and refusals are others.
IN_SDSTOR: dict[str, Schema] = {
    "nsid": {"type": "string", "minLength": 5, "maxLength": NAMESPACE_CHARS, "pattern": WORDS},
    "id": {"type": "string", "minLength": 1, "maxLength": ID_CHARS, "pattern": WORDS},
}
ETAG: Schema = {"type": "string", "pattern": '^"[0-9]{1,19}"$'}
HEADERS: dict[str, dict[str, Schema]] = {
    "PUT objects/{key}": {
        "Holdfast-TTL": TEXT,
        "Holdfast-Keep-TTL": FLAG,
        "If-None-Match": {"const": "*"},
        "If-Match": ETAG,
        "Holdfast-Fence": NUMBER,
        "Holdfast-Consumers": TEXT,
        "Holdfast-Permanent": FLAG,
        "Holdfast-Index": TEXT,
        "Holdfast-Tags": TEXT,
    },
    "GET objects/{key}": {
        "If-None-Match": ETAG,
        "If-Match": ETAG,
        "Range": {"type": "string", "pattern": "^bytes=[0-9]{0,19}-[0-9]{0,19}$"},
    },
}


class Operation(NamedTuple):
    """One method of one path; ``name`` is what the tables of this document call it."""

    path: str
    method: str
    summary: str
    answers: int
    name: str
    bodies: Bodies
    writes: bool = False


def operations(routes: Routes) -> Iterator[Operation]:
    """Everything that the server answers, given its data routes."""
    for prefix, table, suffix in (
        (SPACE, routes.keyed, "/{key}"),
        (SPACE, routes.spaced, ""),
        (BUCKET, routes.direct, "/{key}"),
    ):
        for noun, methods in table.items():
            yield from _of(f"{prefix}/{noun.decode()}{suffix}", methods)
    for path, methods in routes.fixed.items():
        yield from _of(path.decode(), methods)
    for face in routes.faces:
        for template, methods in face.paths.items():
            yield from _of(template, methods)
    for one in (*ADMIN, *MONEY):
        yield _operation(one.path, one.method, one)


def _of(path: str, methods: Methods) -> Iterator[Operation]:
    for method, route in methods.items():
        yield _operation(path, method, route)


def _operation(path: str, method: str, route: Route | Admin) -> Operation:
    rest = next((path[len(p) + 1 :] for p in (SPACE, BUCKET) if path.startswith(p)), None)
    name = f"{method} {path if rest is None else rest}".strip()
    bodies = FIXED[name] if rest is None else SPACED[name]
    writes = isinstance(route, Admin) or route.kind != "read"
    return Operation(path, method, route.summary, route.answers, name, bodies, writes)


def document(routes: Routes) -> dict[str, Any]:
    """The document, given the server's data routes."""
    paths: dict[str, dict[str, Any]] = {}
    references, schemas = components()
    for one in operations(routes):
        paths.setdefault(one.path, {})[one.method.lower()] = _described(one, references)
    refusal = {
        "description": "A refusal or a failure (RFC 9457)",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Refusal"}}
        },
    }
    error = {
        "description": "A refusal or a failure, as 0-stor words it",
        "content": {JSON: {"schema": references[Error]}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Holdfast", "version": VERSION, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "security": [{"token": []}, {"link": []}, {"session": []}],
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "link": {"type": "apiKey", "in": "query", "name": "grant"},
                "session": {"type": "apiKey", "in": "header", "name": "Holdfast-Enclave"},
                "document": {"type": "apiKey", "in": "header", "name": "Attestation"},
            },
            "responses": {"Refusal": refusal, "Error": error},
            "schemas": {"Refusal": _refusal_schema(), **schemas},
        },
    }


def _described(one: Operation, references: Mapping[type, Schema]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": f"{one.method.lower()}{one.path}",
        "summary": one.summary,
        "parameters": list(_parameters(one)),
        "responses": _responses(one, references),
    }
    takes, _, takes_as, _ = one.bodies
    if takes is not None:
        told["requestBody"] = {"content": {takes_as: {"schema": resolved(takes, references)}}}
    if one.path in OPEN:
        told["security"] = []
    elif one.path in ENCLAVE:
        told["security"] = ENCLAVE[one.path]
    return told


def _responses(one: Operation, references: Mapping[type, Schema]) -> dict[str, Any]:
    _, tells, _, tells_as = one.bodies
    success: dict[str, Any] = {"description": HTTPStatus(one.answers).phrase}
    if tells is not None:
        schema = {"schema": resolved(tells, references)}
        forms = (JSON, MSGPACK) if tells_as == BOTH else (tells_as,)
        success["content"] = dict.fromkeys(forms, schema)
    refusal = SDSTOR_REFUSAL if one.path.startswith(SDSTOR) else REFUSAL
    told = dict.fromkeys(_refusals(one), refusal) | {one.answers: success}
    told |= {status: success for status in OF_CHOICE.get(one.name, ()) if status < BAD_REQUEST}
    return {str(status): told[status] for status in sorted(told)}


def _refusals(one: Operation) -> set[int]:
    """The statuses that the operation may be refused with."""
    statuses = {*ALWAYS, *OF_CHOICE.get(one.name, ())}
    if one.path not in OPEN:
        statuses.update(TO_SOMEBODY)
    if one.writes:
        statuses.update(WRITING)
    if one.path.startswith(BUCKET):
        statuses.add(MOVED)
    return {status for status in statuses if status >= BAD_REQUEST}


def _parameters(one: Operation) -> Iterator[dict[str, Any]]:
    for part in one.path.split("/"):
        if part.startswith("{"):
            schemas = IN_SDSTOR if one.path.startswith(SDSTOR) else IN_PATHS
            yield _parameter(part[1:-1], "path", schemas[part[1:-1]], required=True)
    for name, schema in QUERIES.get(one.name, {}).items():
        yield _parameter(name, "query", schema, required=one.path == "/v1/locate")
    for name, schema in HEADERS.get(one.name, {}).items():
        yield _parameter(name, "header", schema, required=False)


def _parameter(name: str, where: str, schema: Schema, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required, "schema": schema}


def _refusal_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["type", "title", "status", "code", "effect", "facts"],
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "code": text,
            "effect": {"enum": ["none", "unknown"]},
            "facts": {"type": "object"},
        },
    }
