"""Whether a record that verifies can be what it says: read as whoever will use it reads it.

Checksums tell damage by chance; whoever can write the disk can write those, too. A check tells
of such records, and a repair leaves them behind: copied, they would do the same damage again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from holdfast.bucket import dividing, rows
from holdfast.bucket.hidden import owner_of
from holdfast.bucket.purse import Purses
from holdfast.errors import Corrupt
from holdfast.limits import OBJECT_BYTES, VALUE_RECORD_BYTES
from holdfast.log.doubt import CANNOT_BE
from holdfast.log.entry import EXTENSION, fold, pack
from holdfast.log.header import SessionRecord
from holdfast.log.keyblock import row_of
from holdfast.log.purses import Kept
from holdfast.log.records import NEVER, REMOVALS, Flag, Record, Type
from holdfast.values import NAMESPACE_NAME

Value = bytes | memoryview
KEYED: Final = REMOVALS | {
    Type.STORE,
    Type.APPEND,
    Type.CONSUMERS,
    Type.LOCK,
    Type.UNLOCK,
    Type.UPLOAD,
    Type.RELEASE,
    Type.JOIN,
}


def can_be(record: Record, value: Value) -> bool:
    """Whether a record of a bucket's keys or purses says what can be.

    One of a type that is not known here is not judged.
    """
    if max(record.version, record.modified_ns, record.expires_ns) >= NEVER:
        return False
    try:
        if record.type in KEYED:
            _read_key(record.key)
        read = READERS.get(record.type)
        if read is not None:
            read(record, value)
    except (Corrupt, *CANNOT_BE):
        return False
    return True


def _read_key(key: bytes) -> None:
    """Take a composite key apart (log/records.py); ValueError or Corrupt where it is none."""
    end = min(at for at in (key.find(b"\0"), key.find(b"\1")) if at >= 0)
    name, rest = key[:end].decode(), key[end + 1 :]
    if key[end]:
        owner_of(key)
    elif NAMESPACE_NAME.fullmatch(name):  # what the store keeps for itself may be no text
        rest.decode()


def _read_object(record: Record, _: Value) -> None:
    """Read the attributes of an object, and what they say of its parts."""
    if not (record.attrs or record.flags & Flag.LARGE):
        return
    entry = fold(None, record.type, row_of(record, 0).entry)
    if entry is None:
        return
    pack(entry)
    told = entry.attributes
    if record.flags & Flag.LARGE:
        parts, rest = divmod(told.parts_bytes, VALUE_RECORD_BYTES)
        if rest or told.upload is None or not 0 <= parts * VALUE_RECORD_BYTES <= OBJECT_BYTES:
            raise ValueError("an object without its parts")


def _read_extension(record: Record, _: Value) -> None:
    EXTENSION.unpack(record.attrs)


def _read_consumers(_: Record, value: Value) -> None:
    for one in rows.split_ids(bytes(value)):
        rows.decode_id(one)


def _read_lock(_: Record, value: Value) -> None:
    rows.LOCK.unpack(value)


def _read_uploads(_: Record, value: Value) -> None:
    rows.unpack_uploads(bytes(value))


def _read_session(_: Record, value: Value) -> None:
    msgspec.msgpack.decode(value, type=SessionRecord)


def _read_charge(record: Record, value: Value) -> None:
    dividing.replay(Purses("", (Kept(record.key, 0),)), record, bytes(value))


READERS: Final[dict[int, Callable[[Record, Value], None]]] = {
    Type.STORE: _read_object,
    Type.APPEND: _read_extension,
    Type.JOIN: _read_extension,
    Type.CONSUMERS: _read_consumers,
    Type.LOCK: _read_lock,
    Type.UPLOAD: _read_uploads,
    Type.SESSION: _read_session,
    Type.CHARGE: _read_charge,
}
