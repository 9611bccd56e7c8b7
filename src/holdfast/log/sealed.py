"""JSON that says its format and carries a checksum: store files, owners of folders, manifests.

The checksum is the CRC-32C of this very JSON with 0 in its place (docs/FORMAT.md). It tells
damage, not lies: whoever wrote the one wrote the other.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from crc32c import crc32c

from holdfast.errors import Corrupt, FormatTooNew

FORMAT = 1

SealedT = TypeVar("SealedT", bound=msgspec.Struct)  # has a ``format``, and a ``crc`` of all of it


class _Format(msgspec.Struct):
    """What every version of such a file has, whatever else it says."""

    format: int


def sealed(told: SealedT) -> SealedT:
    """The same with its checksum."""
    crc = crc32c(msgspec.json.encode(msgspec.structs.replace(told, crc=0)))
    return msgspec.structs.replace(told, crc=crc)


def unsealed(data: bytes, kind: type[SealedT], name: str) -> SealedT:
    """What the file ``name`` says, whose bytes are given.

    Raises:
        Corrupt: it does not verify.
        FormatTooNew: a later Holdfast wrote it.
    """
    try:
        version = msgspec.json.decode(data, type=_Format).format
        if version > FORMAT:
            raise FormatTooNew(position=name, version=version)
        told = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Corrupt(position=name, what="it cannot be read") from None
    if told != sealed(told):
        raise Corrupt(position=name, what="it fails its checksum")
    return told
