"""Lists: keys in byte order, page by page across buckets, expired ones left out.

A list is no snapshot; its cursor is the last key, so splits and merges do not
disturb it (rule 10). A one-level list seeks past each "directory" instead of
walking it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, repeat
from operator import itemgetter

from holdfast.bucket.bucket import Bucket
from holdfast.errors import Corrupt, InvalidValue, Moved
from holdfast.limits import LIST_PAGE
from holdfast.log.entry import ENTRY
from holdfast.request.arguments import LEAST_NAME
from holdfast.request.corridor import Corridor

SEPARATOR = b"/"
PAST_SEPARATOR = b"0"  # the byte after "/"
Row = tuple[bytes, bytes]
KEY = itemgetter(0)
Turn = Callable[[Bucket, bytes], tuple[list[Row], bytes | None]]


def rows(
    corridor: Corridor,
    start: bytes,
    stop: bytes,
    first_page: int = LIST_PAGE,
    *,
    names_only: bool = False,
) -> Iterator[list[Row]]:
    """Pages of live rows with ``start <= key < stop``.

    Where ``names_only`` are asked for, an entry may have bytes behind it.
    """
    limits = chain((max(1, min(first_page, LIST_PAGE)),), repeat(LIST_PAGE))

    def turn(bucket: Bucket, at: bytes) -> tuple[list[Row], bytes | None]:
        return bucket.page(at, stop, next(limits), uncut=names_only)

    for bucket, page in walk(corridor, start, stop, turn):
        if page:
            yield living(bucket, page)


def walk(
    corridor: Corridor, start: bytes, stop: bytes, turn: Turn
) -> Iterator[tuple[Bucket, list[Row]]]:
    """The pages of a range with the buckets they are of, where each page says how to go on.

    Args:
        corridor: the way to the buckets.
        start: the first key asked for.
        stop: the first that is not.
        turn: asks a bucket for the page that begins at a key, as ``Bucket.page`` does.
    """
    at: bytes | None = start
    while at is not None and at < stop:
        bucket = corridor.directory.find(at)
        try:
            page, at = turn(bucket, at)
        except Moved:
            corridor.directory.look_again()
            continue
        yield bucket, page


def living(bucket: Bucket, page: list[Row]) -> list[Row]:
    """A page of a bucket without the objects whose time has come."""
    if not bucket.may_expire:
        return page
    now = bucket.time.now_ns()
    return [row for row in page if lives(row[1], now)]


def lives(row: bytes, now: int) -> bool:
    """Whether an entry's time has not come."""
    expires = ENTRY.unpack_from(row)[2]
    return not expires or expires > now


def any_below(corridor: Corridor, start: bytes, stop: bytes) -> bool:
    """Whether there is a live object in a range."""
    return any(page for page in rows(corridor, start, stop, 16))


def successor(prefix: bytes) -> bytes:
    """The first key above every key that begins with ``prefix`` (never all 0xff here)."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,))


def covers(prefix: bytes, by: str) -> list[tuple[bytes, bytes]]:
    """The ranges, relative to a namespace, that a prefix covers."""
    if by == "text":
        return [(prefix, successor(prefix) if prefix.strip(b"\xff") else b"")]
    if by != "component":
        raise InvalidValue(argument="by", reason="text or component")
    if not prefix or prefix.endswith(SEPARATOR):
        return covers(prefix, "text")
    below = prefix + SEPARATOR
    return [(prefix, prefix + b"\0"), (below, prefix + PAST_SEPARATOR)]


class Listing:
    """One list being walked.

    Args:
        corridor: the way to the buckets.
        space: the namespace with its VISIBLE byte; keys are told without it.
        prefix: what keys begin with.
        by: "text" or "component".
        after: the exclusive cursor, or None.
        recursive: False shows each deeper level once, as a name ending in "/".
        names_only: nobody will look into the entries.
    """

    def __init__(
        self,
        corridor: Corridor,
        space: bytes,
        prefix: bytes,
        *,
        by: str,
        after: bytes | None,
        recursive: bool,
        first_page: int = LIST_PAGE,
        names_only: bool = False,
    ) -> None:
        self._corridor = corridor
        self._space = space
        self._after = after
        self._recursive = recursive
        self._first_page = first_page
        self._names_only = names_only
        self._ranges = covers(prefix, by)
        directory = by == "component" and prefix and not prefix.endswith(SEPARATOR)
        self._base = prefix + SEPARATOR if directory else prefix

    def pages(self) -> Iterator[list[Row]]:
        """Pages of (composite key, entry; empty for a directory's name)."""
        for start, stop in self._ranges:
            low = start if self._after is None else max(start, self._after + b"\0")
            high = self._space + stop if stop else successor(self._space)
            if self._recursive:
                yield from self._deep(self._space + low, high)
            else:
                yield from self._level(self._space + low, high)

    def _deep(self, low: bytes, high: bytes) -> Iterator[list[Row]]:
        yield from rows(self._corridor, low, high, self._first_page, names_only=self._names_only)

    def _level(self, low: bytes, high: bytes) -> Iterator[list[Row]]:
        at: bytes | None = low
        while at is not None:
            page, at = self._level_page(at, high)
            yield page

    def _level_page(self, low: bytes, high: bytes) -> tuple[list[Row], bytes | None]:
        """Names up to the first directory, and where to seek to behind it."""
        cut, base = len(self._space), len(self._base)
        shown: list[Row] = []
        for page in rows(self._corridor, low, high, min(self._first_page, 64)):
            for full, row in page:
                key = full[cut:]
                at = key.find(SEPARATOR, base)
                if at < 0 or not key.startswith(self._base):
                    shown.append((full, row))
                    continue
                name = key[: at + 1]
                if self._after is None or name > self._after:
                    shown.append((full[: cut + at + 1], b""))
                return shown, self._space + key[:at] + PAST_SEPARATOR
        return shown, None


def names(pages: Iterator[list[Row]], space: bytes) -> Iterator[list[str]]:
    """Pages of keys as callers know them."""
    for page in pages:
        yield _without(space, list(map(KEY, page)))


def told_bytes(page: list[Row], space: bytes) -> int:
    """How long the names of a page are without their namespace, in bytes."""
    return sum(map(len, map(KEY, page))) - len(page) * len(space)


def _without(space: bytes, keys: list[bytes]) -> list[str]:
    """Composite keys of one namespace as callers know them; Corrupt where one is no text."""
    joined = b"".join(keys)
    if joined.count(space[-1:]) == len(keys):  # only where a key begins: one cut for all
        with suppress(UnicodeDecodeError):
            return joined.decode().split(space.decode())[1:]
    return [name_of(key, space) for key in keys]


def name_of(key: bytes, space: bytes) -> str:
    """A composite key of a namespace as callers know it; Corrupt where it is no text."""
    try:
        return key[len(space) :].decode()
    except UnicodeDecodeError:
        raise Corrupt(position=f"key {key[:64].hex()}", what="a key is no text") from None


def namespaces(corridor: Corridor) -> Iterator[bytes]:
    """Names of namespaces that hold a live object, in byte order; none that is reserved."""
    at = LEAST_NAME
    while True:
        found = _first_key(corridor, at)
        if found is None:
            return
        ends = [i for i in (found.find(b"\x00"), found.find(b"\x01")) if i >= 0]
        if not ends:
            raise Corrupt(position=f"key {found[:64].hex()}", what="a key is of no namespace")
        name = found[: min(ends)]
        if any_below(corridor, name + b"\x00", name + b"\x01"):
            yield name
        at = name + b"\x02"


def _first_key(corridor: Corridor, start: bytes) -> bytes | None:
    for page in rows(corridor, start, b"\xff", 4):
        if page:
            return page[0][0]
    return None
