"""What records make of an object: pieces go behind what they were written behind, or nowhere."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from crc32c import crc32c

from holdfast.log.entry import EXTENSION, Entry, fold
from holdfast.log.keyblock import row_of
from holdfast.log.records import Record, Type

Piece = tuple[Type, int, bytes, bytes]  # type, version, value, attributes


def added(version: int, before: bytes, value: bytes, first: int = 0) -> Piece:
    """A piece behind what stands, or a JOIN of all from ``first`` on."""
    whole = before + value
    attrs = EXTENSION.pack(len(whole), crc32c(whole), first)
    return (Type.JOIN if first else Type.APPEND), version, value, attrs


def folded(pieces: Iterable[Piece]) -> tuple[int, int, list[int]] | None:
    """Version, size and the versions of the extents."""
    entry: Entry | None = None
    for kind, version, value, attrs in pieces:
        crc = crc32c(value)
        record = Record(kind, 0, b"n\0k", attrs, len(value), crc, version, 0, 0, 100 * version)
        entry = fold(entry, kind, row_of(record, 1).entry)
    if entry is None:
        return None
    return entry.version, entry.size, [e.version for e in entry.extents]


STORED: Piece = (Type.STORE, 1, b"aa", b"")
HISTORY = [
    STORED,
    added(2, b"aa", b"bb"),
    added(3, b"aabb", b"cc"),
    added(4, b"aa", b"bbcc", first=2),
    added(5, b"aabbcc", b"dd"),
]


def test_pieces_that_were_joined_may_be_gone_or_stand() -> None:
    dead = HISTORY[1:3]
    for count in range(len(dead) + 1):
        for left in combinations(dead, count):
            listed = [STORED, *left, *HISTORY[3:]]
            assert folded(listed) == (5, 8, [1, 4, 5])
            assert folded([*listed, HISTORY[0]]) == (5, 8, [1, 4, 5])  # an evacuated copy


def test_a_piece_without_what_was_before_it_is_passed_over() -> None:
    other: Piece = (Type.STORE, 1, b"xx", b"")  # of the same size
    assert folded([STORED, HISTORY[2]]) == (1, 2, [1])
    assert folded([other, HISTORY[1]]) == (1, 2, [1])
    assert folded([STORED, HISTORY[1], HISTORY[2]]) == (3, 6, [1, 2, 3])
    assert folded(HISTORY[1:]) is None


def test_a_join_without_what_it_left_is_passed_over() -> None:
    older: Piece = (Type.STORE, 0, b"aa", b"")
    assert folded([older, *HISTORY[3:]]) == (0, 2, [0])
    later = added(6, b"aabbcc", b"ddee", first=5)  # leaves what 4 joined
    assert folded([*HISTORY[:3], later]) == (3, 6, [1, 2, 3])
    assert folded([*HISTORY, later]) == (6, 10, [1, 4, 6])
