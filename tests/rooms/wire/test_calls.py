"""Calls between processes of one store: what goes in comes out, and nothing else does."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bucket.read import Object
from holdfast.errors import InvalidValue, Moved, NotFound
from holdfast.log.entry import Entry, Extent
from holdfast.operations import Consumers, Delete, Once, Parts, Store, StoreOptions
from holdfast.values import Place, Receipt
from holdfast.wire import calls

PLACE = Place("b", ("acme", "a"), None, "local", 3)
ENTRY = Entry(1, 2, 3, 4, 5, 6, b"", (Extent(1, 2, 3, 4),))
VALUES = [
    None,
    (b"\xff", ["a", (1, None)]),
    [Store(b"k", "k", b"v", StoreOptions(parts=Parts(b"u", 1, 2)), Once(b"s", 1, 0))],
    [Consumers(b"k", "k", "set", (b"a", b"b")), Delete(b"k", "k")],
    Object(ENTRY, 1, None, 0),
    [Receipt("k", 1, 2, None, "b"), PLACE],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_goes_in_comes_out(value: object) -> None:
    assert calls.decode_call(calls.encode_call("apply", (value,))) == ("apply", [value])
    assert calls.decode_answer(calls.encode_answer(value)) == value


def test_errors_are_raised_and_those_of_single_operations_are_told() -> None:
    with pytest.raises(Moved) as told:
        calls.decode_answer(calls.encode_error(Moved(bucket="b", place=PLACE)))
    assert told.value.place == PLACE
    (found,) = calls.decode_answer(calls.encode_answer([NotFound(key="a")]))
    assert type(found) is NotFound
    assert found.facts == {"key": "a"}


def test_a_view_of_memory_is_bytes_on_the_other_side() -> None:
    _, ((operation,),) = calls.decode_call(
        calls.encode_call("apply", ([Store(b"k", "k", memoryview(b"value"))],))
    )
    assert operation.value == b"value"


@given(st.binary(max_size=64))
def test_other_bytes_are_refused(data: bytes) -> None:
    for decode in (calls.decode_call, calls.decode_answer):
        with suppress(InvalidValue):  # and nothing else
            decode(data)


@pytest.mark.parametrize(
    "value", [{"": "Nobody"}, {"": "Store", "self": 1}, {"a": 1}, {"": "tuple", "items": 3}]
)
def test_unknown_kinds_are_refused(value: dict[str, object]) -> None:
    data = msgspec.msgpack.encode([True, value])
    with pytest.raises(InvalidValue):
        calls.decode_answer(data)


def test_an_integer_of_any_size_goes_through() -> None:
    """What a gibibyte costs for a month has more than 64 bits."""
    receipt = Receipt("k", 1, 2, None, "b", 24_480_488_953_479_168_000)
    for value in (receipt, [1 << 64, -(1 << 80), (1 << 64) - 1, -(1 << 63), True]):
        assert calls.decode_answer(calls.encode_answer(value)) == value
