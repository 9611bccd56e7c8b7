"""The sums of an LMDB data file's pages, kept beside it: an accelerator, never the truth.

``data.sum`` says what every page of ``data.mdb`` held after a commit. While it
speaks for the newest commit, opening needs one pass over the file (0.3 us a
page) instead of a walk of its trees (25 us a page). A commit brings the sums of the
one before forward: what it wrote is measured and nothing else, so a page that rots
in between keeps its sum. LMDB never writes to a page that a commit in the file still
needs, so a process that dies within the next commit leaves pages that differ from
their sums only among the free ones.

A file that is missing, torn, damaged or of another commit (the process died
between the commit and this file) says nothing, and the trees are walked. So it
is written in place and never synced.

Layout, version 2, integers little-endian::

    0       8       magic "HFVSUMS" and a byte 2
    8       8       number of the commit
    16      8       count of pages, n
    24      4n      the sum of each page from page 0; 0 for those the file ends before
    24+4n   4       CRC-32C of all before
"""

from __future__ import annotations

import os
import pathlib
import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from crc32c import crc32c
from xxhash import xxh3_64_intdigest

from holdfast.limits import KIB
from holdfast.views.lmdb_file import Meta, Pages, changed_pages, damage, free_pages

MAGIC: Final = b"HFVSUMS\x02"
CHUNK_BYTES: Final = 256 * KIB
MASK: Final = 0xFFFF_FFFF

_HEAD = struct.Struct("<8sQQ")


def page_sum(page: bytes | memoryview) -> int:
    """The low 32 bits of XXH3-64.

    No CRC-32C: each row ends with its own, so one in the place of another of the same length
    leaves that of the page as it was.
    """
    return xxh3_64_intdigest(page) & MASK


def measure(descriptor: int, meta: Meta) -> array[int]:
    """The sum of every page up to the last one the commit used.

    One read of 256 KiB and then 64 sums, over and over: other threads get their
    turn at each read.
    """
    buffer = bytearray(CHUNK_BYTES)
    sums = array("I")
    while found := measure_some(descriptor, meta, len(sums), buffer):
        sums.extend(found)
    sums.extend([0] * (meta.last_page + 1 - len(sums)))
    return sums


def measure_some(
    descriptor: int, meta: Meta, first: int, buffer: bytearray | memoryview
) -> list[int]:
    """The sums of pages from ``first`` on, as many as ``buffer`` takes and as the file has."""
    size = meta.page_bytes
    most = min(len(buffer), (meta.last_page + 1 - first) * size)
    with memoryview(buffer) as view:
        got = os.preadv(descriptor, [view[:most]], first * size) if most > 0 else 0
        return [page_sum(view[at : at + size]) for at in range(0, got - got % size, size)]


def bring_forward(descriptor: int, metas: tuple[Meta, Meta], sums: array[int]) -> array[int]:
    """The sums of the commit before as those of the newest one: only what it wrote is read.

    Raises:
        Corrupt: what the commits say of free pages is damaged.
    """
    size, last = metas[0].page_bytes, metas[0].last_page
    forward = sums[: last + 1]
    forward.extend([0] * (last + 1 - len(forward)))
    buffer = bytearray(CHUNK_BYTES)
    for first, stop in _runs(sorted(changed_pages(descriptor, metas)), len(buffer) // size):
        with memoryview(buffer)[: (stop - first) * size] as view:
            found = measure_some(descriptor, metas[0], first, view)
        forward[first : first + len(found)] = array("I", found)
    return forward


def _runs(numbers: list[int], most: int) -> Iterator[tuple[int, int]]:
    """Where ascending numbers follow one another, from and to, at most so many together."""
    first = stop = numbers[0]
    for number in numbers:
        if number != stop or stop - first == most:
            yield first, stop
            first = number
        stop = number + 1
    yield first, stop


def write(path: Path, meta: Meta, sums: array[int]) -> None:
    """Store the sums; a disk that refuses costs a walk at the next open and nothing else."""
    head = _HEAD.pack(MAGIC, meta.transaction, len(sums))
    body = head + sums.tobytes()
    with suppress(OSError), pathlib.Path(path).open("wb", buffering=0) as file:
        file.write(body + crc32c(body).to_bytes(4, "little"))


def read(path: Path, meta: Meta) -> array[int] | None:
    """The sums, where they are whole and speak for this commit."""
    try:
        with pathlib.Path(path).open("rb") as file:
            stored = file.read()
    except OSError:
        return None
    body, check = stored[:-4], stored[-4:]
    if len(stored) < _HEAD.size or crc32c(body).to_bytes(4, "little") != check:
        return None
    magic, transaction, count = _HEAD.unpack_from(body)
    if (magic, transaction, count) != (MAGIC, meta.transaction, meta.last_page + 1):
        return None
    sums = array("I")
    sums.frombytes(body[_HEAD.size :])
    return sums


def hold(descriptor: int, meta: Meta, sums: array[int]) -> None:
    """Compare every page with its sum.

    Raises:
        Corrupt: a page that the commit needs is not what it was.
    """
    found = measure(descriptor, meta)
    if found == sums:
        return
    hold_differing(descriptor, meta, differing_pages(found, sums))


def differing_pages(found: Sequence[int], sums: Sequence[int], first: int = 0) -> set[int]:
    """Pages from ``first`` on that are not what their sums say."""
    pairs = enumerate(zip(found, sums, strict=True), first)
    return {page for page, (a, b) in pairs if a != b}


def hold_differing(descriptor: int, meta: Meta, differing: set[int]) -> None:
    """See whether pages that are not what their sums say are ones that the commit does not need.

    Raises:
        Corrupt: one is needed.
    """
    other = 1 - meta.transaction % 2  # the next commit's meta, which it may have begun to write
    differing = differing - {other}
    if not differing:
        return
    if differing & {0, 1}:
        raise damage("a meta is not what was written", min(differing))
    pages = Pages(descriptor, meta)
    free = set(free_pages(pages, meta))
    needed = differing - free
    if needed:
        raise damage("a page is not what was written", min(needed))
