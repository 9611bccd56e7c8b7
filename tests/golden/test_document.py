"""docs/FORMAT.md says what the product does: its example is decoded, its tables are compared.

The example is decoded with ``struct`` alone, as somebody would who has only the
page; CRC-32C is computed from its definition.
"""

from __future__ import annotations

import hashlib
import re
import struct
from enum import IntEnum
from functools import cache
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from crc32c import crc32c
from xxhash import xxh3_64_intdigest

from holdfast import limits
from holdfast.bucket import rows
from holdfast.log import entry, group, header, keyblock, records
from holdfast.log.group import Kind
from holdfast.log.records import Flag, Type
from holdfast.store import closed, timemark
from holdfast.views import lmdb_rows
from holdfast.views.port import Table
from tests.golden.making import example_segment

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "FORMAT.md"
CELL = re.compile(r"\s*\|\s*")
POLYNOMIAL = 0x82F63B78
ONES = 0xFFFFFFFF


@cache
def page() -> str:
    return PAGE.read_text()


def example(name: str) -> bytes:
    """The bytes of an example: what stands before the bar of each line."""
    found = re.search(rf"^```hex {name}\n(.*?)^```", page(), re.MULTILINE | re.DOTALL)
    assert found
    lines = found[1].splitlines()
    return b"".join(bytes.fromhex(line.partition("|")[0]) for line in lines)


def tables() -> list[list[list[str]]]:
    """Every table of the page: rows of cells, the head first."""
    found: list[list[list[str]]] = [[]]
    for line in page().splitlines():
        if line.startswith("|"):
            found[-1].append(CELL.split(line)[1:-1])
        elif found[-1]:
            found.append([])
    return [[head, *body] for head, _, *body in filter(None, found)]


def table(*head: str) -> list[list[str]]:
    """The rows of the first table with this head."""
    return next(body for first, *body in tables() if first[: len(head)] == list(head))


def by_definition(data: bytes, begun: int = 0) -> int:
    """CRC-32C as the page defines it, bit by bit."""
    crc = begun ^ ONES
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return crc ^ ONES


# -- the example ---------------------------------------------------------------------


def test_the_example_is_what_the_product_writes() -> None:
    parts = ("segment-head", "state-group", "store-group", "key-block")
    assert b"".join(map(example, parts)).hex() == example_segment().hex()


def test_the_head_is_decoded() -> None:
    data = example("segment-head")
    magic, form, pad, pads, _, life, bucket, number, *before, digest = struct.unpack(
        "<8sHHI16sQ8sQQQQQ", data
    )
    assert (magic, form, pad, pads, life, number) == (b"HFSEGMNT", 1, 0, 0, 1, 1)
    assert bucket.hex() == "fa39aeb641f7000d"
    assert before == [0, 0, 0]
    assert digest == xxh3_64_intdigest(data[:80])


@pytest.mark.parametrize(
    ("name", "kind", "synced_to", "before"),
    [
        ("state-group", 3, 88, "segment-head"),
        ("store-group", 1, 201, "state-group"),
        ("key-block", 2, 304, "store-group"),
    ],
)
def test_a_group_is_decoded(name: str, kind: int, synced_to: int, before: str) -> None:
    data = example(name)
    magic, its, _, _, count, length, crc, _, synced, previous, digest = struct.unpack_from(
        "<4sBBHIIIIQQQ", data
    )
    assert (magic, its, count, synced) == (b"HFGR", kind, 1, synced_to)
    assert length == len(data) - 48
    assert crc == by_definition(data[48:])
    assert digest == xxh3_64_intdigest(data[:40])
    earlier = example(before)
    chained = earlier[80:88] if before == "segment-head" else earlier[40:48]
    assert previous == int.from_bytes(chained, "little")


def test_the_state_is_decoded() -> None:
    body = example("state-group")[48:]
    kind, _, key_len, value_len, crc, attrs_len, version, modified, expires = struct.unpack_from(
        "<BBHIIIQQQ", body
    )
    assert (kind, key_len, attrs_len, version, expires) == (32, 0, 0, 0, 0)
    value = body[40 : 40 + value_len]
    assert crc == by_definition(value)
    assert msgspec.msgpack.decode(value) == [b"", b"\xff", 0, modified, [], [], [], b""]


def test_the_put_is_decoded() -> None:
    body = example("store-group")[48:]
    kind, flags, key_len, value_len, crc, attrs_len, version, modified, expires = (
        struct.unpack_from("<BBHIIIQQQ", body)
    )
    key, value = body[40 : 40 + key_len], body[40 + key_len : 40 + key_len + value_len]
    (check,) = struct.unpack_from("<I", body, 40 + key_len + value_len)
    assert (kind, flags, attrs_len, version, expires) == (1, 0, 0, 1, 0)
    assert modified == 1_700_000_000 * 10**9
    assert (key, value) == (b"acme\x00a", b"hello")
    assert crc == by_definition(value)
    assert check == by_definition(key, crc ^ (version ^ version >> 32) & ONES)
    assert len(body) == 40 + key_len + value_len + 4


def test_the_key_block_is_decoded() -> None:
    body = example("key-block")[48:]
    count, rows_len = struct.unpack_from("<II", body)
    kind, pad, key_len, entry_len = struct.unpack_from("<BBHH", body, 8)
    assert (count, rows_len, kind, pad) == (1, 6 + key_len + entry_len, 1, 0)
    assert body[14 : 14 + key_len] == b"acme\x00a"
    version, _, expires, size, crc, flags, attrs_len, segment, offset = struct.unpack_from(
        "<QQQQIHHIQ", body, 14 + key_len
    )
    assert (version, expires, flags, attrs_len, segment) == (1, 0, 0, 0, 1)
    whole = example_segment()
    assert whole[offset : offset + size] == b"hello"
    assert crc == by_definition(b"hello")
    assert struct.unpack_from("<I", body, 8 + rows_len) == (0,)
    assert len(body) == 8 + rows_len + 4 * count


# -- the tables ----------------------------------------------------------------------


def test_the_checksums_are_those_of_the_page() -> None:
    said = {name: value for name, _, value in table("checksum")}
    assert said["CRC-32C"].endswith(f"0x{by_definition(b'123456789'):X}")
    assert said["XXH3-64"].endswith(f"0x{xxh3_64_intdigest(b''):X}")
    assert hashlib.blake2b(digest_size=32).hexdigest()[:16] in said["BLAKE2b"]
    assert by_definition(b"6789", by_definition(b"12345")) == crc32c(b"123456789")


@pytest.mark.parametrize(
    ("first", "kinds"), [("type", Type), ("kind", Kind), ("flag", Flag)], ids=str
)
def test_every_number_is_in_its_table(first: str, kinds: type[IntEnum]) -> None:
    said = {name: int(number) for number, name, *_ in table(first, "name")}
    extra = {"EXTENTS": entry.EXTENTS_FLAG} if kinds is Flag else {}
    assert said == {kind.name: int(kind) for kind in kinds} | extra


def test_every_table_of_a_view_is_told() -> None:
    said = {name: int(number) for number, name, *_ in table("number", "name")}
    named = {its.name.lower(): int(its) for its in Table}
    assert said == named | {"house": lmdb_rows.HOUSE}


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        (header.HEAD, 80),
        (group.HEAD, 40),
        (group.DIGEST, 8),
        (records.HEAD, 40),
        (records.CHECK, 4),
        (entry.ENTRY, 52),
        (entry.EXTENT, 24),
        (entry.EXTENSION, 20),
        (keyblock.ROW, 6),
        (rows.PREFIX, 16),
        (rows.LOCK, 28),
        (rows.UPLOAD, 25),
        (closed.HEAD, 16),
        (timemark.SLOT, 32),
    ],
    ids=lambda value: value.format if isinstance(value, struct.Struct) else str(value),
)
def test_every_layout_is_told(layout: struct.Struct, size: int) -> None:
    assert f"`{layout.format}`" in page()
    assert layout.size == size


def test_the_fields_of_a_layout_leave_no_gap() -> None:
    drawn = [body for head, *body in tables() if head[:2] == ["offset", "size"]]
    assert len(drawn) == 8
    for body in drawn:
        fixed = [(int(at), int(size)) for at, size, _ in body if at.isdigit() and size.isdigit()]
        assert fixed[0][0] == 0
        assert [at + size for at, size in fixed[:-1]] == [at for at, _ in fixed[1:]]
        assert all(size for _, size in fixed)
        assert all(a < b for (a, _), (b, _) in pairwise(fixed))


def test_the_limits_are_those_of_the_product() -> None:
    said = dict(table("what", "most"))
    assert said == {
        "namespace": f"{limits.NAMESPACE_CHARS} characters",
        "key": f"{limits.KEY_BYTES:,} bytes",
        "value in one record": f"{limits.VALUE_RECORD_BYTES // limits.MIB} MiB",
        "object": f"{limits.OBJECT_BYTES // limits.TIB} TiB",
        "consumers of an object": f"{limits.CONSUMERS}",
        "consumer id": f"{limits.CONSUMER_BYTES} bytes",
        "content type": f"{limits.CONTENT_TYPE_BYTES} bytes",
        "extents of an object": f"{limits.EXTENTS}",
        "numbers of a session above its floor, in one bucket": f"{limits.SESSION_NUMBERS:,}",
        "sessions of a namespace in one bucket": f"{limits.SESSIONS:,}",
        "numbers of all of them": f"{limits.SPACE_NUMBERS:,}",
        f"keys over {limits.VIEW_KEY_BYTES} bytes that share their first "
        f"{limits.VIEW_KEY_BYTES}": f"{limits.VIEW_KEYS_SHARED:,}",
        "manifest of a backup": f"{limits.MANIFEST_BYTES // limits.GIB} GiB",
    }
