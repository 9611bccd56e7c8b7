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
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.log.ordering import in_order

if TYPE_CHECKING:
    import numpy as np

LEAST: Final = 5_000  # rows from which columns are worth the import
SLICE: Final = 1_000  # rows copied between two calls of pace
RUN: Final = 256  # rows of one run
PADDING: Final = 4  # times its own bytes that a column of keys may take


class Run(NamedTuple):
    """Some rows: their keys, ascending, and what stands there."""

    keys: list[bytes]
    rows: list[bytes]


class _Columns(NamedTuple):
    keys: np.ndarray[tuple[int], np.dtype[np.bytes_]]
    rows: np.ndarray[tuple[int], np.dtype[np.void]]


def runs(table: Mapping[bytes, bytes], pace: Callable[[], None]) -> Iterator[Run]:
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
    columns = _copied(table, pace) if len(table) >= LEAST else None
    if columns is None:
        for run in in_order(list(table), pace):
            yield Run(run, [table[key] for key in run])
        return
    keys, rows = columns
    order = keys.argsort(kind="stable")  # no two are equal; this kind is the quicker
    width = rows.dtype.itemsize
    for at in range(0, len(order), RUN):
        chosen = order[at : at + RUN]
        body = rows[chosen].tobytes()
        bounds = range(0, len(body), width)
        yield Run(keys[chosen].tolist(), [body[start : start + width] for start in bounds])
        pace()


def _copied(table: Mapping[bytes, bytes], pace: Callable[[], None]) -> _Columns | None:
    """The table as columns; None where that cannot be, or is not worth it."""
    try:
        import numpy as np  # noqa: PLC0415 - 0.1 s, and an extra
    except ModuleNotFoundError:
        return None
    width = len(next(iter(table.values())))
    keys, rows = iter(table), iter(table.values())
    parts, body, length = [], bytearray(), 0
    while chunk := list(islice(keys, SLICE)):
        own = list(islice(rows, SLICE))
        if not width or set(map(len, own)) != {width}:
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
