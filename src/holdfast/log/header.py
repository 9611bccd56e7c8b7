"""The head of a segment: who it is, whose it is, and what came before it.

    offset  size  field
    0       8     magic "HFSEGMNT"
    8       2     format version (1)
    10      2     pad, zero
    12      4     pad, zero
    16      16    store id
    32      8     incarnation of the store
    40      8     bucket of origin
    48      8     number in that bucket
    56      8     previous number there, 0 = none
    64      8     previous_stop: where the previous segment's groups end, by decision
    72      8     previous_digest: the chain digest there
    80      8     XXH3-64 of the 80 bytes before, from which this segment's chain begins

A misplaced file is refused: the head names its store, bucket and number
(rule 22). What lies behind ``previous_stop`` in the previous segment is not
part of the log, whatever it looks like (rule 1). The first group behind the
head holds one STATE record, the whole of what the log must say once a segment.
"""

from __future__ import annotations

import struct
from typing import Annotated, NamedTuple

import msgspec
from crc32c import crc32c
from xxhash import xxh3_64_intdigest

from holdfast.errors import Corrupt, FormatTooNew
from holdfast.log.group import Kind, seal_head
from holdfast.log.purses import Kept, Share
from holdfast.log.records import Type, encode
from holdfast.values import planned

MAGIC = b"HFSEGMNT"
FORMAT = 1
HEAD = struct.Struct("<8sHHI16sQ8sQQQQ")
DIGEST = struct.Struct("<Q")
SEGMENT_HEAD_BYTES = HEAD.size + DIGEST.size
BucketId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]  # a folder will be named so


class Identity(NamedTuple):
    """Which store this is, and which of its lives."""

    store: bytes
    incarnation: int


class SegmentHead(NamedTuple):
    """A verified segment head; ``digest`` is where its chain begins."""

    store: bytes
    incarnation: int
    bucket: str
    number: int
    previous: int
    previous_stop: int
    previous_digest: int
    digest: int


class SegmentInfo(msgspec.Struct, frozen=True, array_like=True):
    """What a log says of one of its ended segments.

    ``number`` is this bucket's; ``origin`` and ``origin_number`` are what its
    head must say; its groups end at ``stop`` with the chain at ``digest``.
    """

    number: int
    origin: str
    origin_number: int
    stop: int
    digest: int


@planned
class Birth(msgspec.Struct, frozen=True, array_like=True):
    """A split that the log has decided: the child, its range, what it takes over."""

    child: BucketId
    start: bytes
    stop: bytes
    version: int
    time_ns: int
    segments: tuple[SegmentInfo, ...] = ()

    @property
    def shared(self) -> tuple[int, ...]:
        """The segments that the child takes over, which have the same numbers in both logs."""
        return tuple(info.number for info in self.segments)


@planned
class PursedBirth(Birth, frozen=True, array_like=True):
    """A split of a bucket that has purses: ``purses`` are the child's shares."""

    purses: tuple[Kept, ...] = ()


class KeptSession(msgspec.Struct, frozen=True, array_like=True):
    """What a bucket knows of one session: numbers below ``floor`` are settled.

    ``kept`` are the numbers applied from there on, each with its outcome
    (bucket/outcomes.py); ``used_ns`` is the bucket time of the last of them.
    """

    session: bytes
    floor: int
    used_ns: int
    kept: tuple[tuple[int, bytes], ...] = ()


class KeptSpace(msgspec.Struct, frozen=True, array_like=True):
    """The sessions that wrote to one namespace; of those begun before ``since_ns`` all of them."""

    namespace: bytes
    since_ns: int
    sessions: tuple[KeptSession, ...] = ()


class KeptNumbers(msgspec.Struct, frozen=True, array_like=True):
    """Every session that a bucket knows; ``since_ns`` is a floor for each namespace's."""

    since_ns: int
    spaces: tuple[KeptSpace, ...] = ()


@planned
class SessionRecord(msgspec.Struct, frozen=True, array_like=True):
    """The value of a SESSION record: numbers applied together, and what they came to.

    The namespace is that of the record's key, the time used its ``modified``.
    """

    session: bytes
    floor: int
    kept: tuple[tuple[int, bytes], ...]


class LogState(msgspec.Struct, frozen=True, array_like=True):
    """The STATE record: what a segment's beginning says of the whole bucket.

    ``start`` and ``stop`` are the half-open range of composite keys;
    ``version`` and ``time_ns`` are floors; ``segments`` are the ended segments
    that exist; ``births`` are children not yet known to stand; ``retired`` are
    buckets merged into this one and perhaps not yet gone; ``highest`` is the
    highest key that has any record here.
    """

    start: bytes
    stop: bytes
    version: int
    time_ns: int
    segments: tuple[SegmentInfo, ...] = ()
    births: tuple[Birth, ...] = ()
    retired: tuple[BucketId, ...] = ()
    highest: bytes = b""


class NumberedState(LogState, frozen=True, array_like=True):
    """A state that also says which sessions are known; None where none begun before it is."""

    numbers: KeptNumbers | None = None


@planned
class PursedState(NumberedState, frozen=True, array_like=True):
    """A state that also says what namespaces may spend and take here (bucket/purse.py).

    ``shares`` are what children of splits have got that are not yet known to stand.
    """

    purses: tuple[Kept, ...] = ()
    shares: tuple[Share, ...] = ()


@planned
class Merge(msgspec.Struct, frozen=True, array_like=True):
    """A merge that the log has decided: the bucket it swallowed, up to which key.

    ``highest`` is the highest key that has any record in what it brought.
    """

    bucket: BucketId
    start: bytes
    stop: bytes
    version: int
    time_ns: int
    segments: tuple[SegmentInfo, ...] = ()
    highest: bytes = b""
    numbers: KeptNumbers | None = None


@planned
class PursedMerge(Merge, frozen=True, array_like=True):
    """A merge that also says what was in the purses of the bucket that goes."""

    purses: tuple[Kept, ...] = ()


def encode_state(state: LogState) -> bytes:
    """A state as the bytes of a STATE record's value."""
    if isinstance(state, PursedState) and not (state.purses or state.shares):
        fields = msgspec.structs.astuple(state)
        return msgspec.msgpack.encode(fields[: len(NumberedState.__struct_fields__)])
    return msgspec.msgpack.encode(state)


def encode_birth(birth: Birth, purses: tuple[Kept, ...]) -> bytes:
    """A split as the bytes of a SPLIT record's value, with the child's shares of purses."""
    fields = msgspec.structs.astuple(birth)
    return msgspec.msgpack.encode((*fields, purses) if purses else fields)


def encode_merge(merge: PursedMerge) -> bytes:
    """A merge as the bytes of a MERGE record's value."""
    if merge.purses:
        return msgspec.msgpack.encode(merge)
    return msgspec.msgpack.encode(msgspec.structs.astuple(merge)[:-1])


def decode_state(data: bytes) -> PursedState:
    """The state in a STATE record's value; raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=PursedState)


def pack_head(
    identity: Identity, bucket: str, number: int, previous: SegmentInfo | None
) -> tuple[bytes, int]:
    """A segment's head and the chain digest behind it."""
    head = HEAD.pack(
        MAGIC,
        FORMAT,
        0,
        0,
        identity.store,
        identity.incarnation,
        bytes.fromhex(bucket),
        number,
        previous.number if previous else 0,
        previous.stop if previous else 0,
        previous.digest if previous else 0,
    )
    digest = xxh3_64_intdigest(head)
    return head + DIGEST.pack(digest), digest


def pack_beginning(
    identity: Identity, bucket: str, number: int, previous: SegmentInfo | None, *, state: LogState
) -> tuple[tuple[bytes, bytes, bytes], int]:
    """All that a segment begins with, and the chain digest there: head, the STATE group's, body."""
    head, digest = pack_head(identity, bucket, number, previous)
    body = b"".join(encode(Type.STATE, b"", encode_state(state), state.version, state.time_ns))
    group, after = seal_head(Kind.CONTROL, 1, len(body), crc32c(body), len(head), digest)
    return (head, group, body), after


def unpack_head(data: bytes, where: str) -> SegmentHead:
    """The head in a segment's first bytes; Corrupt or FormatTooNew otherwise."""
    if len(data) < SEGMENT_HEAD_BYTES or data[:8] != MAGIC:
        raise Corrupt(position=f"{where} offset 0", what="no segment head")
    _, version, _, _, store, incarnation, bucket, number, previous, stop, digest = HEAD.unpack_from(
        data
    )
    (own,) = DIGEST.unpack_from(data, HEAD.size)
    if xxh3_64_intdigest(data[: HEAD.size]) != own:
        raise Corrupt(position=f"{where} offset 0", what="segment head fails its checksum")
    if version > FORMAT:
        raise FormatTooNew(position=f"{where} offset 8", version=version)
    return SegmentHead(store, incarnation, bucket.hex(), number, previous, stop, digest, own)
