"""The view of a bucket in memory: an ordered map for each table, changed by whole commits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import islice, takewhile
from operator import itemgetter
from threading import Lock
from types import TracebackType

from sortedcontainers import SortedDict

from holdfast.errors import InvalidKey, LimitExceeded, Moved
from holdfast.limits import VIEW_KEY_BYTES, VIEW_KEYS_SHARED
from holdfast.views.port import Table, View, Writer

Rows = list[tuple[bytes, bytes]]


class MemoryView(View):
    """Ordered tables of one bucket, gone with the process: for ``:memory:`` and simulation.

    It refuses what LMDB refuses (a key without bytes, too many long keys that share
    their first 480 bytes), so that what runs here runs there.

    Raises:
        Moved: from any call after ``close``.

    Example:
        >>> view = MemoryView()
        >>> with view.writer() as writer:
        ...     writer.put(Table.KEYS, [(b"b", b"2"), (b"a", b"1")])
        >>> view.scan(Table.KEYS, b"", None, 10)
        [(b'a', b'1'), (b'b', b'2')]
    """

    def __init__(self) -> None:
        self._tables = {table: SortedDict() for table in Table}
        self._reading = Lock()
        self._writing = Lock()
        self._closed = False

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The row's value, or None."""
        with self._reading:
            value: bytes | None = self._table(table).get(key)
            return value

    def get_many(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The rows that exist among ascending ``keys``."""
        with self._reading:
            rows = self._table(table)
            return {key: rows[key] for key in keys if key in rows}

    def scan(
        self,
        table: Table,
        start: bytes,
        stop: bytes | None,
        limit: int,
        *,
        uncut: bool = False,
    ) -> Rows:
        """At most ``limit`` rows with ``start <= key < stop``, ascending, one snapshot."""
        del uncut  # there is nothing to cut
        with self._reading:
            rows = self._table(table)
            keys = rows.irange(start, stop, inclusive=(True, False))
            return [(key, rows[key]) for key in islice(keys, limit)]

    def count(self, table: Table) -> int:
        """How many rows the table has."""
        with self._reading:
            return len(self._table(table))

    def writer(self) -> AbstractContextManager[Writer]:
        """Begin the one write transaction; it shows as a whole when the context ends."""
        return _Commit(self)

    def disk_bytes(self) -> int:
        """None of it is on disk."""
        return 0

    def shrink(self, *, blank: bool = False) -> int:
        """Nothing is on disk."""
        if blank:
            with self.writer() as writer:
                writer.clear()
        return 0

    def close(self) -> None:
        """Raise Moved from now on."""
        with self._writing, self._reading:
            self._closed = True
            self._tables = {table: SortedDict() for table in Table}

    def _table(self, table: Table) -> SortedDict:
        if self._closed:
            raise Moved
        return self._tables[table]

    # -- for the commit, which holds ``_writing`` --------------------------------------

    def begin(self) -> None:
        """Wait for the writer before, and keep out the next."""
        self._writing.acquire()
        if self._closed:
            self._writing.release()
            raise Moved

    def end(self) -> None:
        """Let the next writer in."""
        self._writing.release()

    def sharing(self, table: Table, prefix: bytes) -> set[bytes]:
        """The committed keys over 480 bytes that begin with these 480."""
        keys = self._tables[table].irange(prefix + b"\0")
        return set(takewhile(lambda key: key.startswith(prefix), keys))

    def apply(self, changes: dict[Table, dict[bytes, bytes | None]], *, cleared: bool) -> None:
        """Make a commit visible, all of it at once."""
        with self._reading:
            for table, changed in changes.items():
                rows = self._tables[table]
                if cleared:
                    rows.clear()
                for key in [key for key, value in changed.items() if value is None]:
                    rows.pop(key, None)
                rows.update({k: value for k, value in changed.items() if value is not None})


class _Commit(Writer):
    """What one writer changes, apart from the tables until its context ends."""

    def __init__(self, view: MemoryView) -> None:
        self._view = view
        self._changes: dict[Table, dict[bytes, bytes | None]] = {}
        self._cleared = False

    def __enter__(self) -> Writer:
        self._view.begin()
        self._changes = {table: {} for table in Table}
        self._cleared = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._view.apply(self._changes, cleared=self._cleared)
        finally:
            self._view.end()

    def put(self, table: Table, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Set rows (ascending keys are fastest).

        Raises:
            InvalidKey: a key has no bytes.
            LimitExceeded: more than ``VIEW_KEYS_SHARED`` keys would share their first
                480 bytes; none of ``rows`` is put.
        """
        keys = list(map(itemgetter(0), rows))
        if not all(keys):
            raise InvalidKey(key=b"")
        self._hold_shared(table, {key for key in keys if len(key) > VIEW_KEY_BYTES})
        self._changes[table].update(rows)

    def insert(self, table: Table, rows: Sequence[tuple[bytes, bytes]]) -> bool:
        """Set rows that are not there; whether that was so of all. None is set where not.

        Raises:
            InvalidKey, LimitExceeded: as for ``put``.
        """
        changes = self._changes[table]
        for key, _ in rows:
            there = not self._cleared and self._view.get(table, key) is not None
            if changes[key] is not None if key in changes else there:
                return False
        self.put(table, rows)
        return True

    def _hold_shared(self, table: Table, new: set[bytes]) -> None:
        changes = self._changes[table]
        for prefix in {key[:VIEW_KEY_BYTES] for key in new}:
            shared = set() if self._cleared else self._view.sharing(table, prefix)
            shared -= changes.keys()
            for key in (*new, *(key for key, value in changes.items() if value is not None)):
                if len(key) > VIEW_KEY_BYTES and key.startswith(prefix):
                    shared.add(key)
            if len(shared) > VIEW_KEYS_SHARED:
                raise LimitExceeded(limit="VIEW_KEYS_SHARED", most=VIEW_KEYS_SHARED)

    def delete(self, table: Table, keys: Iterable[bytes]) -> None:
        """Remove rows; absent keys are passed over."""
        self._changes[table].update(dict.fromkeys(keys))

    def clear(self) -> None:
        """Remove every row of every table."""
        self._changes = {table: {} for table in Table}
        self._cleared = True
