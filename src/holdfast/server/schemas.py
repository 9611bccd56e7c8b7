"""The bodies of the OpenAPI document: what each operation takes and tells, from its own types.

A struct is described by msgspec from its own fields, so the document cannot say anything else
than the code reads and writes; what is told without a struct is written down here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.identity.enclaves import Opened
from holdfast.limits import CONSUMERS, LOCK_ID_BYTES
from holdfast.server import admin, locks, money
from holdfast.server.enclave_callers import Challenged, Handed, Named, Shown, Signed
from holdfast.values import (
    CheckReport,
    CollectReport,
    DeadLetter,
    Hits,
    Place,
    Receipt,
    SearchRules,
    Stat,
    Status,
)
from holdfast.wire import enclave, sdstor, values
from holdfast.wire.batch import KNOWN
from holdfast.wire.proofs import Answered
from holdfast.wire.values import BYTES, JSON, MSGPACK

Schema = dict[str, Any]
Kind = str | Schema | type  # the name of a JSON type, a schema, or a struct
TEXT: Final = "text/plain"
BOTH: Final = ""
REFERENCE: Final = "#/components/schemas/{name}"


class Bodies(NamedTuple):
    """What one operation takes and tells; None where there is no body.

    ``takes_as`` and ``tells_as`` are their forms; BOTH is JSON, or msgpack where it is asked for.
    """

    takes: Kind | None = None
    tells: Kind | None = None
    takes_as: str = JSON
    tells_as: str = BOTH


def fields(**kinds: Kind) -> Schema:
    """An object that has all of these fields."""
    told = {name: _as_schema(kind) for name, kind in kinds.items()}
    return {"type": "object", "properties": told, "required": list(told)}


def items(kind: Kind) -> Schema:
    """A list of one kind."""
    return {"type": "array", "items": _as_schema(kind)}


def either(*kinds: Kind) -> Schema:
    """One of several."""
    return {"anyOf": list(kinds)}


def _as_schema(kind: Kind) -> Kind:
    return {"type": kind} if isinstance(kind, str) else kind


def structs_in(kind: object) -> Iterator[type]:
    """The structs that a kind is made of."""
    if isinstance(kind, type):
        yield kind
    elif isinstance(kind, dict | list):
        for inner in kind.values() if isinstance(kind, dict) else kind:
            yield from structs_in(inner)


def components() -> tuple[dict[type, Schema], dict[str, Any]]:
    """Every struct of the tables: as a reference, and what the references lead to."""
    kinds = (kind for bodies in (*SPACED.values(), *FIXED.values()) for kind in bodies[:2])
    found = (struct for kind in kinds for struct in structs_in(kind))
    structs = list(dict.fromkeys((*found, sdstor.Error)))
    references, schemas = msgspec.json.schema_components(structs, ref_template=REFERENCE)
    return dict(zip(structs, references, strict=True)), schemas


def resolved(kind: object, references: Mapping[type, Schema]) -> Any:  # noqa: ANN401 - as JSON is
    """A kind as a schema, whose structs are references."""
    if isinstance(kind, type):
        return references[kind]
    if isinstance(kind, dict):
        return {name: resolved(inner, references) for name, inner in kind.items()}
    if isinstance(kind, list):
        return [resolved(inner, references) for inner in kind]
    return kind


ANY: Final[Schema] = {}
HEX_16: Final[Schema] = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
BASE64: Final[Schema] = {"type": "string", "contentEncoding": "base64"}
BYTE: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 255}
LOCK_ID: Final[Schema] = items(BYTE) | dict.fromkeys(("minItems", "maxItems"), LOCK_ID_BYTES)
HOLDING: Final = fields(images=items("string"), number="integer")
ENTRY: Final = fields(kind="string", number="integer", time_ns="integer")
LETTERS: Final = fields(dead_letters=items(DeadLetter))
TOLD_STAT: Final = fields(
    key="string",
    modified={"type": ["string", "null"]},
    modified_ms={"type": ["integer", "null"]},
    size="integer",
    terminal="boolean",
    is_terminal="boolean",
)
BATCH: Final = fields(
    operations=items(
        {
            "type": "array",
            "minItems": 2,
            "maxItems": 3,
            "prefixItems": [
                {"enum": sorted(KNOWN)},
                {"type": "string"},
                {"type": ["object", "null"]},
            ],
        }
    )
)
REFERENCES: Final = either(
    sdstor.References, items({"type": "string"} | sdstor.REFERENCE) | {"maxItems": CONSUMERS}
)
CHECKED: Final = items(sdstor.CheckStatus)
# A key, in either form of the enclave API; so is what it tells.
ONE_KEY: Final = either(enclave.Keyed, fields(data="string"))


def _two(name: str, told: Kind) -> Schema:
    return either(fields(**{name: told}), fields(data=told))


# Below a namespace; what is under a bucket is as the same below its namespace.
SPACED: Final = {
    "GET objects/{key}": Bodies(tells=ANY, tells_as="*/*"),
    "HEAD objects/{key}": Bodies(),
    "PUT objects/{key}": Bodies(ANY, Receipt, BYTES),
    "DELETE objects/{key}": Bodies(),
    "GET stat/{key}": Bodies(tells=Stat),
    "GET exists/{key}": Bodies(tells=fields(exists="boolean")),
    "POST append/{key}": Bodies(ANY, fields(size="integer"), BYTES),
    "POST release/{key}": Bodies(),
    "GET consumers/{key}": Bodies(tells=values.Consumers),
    "PUT consumers/{key}": Bodies(values.Consumers, values.Consumers),
    "POST consumers/{key}": Bodies(values.Consumers, values.Consumers),
    "DELETE consumers/{key}": Bodies(values.Consumers, values.Missing),
    "POST locks/{key}": Bodies(locks.Asked, values.Locked),
    "PUT locks/{key}": Bodies(locks.Held, fields(fence="integer")),
    "DELETE locks/{key}": Bodies(locks.Held),
    "GET objects": Bodies(tells=either(values.Keys, values.Objects, Answered)),
    "GET search": Bodies(tells=Hits),
    "GET index-rules": Bodies(tells=SearchRules),
    "PUT index-rules": Bodies(SearchRules, SearchRules),
    "POST batch": Bodies(BATCH, items("array"), MSGPACK, MSGPACK),
    "DELETE": Bodies(),
    "GET grants": Bodies(tells=admin.Grants),
    "PUT grants": Bodies(admin.Grants, admin.Grants),
    "POST share": Bodies(admin.Share, fields(url="string")),
    "GET published": Bodies(tells=admin.Prefixes),
    "PUT published": Bodies(admin.Prefixes, admin.Prefixes),
    "GET cors": Bodies(tells=admin.Origins),
    "PUT cors": Bodies(admin.Origins, admin.Origins),
    "GET metering": Bodies(tells=money.Metered),
    "PUT metering": Bodies(money.Bounds, money.Metered),
    "GET usage": Bodies(tells=money.Used),
    "GET hours": Bodies(tells=money.Hours),
    "POST quote": Bodies(money.Asking, money.Quoted),
}
FIXED: Final = {
    "GET /ping": Bodies(tells=fields(version="string"), tells_as=JSON),
    "GET /livez": Bodies(tells=ANY, tells_as=TEXT),
    "GET /readyz": Bodies(tells=ANY, tells_as=TEXT),
    "GET /metrics": Bodies(tells=ANY, tells_as=TEXT),
    "GET /openapi.json": Bodies(tells=fields(openapi="string", paths="object"), tells_as=JSON),
    "GET /stats": Bodies(tells=sdstor.StoreStat, tells_as=JSON),
    "GET /namespaces/{nsid}": Bodies(tells=sdstor.Namespace, tells_as=JSON),
    "GET /namespaces/{nsid}/objects": Bodies(tells=items("string"), tells_as=JSON),
    "POST /namespaces/{nsid}/objects": Bodies(sdstor.Object, sdstor.Object, JSON, JSON),
    "HEAD /namespaces/{nsid}/objects/{id}": Bodies(),
    "GET /namespaces/{nsid}/objects/{id}": Bodies(tells=sdstor.Object, tells_as=JSON),
    "DELETE /namespaces/{nsid}/objects/{id}": Bodies(),
    "PUT /namespaces/{nsid}/objects/{id}/references": Bodies(
        *(REFERENCES, REFERENCES), *(JSON, JSON)
    ),
    "GET /namespaces/{nsid}/check": Bodies(sdstor.Ids, CHECKED, JSON, JSON),
    "POST /namespaces/{nsid}/check": Bodies(sdstor.Ids, CHECKED, JSON, JSON),
    "POST /v1/sessions": Bodies(tells=fields(session=HEX_16)),
    "GET /v1/root": Bodies(
        tells=fields(
            root=BASE64,
            handovers=items(BASE64),
            consistency=items(BASE64),
            inclusion=items(BASE64),
            attestation=either(BASE64, {"type": "null"}),
        )
    ),
    "GET /v1/locate": Bodies(tells=Place),
    "GET /v1/search": Bodies(tells=Hits),
    "GET /v1/namespaces": Bodies(tells=fields(namespaces=items("string"))),
    "GET /v1/tokens": Bodies(tells=admin.Listed),
    "POST /v1/tokens": Bodies(admin.NewToken, admin.MadeToken),
    "DELETE /v1/tokens/{id}": Bodies(),
    "GET /v1/tariffs": Bodies(tells=money.Prices),
    "PUT /v1/tariffs/{name}": Bodies(money.Toml, money.Priced),
    "GET /v1/accounts": Bodies(tells=money.Names),
    "GET /v1/accounts/{account}": Bodies(tells=money.Standing),
    "POST /v1/accounts/{account}/deposits": Bodies(money.Paid, ENTRY, JSON, JSON),
    "POST /v1/accounts/{account}/transfers": Bodies(money.Moved, ENTRY, JSON, JSON),
    "PUT /v1/accounts/{account}/rule": Bodies(money.Drawing, ENTRY, JSON, JSON),
    "GET /v1/accounts/{account}/entries": Bodies(
        tells=fields(entries=items("object")), tells_as=JSON
    ),
    "GET /v1/accounts/{account}/statement": Bodies(tells=ANY, tells_as="application/cose"),
    "GET /v1/status": Bodies(tells=Status),
    "POST /v1/check": Bodies(tells=CheckReport),
    "POST /v1/collect": Bodies(tells=CollectReport),
    "POST /v1/rebuild": Bodies(),
    "POST /v1/tick": Bodies(),
    "POST /v1/flush": Bodies(tells=LETTERS),
    "GET /v1/dead-letters": Bodies(tells=LETTERS),
    "POST /v1/backup": Bodies(admin.Backup),
    "POST /challenge": Bodies(Challenged, fields(nonce=BASE64, seconds="integer"), JSON, JSON),
    "POST /session": Bodies(Shown, Opened, JSON, JSON),
    "POST /handover": Bodies(either(Handed, Signed), HOLDING, JSON, JSON),
    "POST /owner": Bodies(Named, HOLDING, JSON, JSON),
    "POST /load": Bodies(ONE_KEY, _two("value", "string"), JSON, JSON),
    "POST /store": Bodies(either(enclave.Stored, fields(data=enclave.Stored))),
    "POST /exists": Bodies(ONE_KEY, _two("value", "boolean"), JSON, JSON),
    "POST /list": Bodies(
        either(enclave.Listed, fields(data=enclave.Listed)),
        _two("keys_list", items("string")),
        *(JSON, JSON),
    ),
    "POST /stat": Bodies(ONE_KEY, either(TOLD_STAT, fields(data=TOLD_STAT)), JSON, JSON),
    "POST /delete": Bodies(ONE_KEY),
    "POST /lock": Bodies(ONE_KEY, fields(lock_id=LOCK_ID), JSON, JSON),
    "POST /unlock": Bodies(
        either(enclave.Unlocked, fields(data="string", lock_id=LOCK_ID)),
    ),
}
