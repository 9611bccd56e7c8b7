"""The search index of one bucket: a lazy view of its log that a write knows nothing of.

    1  scan: every object that the bucket shows, once, with the log's position from before
    2  replay: the records since that position; the last one of a key in a slice decides

Each slice becomes a run of its namespace. A scanned page may be newer than the position, and
replay passes over the same records again; it ends where the log says. What a record does not
say (appends, large objects) is looked up. Where the log no longer holds what happened since,
or the bucket holds keys that it did not before, it is scanned again.

Between two slices the index stands at a position of the log, and may be searched as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from threading import RLock
from typing import Final

from holdfast.bucket.bucket import Bucket
from holdfast.errors import Changed, Corrupt, Moved, NotFound, StorageFailed
from holdfast.limits import SEARCH_TEXT_BYTES
from holdfast.log.entry import ATTRIBUTES, ENTRY, PLAIN, Entry, unpack
from holdfast.log.group import Group, Kind
from holdfast.log.log import Position
from holdfast.search.build import Builder
from holdfast.search.changes import (
    HIDDEN,
    LOOK,
    RESERVED,
    VISIBLE,
    Change,
    Changes,
    Makers,
    Pending,
    Seen,
    Told,
    bounds,
)
from holdfast.search.documents import Maker, digest_of
from holdfast.search.files import Files
from holdfast.search.lacking import Lacking, unread
from holdfast.search.merge import merge_on
from holdfast.search.shelf import AT_ONCE, Part, Shelf

PAGE: Final = 500
SLICE_RECORDS: Final = 20_000
SLICE_BYTES: Final = 16 << 20
ATTRS_LEN: Final = 6  # of an entry's fields
LITTLE: Final = 128  # objects that are made documents between two looks at the clock
ROUNDS: Final = 64
RUNS: Final = 64  # of a namespace, before who absorbs makes fewer of them; upkeep does at once

Beginning = Callable[[bytes, Entry, int], bytes]  # composite key, entry, bytes -> the value's first


class Unsettled(Exception):
    """The tail of the log went while it was read."""


class Index:
    """What is searched of one bucket.

    Args:
        bucket: the bucket.
        makers: what makes the documents of a namespace; None where nothing is searched.
        beginning: reads the first bytes of a value that lies in several places.
    """

    def __init__(self, bucket: Bucket, makers: Makers, beginning: Beginning) -> None:
        self.bucket = bucket
        self.lock = RLock()
        self.shelves: dict[bytes, Shelf] = {}
        self.start = self.stop = b""
        self.at: Position | None = None
        self.version = 0  # of the bucket, when the index stood at ``at``
        self.changed = 0  # documents since the files were written
        self.files: Files | None = None  # None: the index is in memory only
        self._makers = makers
        self._beginning = beginning
        self._lacking = Lacking()
        self._going: Iterator[None] | None = None
        self._tidying: Iterator[None] | None = None

    # -- where it stands ---------------------------------------------------------------

    @property
    def span(self) -> tuple[bytes, bytes]:
        """The range of composite keys that the runs stand for."""
        return self.start, self.stop

    def is_new(self) -> bool:
        """Whether everything that the bucket shows is absorbed."""
        bucket, at = self.bucket, self.at
        if at is None:
            return False
        # Without the lock: whoever writes at this moment was not answered yet. What is read
        # here only grows, and a change between two looks shows as a difference.
        if bucket.inflight is None:
            log = bucket.log
            same = at.stop == log.stop and at.segment == log.number
        else:
            with bucket.lock:
                same = at == bucket.published
        return same and bucket.start == self.start and bucket.stop == self.stop

    def behind(self) -> int:
        """How many records of the bucket are not absorbed, about."""
        if self.at is None:
            return self.bucket.version
        if self.is_new():
            return 0
        lacks_range = self.bucket.start < self.start or self.stop < self.bucket.stop
        return max(int(lacks_range), self.bucket.version - self.version)

    def forget(self) -> None:
        """Throw everything away: the rules have changed, or the files do not verify."""
        with self.lock:
            self.shelves, self.at, self._going, self._tidying = {}, None, None, None
            self._lacking = Lacking()
            self.start = self.stop = b""
            if self.files is not None:
                self.files.drop()

    def hide_removed(self) -> None:
        """Hide what was removed since: who lacks the newest is shown nothing that is gone."""
        with self.lock:
            if self.at is None:
                return
            with self.bucket.lock:
                end = self.bucket.published
            try:
                for _, group in self._groups(end, self._lacking.start(self.at)):
                    self._lacking.read(group, self.shelves)
            except (Corrupt, StorageFailed, ValueError, KeyError):
                self.forget()
            else:
                self._lacking.looked_to(end)

    def lacks(self, namespace: bytes, prefixes: tuple[bytes, ...]) -> int:
        """How many records of a namespace below prefixes are not absorbed, of those looked at.

        Raises:
            Moved: the bucket no longer holds its range.
        """
        with self.lock:
            bucket = self.bucket
            new = [(bucket.start, bucket.stop)]
            if self.at is not None:
                new = [(bucket.start, self.start), (self.stop, bucket.stop)]
            return self._lacking.count(namespace, prefixes) + sum(
                unread(bucket, span, namespace, prefixes) for span in new
            )

    def save(self) -> None:
        """Write down where the index stands; OSError where the disk refuses."""
        with self.lock:
            if self.files is not None and self._going is None:
                self.files.save(self)

    def load(self) -> None:
        """Begin from what was written down, cut to what the bucket holds now."""
        span = self.bucket.start, self.bucket.stop
        with self.lock:
            if self.files is None or not self.files.load(self):
                return
            if any(
                shelf.rules != digest_of(self._makers(name)) for name, shelf in self.shelves.items()
            ):
                self.forget()
            elif self.start <= span[0] and span[1] <= self.stop:
                self.cut(span)
                self.changed = 0

    # -- going on ------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Absorb everything that was published before the call.

        Raises:
            Moved: the bucket no longer answers: it was merged away or closed.
            Corrupt, StorageFailed: an object cannot be read.
        """
        if self.is_new():
            return
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """The same in bounded steps; whoever goes on later goes on from there."""
        for _ in range(ROUNDS):
            while True:
                with self.lock:
                    if self._going is None:
                        if self.is_new():
                            return
                        self._going = self._round()
                    try:
                        next(self._going)
                    except StopIteration:
                        self._going = None
                        break
                    except Unsettled:
                        self._going, self.at = None, None
                        break
                    except BaseException:
                        self._going = None
                        raise
                yield
        raise Moved(bucket=self.bucket.id)

    def _round(self) -> Iterator[None]:
        """From where the index stands to where the log ends now."""
        bucket = self.bucket
        with bucket.lock:
            end, version, span = bucket.published, bucket.version, (bucket.start, bucket.stop)
            whole = self.at is not None and bucket.continues(self.at)
        if span[0] >= span[1]:
            raise Moved(bucket=bucket.id)
        if not whole or not self.start <= span[0] or not span[1] <= self.stop:
            yield from self._scan(end, span)
        else:
            if span != self.span:
                self.cut(span)
            yield from self._replay(end)
        self.version = version

    def cut(self, span: tuple[bytes, bytes]) -> None:
        """Hide what a split gave away; it is dropped when its run is written anew."""
        start, stop = span
        kept = {}
        for namespace, shelf in self.shelves.items():
            if start < namespace + HIDDEN and namespace + VISIBLE < stop:
                shelf.cut(*bounds(namespace, start, stop))
                kept[namespace] = shelf
        self.shelves, self.start, self.stop = kept, start, stop
        self.changed += 1

    def narrow(self, span: tuple[bytes, bytes]) -> bool:
        """Stand for the bucket's range, where less is absorbed; whether it is all of that range.

        Under the lock, and once who has the rest now took it over.

        Raises:
            Moved: the bucket has another range.
        """
        if (self.bucket.start, self.bucket.stop) != span:
            raise Moved(bucket=self.bucket.id)
        if self.at is None or not self.start <= span[0] or not span[1] <= self.stop:
            return False
        self._going = None  # it took in what is no longer of the range
        self.cut(span)
        return True

    def adopt(self, parent: Index) -> None:
        """Begin where a parent's log split this bucket off, with what the parent's index holds."""
        bucket = self.bucket
        with parent.lock:
            if not bucket.stop <= parent.stop or parent.at is None:
                return
            if not parent.read_out():
                return
            with self.lock:
                self.shelves = {name: shelf.copy() for name, shelf in parent.shelves.items()}
                self.at, self.version = bucket.forked_at, parent.version
                self.cut((bucket.start, bucket.stop))

    def read_out(self) -> bool:
        """Absorb the log to its end without cutting: what a split gave away is in it still."""
        with self.bucket.lock:
            end = self.bucket.published
            whole = self.at is not None and self.bucket.continues(self.at)
        if not whole:
            self.forget()
            return False
        self._going = None
        try:
            for _ in self._replay(end):
                pass
        except Unsettled:
            self.forget()
        return self.at is not None

    # -- from nothing ----------------------------------------------------------------------

    def _scan(self, end: Position, span: tuple[bytes, bytes]) -> Iterator[None]:
        self.shelves, self.at = {}, None
        self.start, self.stop = span
        pending: Pending = {}
        at: bytes | None = span[0]
        while at is not None and at < span[1]:
            try:
                page, at = self.bucket.page(at, span[1], PAGE)
            except Moved:
                raise Unsettled from None
            for composite, row in page:
                if self._wants(composite, row):
                    pending[composite] = LOOK
            if len(pending) >= SLICE_RECORDS:
                yield from self._absorb(pending)
                pending = {}
            yield
        yield from self._absorb(pending)
        self.at = end

    def _wants(self, composite: bytes, row: bytes) -> bool:
        maker = self._maker(composite)
        if maker is None or not (maker.rules.rules or ENTRY.unpack_from(row)[ATTRS_LEN]):
            return False
        return maker.rule(composite.partition(VISIBLE)[2], unpack(row).attributes) is not None

    def _maker(self, composite: bytes) -> Maker | None:
        """What makes the document of a key; None for what callers do not see."""
        namespace, separator, _ = composite.partition(VISIBLE)
        if not separator or HIDDEN in namespace or namespace.startswith(RESERVED):
            return None
        return self._makers(namespace)

    # -- from the log ------------------------------------------------------------------------

    def _replay(self, end: Position) -> Iterator[None]:
        changes = self._changes()
        try:
            for number, group in self._groups(end, self.at):
                changes.read(group)
                if len(changes.pending) >= SLICE_RECORDS or changes.held_bytes >= SLICE_BYTES:
                    yield from self._absorb(changes.pending)
                    self._stand(number, group, changes.version)
                    changes = self._changes()
                yield
        except (Corrupt, StorageFailed, ValueError, KeyError):
            raise Unsettled from None  # the tail went, or cannot be read: objects can be scanned
        yield from self._absorb(changes.pending)
        self.at, self._lacking = end, Lacking()

    def _changes(self) -> Changes:
        return Changes(self._makers, self.span, self.shelves)

    def _stand(self, segment: int, group: Group, version: int) -> None:
        """Everything up to here is absorbed."""
        head = group.head
        self.at = Position(segment, head.start, head.stop, head.digest)
        self.version = max(self.version, version)

    def _groups(self, end: Position, at: Position | None) -> Iterator[tuple[int, Group]]:
        """The groups between two positions, each with its segment."""
        log = self.bucket.log
        if at is None:
            return
        behind = sorted(n for n in list(log.ended) if at.segment <= n < end.segment)
        for number in dict.fromkeys((*behind, end.segment)):
            for group in log.groups(number, at):
                if number == end.segment and group.head.stop > end.stop:
                    return
                if group.head.kind == Kind.RECORDS:
                    yield number, group

    # -- into runs ---------------------------------------------------------------------------

    def _absorb(self, pending: Pending) -> Iterator[None]:
        """Make runs of what changed, one for each namespace."""
        builders: dict[bytes, Builder] = {}
        makers = Seen(self._makers)
        left = iter(pending.items())
        while some := list(islice(left, LITTLE)):
            self._take_in(builders, makers, some)
            yield
        self.changed += len(pending)
        for namespace, builder in builders.items():
            shelf = self._shelf(namespace, makers[namespace])
            for run in builder.steps():
                if run is None:
                    yield
                else:
                    shelf.add(run)
            yield from self._tidy(shelf)
            yield

    def _take_in(
        self,
        builders: dict[bytes, Builder],
        makers: Seen,
        changed: Sequence[tuple[bytes, Change]],
    ) -> None:
        """Put objects into the runs of their namespaces; hide what is not searched any more."""
        texts: dict[bytes, list[tuple[bytes, bytes, int]]] = {}
        for composite, told in changed:
            namespace, _, key = composite.partition(VISIBLE)
            if isinstance(told, bytes):
                texts.setdefault(namespace, []).append((key, told, 0))
            elif told and told is not LOOK and not told.attrs:
                texts.setdefault(namespace, []).append((key, told.value, told.expires_ns))
            else:
                self._take_one(builders, makers[namespace], composite, told)
        for namespace, some in texts.items():
            self._take_texts(builders, makers[namespace], namespace, some)

    def _take_one(
        self,
        builders: dict[bytes, Builder],
        maker: Maker | None,
        composite: bytes,
        told: Told | None,
    ) -> None:
        seen = told if told is not LOOK else self._looked_up(composite)
        if maker is None or seen is None or not self._add(builders, maker, composite, seen):
            namespace, _, key = composite.partition(VISIBLE)
            shelf = self.shelves.get(namespace)
            if shelf is not None:
                shelf.remove(key)

    def _take_texts(
        self,
        builders: dict[bytes, Builder],
        maker: Maker | None,
        namespace: bytes,
        texts: Sequence[tuple[bytes, bytes, int]],
    ) -> None:
        """Many at once where all are short ASCII text, else one by one."""
        keys, values, times = zip(*texts, strict=True)
        long = max(map(len, values)) > SEARCH_TEXT_BYTES
        plain = None if maker is None or long else maker.plain
        builder = builders.setdefault(namespace, Builder())
        if plain is None or not builder.add_texts(keys, values, times, plain):
            for key, value, time in texts:
                self._take_one(builders, maker, namespace + VISIBLE + key, Told(value, b"", time))

    def _shelf(self, namespace: bytes, maker: Maker | None) -> Shelf:
        """Where new runs of a namespace go; Unsettled where the others were read by other rules."""
        rules = digest_of(maker)
        shelf = self.shelves.setdefault(namespace, Shelf(rules))
        if shelf.rules != rules:
            raise Unsettled
        return shelf

    def _add(
        self, builders: dict[bytes, Builder], maker: Maker, composite: bytes, told: Told
    ) -> bool:
        """Put an object into its namespace's run; False where it is not searched."""
        namespace, _, key = composite.partition(VISIBLE)
        attributes = ATTRIBUTES.decode(told.attrs) if told.attrs else None
        rule = maker.whole if attributes is None else None
        if rule is None:
            rule = maker.rule(key, attributes or PLAIN)
            if rule is None:
                return False
        document, analyzer = maker.document(key, told.value, rule, attributes)
        document.expires_ns = told.expires_ns
        builders.setdefault(namespace, Builder()).add(key, document, analyzer)
        return True

    def _looked_up(self, composite: bytes) -> Told | None:
        """What an object says that its record did not; None where there is none any more."""
        try:
            row = self.bucket.row(composite)
            if row is None:
                return None
            entry = unpack(row)
            most = min(entry.size, SEARCH_TEXT_BYTES + 1)
            value = self._beginning(composite, entry, most)
        except (Changed, Moved, NotFound):
            raise Unsettled from None
        return Told(value, entry.attrs, entry.expires_ns)

    def _tidy(self, shelf: Shelf) -> Iterator[None]:
        """Make one run of the newest ones where that is soon done, or they have become many."""
        due = shelf.due()
        if not due or self._tidying is not None:
            return
        few = sum(part.run.count for part in due) <= AT_ONCE
        if few or len(shelf.parts) > RUNS:
            self._tidying = merging = self._merge(shelf, due)
            yield from merging
            if self._tidying is merging:
                self._tidying = None

    def _merge(self, shelf: Shelf, old: list[Part]) -> Iterator[None]:
        yield from merge_on(shelf, old)
        self.changed += 1

    def tidy(self) -> Iterator[None]:
        """Make few runs of many, in bounded steps; whoever goes on later goes on from there."""
        while True:
            with self.lock:
                if self._tidying is None:
                    self._tidying = self._tidy_all()
                try:
                    next(self._tidying)
                except StopIteration:
                    self._tidying = None
                    return
            yield

    def _tidy_all(self) -> Iterator[None]:
        for shelf in list(self.shelves.values()):
            due = shelf.due()
            if due:
                yield from self._merge(shelf, due)
