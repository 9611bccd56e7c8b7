"""Values between a store and a stream, in constant memory where they are large."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from holdfast.cli.files import PIECE_BYTES, Readable, pieces
from holdfast.values import Receipt

if TYPE_CHECKING:
    from holdfast.store import Namespace


class PutOptions(TypedDict, total=False):
    """The keywords of ``Namespace.put``; only those that were said."""

    ttl: float | str
    keep_ttl: bool
    if_absent: bool
    if_version: int
    fence: int
    consumers: list[str]
    permanent: bool
    content_type: str


def put_stream(objects: Namespace, key: str, source: Readable, options: PutOptions) -> Receipt:
    """Store a stream: in one write if it is small or has options, else piece by piece.

    Args:
        objects: the namespace to store into.
        key: the object's key.
        source: what is read to its end.
        options: the keywords of ``Namespace.put``. The face's streaming writer
            takes none, so with options the whole value is held in memory.
    """
    first = source.read(PIECE_BYTES)
    if options:
        return objects.put(key, first + source.read(-1), **options)
    second = source.read(PIECE_BYTES) if len(first) == PIECE_BYTES else b""
    if not second:
        return objects.put(key, first)
    with objects.open(key, "wb") as target:
        target.write(first)
        target.write(second)
        for piece in pieces(source):
            target.write(piece)
    stored = objects.stat(key)
    return Receipt(key, stored.version, stored.size, stored.expires_ns, stored.bucket)
