"""Values as JSON and as msgpack: receipts, stats, places, reports, pages, lists of ids.

A struct becomes an object with its fields; bytes are bytes in msgpack. A consumer id is a
string, or ``{"base64": "..."}`` for bytes, in both forms. Null where a list is due is the
empty list: programs in Go write a slice of nothing so.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import inspect

from holdfast.errors import InvalidValue
from holdfast.values import Stat
from holdfast.wire.problems import INT_LEAST, INT_MOST, unreadable

T = TypeVar("T")
Form = Literal["json", "msgpack"]
JSON, MSGPACK, BYTES = "application/json", "application/msgpack", "application/octet-stream"
ENCODERS: Final = {"json": msgspec.json.encode, "msgpack": msgspec.msgpack.encode}

ConsumerId = str | bytes | dict[str, str]  # as it travels: msgspec reads it as anything


class Keys(msgspec.Struct, frozen=True):
    """One page of a list; ``next`` goes into ``after``, None at the end."""

    keys: tuple[str, ...]
    next: str | None


class Objects(msgspec.Struct, frozen=True):
    """One page of a list with details."""

    objects: tuple[Stat, ...]
    next: str | None


class Locked(msgspec.Struct, frozen=True):
    """A lease: its id as 40 hex digits, and its fence."""

    lock_id: str
    fence: int


class Consumers(msgspec.Struct, frozen=True):
    """A reference list, as asked and as answered."""

    consumers: tuple[Any, ...]


class Missing(msgspec.Struct, frozen=True):
    """The ids that a removal did not find; a change of another kind has none."""

    missing: tuple[Any, ...] = ()


def encode(value: object, form: Form = "json") -> bytes:
    """A value of values.py, a page of this file or plain data, as bytes.

    Example:
        >>> encode({"exists": True})
        b'{"exists":true}'
    """
    try:
        return ENCODERS[form](value)
    except OverflowError:
        return msgspec.msgpack.encode(fitting(value))


def fitting(value: object) -> object:
    """The same as plain data; an integer that msgpack has no form for is its decimal digits.

    A cost may be one: a gibibyte for a month, in 10^-18 USD.

    Example:
        >>> fitting([1, 1 << 64])
        [1, '18446744073709551616']
    """
    return _digits(msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview)))


def _digits(told: object) -> object:
    if isinstance(told, int) and not INT_LEAST <= told <= INT_MOST:
        return str(told)
    if isinstance(told, list | tuple):
        return [_digits(one) for one in told]
    if isinstance(told, dict):
        return {name: _digits(one) for name, one in told.items()}
    return told


def decode(body: bytes | memoryview, kind: type[T], form: Form = "json") -> T:
    """A value of a kind from bytes that came in; null where a list is due is the empty one.

    Raises:
        InvalidValue: they are not of that form, or say something else (status 400).

    Example:
        >>> decode(b'{"consumers": null}', Consumers)
        Consumers(consumers=())
    """
    try:
        try:
            return _read(body, kind, form)
        except msgspec.ValidationError:  # looked at again only then: nearly nobody writes so
            told = _read(body, object, form)
            listed = _listed(told, inspect.type_info(kind))
            if listed == told:
                raise
            return msgspec.convert(listed, kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise unreadable(_reason(error)) from None


def _read(body: bytes | memoryview, kind: type[T], form: Form) -> T:
    if form == "json":
        return msgspec.json.decode(body, type=kind)
    return msgspec.msgpack.decode(body, type=kind)


def _listed(told: object, kind: inspect.Type) -> object:
    """The same, with empty lists for null wherever ``kind`` has a list."""
    if isinstance(kind, inspect.Metadata):
        return _listed(told, kind.type)
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        if isinstance(told, list):
            return [_listed(one, kind.item_type) for one in told]
        return [] if told is None else told
    if not isinstance(kind, inspect.StructType) or not isinstance(told, dict):
        return told
    kinds = {field.encode_name: field.type for field in kind.fields}
    return {name: _listed(one, kinds[name]) if name in kinds else one for name, one in told.items()}


def _reason(error: Exception) -> str:
    """Why it cannot be read, without the bytes themselves."""
    return str(error) if isinstance(error, msgspec.ValidationError) else "it does not decode"


def form_of(media_type: str | None) -> Form:
    """The form that an ``Accept`` or ``Content-Type`` header asks for: msgpack, else JSON."""
    return "msgpack" if media_type is not None and MSGPACK in media_type else "json"


# -- consumer ids ------------------------------------------------------------------------


def told_ids(ids: Iterable[str | bytes]) -> tuple[ConsumerId, ...]:
    """Ids as they travel.

    Example:
        >>> told_ids(["a", b"b"])
        ('a', {'base64': 'Yg=='})
    """
    return tuple(i if isinstance(i, str) else {"base64": base64.b64encode(i).decode()} for i in ids)


def consumer_ids(told: Iterable[object]) -> list[str | bytes]:
    """Ids as callers know them, from what travelled; InvalidValue where one is none."""
    return [i if isinstance(i, str | bytes) else _from_base64(i) for i in told]


def _from_base64(told: object) -> bytes:
    if isinstance(told, Mapping) and set(told) == {"base64"}:
        try:
            return base64.b64decode(told["base64"], validate=True)
        except (binascii.Error, ValueError, TypeError):
            pass
    raise InvalidValue(argument="consumers", reason="an id is a string or base64")
