"""What is known of an object, told as ``Stat``."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.bucket.read import Object
from holdfast.errors import NotFound
from holdfast.log.entry import Entry, unpack
from holdfast.log.records import Flag
from holdfast.placement.elsewhere import Elsewhere
from holdfast.request.arguments import VISIBLE
from holdfast.request.corridor import Corridor
from holdfast.request.listing import PAST_SEPARATOR, SEPARATOR, Row, any_below, name_of
from holdfast.values import Stat, State

__all__ = ["Object", "directory_stat", "entries", "holder", "is_directory", "stat"]


def stat(name: str, entry: Entry, consumers: int, bucket: str) -> Stat:
    """An object's Stat."""
    return Stat(
        name,
        entry.size,
        entry.modified_ns,
        entry.expires_ns or None,
        entry.version,
        True,  # noqa: FBT003 - terminal
        consumers,
        bool(entry.flags & Flag.PERMANENT),
        state_of(entry),
        entry.attributes.content_type,
        entry.crc,
        bucket,
    )


def state_of(entry: Entry) -> State:
    """Whether consumers keep the object: "unmanaged", "managed" or "marked"."""
    if entry.flags & Flag.MARKED:
        return "marked"
    return "managed" if entry.flags & Flag.MANAGED else "unmanaged"


def directory_stat(name: str) -> Stat:
    """The Stat of a name that only other keys lie below."""
    return Stat(name, 0, 0, None, 0, False, 0, False, "unmanaged", None, 0, "")  # noqa: FBT003


def is_directory(corridor: Corridor, composite: bytes) -> bool:
    """Whether any object lies below a name."""
    name = composite.removesuffix(SEPARATOR)
    return any_below(corridor, name + SEPARATOR, name + PAST_SEPARATOR)


def entries(corridor: Corridor, space: bytes, pages: Iterator[list[Row]]) -> Iterator[Stat]:
    """The Stats of a list's rows."""
    for page in pages:
        for key, row in page:
            told = _told(corridor, key, name_of(key, space), row)
            if told is not None:
                yield told


def _told(corridor: Corridor, composite: bytes, name: str, row: bytes) -> Stat | None:
    if not row:
        return directory_stat(name)
    entry = unpack(row)
    held = 0
    if entry.flags & Flag.MANAGED:
        try:
            found = corridor.read(composite, lambda bucket: bucket.object(composite))
        except NotFound:
            return None
        entry, held = found.entry, found.consumers  # of one moment, not the page's
    return stat(name, entry, held, holder(corridor, composite))


def holder(corridor: Corridor, composite: bytes) -> str:
    """The id of the bucket that holds a key."""
    bucket = corridor.directory.find(composite)
    if isinstance(bucket, Elsewhere):
        return bucket.place(composite, composite[: composite.find(VISIBLE)]).bucket
    return bucket.id
