"""Header blocks: examples of RFC 7541, blocks that are none, and what is known of the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.server.http2 import coding
from holdfast.server.http2.frames import Broken

PLAIN = (
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
)
PACKED = (
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
)
FIRST = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"www.example.com"),
]
TOLD = (
    FIRST,
    [*FIRST, (b"cache-control", b"no-cache")],
    [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
)
# Appendix C.5, behind a table of 256 bytes that its entries do not all fit.
RESPONSES = (
    (
        "3fe1014803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a3231"
        "20474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d"
    ),
    "4803333037c1c0bf",
    (
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f"
        "6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b"
        "2076657273696f6e3d31"
    ),
)


def decoder() -> coding.Decoder:
    return coding.Decoder(16_384, 100)


@pytest.mark.parametrize("blocks", [PLAIN, PACKED])
def test_the_requests_of_the_rfc(blocks: tuple[str, ...]) -> None:
    reads = decoder()
    assert [reads.decode(bytes.fromhex(block)) for block in blocks] == list(TOLD)


def test_the_responses_of_the_rfc_in_a_table_that_forgets() -> None:
    reads = decoder()
    first, second, third = (dict(reads.decode(bytes.fromhex(block))) for block in RESPONSES)
    assert (first[b":status"], second[b":status"], third[b":status"]) == (b"302", b"307", b"200")
    assert first[b"location"] == second[b"location"] == third[b"location"]
    assert third[b"date"] == b"Mon, 21 Oct 2013 20:13:22 GMT"
    assert third[b"content-encoding"] == b"gzip"
    with pytest.raises(Broken):
        reads.decode(coding.number(65, 7, 0x80))  # the table has three


@pytest.mark.parametrize(
    "block",
    [
        "80",  # field 0
        "ff00",  # a field that the table does not have
        "41",  # no value
        "410f7777",  # a value that is cut
        "ffffffffffff0f",  # a number that goes on
        "3fe21f",  # a larger table than was allowed
        "8220",  # its size, behind a field
        "0081ff00",  # packed, and padded with eight ones
        "0081fe00",  # packed, and padded with a zero
        "0084ffffffff00",  # packed, and the end
    ],
)
def test_what_is_no_block_ends_the_connection(block: str) -> None:
    with pytest.raises(Broken):
        decoder().decode(bytes.fromhex(block))


@given(st.binary(max_size=200))
def test_any_bytes_are_fields_or_refused(block: bytes) -> None:
    try:
        fields = decoder().decode(block)
    except Broken:
        return
    assert len(fields) <= len(block)


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=5))
def test_what_is_sent_is_read(fields: list[tuple[bytes, bytes]]) -> None:
    block = b"".join(coding.field(name, value) for name, value in fields)
    assert decoder().decode(block) == fields


def test_whatever_changes_the_table_is_counted() -> None:
    """A block that came before is known by its bytes as long as the table is the same."""
    reads, seen = decoder(), []
    kept = b"\x40\x01a\x01b"
    for block in (b"\x82", kept, b"\xbe", kept, b"\x20", b"\x82", b"\x3f\xe1\x1f", kept):
        reads.decode(block)
        seen.append(reads.changes)
    assert seen == [0, 1, 1, 2, 3, 3, 3, 4]


def test_a_block_over_its_bound_is_read_for_the_table_and_says_so() -> None:
    reads = coding.Decoder(200, 3)
    reads.decode(b"".join(coding.field(b"n%d" % n, b"v") for n in range(5)))
    assert reads.is_exceeded
    reads.decode(b"\x40\x01a" + coding.number(250, 7) + bytes(250))
    assert reads.is_exceeded
    assert reads.decode(b"\x82") == [(b":method", b"GET")]
    assert not reads.is_exceeded
