"""The check behind every row in LMDB, which has none of its own.

Layout of a stored value, version 1::

    content             as the caller gave it, or a run of long_keys.py
    4                   CRC-32C, little-endian, of: table byte, key, content

The table byte is ``Table``'s number, with 0x80 added for a run and 0x7f for the
view's own rows, so a row that turns up under another key, in another table or
as another kind of row does not verify. Of 200 single-bit flips in a bare LMDB
index 43 were silent (rule 4).

A CRC over a message and its own little-endian CRC is a constant, the residue.
So a stored value is verified with one call and no parsing: the CRC of key and
value, begun at the table's seed, is ``RESIDUE``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from crc32c import crc32c

from holdfast.errors import Corrupt, FormatTooNew
from holdfast.log.packs import Flat

Get = Callable[[bytes], bytes | None]

CHECK_BYTES: Final = 4
RESIDUE: Final = 0x48674BC7  # CRC-32C of any message followed by its CRC, little-endian
RUN: Final = 0x80
HOUSE: Final = 0x7F

SEEDS: Final = tuple(crc32c(bytes([number])) for number in range(256))

KEY_SHOWN_BYTES: Final = 24


def seal(seed: int, rows: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The rows as they are stored; ``seed`` is one of ``SEEDS``.

    Example:
        >>> [(key, value)] = seal(SEEDS[1], [(b"key", b"content")])
        >>> value[:-CHECK_BYTES], crc32c(key + value, SEEDS[1]) == RESIDUE
        (b'content', True)
    """
    if isinstance(rows, Flat):
        return rows.checked(crc32c, seed)
    return [
        (key, content + crc32c(key + content, seed).to_bytes(CHECK_BYTES, "little"))
        for key, content in rows
    ]


def are_whole(seed: int, rows: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether every stored row verifies, by one CRC over all of them.

    A row that verifies leaves the CRC at ``RESIDUE``, and four bytes lead it from
    there back to the seed, for the next row. A row that does not verify leaves it
    elsewhere, and what follows maps different values to different ones.
    """
    glue = GLUES[seed]
    return not rows or crc32c(glue.join(map(b"".join, rows)) + glue, seed) == seed


def _glue(start: int, stop: int) -> bytes:
    """The four bytes that lead a CRC-32C from one value to another.

    A CRC's next value is an affine function of the bytes, over bits: solved by
    elimination, the bits of the bytes that reach each leading bit first.
    """
    base = crc32c(bytes(4), start)
    reached: dict[int, tuple[int, int]] = {}
    for bit in range(32):
        step, word = crc32c((1 << bit).to_bytes(4, "little"), start) ^ base, 1 << bit
        while step.bit_length() in reached:
            other = reached[step.bit_length()]
            step, word = step ^ other[0], word ^ other[1]
        reached[step.bit_length()] = step, word
    wanted, found = stop ^ base, 0
    while wanted:
        step, word = reached[wanted.bit_length()]
        wanted, found = wanted ^ step, found ^ word
    return found.to_bytes(4, "little")


GLUES: Final = {seed: _glue(RESIDUE, seed) for seed in SEEDS}


def opened(table: IntEnum, key: bytes, value: bytes, kind: int = 0) -> bytes:
    """The content of a stored value; ``kind`` is 0, or RUN where a run is expected.

    Raises:
        Corrupt: the value is not what was stored under this key of this table.
    """
    if crc32c(key + value, SEEDS[table | kind]) != RESIDUE:
        raise damaged(table, key)
    return value[:-CHECK_BYTES]


def damaged(table: IntEnum, key: bytes) -> Corrupt:
    """The error for a row that does not verify, with its place."""
    return Corrupt(position=f"view {table.name} {key[:KEY_SHOWN_BYTES].hex()}")


# -- what the view keeps about itself -----------------------------------------------
#
# b"format"                 2   version of all that is described here
# b"commit"                 8   number of the commit that these rows are of (u64)
# b"long" + table byte      12  runs (u32) and the keys in them (u64)
#
# Integers are little-endian. Each commit writes its number, which LMDB's meta also
# has, but without a check.

FORMAT: Final = 1
FORMAT_KEY: Final = b"format"
COMMIT_KEY: Final = b"commit"

_LONG = struct.Struct("<IQ")


class LongCount(NamedTuple):
    """How many rows of a table are runs, and how many keys those hold."""

    runs: int
    keys: int

    def row(self, table: IntEnum) -> tuple[bytes, bytes]:
        """As stored."""
        return _long_key(table), _LONG.pack(*self)


def _long_key(table: IntEnum) -> bytes:
    return b"long" + bytes([table])


def house_row(get: Get, key: bytes) -> bytes | None:
    """A row of the view's own; ``get`` reads its table.

    Raises:
        Corrupt: it does not verify.
    """
    value = get(key)
    if value is None:
        return None
    if crc32c(key + value, SEEDS[HOUSE]) != RESIDUE:
        raise Corrupt(position=f"view HOUSE {key.hex()}")
    return value[:-CHECK_BYTES]


def long_count(get: Get, table: IntEnum) -> LongCount:
    """How many long keys a table holds; ``get`` reads the view's own table."""
    row = house_row(get, _long_key(table))
    return LongCount(0, 0) if row is None else LongCount(*_LONG.unpack(row))


def commit_row(number: int) -> tuple[bytes, bytes]:
    """The row that says which commit it is of."""
    return COMMIT_KEY, number.to_bytes(8, "little")


def hold_commit(get: Get, number: int) -> None:
    """Hold a commit's number against the one it wrote into its rows.

    Raises:
        Corrupt: the meta that led to these rows is not theirs.
    """
    row = house_row(get, COMMIT_KEY)
    if row is None or int.from_bytes(row, "little") != number:
        raise Corrupt(position="view HOUSE", why="the rows are not of the commit the file names")


def hold_format(get: Get) -> None:
    """Refuse a view that a later version wrote.

    Raises:
        FormatTooNew: it did.
        Corrupt: there is no telling.
    """
    row = house_row(get, FORMAT_KEY)
    if row is None:
        raise Corrupt(position="view HOUSE", why="it names no format")
    found = int.from_bytes(row, "little")
    if found > FORMAT:
        raise FormatTooNew(found=found, known=FORMAT)


def format_row() -> tuple[bytes, bytes]:
    """The row that ``hold_format`` reads."""
    return FORMAT_KEY, FORMAT.to_bytes(2, "little")
