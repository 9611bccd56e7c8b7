"""The messages that are most of the traffic, read and written without an object for each.

    a plain load      an operation that names a key and nothing else
    a plain store     an operation that names a key and a value
    their results     pieces of a ``BatchReply``, to be joined

What is written here is what protobuf would write; tags come from the schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import add
from struct import iter_unpack
from typing import Any, Final, NamedTuple, TypeAlias

from holdfast.limits import KEY_BYTES, VALUE_RECORD_BYTES
from holdfast.values import Receipt, Receipts
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


def stored(results: Sequence[Receipt | Result], keys: Sequence[bytes]) -> list[bytes]:
    """Receipts of keys as results in a reply, in pieces; what is a result already stays so."""
    pieces: list[bytes] = []
    for one, key in zip(results, keys, strict=True):
        if isinstance(one, Receipt):
            tail = _receipt_tail(one.size, one.expires_ns, one.bucket, one.cost_atto)
            count = RECEIPT_VERSION + varint(one.version)
            pieces += (_receipt_head(len(key), len(count) + len(tail)), key, count, tail)
        else:
            pieces += one
    return pieces


def stored_together(receipts: Receipts, keys: Sequence[bytes]) -> Iterable[bytes]:
    """The same of stores that one bucket took together."""
    if not keys:
        return ()
    sizes, bucket, cost_atto = receipts.sizes, receipts.bucket, receipts.cost_atto
    of_size = {size: _receipt_tail(size, None, bucket, cost_atto) for size in set(sizes)}
    counts = _counts(receipts.versions)
    alike = len(of_size) == len(set(map(len, keys))) == 1 and len(counts[0]) == len(counts[-1])
    if alike:  # what stands between one's key and count and the next one's is the same
        tail = of_size[sizes[0]]
        head = _receipt_head(len(keys[0]), len(counts[0]) + len(tail))
        return head, (tail + head).join(map(add, keys, counts)), tail
    ends = list(map(add, counts, map(of_size.__getitem__, sizes)))
    heads = map(_receipt_head, map(len, keys), map(len, ends))
    return chain.from_iterable(zip(heads, keys, ends, strict=True))


def _counts(versions: range) -> list[bytes]:
    """The field of each version."""
    counts: list[bytes] = []
    at, stop = versions.start, versions.stop
    while at < stop:
        block, low = at >> SEVEN, at & (TOP - 1)
        counts += _block(block)[low : low + stop - at]
        at += TOP - low
    return counts


@lru_cache(64)
def _block(block: int) -> list[bytes]:
    """The fields of the versions that are this but for their last seven bits."""
    if not block:
        return [RECEIPT_VERSION + varint(low) for low in range(TOP)]
    rest = varint(block)
    return [begun + rest for begun in VERSIONS]


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
FEW: Final = 8  # operations that are taken one by one


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
    may_end = True  # all that is left may lie alike; looked at once in vain at most
    while shape is not None and shape.verb == verb:
        _, head, wide, middle, tall = shape
        past, between = len(head), len(middle)
        count, over = divmod(end - at, past + wide + between + tall)
        if may_end and count >= FEW and not over:
            rest = _all_alike(body, at, shape)
            if rest is not None:
                keys += rest[0]
                values += rest[1]
                at = end
                break
            may_end = False
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


def _all_alike(
    body: bytes, at: int, shape: Shape
) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
    """The keys and values of all operations from here on, if each lies as the first."""
    _, head, wide, middle, tall = shape
    layout = f"{len(head)}s{wide}s{len(middle)}s{tall}s"
    told = iter_unpack(layout, memoryview(body)[at:])
    heads, keys, middles, values = zip(*told, strict=True)
    count = len(keys)
    alike = heads.count(head) == count == middles.count(middle)
    return (keys, values) if alike else None


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
