"""What the state tree says of an object, and what names a namespace in it.

    0    1   1: this layout
    1   32   digest of the value (below)
    33   8   size of the value, bytes
    41   8   version
    49   8   modified, bucket time in nanoseconds since 1970
    57   8   expires, the same; 0: never
    65   1   1 where a content type follows, else 0
    66   n   content type, UTF-8

Numbers are big-endian. The value is in here by its digest alone, so erasing it keeps every
proof valid. The digest is the RFC 9162 root over the value's parts of 1 MiB (one empty part
for the empty value), so a part of a large value can be proved alone with
``merkle.verify_inclusion``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from holdfast.certify import merkle
from holdfast.errors import ProofInvalid

LAYOUT: Final = struct.Struct(">B32sQQQQB")
VERSION: Final = 1
PART_BYTES: Final = 1 << 20
_NAMESPACE: Final = b"\x12holdfast-namespace"


@dataclass(frozen=True)
class Attributes:
    """What a leaf says: the value's digest (32 bytes) and the object's attributes."""

    digest: bytes
    size: int
    version: int
    modified_ns: int
    expires_ns: int | None
    content_type: str | None


def encode(
    digest: bytes,
    size: int,
    version: int,
    *,
    modified_ns: int,
    expires_ns: int | None,
    content_type: str | None,
) -> bytes:
    """A leaf's content; plain arguments, because absorbing makes one per change."""
    typed = content_type is not None
    times = (modified_ns, expires_ns or 0)
    fixed = LAYOUT.pack(VERSION, digest, size, version, *times, typed)
    return fixed + content_type.encode() if content_type is not None else fixed


def decode(content: bytes) -> Attributes:
    """What a leaf says.

    Raises:
        ProofInvalid: ``reason="leaf"`` where it is not in this layout.
    """
    if len(content) < LAYOUT.size or content[0] != VERSION:
        raise ProofInvalid(reason="leaf")
    _, digest, size, version, modified_ns, expires_ns, typed = LAYOUT.unpack_from(content)
    behind = content[LAYOUT.size :]
    if typed > 1 or (behind and not typed):
        raise ProofInvalid(reason="leaf")
    try:
        content_type = behind.decode() if typed else None
    except UnicodeDecodeError:
        raise ProofInvalid(reason="leaf") from None
    return Attributes(digest, size, version, modified_ns, expires_ns or None, content_type)


def value_digest(value: bytes) -> bytes:
    """The digest of a whole value, 32 bytes."""
    if len(value) <= PART_BYTES:
        return sha256(b"\x00" + value).digest()
    return digest_of((value,))


def digest_of(pieces: Iterable[bytes]) -> bytes:
    """The digest of a value that comes in pieces of any size; one part of it is kept at a time."""
    hashes: list[bytes] = []
    hashed, room = sha256(b"\x00"), PART_BYTES
    for piece in pieces:
        view = memoryview(piece)
        while view:
            if not room:
                hashes.append(hashed.digest())
                hashed, room = sha256(b"\x00"), PART_BYTES
            hashed.update(view[:room])
            view, room = view[room:], room - min(room, len(view))
    return merkle.root([*hashes, hashed.digest()])


def part_hash(part: bytes | memoryview) -> bytes:
    """The hash of one part of a value, 32 bytes."""
    hashed = sha256(b"\x00")
    hashed.update(part)
    return hashed.digest()


def namespace_id(store: bytes, namespace: str | bytes) -> bytes:
    """The 32 bytes that label a namespace: of its name in this store, or as they are given.

    A neighbour's label is in sight only where a whole namespace is proved absent, and tells
    nothing to whoever does not know the name already.
    """
    if isinstance(namespace, bytes):
        return namespace
    return sha256(_NAMESPACE + store + namespace.encode()).digest()
