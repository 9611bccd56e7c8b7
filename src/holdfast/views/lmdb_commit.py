"""One commit of an LMDB view: rows go straight to the tree, and can be put there again.

Rows are written as they arrive, a slice at a time, so a caller that paces itself
(rule 11) is not overtaken by one long call at the end: each row lets
other threads run, and so does the commit. A map cannot grow under a transaction,
and nobody says in advance how large a commit will be. So what the caller handed in
is kept until the commit is through; where the map turns out to be
full, the transaction is given up, the map doubled and the same rows are put again.
They are kept as their bytes, joined: some 100,000 objects that live until the commit
would take twice the memory, and the collector would walk through them over and over.
The map has room for a commit of three times its size before it starts, so this happens to
first loads and almost nowhere else.

Rejected: to estimate the room a commit needs (a row may touch one page or a whole
path, so any safe estimate is off by a factor of 40), and to hold the encoded rows
back until the end (twice the memory, and one call that runs for seconds).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, pairwise
from operator import itemgetter
from types import TracebackType
from typing import NamedTuple

import lmdb

from holdfast.errors import Corrupt, InvalidKey
from holdfast.limits import VIEW_KEY_BYTES
from holdfast.log.packs import Flat
from holdfast.views.lmdb_life import LmdbLife, Transaction
from holdfast.views.lmdb_open import OURS, Handles, judged, translated
from holdfast.views.lmdb_rows import (
    HOUSE,
    RUN,
    SEEDS,
    LongCount,
    commit_row,
    format_row,
    long_count,
    opened,
    seal,
)
from holdfast.views.long_keys import by_run, changed, pack
from holdfast.views.port import Table, Writer

Rows = Sequence[tuple[bytes, bytes]]
Step = Callable[["Attempt"], None]


class Attempt(NamedTuple):
    """One write transaction, and what a writer does in it."""

    transaction: Transaction
    handles: Handles

    def put(self, table: Table, rows: Rows) -> None:
        """Set rows; nothing is written where a run would become too long."""
        short: Rows = rows
        if widest(rows) > VIEW_KEY_BYTES:
            short = [row for row in rows if len(row[0]) <= VIEW_KEY_BYTES]
            self._change_runs(table, {k: v for k, v in rows if len(k) > VIEW_KEY_BYTES}, ())
        if short:
            self._put_all(table, seal(SEEDS[table], short))

    def insert(self, table: Table, rows: Rows) -> bool:
        """Set rows that are not there; whether none was. Runs of long keys are not looked into."""
        if widest(rows) > VIEW_KEY_BYTES:
            return False
        with self.transaction.cursor(self.handles[table]) as cursor:
            beyond = not cursor.last() or rows[0][0] > cursor.key()
            sealed = seal(SEEDS[table], rows)
            given, added = cursor.putmulti(sealed, overwrite=False, append=beyond)
        return bool(given == added)

    def _put_all(self, table: int, rows: Rows) -> None:
        """Set rows as they are stored.

        Beyond the last key of the table pages are filled one after the other (34
        bytes a key and five times the speed). A row that is not beyond the one
        before is refused there, so then all are put plainly.
        """
        with self.transaction.cursor(self.handles[table]) as cursor:
            beyond = not cursor.last() or rows[0][0] > cursor.key()
            given, added = cursor.putmulti(rows, append=beyond)
            if given != added:
                cursor.putmulti(rows)

    def delete(self, table: Table, keys: Sequence[bytes]) -> None:
        """Remove rows."""
        handle = self.handles[table]
        delete = self.transaction.delete
        long = []
        for key in keys:
            if len(key) > VIEW_KEY_BYTES:
                long.append(key)
            elif key:
                delete(key, b"", handle)
        if long:
            self._change_runs(table, {}, long)

    def clear(self) -> None:
        """Remove everything but the format."""
        for handle in self.handles:
            self.transaction.drop(handle, delete=False)
        self._put_all(OURS, seal(SEEDS[HOUSE], [format_row()]))

    def finish(self) -> None:
        """Commit, with the commit's number among the rows."""
        self._put_all(OURS, seal(SEEDS[HOUSE], [commit_row(self.transaction.id())]))
        self.transaction.commit()

    def _change_runs(
        self, table: Table, puts: dict[bytes, bytes], deletes: Sequence[bytes]
    ) -> None:
        """Write the runs of these long keys anew, after all were found to be in bounds."""
        handle = self.handles[table]
        count = long_count(self._own, table)
        written: list[tuple[bytes, bytes]] = []
        for key, keys in by_run([*puts, *deletes]).items():
            stored = self.transaction.get(key, None, handle)
            run = None if stored is None else opened(table, key, stored, RUN)
            before = 0 if run is None else int.from_bytes(run[:2], "little")
            rows = changed(
                run,
                {long[VIEW_KEY_BYTES:]: puts[long] for long in keys if long in puts},
                [long[VIEW_KEY_BYTES:] for long in keys if long not in puts],
            )
            written.append((key, pack(rows) if rows else b""))
            count = LongCount(
                count.runs + bool(rows) - (run is not None), count.keys + len(rows) - before
            )
        for key, run in written:
            if run:
                self._put_all(table, seal(SEEDS[table | RUN], [(key, run)]))
            else:
                self.transaction.delete(key, b"", handle)
        self._put_all(OURS, seal(SEEDS[HOUSE], [count.row(table)]))

    def _own(self, key: bytes) -> bytes | None:
        return self.transaction.get(key, None, self.handles[OURS])


class Commit(Writer):
    """A context that hands out itself as the writer.

    A view that is too damaged to open has a writer all the same, so that it can be
    rebuilt: ``clear`` begins a new file, and until then every call raises the
    Corrupt that ``verify`` found.

    Args:
        life: of the environment to write.
    """

    def __init__(self, life: LmdbLife) -> None:
        self._life = life
        self._attempt: Attempt | None = None
        self._refused: Corrupt | None = None
        self._done: list[Step] = []
        self._rows = 0

    def __enter__(self) -> Writer:
        self._life.writing.acquire()
        try:
            self._begin()
        except Corrupt as error:
            self._refused = error
        except BaseException:
            self._life.writing.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._commit()
            else:
                self._give_up()
        finally:
            self._done.clear()
            self._attempt = None
            self._life.writing.release()

    # -- the writer --------------------------------------------------------------

    def put(self, table: Table, rows: Rows) -> None:
        """Set rows (ascending keys are fastest).

        Raises:
            InvalidKey: a key has no bytes.
            LimitExceeded: more than ``VIEW_KEYS_SHARED`` keys would share their first
                480 bytes; none of ``rows`` is put.
        """
        if rows:
            self._rows += len(rows)
            kept = keep(rows)
            again = lambda attempt: attempt.put(table, kept())  # noqa: E731
            self._do(lambda attempt: attempt.put(table, rows), again)

    def insert(self, table: Table, rows: Rows) -> bool:
        """Set rows that are not there; whether that was so of all.

        Raises:
            InvalidKey: a key has no bytes.
        """
        found = [True]
        if rows:
            self._rows += len(rows)
            kept = keep(rows)
            again = lambda attempt: found.append(attempt.insert(table, kept()))  # noqa: E731
            self._do(lambda attempt: found.append(attempt.insert(table, rows)), again)
        return found[-1]

    def delete(self, table: Table, keys: Iterable[bytes]) -> None:
        """Remove rows; absent keys are passed over."""
        kept = list(keys)
        if kept:
            self._rows += len(kept)
            self._do(lambda attempt: attempt.delete(table, kept))

    def clear(self) -> None:
        """Remove every row of every table; a damaged file is replaced by a new one."""
        self._done.clear()
        try:
            self._do(Attempt.clear)
        except Corrupt:
            self._give_up()
            self._life.discard()
            self._refused = None
            self._begin()

    # -- again, where the map was full ----------------------------------------------

    def _begin(self) -> None:
        self._attempt = Attempt(*self._life.begin())

    def _give_up(self) -> None:
        if self._attempt is not None:
            self._life.abort(self._attempt.transaction)
            self._attempt = None

    def _do(self, step: Step, again: Step | None = None) -> None:
        """Take a step; ``again`` is how it is repeated, if otherwise."""
        self._done.append(again or step)
        try:
            step(self._current())
        except lmdb.MapFullError:
            self._again()
        except BaseException as error:
            self._done.pop()
            if isinstance(error, lmdb.Error):
                raise judged(error, "view") from error
            raise

    def _again(self) -> None:
        """Give the transaction up, double the map and repeat every step, until all have room."""
        full = True
        while full:
            self._give_up()
            self._life.grow()
            self._begin()
            with translated("view"):
                full = not self._repeated()

    def _repeated(self) -> bool:
        try:
            for step in self._done:
                step(self._current())
        except lmdb.MapFullError:
            return False
        return True

    def _current(self) -> Attempt:
        if self._attempt is None:
            raise self._refused or AssertionError("a writer is used within its context")
        return self._attempt

    def _commit(self) -> None:
        if not self._done and self._attempt is not None:
            self._give_up()  # nothing to write
            return
        while True:
            try:
                self._current().finish()
            except lmdb.MapFullError:
                self._again()
            except lmdb.Error as error:
                self._life.distrust()
                raise judged(error, "view") from error
            else:
                self._life.committed(self._rows)
                return


def widest(rows: Rows) -> int:
    """Bytes of the longest key."""
    return rows.wide if isinstance(rows, Flat) else max(map(len, map(itemgetter(0), rows)))


def keep(rows: Rows) -> Callable[[], Rows]:
    """How to have rows again; those that come out of columns do so once more.

    Raises:
        InvalidKey: a key has no bytes.
    """
    return (lambda: rows) if isinstance(rows, Flat) else Kept(rows).rows


class Kept:
    """Rows as they are kept until the commit is through: their bytes, and how long each is.

    Raises:
        InvalidKey: a key has no bytes.
    """

    __slots__ = ("_body", "_lengths")

    def __init__(self, rows: Rows) -> None:
        if not all(map(itemgetter(0), rows)):
            raise InvalidKey(key=b"")
        pieces = list(chain.from_iterable(rows))
        self._lengths = array("Q", map(len, pieces))
        self._body = b"".join(pieces)

    def rows(self) -> Rows:
        """The rows again."""
        bounds = pairwise(accumulate(self._lengths, initial=0))
        pieces = (self._body[start:stop] for start, stop in bounds)
        return list(zip(pieces, pieces, strict=True))
