"""What the tests of the LMDB view share: a view with a past, its pages, and bits to flip."""

from __future__ import annotations

import random
import shutil
import struct
from collections import defaultdict
from pathlib import Path

from holdfast.limits import MIB
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table

PAGE = 4096
BRANCH, LEAF, OVERFLOW, META = 1, 2, 4, 8
LONG = b"p" * 500

Model = dict[Table, dict[bytes, bytes]]


def with_a_past(folder: Path, keys: int, rounds: int = 10, seed: int = 1) -> Model:
    """A view after rounds of puts and deletes of many sizes, closed; and what it holds.

    So its file has freed pages that still hold rows as they once were, which a
    flipped page number can lead to.
    """
    chance = random.Random(seed)
    model: Model = {table: {} for table in Table}
    known = {table: [chance.randbytes(16) for _ in range(9)] for table in Table}
    known[Table.KEYS] = [chance.randbytes(16) for _ in range(keys)]
    known[Table.EXPIRY] = [chance.randbytes(24) for _ in range(keys // 4)]
    known[Table.KEYS] += [LONG + chance.randbytes(4) for _ in range(20)]
    view = LmdbView(str(folder))
    for number in range(rounds):
        with view.writer() as writer:
            for table in Table:
                part = len(known[table]) if number == 0 else len(known[table]) // 8 + 1
                rows = {
                    key: chance.randbytes(chance.choice([60, 60, 60, 20, 61, 150]))
                    for key in chance.sample(known[table], part)
                }
                if table is Table.CONSUMERS:
                    rows[known[table][0]] = chance.randbytes(chance.choice([3_000, 9_000]))
                writer.put(table, sorted(rows.items()))
                model[table] |= rows
                gone = chance.sample(known[table], len(known[table]) // 20) if number else []
                writer.delete(table, gone)
                for key in gone:
                    model[table].pop(key, None)
    view.close()
    return model


def copy(source: Path, target: Path, *, sums: bool, at_once_bytes: int = MIB) -> LmdbView:
    """A view over a copy of the data file, with its sums or without."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    shutil.copy(source / "data.mdb", target)
    if sums:
        shutil.copy(source / "data.sum", target)
    return LmdbView(str(target), at_once_bytes=at_once_bytes)


def flip(path: Path, offset: int, bit: int) -> None:
    """Turn one bit of a file over."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def pages_by_kind(path: Path) -> dict[int, list[int]]:
    """The numbers of a data file's pages by their flags, freed ones among them."""
    data = path.read_bytes()
    kinds: dict[int, list[int]] = defaultdict(list)
    for page in range(len(data) // PAGE):
        kinds[struct.unpack_from("<H", data, page * PAGE + 10)[0]].append(page)
    return kinds


def contents(view: LmdbView) -> Model:
    """Every row, by scans."""
    found: Model = {}
    for table in Table:
        found[table] = {}
        start = b""
        while rows := view.scan(table, start, None, 500):
            found[table] |= dict(rows)
            start = rows[-1][0] + b"\0"
    return found
