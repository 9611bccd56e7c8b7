"""A record of 0-stor, as it lies in a file or under a key.

    counted                                      bare
      0  count           u8                        0  ids  160 x 16 bytes, as on the left
           0          marked for deletion       2560  CRC-32Q of the payload, u32 little-endian
           1..160     ids that follow           2564  payload
           161..254   invalid
           255        permanent
      1  ids             160 x 16 bytes, each
                         filled up with NUL; the
                         first that is all NUL
                         ends the list
    2561  CRC-32Q of the payload, u32 little-endian
    2565  payload, at most 1 MiB

Source: "counted" is the format that 0-stor was designed with, "bare" the one that its REST and
first gRPC servers wrote (``server/db/object.go``). The checksum covers the payload alone: damage
to ids goes unnoticed there, which is why objects of a store are kept otherwise.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

import msgspec

from holdfast.adapters.sdstor.crc32q import crc32q
from holdfast.errors import Corrupt, InvalidValue, LimitExceeded
from holdfast.limits import CONSUMER_BYTES, CONSUMERS, VALUE_RECORD_BYTES

Form = Literal["counted", "bare"]
PERMANENT: Final = 255
IDS_BYTES: Final = CONSUMERS * CONSUMER_BYTES
CHECK: Final = struct.Struct("<I")
NO_ID: Final = bytes(CONSUMER_BYTES)


class Record(msgspec.Struct, frozen=True):
    """An object of 0-stor: who holds on to it, its bytes, whether it is never to go.

    A record that is counted, has no consumers and is not permanent is marked for deletion.
    ``consumers`` are ids of 1 to 16 bytes that do not end in NUL.
    """

    consumers: tuple[bytes, ...]
    payload: bytes
    permanent: bool = False


def write_record(record: Record, form: Form = "counted") -> bytes:
    """A record's bytes.

    Raises:
        InvalidValue: an id that cannot be told from a filled up one, or a permanent record
            in the form that cannot say so.
        LimitExceeded: more than 160 ids, or a payload over 1 MiB.

    Example:
        >>> len(write_record(Record((b"a",), b"12")))
        2567
    """
    if len(record.consumers) > CONSUMERS:
        raise LimitExceeded(limit="CONSUMERS", most=CONSUMERS, asked=len(record.consumers))
    _check_size(len(record.payload))
    ids = b"".join(map(_filled_up, record.consumers)).ljust(IDS_BYTES, b"\0")
    body = ids + CHECK.pack(crc32q(record.payload)) + record.payload
    if form == "counted":
        return bytes((PERMANENT if record.permanent else len(record.consumers),)) + body
    if record.permanent:
        raise InvalidValue(argument="permanent", reason="this form has no place for it")
    return body


def _filled_up(consumer: bytes) -> bytes:
    if not 1 <= len(consumer) <= CONSUMER_BYTES or consumer.endswith(b"\0"):
        reason = "1 to 16 bytes, the last of them not NUL"
        raise InvalidValue(argument="consumers", reason=reason, length=len(consumer))
    return consumer.ljust(CONSUMER_BYTES, b"\0")


def _check_size(size: int) -> None:
    if size > VALUE_RECORD_BYTES:
        raise LimitExceeded(limit="VALUE_RECORD_BYTES", most=VALUE_RECORD_BYTES, asked=size)


def read_record(data: bytes, form: Form = "counted") -> Record:
    """The record that some bytes are.

    Raises:
        Corrupt: they end too early, the count is none or is not that of the ids, an id stands
            behind the end of the list, or the payload fails its checksum.
        LimitExceeded: the payload is over 1 MiB.

    Example:
        >>> read_record(write_record(Record((b"a", b"b"), b"12"))).consumers
        (b'a', b'b')
    """
    begin = 1 if form == "counted" else 0
    stop = begin + IDS_BYTES
    body = stop + CHECK.size
    if len(data) < body:
        raise Corrupt(position=len(data), what="the record ends within its head")
    _check_size(len(data) - body)
    ids = _ids(data[begin:stop], begin)
    count = data[0] if form == "counted" else len(ids)
    if count not in {len(ids), PERMANENT}:
        raise Corrupt(position=0, what="the count is not that of the ids", count=count)
    payload = data[body:]
    if crc32q(payload) != CHECK.unpack_from(data, stop)[0]:
        raise Corrupt(position=stop, what="the payload fails its checksum")
    return Record(ids, payload, permanent=count == PERMANENT)


def _ids(area: bytes, begin: int) -> tuple[bytes, ...]:
    """The ids up to the first that is all NUL; there must be none behind it."""
    slots = [area[at : at + CONSUMER_BYTES] for at in range(0, IDS_BYTES, CONSUMER_BYTES)]
    count = slots.index(NO_ID) if NO_ID in slots else CONSUMERS
    if any(area[count * CONSUMER_BYTES :]):
        position = begin + count * CONSUMER_BYTES
        raise Corrupt(position=position, what="an id behind the end of the list")
    return tuple(slot.rstrip(b"\0") for slot in slots[:count])
