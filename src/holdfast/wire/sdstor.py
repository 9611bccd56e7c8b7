"""The JSON of 0-stor's REST interface: what it takes, tells and refuses with.

    {"id": "...", "data": "<base64>", "referenceList": ["...", ...]}      an object
    {"references": ["...", ...]}  or  ["...", ...]                        a new reference list
    {"ids": ["...", ...]}                                                 what is to be checked
    {"error": "..."}                                                      every refusal

docs/PROTOCOL.md section 7 has the table of paths, docs/sdstor.raml their description.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from holdfast.errors import InvalidKey, InvalidValue, LimitExceeded
from holdfast.limits import CONSUMER_BYTES, CONSUMERS, VALUE_RECORD_BYTES
from holdfast.wire.problems import BAD_REQUEST
from holdfast.wire.values import decode

ID_CHARS: Final = 128
WORD: Final = re.compile(r"\w+", re.ASCII)
PATTERN: Final = r"^\w+$"
Status = Literal["ok", "corrupted", "missing"]
Shape = Literal["object", "list"]
# Checked by hand, which words the refusals as 0-stor did; said here for those who read schemas.
ObjectId = Annotated[
    str,
    Meta(extra_json_schema={"minLength": 1, "maxLength": ID_CHARS, "pattern": PATTERN}),
]
REFERENCE: Final = {"minLength": 1, "maxLength": CONSUMER_BYTES, "pattern": PATTERN}
ReferenceId = Annotated[str, Meta(extra_json_schema=REFERENCE)]
ReferenceIds = Annotated[tuple[ReferenceId, ...], Meta(extra_json_schema={"maxItems": CONSUMERS})]
TOO_MANY: Final = f"reference list is too big, can only contains {CONSUMERS} entries"  # (sic)
FORBIDDEN: Final = 403
LIST: Final[Shape] = "list"
OBJECT: Final[Shape] = "object"


class Object(msgspec.Struct, frozen=True, rename={"reference_list": "referenceList"}):
    """An object, as it is stored and told; ``data`` is base64, at most 1 MiB when decoded."""

    id: ObjectId
    data: Annotated[str, Meta(extra_json_schema={"minLength": 1, "contentEncoding": "base64"})]
    reference_list: ReferenceIds | None = None


class References(msgspec.Struct, frozen=True):
    """A reference list that replaces another."""

    references: ReferenceIds


class Ids(msgspec.Struct, frozen=True):
    """The objects that are to be checked."""

    ids: tuple[str, ...]


class CheckStatus(msgspec.Struct, frozen=True):
    """What became of one object."""

    id: str
    status: Status


class NamespaceStat(msgspec.Struct, frozen=True, rename="camel"):
    """Figures of a namespace; spaces are MiB, requests those of the last hour."""

    read_request_per_hour: int
    write_request_per_hour: int
    nr_objects: int
    space_used: float
    space_available: float


class Namespace(msgspec.Struct, frozen=True):
    """A namespace and its figures."""

    label: str
    stats: NamespaceStat


class StoreStat(msgspec.Struct, frozen=True):
    """MiB that the store has room for."""

    size: int


class Error(msgspec.Struct, frozen=True):
    """A refusal."""

    error: str


def object_asked(body: bytes) -> tuple[Object, bytes]:
    """The object that a body describes, and its bytes.

    Raises:
        InvalidValue, InvalidKey: it cannot be read, or a field may not be so.
        LimitExceeded: over 1 MiB, or more than 160 references.

    Example:
        >>> object_asked(b'{"id": "a", "data": "MQ=="}')[1]
        b'1'
    """
    asked = decode(body, Object)
    check_id(asked.id)
    check_references(asked.reference_list or ())
    data = _decoded(asked.data)
    if not data:
        raise InvalidValue(argument="data", reason="empty")
    if len(data) > VALUE_RECORD_BYTES:
        raise LimitExceeded(limit="VALUE_RECORD_BYTES", most=VALUE_RECORD_BYTES, asked=len(data))
    return asked, data


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue(argument="data", reason="not base64") from None


def references_asked(body: bytes) -> tuple[tuple[str, ...], Shape]:
    """The list that a body holds, in either of the two shapes that clients of 0-stor send.

    Example:
        >>> references_asked(b'["a"]'), references_asked(b'{"references": []}')
        ((('a',), 'list'), ((), 'object'))
    """
    if body.lstrip().startswith(b"{"):
        ids, shape = decode(body, References).references, OBJECT
    else:
        ids, shape = decode(body, tuple[str, ...]), LIST
    check_references(ids)
    return ids, shape


def check_id(name: str) -> None:
    """Return where an object may be called so; InvalidKey where not."""
    if len(name) > ID_CHARS or not WORD.fullmatch(name):
        raise InvalidKey(reason=f"1 to {ID_CHARS} letters, digits and underscores")


def check_references(ids: tuple[str, ...]) -> None:
    """Return where these may be a reference list; LimitExceeded or InvalidValue where not."""
    if len(ids) > CONSUMERS:
        raise LimitExceeded(limit="CONSUMERS", most=CONSUMERS, asked=len(ids))
    if not all(len(one) <= CONSUMER_BYTES and WORD.fullmatch(one) for one in ids):
        reason = f"an id has 1 to {CONSUMER_BYTES} letters, digits and underscores"
        raise InvalidValue(argument="references", reason=reason)


def told_object(name: str, data: bytes, ids: tuple[str, ...]) -> Object:
    """An object as it is told."""
    return Object(name, base64.b64encode(data).decode(), ids)


# -- refusals ----------------------------------------------------------------------------

# What this house tells apart and 0-stor does not.
AS_BAD: Final = frozenset((413, 416, 422))
UNAUTHORIZED: Final = 401


def refusal(problem: Mapping[str, object]) -> tuple[int, Error]:
    """A problem document as 0-stor's clients know refusals: its status, and its words.

    Example:
        >>> refusal({"status": 404, "title": "no object has this key", "facts": {}})
        (404, Error(error='no object has this key'))
    """
    status, facts = problem.get("status"), problem.get("facts")
    told = facts if isinstance(facts, Mapping) else {}
    if status in AS_BAD:
        status = BAD_REQUEST
    elif status == UNAUTHORIZED and told.get("reason") != "missing":
        status = FORBIDDEN  # 401 is for who shows no token at all
    text = str(problem.get("title", ""))
    if told.get("limit") == "CONSUMERS":
        text = TOO_MANY
    else:
        said = [str(told[name]) for name in ("argument", "limit", "reason") if name in told]
        text = ": ".join((text, *said))
    return status if isinstance(status, int) else 500, Error(text)
