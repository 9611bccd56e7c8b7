"""CRC-32Q against 0-stor's own vectors, and its short cuts against the plain loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.sdstor.crc32q import (
    LONGEST,
    ONES,
    RELATIONS,
    TABLE,
    crc32q,
)
from holdfast.limits import VALUE_RECORD_BYTES

NORMAL = 0x814141AB
VECTORS = {
    b"": 0,
    b"1": 0x0B5C5053,
    b"123456789": 0xA9CC8179,
    b"Hello, World!": 0x6D2DAFAB,
    "大家好".encode(): 0x09A938AC,
    b"someData": 0x9C45B83E,
    b"*" * 32 + b"abcdef": 0x21BCAA9A,
}


def by_the_byte(data: bytes) -> int:
    crc = ONES
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ ONES


def power(exponent: int) -> int:
    """x to this power, reduced bit by bit from the top: the schoolbook way."""
    found = 1
    for bit in f"{exponent:b}":
        squared = sum((found >> at & 1) << 2 * at for at in range(32)) << (bit == "1")
        while squared.bit_length() > 32:
            squared ^= (1 << 32 | NORMAL) << squared.bit_length() - 33
        found = squared
    return found


@pytest.mark.parametrize("data", VECTORS)
def test_vectors(data: bytes) -> None:
    assert crc32q(data) == VECTORS[data]


@pytest.mark.parametrize("data", [memoryview(b"1"), bytearray(b"1")])
def test_any_bytes(data: bytearray | memoryview) -> None:
    assert crc32q(data) == VECTORS[b"1"]


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda one: str(one[0]))
def test_relations_hold(relation: tuple[int, tuple[int, ...]]) -> None:
    exponent, terms = relation
    found = 0
    for term in terms:
        found ^= power(term)
    assert power(exponent) == found


def test_relations_reach_the_longest_payload() -> None:
    assert 8 * VALUE_RECORD_BYTES < LONGEST
    assert 2 * RELATIONS[-1][0] > 8 * VALUE_RECORD_BYTES


@given(data=st.binary(max_size=4000), times=st.integers(1, 12))
def test_folding_changes_nothing(data: bytes, times: int) -> None:
    assert crc32q(data * times) == by_the_byte(data * times)


@pytest.mark.parametrize("size", [127, 128, 129, 130, 4097, 65_537, VALUE_RECORD_BYTES])
def test_lengths(size: int) -> None:
    data = (b"0-stor" * (size // 6 + 1))[:size]
    assert crc32q(data) == by_the_byte(data)


def test_a_single_bit_is_noticed() -> None:
    data = bytearray(b"\0" * 70_000)
    whole = crc32q(data)
    for at in range(0, len(data), 997):
        data[at] ^= 1
        assert crc32q(data) != whole
        data[at] ^= 1
