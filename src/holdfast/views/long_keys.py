"""Keys too long for LMDB: sorted runs, as pure functions of bytes.

LMDB refuses keys over 511 bytes. All keys of a table that are longer than
``VIEW_KEY_BYTES`` (480) and agree in their first 480 bytes share one row, their
*run*: its key is those 480 bytes and one zero byte, its content holds the rest
of each key (the suffix) with its content, sorted by suffix.

Why this keeps the order of the table. Let ``p`` be 480 bytes. Keys of at most
480 bytes are stored as they are, longer ones never, so every stored key of 481
bytes is a run, and ``p + 0x00`` is the only stored key that begins with ``p``
and is longer. A stored key ``k`` other than these two differs from ``p`` within
its own length or is a proper prefix of it:

- ``k < p`` by bytes or as a prefix: then ``k`` sorts before ``p``, before
  ``p + 0x00`` and before every long key that begins with ``p``;
- ``k > p``: it differs from ``p`` at a byte that is larger, so it sorts after
  ``p + 0x00`` and after every long key that begins with ``p``.

So walking the stored keys in order, and each run from its first suffix to its
last in place of its row, visits all keys of the table in byte order. Every
suffix is at least one byte, so no key of a run is smaller than the run's own.

Layout of a run's content, version 1, integers little-endian::

    offset      bytes
    0           2       count of keys, 1 to VIEW_KEYS_SHARED
    2           8 each  end of the suffix, end of the content (u32, u32), counted
                        from the start of the two areas below
    2 + 8n      ...     suffixes, joined, ascending
    ...         ...     contents, joined, in the same order

What is read here was verified by the row's check before, so a run that
contradicts itself is a mistake of ours: ``ValueError``.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate, chain

from holdfast.errors import LimitExceeded
from holdfast.limits import VIEW_KEY_BYTES, VIEW_KEYS_SHARED

RUN_KEY_BYTES = VIEW_KEY_BYTES + 1

Rows = list[tuple[bytes, bytes]]

_COUNT = struct.Struct("<H")
_ENDS = struct.Struct("<II")


def run_key(key: bytes) -> bytes:
    """The key of the row that a long ``key`` shares.

    Example:
        >>> len(run_key(b"k" * 1024))
        481
    """
    return key[:VIEW_KEY_BYTES] + b"\0"


def pack(rows: Rows) -> bytes:
    """The content of a run with these (suffix, content) rows, ascending.

    Example:
        >>> unpack(pack([(b"a", b"1"), (b"b", b"")]))
        [(b'a', b'1'), (b'b', b'')]
    """
    suffixes, contents = zip(*rows, strict=True)
    ends = zip(accumulate(map(len, suffixes)), accumulate(map(len, contents)), strict=True)
    table = struct.pack(f"<H{2 * len(rows)}I", len(rows), *chain.from_iterable(ends))
    return b"".join((table, *suffixes, *contents))


def unpack(run: bytes) -> Rows:
    """Every (suffix, content) of a run, ascending.

    Raises:
        ValueError: the run contradicts itself.
    """
    (count,) = _COUNT.unpack_from(run)
    ends = struct.unpack_from(f"<{2 * count}I", run, _COUNT.size)
    base = _COUNT.size + _ENDS.size * count
    middle = base + ends[-2]
    if middle + ends[-1] != len(run):
        raise ValueError("a run's length is not what its table says")
    suffix_starts = (0, *ends[:-2:2])
    content_starts = (0, *ends[1:-2:2])
    return [
        (run[base + a : base + b], run[middle + c : middle + d])
        for a, b, c, d in zip(suffix_starts, ends[::2], content_starts, ends[1::2], strict=True)
    ]


def find(run: bytes, suffix: bytes) -> bytes | None:
    """The content under ``suffix``, or None: a binary search that copies ten suffixes, not all."""
    (count,) = _COUNT.unpack_from(run)
    ends = memoryview(run)[_COUNT.size :]
    base = _COUNT.size + _ENDS.size * count

    def place(index: int) -> tuple[int, int]:
        return _ENDS.unpack_from(ends, _ENDS.size * index) if index >= 0 else (0, 0)

    def suffix_at(index: int) -> bytes:
        return run[base + place(index - 1)[0] : base + place(index)[0]]

    index = bisect_left(range(count), suffix, key=suffix_at)
    if index == count or suffix_at(index) != suffix:
        return None
    middle = base + place(count - 1)[0]
    return run[middle + place(index - 1)[1] : middle + place(index)[1]]


def changed(run: bytes | None, puts: Mapping[bytes, bytes], deletes: Iterable[bytes]) -> Rows:
    """The rows of a run after ``deletes`` and then ``puts``, both by suffix; may be empty.

    Raises:
        LimitExceeded: more than ``VIEW_KEYS_SHARED`` keys would share the run.
    """
    rows = dict(unpack(run)) if run is not None else {}
    for suffix in deletes:
        rows.pop(suffix, None)
    rows.update(puts)
    if len(rows) > VIEW_KEYS_SHARED:
        raise LimitExceeded(limit="VIEW_KEYS_SHARED", most=VIEW_KEYS_SHARED)
    return sorted(rows.items())


def between(key: bytes, run: bytes, start: bytes, stop: bytes | None) -> Rows:
    """The rows of the run stored under ``key`` with ``start <= whole key < stop``."""
    prefix = key[:VIEW_KEY_BYTES]
    return [
        (prefix + suffix, content)
        for suffix, content in unpack(run)
        if prefix + suffix >= start and (stop is None or prefix + suffix < stop)
    ]


def by_run(keys: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    """Long keys gathered under the key of the run they share."""
    gathered: dict[bytes, list[bytes]] = {}
    for key in keys:
        gathered.setdefault(run_key(key), []).append(key)
    return gathered
