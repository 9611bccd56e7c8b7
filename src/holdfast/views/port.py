"""The port of views: ordered tables of one bucket, changed by one durable commit.

A view is derived from the log and never trusted: every value carries a check
that the implementation verifies, and whatever fails it raises ``Corrupt``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from enum import IntEnum
from typing import Protocol

from holdfast.errors import Corrupt


class Table(IntEnum):
    """The tables of a bucket's view; rows are ``bytes -> bytes`` in byte order."""

    META = 0  # name -> value: position, digest, counters
    KEYS = 1  # composite key -> entry
    EXPIRY = 2  # expires_ns (u64 BE) + digest of the key -> composite key
    CONSUMERS = 3  # composite key -> reference list
    LOCKS = 4  # composite key -> lock
    UPLOADS = 5  # composite key -> the states of its uploads
    SEGMENTS = 6  # segment number (u64 BE) -> live bytes
    SESSIONS = 7  # session id -> numbers applied


class Writer(Protocol):
    """One write transaction: nothing shows until its context ends without an error.

    What is handed in is kept by reference until then: a commit that outgrows its
    space is done again. Rows go to the tree as they come, so the caller sets the pace.
    """

    def put(self, table: Table, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Set rows (ascending keys are fastest); keys have at least one byte, else InvalidKey.

        Raises LimitExceeded, and puts none of ``rows``, where more than
        ``VIEW_KEYS_SHARED`` keys over 480 bytes would share their first 480.
        """

    def insert(self, table: Table, rows: Sequence[tuple[bytes, bytes]]) -> bool:
        """Set rows whose keys are not there; whether that was so of all.

        Where not, some may be set and some not, and ``put`` is to follow. May say False
        where it would take a look to know. Keys as for ``put``.
        """

    def delete(self, table: Table, keys: Iterable[bytes]) -> None:
        """Remove rows; absent keys are passed over."""

    def clear(self) -> None:
        """Remove every row of every table; on a damaged view, begin it anew."""


class View(Protocol):
    """Ordered tables of one bucket. Readers see the newest commit, never half of one.

    Any call raises Corrupt where what it needs is damaged; a writer still clears. ``file`` is
    what it maps, so that a look may have to wait for the disk; None where it keeps all in memory.
    ``damage`` is what is wrong with that, as far as was seen: it is time to clear it.
    """

    file: str | None = None
    damage: Corrupt | None = None

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The row's value, or None."""

    def get_many(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The rows that exist among ascending ``keys``."""

    def scan(
        self,
        table: Table,
        start: bytes,
        stop: bytes | None,
        limit: int,
        *,
        uncut: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """At most ``limit`` rows with ``start <= key < stop``, ascending, one snapshot.

        ``uncut``: behind a value may stand bytes of the view's own, which saves a copy of
        each: for who asks for keys, or for what a value begins with.
        """

    def count(self, table: Table) -> int:
        """How many rows the table has."""

    def writer(self) -> AbstractContextManager[Writer]:
        """Begin the one write transaction; committed durably when the context ends.

        A second writer waits for the first, and one within the first waits for ever.
        """

    def disk_bytes(self) -> int:
        """Bytes this view takes on disk."""

    def shrink(self, *, blank: bool = False) -> int:
        """Give back what it takes on disk and does not need, where that is much; the bytes.

        ``blank``: give back all, on a full disk too. No row is left, as if none was ever written.
        """

    def close(self) -> None:
        """Give back descriptors and maps, for good. Waits for a writer."""
