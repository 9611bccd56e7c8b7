"""The messages that are most of the traffic, read and written without an object for each.

    a plain load      an operation that names a key and nothing else
    a plain store     an operation that names a key and a value
    their results     pieces of a ``BatchReply``, to be joined

What is written here is what protobuf would write; tags come from the schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, repeat
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


def stored(receipts: Sequence[Receipt | Result], keys: Sequence[bytes]) -> list[bytes]:
    """Receipts of keys as results in a reply, in pieces; what is a result already stays so."""
    pieces: list[bytes] = []
    for receipt, key in zip(receipts, keys, strict=True):
        if isinstance(receipt, Receipt):
            pieces += _stored((receipt,), (key,))
        else:
            pieces += receipt
    return pieces


def stored_alike(receipts: Sequence[Receipt], keys: Sequence[bytes]) -> list[bytes]:
    """The same where all are receipts, which mostly differ in key and version alone."""
    told = {(one.size, one.expires_ns, one.bucket, one.cost_atto) for one in receipts}
    return stored(receipts, keys) if len(told) > 1 else _stored(receipts, keys)


def _stored(receipts: Sequence[Receipt], keys: Sequence[bytes]) -> list[bytes]:
    """Receipts that differ in key and version alone."""
    if not receipts:
        return []
    one = receipts[0]
    tail = _receipt_tail(one.size, one.expires_ns, one.bucket, one.cost_atto)
    behind = len(tail)
    counts = [
        VERSIONS[version & (TOP - 1)] + _short(version >> SEVEN)
        if version >= TOP
        else RECEIPT_VERSION + varint(version)
        for version in [receipt.version for receipt in receipts]
    ]
    heads = [
        _receipt_head(len(key), len(count) + behind)
        for key, count in zip(keys, counts, strict=True)
    ]
    return list(chain.from_iterable(zip(heads, keys, counts, repeat(tail), strict=False)))


def result(message: Said) -> Result:
    """Any result in a reply."""
    told: bytes = message.SerializeToString()
    return (RESULTS + varint(len(told)) + told,)


# -- what is asked ---------------------------------------------------------------------------


class Plain(NamedTuple):
    """A batch of nothing but loads, or of nothing but stores: only these have values."""

    namespace: str
    keys: list[bytes]
    names: list[str]
    values: list[bytes]


class Shape(NamedTuple):
    """How one operation lies in its batch: as ``head``, key, ``middle``, value."""

    verb: int
    head: bytes
    key_bytes: int
    middle: bytes
    value_bytes: int


NAMESPACE, OPERATION = (ord(_tag("BatchRequest", name)) for name in ("namespace", "operations"))
STORE, LOAD = (ord(_tag("Operation", name)) for name in ("store", "load"))
KEYS: Final = {
    STORE: ord(_tag("StoreRequest", "key")),
    LOAD: ord(_tag("LoadRequest", "key")),
}
STORED_VALUE: Final = ord(_tag("StoreRequest", "value"))
MOST_SHIFT: Final = 28


def plain(body: bytes) -> Plain | None:
    """The plain batch that these bytes are, or None.

    They are one if every operation names a key, and a value if it is a store, and nothing else;
    what lies as the operation before is not looked at byte by byte. Of a batch of another kind,
    or of bytes that are none, protobuf says what they are.
    """
    try:
        namespace, at = b"", 0
        if body[0] == NAMESPACE:
            size, at = _length(body, 1)
            namespace, at = body[at : at + size], at + size
        found = _operations(body, at)
        if found is None:
            return None
        keys, values = found
        return Plain(namespace.decode(), keys, list(map(bytes.decode, keys)), values)
    except (IndexError, UnicodeDecodeError):
        return None


def _operations(body: bytes, at: int) -> tuple[list[bytes], list[bytes]] | None:
    """The keys and values of a batch whose operations begin here."""
    keys: list[bytes] = []
    values: list[bytes] = []
    begins, end = body.startswith, len(body)
    shape = _shape(body, at)
    verb = LOAD if shape is None else shape.verb
    while shape is not None and shape.verb == verb:
        _, head, wide, middle, tall = shape
        past, between = len(head), len(middle)
        while begins(head, at):
            start = at + past
            stop = start + wide
            if not begins(middle, stop):
                break
            keys.append(body[start:stop])
            stop += between
            at = stop + tall
            values.append(body[stop:at])
        if at >= end:
            break
        shape = _shape(body, at)
    if at != end or shape is None:
        return None
    return keys, values if verb == STORE else []


def _shape(body: bytes, at: int) -> Shape | None:
    """How the operation lies that begins here; None where it says more than a plain one."""
    begun = at
    if body[at] != OPERATION:
        return None
    size, at = _length(body, at + 1)
    stop, verb = at + size, body[at]
    size, at = _length(body, at + 1)
    if at + size != stop or body[at] != KEYS.get(verb):
        return None
    wide, at = _length(body, at + 1)
    head, at = body[begun:at], at + wide
    middle, tall = b"", 0
    if at < stop and verb == STORE and body[at] == STORED_VALUE:
        tall, past = _length(body, at + 1)
        middle, at = body[at:past], past + tall
    fits = 0 < wide <= KEY_BYTES and tall <= VALUE_RECORD_BYTES
    return Shape(verb, head, wide, middle, tall) if at == stop and fits else None


def _length(body: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends; IndexError where it is none, or more than any length."""
    size = body[at]
    at += 1
    if size < TOP:
        return size, at
    size &= TOP - 1
    for shift in range(SEVEN, MOST_SHIFT, SEVEN):
        byte = body[at]
        at += 1
        size |= (byte & TOP - 1) << shift
        if byte < TOP:
            return size, at
    raise IndexError
