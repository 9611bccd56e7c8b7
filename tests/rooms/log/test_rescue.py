"""Records in a damaged group: what is kept is what was written, whatever was damaged."""

from __future__ import annotations

from collections.abc import Iterator

from crc32c import crc32c

from holdfast.log.group import GROUP_HEAD_BYTES, Group, Kind, read_head, seal_head
from holdfast.log.keyblock import KeyBlock, build, columns, sorted_rows
from holdfast.log.records import Flag, Record, Type, encode
from holdfast.log.rescue import Gap, Rescued, rescue

AT = 30  # where the group begins
WRITTEN = [
    encode(Type.STORE, b"n\0plain", b"one value", 3, 10),
    encode(Type.STORE, b"n\0kept", b"another", 4, 11, flags=Flag.PERMANENT, expires_ns=99),
    encode(Type.DELETE, b"n\0gone", b"", 5, 12),
    encode(Type.STORE, b"n\0typed", b"a third", 6, 13, attrs=b"\x91\xa4text"),
    encode(Type.SESSION, b"n\0", b"numbers", 7, 14),
    encode(Type.STORE, b"n\0empty", b"", 8, 15),
]
BODY = b"".join(map(bytes, (part for record in WRITTEN for part in record)))
HEAD, _ = seal_head(Kind.RECORDS, len(WRITTEN), len(BODY), crc32c(BODY), 0, 0)
DATA = bytes(AT) + HEAD + BODY
GAP = Gap(1, AT, len(DATA))


def whole() -> Group:
    head = read_head(DATA, AT, AT)
    assert head is not None
    return Group(head, memoryview(BODY))


ALL = [record for record in whole().records() if record.type != Type.SESSION]


def flipped(start: int, length: int = 1) -> bytes:
    spoiled = bytes(byte ^ 0x02 for byte in DATA[start : start + length])
    return DATA[:start] + spoiled + DATA[start + length :]


def rescued(data: bytes, block: KeyBlock | None = None) -> tuple[list[Record], Rescued]:
    found = rescue(data, [GAP], block)
    return found.kept, found


def values() -> Iterator[tuple[Record, int]]:
    for record in ALL:
        for at in range(record.offset, record.offset + record.value_len):
            yield record, at


def test_every_flip_leaves_only_what_was_written() -> None:
    for at in range(AT, len(DATA)):
        kept, found = rescued(flipped(at))
        assert all(record in ALL for record in kept), at
        assert found.untold  # a session is no key's


def test_a_flip_in_a_value_loses_and_names_that_record_alone() -> None:
    for damaged, at in values():
        kept, found = rescued(flipped(at))
        assert kept == [record for record in ALL if record is not damaged]
        assert [(row.key, row.version) for row in found.lost] == [(damaged.key, damaged.version)]


def test_a_flip_in_the_head_of_the_group_loses_none() -> None:
    for at in range(AT, AT + GROUP_HEAD_BYTES):
        assert rescued(flipped(at))[0] == ALL


def test_what_only_the_group_vouches_for_is_not_believed() -> None:
    """A time of life, say: nobody knows which of the records it was."""
    expiry = ALL[1].offset - len(ALL[1].key) - 8
    kept, found = rescued(flipped(expiry))
    assert not kept
    assert found.untold == [GAP]


def test_a_run_of_damage_leaves_what_lies_before_it() -> None:
    for at in range(AT + GROUP_HEAD_BYTES, len(DATA)):
        for length in (2, 3, 6, 20, 60):
            kept, _ = rescued(flipped(at, length))
            assert all(record in ALL for record in kept), (at, length)
    zeros = DATA[: ALL[3].offset] + bytes(len(DATA) - ALL[3].offset)
    assert rescued(zeros)[0] == ALL[:3]


def test_a_key_block_tells_all_but_the_value() -> None:
    body, _ = build([columns(sorted_rows(whole().rows(1)))])
    block = KeyBlock(body, 1)
    inside = {at: record for record, at in values()}
    for at in range(AT, len(DATA)):
        kept, found = rescued(flipped(at), block)
        assert kept == [record for record in ALL if record is not inside.get(at)]
        assert len(found.lost) == (at in inside)
        assert not found.untold
