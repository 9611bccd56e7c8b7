"""What processes of one store say to each other, as bytes: a method with its arguments, an answer.

msgpack. Plain values stand as they are; what msgpack has no form for, or would
give back as something else, is a map with the one-byte key ``""``:

    {"": "tuple", "items": [...]}          a tuple
    {"": <kind>, <field>: <value>, ...}    one of ``KINDS``
    {"": "error", "problem": {...}}        an error (problems.py)
    {"": "int", "digits": "..."}           an integer that has more than 64 bits

A call is ``[method, arguments]``; an answer ``[true, value]`` or ``[false, error]``.
Both ends are of one version of Holdfast on one machine, so nothing here is kept
for long; it is checked all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from holdfast.bucket.read import Object
from holdfast.charges import Terms
from holdfast.errors import HoldfastError, InvalidValue
from holdfast.log.entry import Entry, Extent
from holdfast.operations import (
    Append,
    Consumers,
    Delete,
    Lock,
    Once,
    Parts,
    Release,
    Renew,
    Store,
    StoreOptions,
    Unlock,
    Upload,
)
from holdfast.values import Place, Receipt
from holdfast.wire.problems import INT_LEAST, INT_MOST, error_of, problem_of

TAG: Final = ""
KINDS: Final[dict[str, Any]] = {
    kind.__name__: kind
    for kind in (
        *(Append, Consumers, Delete, Lock, Once, Parts, Release, Renew, Store, StoreOptions),
        *(Unlock, Upload, Entry, Extent, Object, Place, Receipt, Terms),
    )
}
_decode = msgspec.msgpack.Decoder().decode
_encode = msgspec.msgpack.Encoder().encode


def encode_call(method: str, arguments: Sequence[object]) -> bytes:
    """A call as bytes.

    Example:
        >>> decode_call(encode_call("page", (b"a", ("b", 1))))
        ('page', [b'a', ('b', 1)])
    """
    return _encode([method, [_pack(argument) for argument in arguments]])


def decode_call(data: bytes) -> tuple[str, list[Any]]:
    """The method and its arguments; InvalidValue where the bytes are no call."""
    method, arguments = _pair(data)
    if not isinstance(method, str) or not isinstance(arguments, list):
        raise _unreadable()
    return method, arguments


def encode_answer(value: object) -> bytes:
    """What a call returned, as bytes."""
    return _encode([True, _pack(value)])


def encode_error(error: HoldfastError) -> bytes:
    """What a call raised, as bytes."""
    return _encode([False, _pack(error)])


def decode_answer(data: bytes) -> Any:  # noqa: ANN401 - whatever the method returns
    """What the call returned; what it raised is raised."""
    returned, value = _pair(data)
    if returned is True:
        return value
    if isinstance(value, HoldfastError):
        raise value
    raise _unreadable()


def _pair(data: bytes) -> tuple[object, object]:
    try:
        first, second = _decode(data)
        return first, _unpack(second)
    except (msgspec.DecodeError, ValueError, TypeError, KeyError):
        raise _unreadable() from None


def _unreadable() -> InvalidValue:
    return InvalidValue(argument="call", reason="not readable")


def _pack(value: object) -> object:
    kind = type(value)
    if kind is list:
        return [_pack(item) for item in value]  # type: ignore[attr-defined]
    if kind is tuple:
        return {TAG: "tuple", "items": [_pack(item) for item in value]}  # type: ignore[attr-defined]
    if kind is int and not INT_LEAST <= value <= INT_MOST:  # type: ignore[operator]
        return {TAG: "int", "digits": str(value)}
    if isinstance(value, HoldfastError):
        return {TAG: "error", "problem": problem_of(value)}
    if kind.__name__ in KINDS:
        fields = getattr(value, "_fields", None) or kind.__struct_fields__  # type: ignore[attr-defined]
        return {TAG: kind.__name__, **{name: _pack(getattr(value, name)) for name in fields}}
    return value


def _unpack(value: object) -> object:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    fields = dict(value)
    tag = fields.pop(TAG)
    if tag == "tuple":
        return tuple(_unpack(item) for item in fields["items"])
    if tag == "int":
        return int(fields["digits"])
    if tag == "error":
        return error_of(fields["problem"])
    return KINDS[tag](**{name: _unpack(field) for name, field in fields.items()})
