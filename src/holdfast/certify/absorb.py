"""The tree of one bucket, absorbed from its log: a lazy view that a write knows nothing of.

    1  scan: every object that the bucket shows, once, with the log's position from before
    2  replay: the records since that position, in order; the last one of a key decides

A scanned page may be newer than the position; replay passes over the same records again and
ends where the log says, so the tree is that of one position exactly. A record that stores a
whole value says all that the leaf needs. What it does not say (appends, large objects) is
looked up; where that has changed since, replay goes on until it stands still.

Where the log no longer holds all that happened since the position, or the bucket holds keys
that it did not before, the bucket is scanned again. The tree is kept in memory and made again
by the process that is asked next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Final

from holdfast.bucket.bucket import Bucket
from holdfast.certify import leaf, trie
from holdfast.certify.tree import leaf_digest
from holdfast.certify.trie import Trie
from holdfast.errors import Changed, Corrupt, Moved, NotFound, StorageFailed
from holdfast.log.entry import ATTRIBUTES, Entry, unpack
from holdfast.log.group import Group, Kind
from holdfast.log.log import Position
from holdfast.log.records import (
    CHECK_BYTES,
    HEAD,
    HEAD_BYTES,
    REMOVALS,
    Flag,
    Record,
    Type,
    decode,
)

PAGE: Final = 1_000
SLICE: Final = 20_000  # changes that are put into the tree at once, when they come in order;
SLICE_MOST: Final = 500_000  # else as many as it has labels, so each is moved few times
ROUNDS: Final = 64
STORE: Final = int(Type.STORE)
UNUSUAL: Final = int(Flag.MOVED | Flag.LARGE)
VISIBLE, HIDDEN = b"\x00", b"\x01"  # what follows a namespace's name
RESERVED: Final = b"!"  # names of the store's own begin with it, and no caller's do

Pieces = Callable[[bytes, Entry], Iterable[bytes]]  # composite key, entry -> the whole value
Split = tuple[bytes, bytes]  # namespace, key
Changes = dict[bytes, dict[bytes, bytes | None]]  # namespace -> key -> digest of the leaf


class Unsettled(Exception):
    """An object changed while it was looked at."""


def content_of(entry: Entry, pieces: Iterable[bytes]) -> bytes:
    """The content of an object's leaf, given its whole value in pieces."""
    return leaf.encode(
        leaf.digest_of(pieces),
        entry.size,
        entry.version,
        modified_ns=entry.modified_ns,
        expires_ns=entry.expires_ns or None,
        content_type=entry.attributes.content_type,
    )


def split_key(composite: bytes) -> Split | None:
    """Namespace and key of a composite key; None for what callers do not see."""
    namespace, separator, key = composite.partition(VISIBLE)
    if not separator or HIDDEN in namespace or namespace.startswith(RESERVED):
        return None
    return namespace, key


class Absorbed:
    """What one bucket's tree has absorbed.

    Args:
        bucket: the bucket.
        pieces: reads the whole value of an object of it, piece by piece.
    """

    def __init__(self, bucket: Bucket, pieces: Pieces) -> None:
        self.bucket = bucket
        self.tries: dict[bytes, Trie] = {}  # by namespace
        self.start = self.stop = b""  # the range that the tries stand for
        self._pieces = pieces
        self._at: Position | None = None

    def catch_up(self) -> None:
        """Absorb everything that was published before the call.

        Raises:
            Moved: the bucket no longer answers: it was merged away or closed.
            Corrupt, StorageFailed: an object cannot be read.
        """
        for _ in range(ROUNDS):
            try:
                if self._step():
                    return
            except Unsettled:
                continue
        raise Moved(bucket=self.bucket.id)

    def _step(self) -> bool:
        """Go on to where the log ends now; whether the tree stands still there."""
        bucket = self.bucket
        with bucket.lock:
            end, span = bucket.published, (bucket.start, bucket.stop)
            whole = self._at is not None and bucket.log.continues(self._at)
        if span[0] >= span[1]:
            raise Moved(bucket=bucket.id)
        if not whole or not self.start <= span[0] or not span[1] <= self.stop:
            self._scan(end, span)
            return False
        if span != (self.start, self.stop):
            self._cut(span)
        if self._at != end:
            self._replay(end)
        return True

    # -- from nothing ----------------------------------------------------------------

    def _scan(self, end: Position, span: tuple[bytes, bytes]) -> None:
        self.tries = {}
        changes: Changes = {}
        at: bytes | None = span[0]
        while at is not None and at < span[1]:
            page, at = self._page(at, span[1])
            for composite, row in page:
                self._note(changes, composite, self._looked_up(composite, row))
            self._put(changes, SLICE)
        self._put(changes)
        (self.start, self.stop), self._at = span, end

    def _page(self, at: bytes, stop: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        try:
            return self.bucket.page(at, stop, PAGE)
        except Moved:
            raise Unsettled from None

    def _cut(self, span: tuple[bytes, bytes]) -> None:
        """Forget what a split gave away."""
        start, stop = span
        kept = {}
        for namespace, made in self.tries.items():
            if not (start < namespace + HIDDEN and namespace + VISIBLE < stop):
                continue
            low, high = bounds(namespace, start, stop)
            left = trie.cut(made, low, high)
            if left is not None:
                kept[namespace] = left
        self.tries, self.start, self.stop = kept, start, stop

    # -- from the log ------------------------------------------------------------------

    def _replay(self, end: Position) -> None:
        changes: Changes = {}
        unsaid: dict[bytes, int] = {}
        try:
            for group in self._groups(end):
                self._absorb(changes, unsaid, group)
                if sum(map(len, changes.values())) > self._slice():
                    self._put(changes)
        except (Corrupt, StorageFailed, ValueError, KeyError):
            self._at = None  # the tail went, or cannot be read: what is there can be scanned
            raise Unsettled from None
        for composite, version in unsaid.items():
            self._note(changes, composite, self._settled(composite, version))
        self._put(changes)
        self._at = end

    def _groups(self, end: Position) -> Iterator[Group]:
        """The groups between what was absorbed and a position."""
        log, at = self.bucket.log, self._at
        if at is None:
            return
        behind = sorted(number for number in log.ended if at.segment <= number < end.segment)
        for number in dict.fromkeys((*behind, end.segment)):
            for group in log.groups(number, at):
                if number == end.segment and group.head.stop > end.stop:
                    return
                if group.head.kind == Kind.RECORDS:
                    yield group

    def _absorb(self, changes: Changes, unsaid: dict[bytes, int], group: Group) -> None:
        """Take in a group's records: what each says, or that its object must be looked at."""
        body, base, at = bytes(group.body), group.head.body, 0
        seen: dict[bytes, dict[bytes, bytes | None] | None] = {}
        for _ in range(group.head.records):
            kind, flags, key_len, size, _, attrs_len, version, modified, expires = HEAD.unpack_from(
                body, at
            )
            if kind != STORE or flags & UNUSUAL or attrs_len:
                record, at = decode(body, at, base)
                self._absorb_unusual(changes, unsaid, group, record)
                continue
            key_at = at + HEAD_BYTES
            value_at = key_at + key_len
            at = value_at + size + CHECK_BYTES
            composite = body[key_at:value_at]
            rows = _rows_of(changes, seen, composite)
            if rows is None or not self.start <= composite < self.stop:
                continue
            if unsaid:
                unsaid.pop(composite, None)
            digest = sha256(b"\x00" + body[value_at : value_at + size]).digest()
            content = leaf.LAYOUT.pack(leaf.VERSION, digest, size, version, modified, expires, 0)
            rows[composite[composite.index(VISIBLE) + 1 :]] = leaf_digest(content)

    def _absorb_unusual(
        self, changes: Changes, unsaid: dict[bytes, int], group: Group, record: Record
    ) -> None:
        """Take in a record that is more than a store without options, or something else."""
        composite = record.key
        if record.flags & Flag.MOVED or not self.start <= composite < self.stop:
            return
        if record.type in REMOVALS:
            unsaid.pop(composite, None)
            self._note(changes, composite, None)
        elif record.type in (Type.APPEND, Type.JOIN) or record.flags & Flag.LARGE:
            unsaid[composite] = record.version
        elif record.type == Type.STORE:
            unsaid.pop(composite, None)
            self._note(changes, composite, _stored(group, record))

    def _settled(self, composite: bytes, version: int) -> bytes | None:
        """The leaf's digest of an object that the log left at this version."""
        row = self.bucket.row(composite)
        if row is None or unpack(row).version != version:
            raise Unsettled
        return self._looked_up(composite, row)

    def _looked_up(self, composite: bytes, row: bytes) -> bytes | None:
        if split_key(composite) is None:
            return None
        entry = unpack(row)
        try:
            content = content_of(entry, self._pieces(composite, entry))
        except (Changed, Moved, NotFound):
            raise Unsettled from None
        return leaf_digest(content)

    # -- the tries ----------------------------------------------------------------------

    def _note(self, changes: Changes, composite: bytes, digest: bytes | None) -> None:
        split = split_key(composite)
        if split is not None:
            changes.setdefault(split[0], {})[split[1]] = digest

    def _slice(self) -> int:
        """How many changes are put into the tries at once."""
        return min(max(SLICE, sum(map(trie.count, self.tries.values()))), SLICE_MOST)

    def _put(self, changes: Changes, least: int = 0) -> None:
        """Put changes into the tries and forget them, once there are enough."""
        if sum(map(len, changes.values())) < least:
            return
        for namespace, rows in changes.items():
            made = trie.apply(self.tries.get(namespace), [(key, rows[key]) for key in sorted(rows)])
            if made is None:
                self.tries.pop(namespace, None)
            else:
                self.tries[namespace] = made
        changes.clear()


def _rows_of(
    changes: Changes, seen: dict[bytes, dict[bytes, bytes | None] | None], composite: bytes
) -> dict[bytes, bytes | None] | None:
    """The changes of a key's namespace; None for what callers do not see."""
    namespace = composite[: composite.find(VISIBLE)]
    if namespace in seen:
        return seen[namespace]
    split = split_key(composite)
    rows = None if split is None else changes.setdefault(split[0], {})
    if split is not None:
        seen[split[0]] = rows
    return rows


def _stored(group: Group, record: Record) -> bytes:
    """The leaf's digest of a whole value that its record holds."""
    typed = ATTRIBUTES.decode(record.attrs).content_type if record.attrs else None
    at = record.offset - group.head.body
    content = leaf.encode(
        leaf.part_hash(group.body[at : at + record.value_len]),
        record.value_len,
        record.version,
        modified_ns=record.modified_ns,
        expires_ns=record.expires_ns or None,
        content_type=typed,
    )
    return leaf_digest(content)


def bounds(namespace: bytes, start: bytes, stop: bytes) -> tuple[bytes, bytes | None]:
    """Which of its keys a range that meets a namespace holds; stop None: to the end."""
    space = namespace + VISIBLE
    low = start[len(space) :] if start.startswith(space) else b""
    high = stop[len(space) :] if stop.startswith(space) else None
    return low, high
