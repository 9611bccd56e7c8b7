"""Lists under way, without I/O: a page is asked for when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from holdfast.client.asks import Ask, Work
from holdfast.client.line import Line
from holdfast.client.reading import read
from holdfast.limits import KEY_BYTES, LIST_PAGE
from holdfast.request.describe import directory_stat
from holdfast.values import Stat
from holdfast.wire.paths import encode_query
from holdfast.wire.values import Keys, Objects

if TYPE_CHECKING:
    from holdfast.certify.verify import Verified

Rows = Sequence[str] | Sequence[Stat]
Found = tuple[str, "Verified | None"]  # a name, and what is proved; None of a directory
SEPARATOR: Final = "/"
BEHIND: Final = "\U0010ffff"  # no key that callers use goes on with it, or it is told twice


class Walk:
    """A list under way: which page comes next, and how many names are left to tell."""

    def __init__(
        self,
        line: Line,
        target: str,
        fields: dict[str, str],
        *,
        limit: int | None,
        after: str | None,
    ) -> None:
        self._line = line
        self._target = target
        self._fields = fields
        self._left = limit
        self._after = after
        self.done = limit == 0

    def page(self, kind: type[Keys | Objects]) -> Work[Rows]:
        """The next page; empty, and ``done``, at the end."""
        if self.done:
            return ()
        most = LIST_PAGE if self._left is None else min(self._left, LIST_PAGE)
        fields = self._fields | {"limit": str(most)}
        if self._after is not None:
            fields["after"] = self._after
        ask = Ask("GET", f"{self._target}?{encode_query(fields)}", repeatable=True)
        answer = yield from self._line.exchange(ask)
        page = read(answer, kind)
        rows: Rows = page.keys if isinstance(page, Keys) else page.objects
        if self._left is not None:
            self._left -= len(rows)
        self._after = page.next
        self.done = page.next is None or self._left == 0
        return rows


class Asked(msgspec.Struct, frozen=True):
    """What a list asks for, as ``ns.list`` takes it."""

    prefix: str
    recursive: bool
    by: str
    limit: int | None
    after: str | None


class Proving(Protocol):
    """What a proven list asks."""

    def page_proven(
        self, prefix: str, after: str | None, most: int
    ) -> Work[tuple[dict[str, Verified], str | None]]:
        """A page of the objects below a prefix, all of them proved, and where it ends."""

    def object_proven(self, key: str) -> Work[Verified]:
        """What is proved of an object."""

    def stats_proven(self, said: Mapping[str, Verified]) -> Work[dict[str, Stat]]:
        """What is known of objects, as far as it goes as it is proved; without what has gone."""


class ProvenWalk:
    """The same of a server that is not trusted: every page is proved to be complete.

    One level, and "a" that covers "a/b" but not "ab", are made here of what is proved.

    Args:
        calls: ask for proofs.
        asked: for what.
    """

    def __init__(self, calls: Proving, asked: Asked) -> None:
        self._calls = calls
        self._asked = asked
        self._left = asked.limit
        self._after = asked.after
        whole = asked.by == "text" or not asked.prefix or asked.prefix.endswith(SEPARATOR)
        self._itself = not whole  # the object that is called as the prefix is comes first
        self._prefix = asked.prefix if whole else asked.prefix + SEPARATOR
        self._told = ""  # the last directory
        self.done = asked.limit == 0

    def page(self, kind: type[Keys | Objects]) -> Work[Rows]:
        """The next page; empty, and ``done``, at the end."""
        if self.done:
            return ()
        found = (yield from self._first()) if self._itself else (yield from self._next())
        if self._left is not None:
            found = found[: self._left]
            self._left -= len(found)
            if self._left == 0:
                self.done = True
        if kind is Keys:
            return [name for name, _ in found]
        objects = {name: said for name, said in found if said is not None}
        told = yield from self._calls.stats_proven(objects)
        return [
            directory_stat(name) if said is None else told[name]
            for name, said in found
            if said is None or name in told
        ]

    def _first(self) -> Work[list[Found]]:
        self._itself = False
        name = self._asked.prefix
        if self._after is not None and self._after >= name:
            return []
        said = yield from self._calls.object_proven(name)
        return [] if said.size is None else [(name, said)]

    def _next(self) -> Work[list[Found]]:
        most = LIST_PAGE if self._left is None else min(self._left, LIST_PAGE)
        said, self._after = yield from self._calls.page_proven(self._prefix, self._after, most)
        self.done = self._after is None
        if self._asked.recursive:
            return list(said.items())
        return list(self._level(said))

    def _level(self, said: Mapping[str, Verified]) -> Iterator[Found]:
        """One level: each directory once, as None; the rest of the last one is skipped."""
        for key in said:
            at = key.find(SEPARATOR, len(self._prefix))
            if at < 0:
                yield key, said[key]
                continue
            name = key[: at + 1]
            if name != self._told and (self._asked.after is None or name > self._asked.after):
                yield name, None
            self._told = name
        if self._told and self._after is not None and self._after.startswith(self._told):
            behind = self._told + BEHIND
            self._after = behind if len(behind.encode()) <= KEY_BYTES else self._after
