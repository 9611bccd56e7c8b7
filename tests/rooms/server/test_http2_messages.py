"""Messages, however their bytes are cut."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.server.http2.messages import KEPT_BYTES, PREFIX, Incoming, Refused
from holdfast.wire.protobuf.statuses import INTERNAL, RESOURCE_EXHAUSTED

MOST = 1_000


def told(message: bytes, packed: int = 0) -> bytes:
    return PREFIX.pack(packed, len(message)) + message


@given(st.lists(st.binary(max_size=60), max_size=9), st.lists(st.integers(1, 40)))
def test_messages_are_the_same_however_they_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    data, coming = b"".join(map(told, messages)), Incoming(MOST, packs=False)
    at = 0
    for size in cuts:
        coming.feed(data[at : at + size])
        at += size
    coming.feed(data[at:])
    assert coming.held_bytes == sum(len(message) + KEPT_BYTES for message in messages)
    assert [coming.take() for _ in messages] == messages
    assert (coming.held_bytes, coming.part_bytes, len(coming.whole)) == (0, 0, 0)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_packed_ones_are_unpacked(pack: object) -> None:
    assert callable(pack)
    coming = Incoming(MOST, packs=True)
    coming.feed(told(pack(b"a" * MOST), 1) + told(b"plain"))
    assert [coming.take(), coming.take()] == [b"a" * MOST, b"plain"]


@pytest.mark.parametrize(
    ("data", "packs", "number"),
    [
        (PREFIX.pack(0, MOST + 1), False, RESOURCE_EXHAUSTED),
        (told(gzip.compress(bytes(MOST + 1), mtime=0), 1), True, RESOURCE_EXHAUSTED),
        (told(gzip.compress(b"cut", mtime=0)[:-9], 1), True, INTERNAL),
        (told(b"not packed", 1), True, INTERNAL),
        (told(b"", 1), False, INTERNAL),
        (told(b"", 2), True, INTERNAL),
    ],
)
def test_what_is_too_large_or_none_is_refused(data: bytes, packs: bool, number: int) -> None:  # noqa: FBT001 - a parameter of the test
    coming = Incoming(MOST, packs=packs)
    with pytest.raises(Refused) as refused:
        coming.feed(data)
    assert refused.value.number == number
