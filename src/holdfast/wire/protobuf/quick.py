"""The messages that are most of the traffic, written and read without an object for each.

    a plain load      an operation that names a key and nothing else
    a plain store     an operation that names a key and a value
    their results     bytes of a ``BatchReply``, to be joined

What is written here is what protobuf would write; tags come from the schema.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, TypeAlias

from holdfast.limits import KEY_BYTES, VALUE_RECORD_BYTES
from holdfast.values import Receipt
from holdfast.wire.protobuf.schema import MESSAGES

Said: TypeAlias = Any  # a message: its class is made of its descriptor
BYTES, VARINT = 2, 0  # protobuf's wire types
SEVEN, TOP = 7, 0x80


def _tag(message: str, name: str, kind: int = BYTES) -> bytes:
    (number,) = [field.number for field in MESSAGES[message].fields if field.name == name]
    return varint(number << 3 | kind)


def varint(number: int) -> bytes:
    r"""A number of at least 0 as protobuf writes it.

    Example:
        >>> varint(1), varint(300)
        (b'\x01', b'\xac\x02')
    """
    told = bytearray()
    while number >= TOP:
        told.append(number & (TOP - 1) | TOP)
        number >>= SEVEN
    told.append(number)
    return bytes(told)


RESULTS: Final = _tag("BatchReply", "results")
STORED, LOADED = _tag("Result", "store"), _tag("Result", "load")
VALUE: Final = _tag("Value", "value")
KEY, BUCKET, COST = (_tag("Receipt", name) for name in ("key", "bucket", "cost_atto"))
RECEIPT_VERSION, SIZE, EXPIRES = (
    _tag("Receipt", name, VARINT) for name in ("version", "size", "expires_ns")
)


@lru_cache(4096)
def _length(size: int) -> bytes:
    return varint(size)


@lru_cache(4096)
def _load_head(size: int) -> bytes:
    value = VALUE + varint(size)
    load = LOADED + varint(len(value) + size) + value
    return RESULTS + varint(len(load) + size) + load


def loaded(value: bytes) -> bytes:
    """A value as a result in a reply."""
    return _load_head(len(value)) + value


@lru_cache(1024)
def _receipt_tail(bucket: str, cost_atto: int) -> bytes:
    told, cost = bucket.encode(), str(cost_atto).encode()
    return b"%b%b%b%b%b%b" % (BUCKET, varint(len(told)), told, COST, varint(len(cost)), cost)


def stored(receipt: Receipt, key: bytes) -> bytes:
    """A receipt of a key as a result in a reply."""
    expires_ns = receipt.expires_ns
    body = b"%b%b%b%b%b%b%b%b%b" % (
        KEY,
        _length(len(key)),
        key,
        RECEIPT_VERSION,
        varint(receipt.version),
        SIZE,
        _length(receipt.size),
        b"" if expires_ns is None else EXPIRES + varint(expires_ns),
        _receipt_tail(receipt.bucket, receipt.cost_atto),
    )
    size = len(body)
    head = STORED + _length(size)
    return b"%b%b%b%b" % (RESULTS, _length(len(head) + size), head, body)


def result(message: Said) -> bytes:
    """Any result in a reply."""
    told: bytes = message.SerializeToString()
    return RESULTS + varint(len(told)) + told


@lru_cache(4096)
def _field_bytes(size: int) -> int:
    """What a field of bytes takes, with its tag of one byte."""
    return 1 + len(varint(size)) + size if size else 0


def plain_loads(operations: Iterable[Said]) -> list[bytes] | None:
    """The keys of operations that all are plain loads; None where one is not."""
    keys: list[bytes] = []
    for operation in operations:
        if operation.WhichOneof("verb") != "load":
            return None
        load = operation.load
        key = load.key.encode()
        size = len(key)
        if not 0 < size <= KEY_BYTES or load.ByteSize() != _field_bytes(size):
            return None
        keys.append(key)
    return keys


def plain_stores(operations: Iterable[Said]) -> list[tuple[str, bytes, bytes]] | None:
    """Key, its bytes and value of operations that all are plain stores; None where one is not."""
    stores: list[tuple[str, bytes, bytes]] = []
    for operation in operations:
        if operation.WhichOneof("verb") != "store":
            return None
        store = operation.store
        key, value = store.key, store.value
        raw = key.encode()
        if not 0 < len(raw) <= KEY_BYTES or len(value) > VALUE_RECORD_BYTES:
            return None
        if store.ByteSize() != _field_bytes(len(raw)) + _field_bytes(len(value)):
            return None
        stores.append((key, raw, value))
    return stores
