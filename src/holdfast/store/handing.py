"""What processes of one store hand to the one that signs for all of them (rule 15).

The sequencer needs the tree of every bucket; where others hold buckets it keeps a copy of
theirs, key and digest, and asks for what changed since it asked last. The shape of a tree is
decided by its keys alone, so the copy has the digests of the original.

Each state of a bucket's tree that is handed out has a token, made by chance: who shows the
token of the state handed out last is told the changes since, anybody else is told all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import msgspec

from holdfast.certify import change, trie
from holdfast.certify.pages import Damaged
from holdfast.certify.trie import Trie
from holdfast.errors import Moved
from holdfast.store.absorbing import Absorbing
from holdfast.store.following import Following
from holdfast.upkeep.pacing import Turns

if TYPE_CHECKING:
    from holdfast.placement.elsewhere import Link
    from holdfast.store.store import Store

TOKEN_BYTES: Final = 8
ROWS: Final = 100_000  # in one answer
BEGIN, ASK, GO_ON = "hand.begin", "hand.rows", "hand.more"
Change = tuple[bytes, bytes, bytes | None]  # namespace, key, its leaf's digest, None where it goes
encode = msgspec.msgpack.encode


class Span(msgspec.Struct, frozen=True, array_like=True):
    """One bucket of a process: its range, and the token of its tree's state."""

    bucket: str
    start: bytes
    stop: bytes
    token: str


class Rows(msgspec.Struct, frozen=True, array_like=True):
    """Some changes of a bucket's tree, or rows of it where ``whole``; ``more`` are to come."""

    whole: bool
    changes: list[Change]
    more: bool


class Kept(msgspec.Struct, frozen=True):
    """A state of a bucket's tree."""

    token: str
    tries: dict[bytes, Trie]


class Handing:
    """Hands out what this process holds.

    Args:
        store: the part of a store.
    """

    def __init__(self, store: Store) -> None:
        self._entropy = store.entropy
        self._absorbing = Absorbing(store)
        self._lock = Lock()  # over what was absorbed
        self._upkeep = store.upkeep
        store.upkeep.lazy.append(Following(store, self._absorbing, self._turn).follow)
        store.wings.append(self._absorbing.close)
        self._now: dict[str, Kept] = {}
        self._given: dict[str, Kept] = {}
        self._rest: dict[str, Iterator[Change]] = {}
        self.methods: dict[str, Callable[..., Any]] = {
            BEGIN: self._begin,
            ASK: self._rows,
            GO_ON: self._more,
        }

    def _begin(self) -> bytes:
        """Absorb what was published; every bucket with the token of where it stands."""
        now: dict[str, Kept] = {}
        spans = []
        with self._alone():
            pieces = self._absorbing.catch_up(Turns())
        for piece in pieces:
            name = piece.bucket.id
            kept = self._now.get(name)
            if kept is None or not _same(kept.tries, piece.tries):
                kept = Kept(self._entropy.bytes(TOKEN_BYTES).hex(), dict(piece.tries))
            now[name] = kept
            spans.append(Span(name, piece.start, piece.stop, kept.token))
        self._now = now
        self._given = {name: kept for name, kept in self._given.items() if name in now}
        self._rest.clear()
        return encode(spans)

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Keep whoever seals waiting for a moment; False where trees are being caught up."""
        mine = self._lock.acquire(blocking=False)
        try:
            yield mine
        finally:
            if mine:
                self._lock.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Somebody waits for a seal."""
        if not self._lock.acquire(blocking=False):
            self._upkeep.hurry()  # it follows: it goes on without resting
            self._lock.acquire()
        try:
            with self._upkeep.pacer.beside():
                yield
        finally:
            self._lock.release()

    def _rows(self, bucket: str, token: str) -> bytes:
        """The changes since a state, or all rows where that was not handed out last."""
        now, before = self._now.get(bucket), self._given.get(bucket)
        if now is None:
            raise Moved(bucket=bucket)
        known = before is not None and before.token == token
        self._rest[bucket] = changes(before.tries if before and known else {}, now.tries)
        self._given[bucket] = now
        return self._next(bucket, whole=not known)

    def _more(self, bucket: str) -> bytes:
        return self._next(bucket, whole=False)

    def _next(self, bucket: str, *, whole: bool) -> bytes:
        rest = self._rest.get(bucket, iter(()))
        try:
            told = list(islice(rest, ROWS))
        except Damaged:  # the tree is made again when they begin anew
            raise Moved(bucket=bucket) from None
        return encode(Rows(whole, told, len(told) == ROWS))


class Taken:
    """The tree of a bucket that another process holds."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.token = ""
        self.start = self.stop = b""
        self.tries: dict[bytes, Trie] = {}


class Takings:
    """The trees that other processes hold, as they were when they were asked last.

    Args:
        links: the ways to all of them.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = links
        self._taken: list[dict[str, Taken]] = [{} for _ in links]

    def take(self) -> list[Taken]:
        """The trees of all other processes, with all that was published before the call.

        Raises:
            Unavailable: one does not answer. Moved: a bucket went meanwhile.
        """
        for at, link in enumerate(self._links):
            spans = msgspec.msgpack.decode(link.ask(BEGIN), type=list[Span])
            before = self._taken[at]
            self._taken[at] = {
                span.bucket: before.get(span.bucket, Taken(span.bucket)) for span in spans
            }
            for span in spans:
                self._renew(link, self._taken[at][span.bucket], span)
        return [one for taken in self._taken for one in taken.values()]

    def _renew(self, link: Link, one: Taken, span: Span) -> None:
        one.start, one.stop = span.start, span.stop
        if one.token == span.token:
            return
        known, one.token = one.token, ""  # what breaks off is asked for anew
        rows = msgspec.msgpack.decode(link.ask(ASK, span.bucket, known), type=Rows)
        if rows.whole:
            one.tries = {}
        _apply(one.tries, rows.changes)
        while rows.more:
            rows = msgspec.msgpack.decode(link.ask(GO_ON, span.bucket), type=Rows)
            _apply(one.tries, rows.changes)
        one.token = span.token


def changes(before: Mapping[bytes, Trie], after: Mapping[bytes, Trie]) -> Iterator[Change]:
    """What makes one state of a bucket's tree of another: pages that both share are passed over."""
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is new:
            continue
        shared = {id(page) for page in trie.pages(old)} & {id(page) for page in trie.pages(new)}
        rows: dict[bytes, bytes | None] = {}
        for page in trie.pages(old):
            rows.update(dict.fromkeys(() if id(page) in shared else page.columns.labels))
        for page in trie.pages(new):
            rows.update(() if id(page) in shared else page.rows())
        yield from ((name, label, rows[label]) for label in sorted(rows))


def _apply(tries: dict[bytes, Trie], told: Sequence[Change]) -> None:
    by_name: dict[bytes, dict[bytes, bytes | None]] = {}
    for name, label, digest in told:
        by_name.setdefault(name, {})[label] = digest
    for name, rows in by_name.items():
        made = change.apply(tries.get(name), rows)
        if made is None:
            tries.pop(name, None)
        else:
            tries[name] = made


def _same(one: Mapping[bytes, Trie], other: Mapping[bytes, Trie]) -> bool:
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)
