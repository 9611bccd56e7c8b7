"""The messages that are most of the traffic, read and written without an object for each.

    a plain load      an operation that names a key and nothing else
    a plain store     an operation that names a key and a value
    their results     pieces of a ``BatchReply``, to be joined

What is written here is what protobuf would write; tags come from the schema.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from holdfast.limits import KEY_BYTES, VALUE_RECORD_BYTES
from holdfast.values import Receipt
from holdfast.wire.protobuf.schema import MESSAGES

Said: TypeAlias = Any  # a message: its class is made of its descriptor
Result: TypeAlias = tuple[bytes, ...]  # of one operation, in pieces
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
VERSIONS: Final = [RECEIPT_VERSION + bytes((low | TOP,)) for low in range(TOP)]  # tag, first byte
_short = lru_cache(4096)(varint)  # of lengths, and of all of a version but its last seven bits


# -- what is answered --------------------------------------------------------------------------


@lru_cache(4096)
def _load_head(size: int) -> bytes:
    value = VALUE + varint(size) if size else b""  # what is empty is not told
    load = LOADED + varint(len(value) + size) + value
    return RESULTS + varint(len(load) + size) + load


def loaded(value: bytes) -> Result:
    """A value as a result in a reply, in two pieces."""
    return _load_head(len(value)), value


@lru_cache(1024)
def _receipt_tail(size: int, expires_ns: int | None, bucket: str, cost_atto: int) -> bytes:
    """What comes behind a receipt's version."""
    told, cost = bucket.encode(), str(cost_atto).encode()
    expires = b"" if expires_ns is None else EXPIRES + varint(expires_ns)
    length = SIZE + varint(size) if size else b""
    price = COST + varint(len(cost)) + cost
    return b"".join((length, expires, BUCKET, varint(len(told)), told, price))


@lru_cache(1024)
def _receipt_head(wide: int, behind: int) -> bytes:
    """What comes before a receipt's key of ``wide`` bytes that ``behind`` more follow."""
    key = KEY + varint(wide)
    size = len(key) + wide + behind
    told = STORED + varint(size)
    return RESULTS + varint(len(told) + size) + told + key


def stored(receipts: Iterable[Receipt | Result], keys: Iterable[bytes]) -> list[bytes]:
    """Receipts of keys as results in a reply, in pieces; what is a result already stays so."""
    pieces: list[bytes] = []
    known: tuple[int, int | None, str, int] | None = None
    tail = b""
    for receipt, key in zip(receipts, keys, strict=True):
        if not isinstance(receipt, Receipt):
            pieces += receipt
            continue
        version = receipt.version
        told = (receipt.size, receipt.expires_ns, receipt.bucket, receipt.cost_atto)
        if told != known:
            known, tail = told, _receipt_tail(*told)
        if version < TOP:
            count = RECEIPT_VERSION + varint(version)
        else:
            count = VERSIONS[version & (TOP - 1)] + _short(version >> SEVEN)
        pieces += (_receipt_head(len(key), len(count) + len(tail)), key, count, tail)
    return pieces


def result(message: Said) -> Result:
    """Any result in a reply."""
    told: bytes = message.SerializeToString()
    return (RESULTS + varint(len(told)) + told,)


# -- what is asked ---------------------------------------------------------------------------


class Plain(NamedTuple):
    """A batch of nothing but loads, or of nothing but stores: only these have values."""

    keys: list[bytes]
    names: list[str]
    values: list[bytes]


@lru_cache(4096)
def _operation_bytes(key_bytes: int, value_bytes: int = 0) -> int:
    """What an operation takes in a batch that has a key and a value, if any, and nothing else."""
    size = 0
    for field in (key_bytes, value_bytes):
        size += 1 + len(varint(field)) + field if field else 0
    for _ in ("verb", "operation"):
        size += 1 + len(varint(size))
    return size


def plain(message: Said, size_bytes: int) -> Plain | None:
    """The plain batch that a message of so many bytes is, or None.

    It is one if keys and values alone take all of its bytes.
    """
    operations, namespace = message.operations, len(message.namespace.encode())
    if not operations:
        return None
    verb = operations[0].WhichOneof("verb")
    values: list[bytes] = []
    if verb == "load":
        names = [operation.load.key for operation in operations]
    elif verb == "store":
        stores = [operation.store for operation in operations]
        names, values = [one.key for one in stores], [one.value for one in stores]
    else:
        return None
    keys = list(map(str.encode, names))
    wide, tall = list(map(len, keys)), list(map(len, values))
    if not 0 < min(wide) <= max(wide) <= KEY_BYTES or max(tall, default=0) > VALUE_RECORD_BYTES:
        return None
    taken = sum(map(_operation_bytes, wide, *([tall] if tall else ())))
    head = 1 + len(varint(namespace)) + namespace if namespace else 0
    return Plain(keys, names, values) if head + taken == size_bytes else None
