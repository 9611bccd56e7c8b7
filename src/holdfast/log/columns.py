"""Rows of a table in the order of their keys, without an object a key where that can be.

A dict of some 100,000 rows is spread over all memory: to sort its keys, and to look each
up in that order, waits for memory at every step (1.1 us a key; the dict in its own order
takes 0.1). So keys and rows are first copied, as they came, into two columns, which are
sorted and gathered there (0.45 us a key, of which half leaves the interpreter). That
takes numpy, and rows of one width: plain entries are. Everything else, and everything
where numpy is not installed, goes by ``ordering.in_order``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from holdfast.log.ordering import in_order

if TYPE_CHECKING:
    import numpy as np

LEAST: Final = 5_000  # rows from which columns are worth the import
SLICE: Final = 500  # rows copied between two calls of pace
RUN: Final = 256  # rows of one run
PART: Final = 1_000  # rows laid out between two calls of pace
PADDING: Final = 4  # times its own bytes that a column of keys may take

R = TypeVar("R", bytes, bytes | None)


class Run(NamedTuple, Generic[R]):
    """Some rows: their keys, ascending, and what stands there."""

    keys: list[bytes]
    rows: list[R]


class Part(NamedTuple):
    """Some rows as they are laid out one behind the other, and where each begins."""

    body: bytes
    starts: bytes  # u32 each, little-endian, counted from the first row of all


class _Columns(NamedTuple):
    keys: np.ndarray[tuple[int], np.dtype[np.bytes_]]
    rows: np.ndarray[tuple[int], np.dtype[np.void]]


def runs(table: Mapping[bytes, R], pace: Callable[[], None]) -> Iterator[Run[R]]:
    """Runs of ascending rows, each run behind the one before.

    Args:
        table: rows by key; nobody changes it meanwhile.
        pace: called between slices of work; may sleep.

    Example:
        >>> list(runs({b"b": b"2", b"a": b"1"}, lambda: None))
        [Run(keys=[b'a', b'b'], rows=[b'1', b'2'])]
    """
    if not table:
        return
    columns = _copied(table, pace)
    if columns is None:
        for run in in_order(list(table), pace):
            yield Run(run, [table[key] for key in run])
        return
    keys, rows = columns
    order = keys.argsort(kind="stable")  # no two are equal; this kind is the quicker
    for at in range(0, len(order), RUN):
        chosen = order[at : at + RUN]
        yield Run(keys[chosen].tolist(), rows[chosen].tolist())
        pace()


def laid_out(
    table: Mapping[bytes, bytes], head_of: Callable[[int], bytes], pace: Callable[[], None]
) -> list[Part] | None:
    """Ascending rows as a key block has them: head, key, row; None where columns do not serve.

    A twelfth of what it takes row by row, and most of that leaves the interpreter.

    Args:
        table: rows by key; nobody changes it meanwhile.
        head_of: what stands before a key of so many bytes; always of one width.
        pace: called between slices of work; may sleep.
    """
    columns = _copied(table, pace)
    if columns is None:
        return None
    import numpy as np  # noqa: PLC0415 - as in ``_copied``

    keys, rows = columns
    widest, width = keys.dtype.itemsize, rows.dtype.itemsize
    heads = np.array([list(head_of(length)) for length in range(widest + 1)], dtype=np.uint8)
    lead = heads.shape[1]
    order, at, parts = keys.argsort(kind="stable"), 0, []
    for first in range(0, len(order), PART):
        chosen = order[first : first + PART]
        lengths = np.strings.str_len(keys[chosen])
        laid = np.empty((len(chosen), lead + widest + width), dtype=np.uint8)
        laid[:, :lead] = heads[lengths]
        laid[:, lead : lead + widest] = keys[chosen].view(np.uint8).reshape(-1, widest)
        laid[:, lead + widest :] = rows[chosen].view(np.uint8).reshape(-1, width)
        told = np.ones(laid.shape, dtype=np.bool_)
        told[:, lead : lead + widest] = np.arange(widest) < lengths[:, None]
        stops = at + np.cumsum(lengths + (lead + width))
        starts = (stops - lengths - (lead + width)).astype("<u4")
        parts.append(Part(laid[told].tobytes(), starts.tobytes()))
        at = int(stops[-1])
        pace()
    return parts


def _copied(table: Mapping[bytes, bytes | None], pace: Callable[[], None]) -> _Columns | None:
    """The table as columns; None where that cannot be, or is not worth it."""
    if len(table) < LEAST:
        return None
    try:
        import numpy as np  # noqa: PLC0415 - 0.1 s, and an extra
    except ModuleNotFoundError:
        return None
    width = len(next(iter(table.values())) or b"")
    keys, rows = iter(table), iter(table.values())
    parts, body, length = [], bytearray(), 0
    while chunk := list(islice(keys, SLICE)):
        own = [row for row in islice(rows, SLICE) if row]
        if len(own) != len(chunk) or set(map(len, own)) != {width}:
            return None
        parts.append(np.array(chunk))
        body += b"".join(own)
        length += sum(map(len, chunk))
        pace()
    widest = max(part.dtype.itemsize for part in parts)
    if widest * len(table) > PADDING * length:
        return None
    column = np.concatenate(parts)
    if int(np.strings.str_len(column).sum()) != length:
        return None  # padding cannot be told from a key that ends in zeros
    return _Columns(column, np.frombuffer(body, dtype=f"V{width}"))
