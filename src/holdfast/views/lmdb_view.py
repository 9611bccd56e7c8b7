"""The view of a bucket in LMDB.

Every row carries a check (``lmdb_rows.py``), long keys share rows
(``long_keys.py``), damaged files are refused before LMDB sees them
(``lmdb_file.py``, ``lmdb_sums.py``), read transactions are pooled by generation
(``lmdb_life.py``), and a commit that outgrows its map is repeated
(``lmdb_commit.py``). What is left here is reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

import lmdb
from crc32c import crc32c

from holdfast.limits import VIEW_KEY_BYTES
from holdfast.views.lmdb_commit import Commit
from holdfast.views.lmdb_life import AT_ONCE_BYTES, MAP_BYTES, LmdbLife, Transaction
from holdfast.views.lmdb_open import OURS, Handles, verify
from holdfast.views.lmdb_rows import (
    CHECK_BYTES,
    RESIDUE,
    RUN,
    SEEDS,
    are_whole,
    damaged,
    long_count,
    opened,
)
from holdfast.views.long_keys import RUN_KEY_BYTES, between, find, run_key
from holdfast.views.open_views import OpenViews
from holdfast.views.port import Table, View, Writer

Rows = list[tuple[bytes, bytes]]

FIRST_CHUNK: Final = 32  # rows a scan that may stop early reads first; then four times as many
CHUNK_GROWS: Final = 4
VERIFY_ROWS: Final = 1_000


class Span(NamedTuple):
    """What a scan was asked for."""

    start: bytes
    stop: bytes | None
    limit: int
    uncut: bool = False


class LmdbView(LmdbLife, View):
    """Ordered tables of one bucket in an LMDB environment of their own.

    Made by its first commit: reading a view that was never written answers empty
    and leaves no file behind. The map grows by itself.

    Args:
        folder: of this view alone; need not exist.
        map_bytes: of the first map, address space and nothing else.
        among: the bound on open views that this one keeps with others.
        at_once_bytes: of a data file that is judged while it is read, if it is as large.

    Raises:
        Corrupt: from any call, where the file or a row is damaged, cut short or not
            ours (``position`` says where). It is time to rebuild.
        FormatTooNew: a later version wrote it.
        StorageFailed: the disk or the system refuses.
        Moved: after ``close``.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> view = LmdbView(folder.name)
        >>> with view.writer() as writer:
        ...     writer.put(Table.KEYS, [(b"a", b"1"), (b"b", b"2")])
        >>> view.get(Table.KEYS, b"a"), view.scan(Table.KEYS, b"a", b"b", 10)
        (b'1', [(b'a', b'1')])
        >>> view.close(); folder.cleanup()
    """

    def __init__(
        self,
        folder: str,
        *,
        map_bytes: int = MAP_BYTES,
        among: OpenViews | None = None,
        at_once_bytes: int = AT_ONCE_BYTES,
    ) -> None:
        super().__init__(folder, map_bytes=map_bytes, among=among, at_once_bytes=at_once_bytes)
        self.file = str(self.paths.data)

    # The hot path is what ``use`` does, unrolled: a sixth slower than LMDB's own get
    # and the check.

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The row's value, or None."""
        readers = self._readers
        try:
            get = readers.pop()
            value = get(key, None, readers.handles[table])
        except (IndexError, lmdb.Error):  # no idle reader, a long key, a park
            return self.use(partial(_get, table, key), None)
        readers.append(get)
        if readers is not self._readers:
            readers.drain()
        if value is None and len(key) <= VIEW_KEY_BYTES:
            return None
        if value is not None and crc32c(key + value, SEEDS[table]) == RESIDUE:
            return value[:-CHECK_BYTES]
        # A key of 481 to 511 bytes may be in a run, or be the key of one; or a row is damaged.
        return self.use(partial(_get, table, key), None)

    def get_many(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The rows that exist among ascending ``keys``."""
        return self.use(partial(_get_many, table, keys), {})

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
        return self.use(partial(_scan, table, Span(start, stop, limit, uncut)), [])

    def count(self, table: Table) -> int:
        """How many rows the table has."""
        return self.use(partial(_count, table), 0)

    def writer(self) -> AbstractContextManager[Writer]:
        """Begin the one write transaction; committed durably when the context ends."""
        return Commit(self)

    def verify(self) -> None:
        """Read everything: the sums of the pages, the trees, the check of every row.

        Waits for a write and holds up others.

        Raises:
            Corrupt: something is damaged.
        """
        with self.writing:
            verify(self.paths, walk=True)
            for table in Table:
                start = b""
                while rows := self.scan(table, start, None, VERIFY_ROWS):
                    start = rows[-1][0] + b"\0"


# -- within one read transaction -------------------------------------------------


def _get(table: Table, key: bytes, transaction: Transaction, handles: Handles) -> bytes | None:
    if len(key) <= VIEW_KEY_BYTES:
        value = transaction.get(key, None, handles[table]) if key else None
        return None if value is None else opened(table, key, value)
    shared = run_key(key)
    value = transaction.get(shared, None, handles[table])
    if value is None:
        return None
    return find(opened(table, shared, value, RUN), key[VIEW_KEY_BYTES:])


def _get_many(
    table: Table, keys: Sequence[bytes], transaction: Transaction, handles: Handles
) -> dict[bytes, bytes]:
    with transaction.cursor(handles[table]) as cursor:
        found = cursor.getmulti(key for key in keys if 0 < len(key) <= VIEW_KEY_BYTES)
    if not are_whole(SEEDS[table], found):
        for key, value in found:
            opened(table, key, value)
    rows = {k: v[:-CHECK_BYTES] for k, v in found}
    for key in keys:
        if len(key) > VIEW_KEY_BYTES:
            content = _get(table, key, transaction, handles)
            if content is not None:
                rows[key] = content
    return rows


def _count(table: Table, transaction: Transaction, handles: Handles) -> int:
    long = long_count(lambda key: transaction.get(key, None, handles[OURS]), table)
    return transaction.stat(handles[table])["entries"] - long.runs + long.keys


def _scan(table: Table, span: Span, transaction: Transaction, handles: Handles) -> Rows:
    start, stop, limit, _ = span
    found: Rows = []
    chunk = limit if stop is None else FIRST_CHUNK
    first = start if len(start) <= VIEW_KEY_BYTES else run_key(start)
    with transaction.cursor(handles[table]) as cursor:
        more = cursor.set_range(first) if first else cursor.first()
        stored = cursor.iternext()
        while more and len(found) < limit:
            rows = list(islice(stored, min(chunk, limit - len(found))))
            more = bool(rows)
            if stop is not None and rows and rows[-1][0] >= stop:
                # Every key of a run is at or after the run's own, so this cut is exact.
                rows = [row for row in rows if row[0] < stop]
                more = False
            found += _contents(table, rows, span)
            chunk *= CHUNK_GROWS
    return found[:limit]


def _contents(table: Table, rows: Rows, span: Span) -> Rows:
    """Stored rows as the caller's: verified, and each run in place of its row."""
    if are_whole(SEEDS[table], rows):
        return rows if span.uncut else [(k, v[:-CHECK_BYTES]) for k, v in rows]
    found: Rows = []
    for key, value in rows:
        if len(key) < RUN_KEY_BYTES:
            found.append((key, opened(table, key, value)))
        elif len(key) == RUN_KEY_BYTES:
            found += between(key, opened(table, key, value, RUN), span.start, span.stop)
        else:
            raise damaged(table, key)
    return found
