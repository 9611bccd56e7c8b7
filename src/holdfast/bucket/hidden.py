"""Hidden keys: what the parts of a large object are stored under, never listed (rule 8)."""

from __future__ import annotations

import struct
from typing import Final

from holdfast.errors import Corrupt

VISIBLE: Final = b"\0"  # behind a namespace's name: objects ...
HIDDEN: Final = b"\1"  # ... and the parts of large ones, paid by their object
UPLOAD_BYTES: Final = 8
NUMBER: Final = struct.Struct(">I")


def part_key(key: bytes, upload: bytes, number: int) -> bytes:
    """The hidden composite key of an object's part."""
    namespace, _, name = key.partition(VISIBLE)
    return namespace + HIDDEN + upload + NUMBER.pack(number) + name


def owner_of(hidden: bytes) -> tuple[bytes, bytes, int]:
    """The composite key, the upload and the number of a part; Corrupt where it is none."""
    namespace, _, rest = hidden.partition(HIDDEN)
    if len(rest) < UPLOAD_BYTES + NUMBER.size:
        raise Corrupt(position=f"key {hidden[:64].hex()}", what="a part without a number")
    upload = rest[:UPLOAD_BYTES]
    (number,) = NUMBER.unpack_from(rest, UPLOAD_BYTES)
    return namespace + VISIBLE + rest[UPLOAD_BYTES + NUMBER.size :], upload, number
