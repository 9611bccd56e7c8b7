"""The OpenAPI 3.1 document, made from the tables of routes that the server answers by."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, NamedTuple

from holdfast.server.admin import ADMIN
from holdfast.server.enclave import ACTS
from holdfast.server.probes import VERSION
from holdfast.server.routes import Body, Methods, Routes

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
PROBLEM = {"$ref": "#/components/responses/Problem"}
BYTES: dict[str, Any] = {"application/octet-stream": {}}
JSON = {"application/json": {"schema": {"type": "object"}}}
MSGPACK: dict[str, Any] = {"application/msgpack": {}}
BODIES: dict[Body, dict[str, Any]] = {"small": JSON, "batch": MSGPACK, "value": BYTES}
WITH_BODY = frozenset(("POST", "PUT"))
QUERIES = {
    "/objects": ("prefix", "recursive", "by", "limit", "after", "details"),
    "/v1/locate": ("namespace", "key"),
    "/v1/check": ("repair",),
    "/v1/collect": ("mode",),
    "/v1/tick": ("budget_s",),
}
OPTIONS = (
    *("Holdfast-TTL", "Holdfast-Keep-TTL", "If-None-Match", "If-Match", "Holdfast-Fence"),
    *("Holdfast-Consumers", "Holdfast-Permanent", "Content-Type"),
)


class Operation(NamedTuple):
    """One method of one path."""

    path: str
    method: str
    summary: str
    answers: int
    body: Body


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
    for one in ADMIN:
        body: Body = "small" if one.method in WITH_BODY else "none"
        yield Operation(one.path, one.method, one.summary, one.answers, body)


def _of(path: str, methods: Methods) -> Iterator[Operation]:
    for method, route in methods.items():
        yield Operation(path, method, route.summary, route.answers, route.body)


def document(routes: Routes) -> dict[str, Any]:
    """The document, given the server's data routes."""
    paths: dict[str, dict[str, Any]] = {}
    for one in operations(routes):
        paths.setdefault(one.path, {})[one.method.lower()] = _described(one)
    problem = {
        "description": "A refusal or a failure (RFC 9457)",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
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
            "responses": {"Problem": problem},
            "schemas": {"Problem": _problem_schema()},
        },
    }


def _described(one: Operation) -> dict[str, Any]:
    status = HTTPStatus(one.answers)
    told: dict[str, Any] = {
        "operationId": f"{one.method.lower()}{one.path}",
        "summary": one.summary,
        "parameters": _parameters(one),
        "responses": {str(one.answers): {"description": status.phrase}, "default": PROBLEM},
    }
    if one.body in BODIES:
        told["requestBody"] = {"content": BODIES[one.body]}
    if one.path in OPEN:
        told["security"] = []
    elif one.path in ENCLAVE:
        told["security"] = ENCLAVE[one.path]
    return told


def _parameters(one: Operation) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in one.path.split("/") if part.startswith("{")]
    told = [_parameter(name, "path", required=True) for name in names]
    for ending, fields in QUERIES.items():
        if one.path.endswith(ending):
            told += [
                _parameter(field, "query", required=one.path == "/v1/locate") for field in fields
            ]
    if one.body == "value":
        told += [_parameter(name, "header", required=False) for name in OPTIONS[:-1]]
    return told


def _parameter(name: str, where: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required, "schema": {"type": "string"}}


def _problem_schema() -> dict[str, Any]:
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
