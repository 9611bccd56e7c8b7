"""Rows of plain stores as they came, batch by batch, in bytes that columns are made of at once.

To copy a dict of some 100,000 rows into columns waits for memory at every key (0.2 us). The
keys and rows of a batch are at hand when it is published: joined there they cost a tenth of
that, columns are made of them without an object a key, and most of what is done with those
leaves the interpreter (0.35 us a key from packs to what a view stores, where rows from a dict
take 1.1). That takes keys of one width; everything else goes by ``columns.py``.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Final, overload

from holdfast.log import columns
from holdfast.log.columns import PART, RUN, Part
from holdfast.log.entry import ENTRY_BYTES, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

JOINED: Final = 1_000  # rows that are copied between two calls of pace, or one pack
WORD: Final = 8
WORDS: Final = 4  # that keys may differ in, before their bytes are compared instead


class Pack:
    """Rows whose keys have one width, joined: ``wide`` bytes of each key, an entry of each row.

    Example:
        >>> rows = {b"b": bytes(52), b"a": bytes(52)}
        >>> list(packed(rows).items()) == list(rows.items())
        True
    """

    __slots__ = ("keys", "rows", "wide")

    def __init__(self, keys: bytes, rows: bytes, wide: int) -> None:
        self.keys = keys
        self.rows = rows
        self.wide = wide

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.keys) // self.wide

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and rows, as they came."""
        keys = struct.iter_unpack(f"{self.wide}s", self.keys)
        rows = struct.iter_unpack(f"{ENTRY_BYTES}s", self.rows)
        return ((key, row) for (key,), (row,) in zip(keys, rows, strict=True))


def packed(rows: Mapping[bytes, bytes]) -> Pack | None:
    """Plain entries by key as a pack; None where the keys are of several widths."""
    wide = len(next(iter(rows)))
    if set(map(len, rows)) != {wide}:
        return None
    return Pack(b"".join(rows), b"".join(rows.values()), wide)


class Flat(Sequence[tuple[bytes, bytes]]):
    """Some rows in order, taken out of columns when somebody asks for them."""

    __slots__ = ("_cells", "_chosen", "wide")

    def __init__(self, cells: npt.NDArray[np.uint8], chosen: npt.NDArray[np.intp], wide: int):
        self.wide = wide
        self._cells = cells
        self._chosen = chosen

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._chosen)

    @overload
    def __getitem__(self, at: int) -> tuple[bytes, bytes]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[tuple[bytes, bytes]]: ...
    def __getitem__(self, at: int | slice) -> tuple[bytes, bytes] | Sequence[tuple[bytes, bytes]]:
        """A row, or some of them."""
        if isinstance(at, slice):
            return Flat(self._cells, self._chosen[at], self.wide)
        cell = self._cells[self._chosen[at]].tobytes()
        return cell[: self.wide], cell[self.wide :]

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and rows, ascending."""
        cells = self._cells.take(self._chosen, axis=0)
        return zip(_told(cells[:, : self.wide]), _told(cells[:, self.wide :]), strict=True)

    def ascending(self) -> list[bytes]:
        """The keys."""
        # In this order: to take rows of a part of the columns, all of that is copied first.
        return _told(self._cells.take(self._chosen, axis=0)[:, : self.wide])

    def checked(self, check: Callable[[bytes, int], int], seed: int) -> list[tuple[bytes, bytes]]:
        """Keys and rows, each row followed by ``check(key + row, seed)`` (u32, little-endian)."""
        import numpy as np  # noqa: PLC0415 - there already

        cells, wide = self._cells.take(self._chosen, axis=0), self.wide
        count, width = cells.shape
        checks = np.fromiter(map(check, _told(cells), repeat(seed)), dtype="<u4", count=count)
        rows = np.empty((count, width - wide + checks.itemsize), dtype=np.uint8)
        rows[:, : width - wide] = cells[:, wide:]
        rows[:, width - wide :] = checks.view(np.uint8).reshape(count, -1)
        return list(zip(_told(cells[:, :wide]), _told(rows), strict=True))


class Ordered:
    """The rows of packs in the order of their keys.

    ``repeats`` counts rows that have a later one of the same key behind them; both are there,
    as are those that were left out.
    """

    def __init__(
        self,
        cells: npt.NDArray[np.uint8],
        order: npt.NDArray[np.intp],
        again: npt.NDArray[np.bool_],
        wide: int,
    ) -> None:
        self.wide = wide
        self.repeats = int(again.sum())
        self._cells = cells
        self._order = order
        self._again = again

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._order) - self.repeats

    def runs(self, pace: Callable[[], None]) -> Iterator[Flat]:
        """The last row of each key, in runs of ascending ones; ``pace`` is called between them."""
        order = self._order if not self.repeats else self._order[~self._again]
        for at in range(0, len(order), RUN):
            yield Flat(self._cells, order[at : at + RUN], self.wide)
            pace()

    def places(self) -> range:
        """Of all rows, those that have a later one included."""
        return range(len(self._order))

    def place_of(self, key: bytes, version: int) -> int:
        """How many rows stand before one of this key and version."""
        return bisect_right(self.places(), (key, version), key=self._told_at)

    def _told_at(self, place: int) -> tuple[bytes, int]:
        cell = self._cells[self._order[place]].tobytes()
        return cell[: self.wide], VERSION.unpack_from(cell, self.wide)[0]

    def laid_out(
        self, head: bytes, places: range, at: int, pace: Callable[[], None]
    ) -> Iterator[Part]:
        """Some rows as a key block has them, behind ``at`` bytes of others: head, key, row.

        Rows of one key stand as they came.
        """
        import numpy as np  # noqa: PLC0415 - there already

        lead = len(head)
        width = lead + self._cells.shape[1]
        for first in range(places.start, places.stop, PART):
            chosen = self._order[first : min(first + PART, places.stop)]
            laid = np.empty((len(chosen), width), dtype=np.uint8)
            laid[:, :lead] = np.frombuffer(head, dtype=np.uint8)
            laid[:, lead:] = self._cells.take(chosen, axis=0)
            starts = at + np.arange(0, laid.size, width, dtype="<u4")
            yield Part(laid.tobytes(), starts.astype("<u4").tobytes())
            at += laid.size
            pace()


def ordered(
    packs: Sequence[Pack], count: int, pace: Callable[[], None], but: Iterable[bytes] = ()
) -> Ordered | None:
    """The rows of packs in order; None where columns do not serve, or are not worth it.

    Args:
        packs: as they came: of two rows of one key the later one counts.
        count: how many rows they have together.
        pace: called between slices of work; may sleep.
        but: keys whose rows are left out of ``runs``.
    """
    if count < max(columns.LEAST, 1) or len({pack.wide for pack in packs}) > 1:
        return None
    try:
        import numpy as np  # noqa: PLC0415 - 0.1 s, and an extra
    except ModuleNotFoundError:
        return None
    wide, at = packs[0].wide, 0
    left_out = [key for key in but if len(key) == wide]
    last = Pack(b"".join(left_out), bytes(ENTRY_BYTES * len(left_out)), wide)
    cells = np.empty((count + len(last), wide + ENTRY_BYTES), dtype=np.uint8)
    for some in _lots([*packs, last]):
        keys = np.frombuffer(b"".join([pack.keys for pack in some]), dtype=np.uint8)
        rows = np.frombuffer(b"".join([pack.rows for pack in some]), dtype=np.uint8)
        stop = at + len(keys) // wide
        cells[at:stop, :wide] = keys.reshape(-1, wide)
        cells[at:stop, wide:] = rows.reshape(-1, ENTRY_BYTES)
        at = stop
        pace()
    words = _words(cells[:, :wide])
    order = _sorted(words)
    there = words.take(order, axis=0)
    again = order >= count
    again[:-1] |= (there[1:] == there[:-1]).all(axis=1)
    pace()
    return Ordered(cells, order, again, wide)


def _lots(packs: Sequence[Pack]) -> Iterator[list[Pack]]:
    """Packs in lots of about ``JOINED`` rows."""
    lot: list[Pack] = []
    rows = 0
    for pack in packs:
        lot.append(pack)
        rows += len(pack)
        if rows >= JOINED:
            yield lot
            lot, rows = [], 0
    if lot:
        yield lot


def _words(keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """What keys differ in, as numbers that sort like them."""
    import numpy as np  # noqa: PLC0415 - there already

    differs = np.flatnonzero((keys != keys[0]).any(axis=0))
    first, last = (int(differs[0]), int(differs[-1])) if len(differs) else (0, 0)
    part = keys[:, first : last + 1]
    room = -(-part.shape[1] // WORD) * WORD
    padded = np.zeros((len(keys), room), dtype=np.uint8)
    padded[:, : part.shape[1]] = part
    return padded.view(">u8").astype(np.uint64)


def _sorted(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    """Where the rows stand in order; equal ones as they came."""
    import numpy as np  # noqa: PLC0415 - there already

    if words.shape[1] == 1:
        return words[:, 0].argsort(kind="stable")
    if words.shape[1] <= WORDS:
        return np.lexsort([words[:, at] for at in reversed(range(words.shape[1]))])
    column = words.astype(">u8").view(f"S{words.shape[1] * WORD}").ravel()
    return column.argsort(kind="stable")


def _told(cells: npt.NDArray[np.uint8]) -> list[bytes]:
    """The rows of cells, each as bytes."""
    import numpy as np  # noqa: PLC0415 - there already

    told: list[bytes] = np.ascontiguousarray(cells).view(f"V{cells.shape[1]}").ravel().tolist()
    return told
