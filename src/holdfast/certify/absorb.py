"""The tree of one bucket, absorbed from its log: a lazy view that a write knows nothing of.

    1  scan: every object that the bucket shows, once, with the log's position from before
    2  replay: the records since that position, in order; the last one of a key decides

A scanned page may be newer than the position; replay passes over the same records again and
ends where the log says, so the tree is that of one position exactly. A record that stores a
whole value says all that the leaf needs. What it does not say (appends, large objects) is
looked up; where that has changed since, replay goes on until it stands still.

Upkeep reads on in the log now and then (``follow``), so that little is left to read when
somebody asks for a proof. Where the log no longer holds all that happened since the position,
the bucket is scanned again; where a merge brought it keys, only from those on. The tree is written
down beside the bucket's view (``pages.py``), and the process that is asked next goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from struct import Struct
from typing import Final

import msgspec

from holdfast.bucket.bucket import Bucket
from holdfast.certify import change, leaf
from holdfast.certify.change import Rows
from holdfast.certify.pages import Damaged, Files, Standing
from holdfast.certify.ranges import VISIBLE, split_key, within
from holdfast.certify.tree import LEAF, leaf_digest
from holdfast.certify.trie import Trie
from holdfast.errors import Changed, Corrupt, Moved, NotFound, StorageFailed
from holdfast.limits import GIB
from holdfast.log.columns import runs
from holdfast.log.entry import ATTRIBUTES, Entry, unpack
from holdfast.log.group import Group, Kind
from holdfast.log.header import Merge
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
WAITING: Final = 250_000  # changes that are put into the tree at once, beside others' work
WAITING_MOST: Final = 1_000_000  # of a seal: every time that pages are made anew costs most of it
READ_BYTES: Final = 1 << 20  # of the log at once, for a slice
ROUNDS: Final = 64
STORE: Final = int(Type.STORE)
UNUSUAL: Final = int(Flag.MOVED | Flag.LARGE)
SAID: Final = Struct(f">{len(LEAF)}s{leaf.LAYOUT.format[1:]}")  # what a leaf's digest is of

Pieces = Callable[[bytes, Entry], Iterable[bytes]]  # composite key, entry -> the whole value
Changes = dict[bytes, dict[bytes, bytes | None]]  # namespace -> key -> digest of the leaf
Pace = Callable[[], None]


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


class Absorbed:
    """What one bucket's tree has absorbed.

    Args:
        bucket: the bucket.
        pieces: reads the whole value of an object of it, piece by piece.
        files: where the tree is written down; None: nowhere.
    """

    def __init__(self, bucket: Bucket, pieces: Pieces, files: Files | None = None) -> None:
        self.bucket = bucket
        self.id = bucket.id
        self.tries: dict[bytes, Trie] = {}  # by namespace
        self.start = self.stop = b""  # the range that the tries stand for
        self.files = files
        self._pieces = pieces
        self._at: Position | None = None
        self._version = bucket.version  # when the log ended at ``_at``, about
        self._stand: Position | None = None  # which position the tries are the tree of, if any
        self._unsaved = 0  # changes that are in the tries, and not on disk
        self._changes: Changes = {}  # read up to ``_at``, and not in the tries yet
        self._merged: list[bytes] = []  # where what merges brought begins, as far as it was read
        self._unsaid: dict[bytes, int] = {}  # versions of objects that must be looked at
        self._is_ahead = False  # a scan saw what was written behind ``_at``
        self._load()

    def follow(self, most: int, pace: Pace, *, rest: bool = False) -> bool:
        """Read on in the log, so that the next catching up has less to do.

        What can only be scanned, and what changed its range, is left to that.

        Args:
            most: records to read, but for the rest of a group.
            pace: called between groups, and between pages of the tree.
            rest: put nothing into the tree now: where that is due, read nothing either.

        Returns:
            Whether there is more to read.
        """
        bucket = self.bucket
        with bucket.lock:
            end, span, version = bucket.published, (bucket.start, bucket.stop), bucket.version
            whole = self._at is not None and bucket.continues(self._at)
        if not whole or span != (self.start, self.stop):
            return False
        if self._at == end:
            self._version = version
            return False
        if rest and self._count_changes() + most > WAITING:
            return False
        with suppress(Unsettled, Damaged):
            return self._read(end, most, pace)
        return False

    def behind(self) -> int:
        """How many records were written since those that were read, about.

        None where only a seal can go on: its range grew, or it has to be scanned.
        """
        span = self.bucket.start, self.bucket.stop
        if self._at is None or span != (self.start, self.stop):
            return 0
        return max(0, self.bucket.version - self._version)

    def narrow(self, pace: Pace) -> None:
        """Forget what a split gave away, once its child has begun with it."""
        with self.bucket.lock:
            span = self.bucket.start, self.bucket.stop
        inside = self.start <= span[0] < span[1] <= self.stop
        if self._at is not None and inside and span != (self.start, self.stop):
            with suppress(Damaged):
                self._cut(span, pace)

    def adopt(self, parent: Absorbed, pace: Pace) -> None:
        """Begin where a split made this bucket, with what its parent's tree holds of its range.

        The parent's log is read past the split for it, in the range that it had: what the split
        gave away is in the tree still. Where that cannot be, this bucket will be scanned. So it
        is where either of them has merged since: its log does not go on from there.
        """
        if self._at is not None or not parent.start <= self.bucket.start < parent.stop:
            return
        if not parent.read_out(pace):
            return
        span = (self.bucket.start, parent.stop)
        self.tries, self.start, self.stop = within(parent.tries, span), *span
        self._unsaid = {key: at for key, at in parent._unsaid.items() if key >= span[0]}
        self._version = parent._version
        self._at = self.bucket.forked_at
        self._unsaved = self._count()

    def read_out(self, pace: Pace) -> bool:
        """Put into the tries what the log says, in the range of before; whether that was read."""
        bucket = self.bucket
        with bucket.lock:
            end = bucket.published
            whole = self._at is not None and bucket.continues(self._at)
        if not whole:
            return False
        try:
            if self._at != end:
                self._read(end, None, pace)
            self._put(self._changes, pace)
        except Unsettled:
            return False
        except Damaged:
            self._forget()
            return False
        return True

    def catch_up(self, pace: Pace = change.at_once) -> None:
        """Absorb everything that was published before the call.

        Args:
            pace: called between slices of it.

        Raises:
            Moved: the bucket no longer answers: it was merged away or closed.
            Corrupt, StorageFailed: an object cannot be read.
        """
        for _ in range(ROUNDS):
            try:
                if self._step(pace):
                    return
            except Unsettled:
                continue
            except Damaged:
                self._forget()
        raise Moved(bucket=self.bucket.id)

    # -- on disk -----------------------------------------------------------------------

    def standing(self, least: int = 1) -> Standing | None:
        """The tree as it can be written down, where it has changed enough to be.

        Args:
            least: changes that are enough; a quarter of its keys must have changed besides.
        """
        enough = least if least == 1 else max(least, self._count() // 4)
        if self._stand is None or self._unsaved < enough:
            return None
        self._unsaved = 0
        return Standing(self.start, self.stop, self._stand, dict(self.tries))

    def _load(self) -> None:
        """Go on from the tree that was written down, if there is one."""
        found = None if self.files is None else self.files.load()
        if found is not None:
            self.start, self.stop, self._at, self.tries = found
            self._stand = self._at

    def _forget(self) -> None:
        """Throw away the tree, in memory and on disk: it is made again."""
        self.tries, self._at, self._stand = {}, None, None
        self._changes, self._unsaid = {}, {}
        if self.files is not None:
            self.files.drop()

    def _step(self, pace: Pace) -> bool:
        """Go on to where the log ends now; whether the tree stands still there."""
        if self.files is not None and self.files.damaged:
            raise Damaged
        settled = self._settle(pace)
        if settled is None:
            return False
        end, version = settled
        if self._at != end:
            self._read(end, None, pace)
        self._version = version
        for composite, version in self._unsaid.items():
            self._note(self._changes, composite, self._settled(composite, version))
            pace()
        self._unsaid.clear()
        self._put(self._changes, pace)
        self._is_ahead = False
        self._stand = self._at
        for made in self.tries.values():
            change.hash_all(made, pace)
        return True

    def _settle(self, pace: Pace) -> tuple[Position, int] | None:
        """Bring the tree to its bucket's range; where the log ended then, and its version.

        None where a part of it was looked up: the log has to be read on from before that.
        """
        bucket = self.bucket
        with bucket.lock:
            end, span, version = bucket.published, (bucket.start, bucket.stop), bucket.version
            whole = self._at is not None and bucket.continues(self._at)
            merged = self._at is not None and bucket.continues(self._at, merged=True)
        if span[0] >= span[1]:
            raise Moved(bucket=bucket.id)
        if not merged or not self.start <= span[0] < self.stop:
            self._begin(end, span[0])
        elif not whole:
            self._pass_over(end, pace)
        if not whole or self.stop < span[1]:
            self._widen(span[1], pace)
            return None
        if span != (self.start, self.stop):
            self._cut(span, pace)
        return end, version

    # -- from nothing ----------------------------------------------------------------

    def _begin(self, end: Position, start: bytes) -> None:
        """Have all of it scanned; the log is read on from ``end``."""
        self.tries, self._changes, self._unsaid, self._stand = {}, {}, {}, None
        self.start = self.stop = start
        self._at, self._version = end, self.bucket.version

    def _widen(self, stop: bytes, pace: Pace) -> None:
        """Take in what is there now behind the tree's end; what was written since is replayed."""
        self._put(self._changes, pace)
        self._is_ahead = True
        while self.stop < stop:
            changes: Changes = {}
            page, after = self._page(self.stop, stop)
            for composite, row in page:
                self._note(changes, composite, self._looked_up(composite, row))
                pace()
            self._put(changes, pace)
            self.stop = stop if after is None else after

    def _pass_over(self, end: Position, pace: Pace) -> None:
        """Read what was written here since, and forget what merges brought other keys for.

        What they brought is in segments of other buckets, old records among them that others
        have replaced: it is looked up where it is now.
        """
        self._merged.clear()
        self._read(end, None, pace)
        low = min(self._merged, default=self.start)
        if low <= self.start:
            self._begin(end, self.start)
        elif low < self.stop:
            self._cut((self.start, low), pace)

    def _page(self, at: bytes, stop: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        try:
            return self.bucket.page(at, stop, PAGE)
        except Moved:
            raise Unsettled from None

    def _cut(self, span: tuple[bytes, bytes], pace: Pace) -> None:
        """Forget what a split gave away."""
        start, stop = span
        self._put(self._changes, pace)
        self._stand = None if self._unsaid or self._is_ahead else self._at
        self._unsaid = {key: at for key, at in self._unsaid.items() if start <= key < stop}
        self.tries, self.start, self.stop = within(self.tries, span), start, stop

    # -- from the log ------------------------------------------------------------------

    def _read(self, end: Position, most: int | None, pace: Pace) -> bool:
        """Read the log up to ``end``, or about so many records of it; whether there is more."""
        left, room = most, WAITING_MOST if most is None else WAITING
        try:
            for number, group in self._groups(end, GIB if most is None else READ_BYTES):
                self._absorb(self._changes, self._unsaid, group)
                head = group.head
                self._at = Position(number, head.start, head.stop, head.digest)
                self._version += head.records
                if self._count_changes() > room:
                    self._put(self._changes, pace)
                    self._stand = None if self._unsaid or self._is_ahead else self._at
                if left is not None:
                    left -= head.records
                    if left <= 0:
                        return True
                pace()
        except (Corrupt, StorageFailed, ValueError, KeyError):
            self._at = None  # the tail went, or cannot be read: what is there can be scanned
            raise Unsettled from None
        self._at = end
        return False

    def _groups(self, end: Position, read_bytes: int) -> Iterator[tuple[int, Group]]:
        """The groups between what was read and a position, each with its segment's number.

        About ``read_bytes`` are read at a time: whoever takes a slice needs no whole segment.
        """
        log, at = self.bucket.log, self._at
        if at is None:
            return
        own = self.bucket.id
        there = [number for number, info in list(log.ended.items()) if info.origin == own]
        behind = sorted(number for number in there if at.segment <= number < end.segment)
        for number in dict.fromkeys((*behind, end.segment)):
            for group in log.groups(number, at, read_bytes):
                if number == end.segment and group.head.stop > end.stop:
                    return
                if group.head.kind == Kind.RECORDS:
                    yield number, group
                elif group.head.kind == Kind.CONTROL:
                    self._merged += _merged_in(group)

    def _absorb(self, changes: Changes, unsaid: dict[bytes, int], group: Group) -> None:
        """Take in a group's records: what each says, or that its object must be looked at."""
        body, base, at = bytes(group.body), group.head.body, 0
        unpack, pack, hashed = HEAD.unpack_from, SAID.pack, sha256
        start, stop = self.start, self.stop
        space, wide, rows = VISIBLE, 1, None  # of the namespace that was met last
        for _ in range(group.head.records):
            kind, flags, key_len, size, _, attrs_len, version, modified, expires = unpack(body, at)
            if kind != STORE or flags & UNUSUAL or attrs_len:
                record, at = decode(body, at, base)
                self._absorb_unusual(changes, unsaid, group, record)
                continue
            key_at = at + HEAD_BYTES
            value_at = key_at + key_len
            at = value_at + size + CHECK_BYTES
            composite = body[key_at:value_at]
            if not composite.startswith(space):
                space, rows = _rows_of(changes, composite)
                wide = len(space)
            if rows is None or not start <= composite < stop:
                continue
            if unsaid:
                unsaid.pop(composite, None)
            digest = hashed(b"\x00" + body[value_at : value_at + size]).digest()
            said = pack(LEAF, leaf.VERSION, digest, size, version, modified, expires, 0)
            rows[composite[wide:]] = hashed(said).digest()

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

    def _count(self) -> int:
        return sum(made.count for made in self.tries.values())

    def _count_changes(self) -> int:
        return sum(map(len, self._changes.values()))

    def _put(self, changes: Changes, pace: Pace) -> None:
        """Put changes into the tries and forget them."""
        self._stand = None
        for namespace, rows in changes.items():
            self._unsaved += len(rows)
            made = change.put(self.tries.get(namespace), _in_order(rows, pace), pace)
            if made is None:
                self.tries.pop(namespace, None)
            else:
                self.tries[namespace] = made
        changes.clear()


def _in_order(changes: dict[bytes, bytes | None], pace: Pace) -> Rows:
    labels: list[bytes] = []
    digests: list[bytes | None] = []
    for run in runs(changes, pace):
        labels += run.keys
        digests += run.rows
    return Rows(labels, digests)


def _rows_of(changes: Changes, composite: bytes) -> tuple[bytes, dict[bytes, bytes | None] | None]:
    """What a key begins with, and its namespace's changes; None for what callers do not see."""
    split = split_key(composite)
    if split is None:
        return composite, None
    return split[0] + VISIBLE, changes.setdefault(split[0], {})


def _merged_in(group: Group) -> list[bytes]:
    """Where the ranges begin that merges brought."""
    merges = (group.value(record) for record in group.records() if record.type == Type.MERGE)
    return [msgspec.msgpack.decode(value, type=Merge).start for value in merges]


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
