"""A batch survives, and anything else is refused before anything is done about it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bucket.rows import encode_ids
from holdfast.errors import (
    Corrupt,
    HoldfastError,
    InvalidExpiry,
    InvalidValue,
    LimitExceeded,
    NotFound,
)
from holdfast.limits import BATCH_BYTES, BATCH_OPERATIONS
from holdfast.operations import StoreOptions
from holdfast.values import CheckReport, Problem, Receipt, Stat
from holdfast.wire import batch as wire
from holdfast.wire.batch import (
    Batch,
    Call,
    decode_batch,
    decode_results,
    encode_batch,
    encode_results,
)
from holdfast.wire.values import (
    Form,
    Keys,
    Objects,
    consumer_ids,
    decode,
    encode,
    form_of,
    told_ids,
)

STAT = Stat("a", 1, 2, None, 3, True, 0, False, "unmanaged", None, 4, "7")  # noqa: FBT003 - fields
RECEIPT = Receipt("a", 3, 1, None, "7", 10**17)
CALLS = st.one_of(
    st.builds(lambda value: Call("store", "k", {"value": value}), st.binary(max_size=20)),
    st.just(Call("load", "k", {"start": 0, "stop": 5})),
    st.sampled_from(["load", "exists", "stat", "release"]).map(lambda verb: Call(verb, "k")),  # type: ignore[arg-type]
    st.just(Call("delete", "k", {"missing_ok": True})),
    st.just(Call("consumers", "k", {"action": "set", "ids": ["a", b"b", {"base64": "YQ=="}]})),
    st.just(Call("lock", "k", {"ttl_ns": 5})),
)


@given(st.lists(CALLS, max_size=10), st.booleans())
def test_a_batch_survives(calls: list[Call], atomic: bool) -> None:  # noqa: FBT001 - drawn
    batch = decode_batch(encode_batch(Batch(calls, atomic)))
    assert (batch.operations, batch.atomic) == (calls, atomic)


def refused(asked: object) -> HoldfastError:
    with pytest.raises((InvalidValue, LimitExceeded)) as caught:
        decode_batch(msgspec.msgpack.encode(asked))
    return caught.value


@pytest.mark.parametrize(
    "call",
    [
        ["load", "k", {"value": b""}],
        ["load", "k", {"start": 1}],
        ["store", "k"],
        ["store", "k", {"value": "text"}],
        ["store", "k", {"value": [[[]]]}],
        ["store", "k", {"value": b"", "ttl_ns": True}],
        ["store", "k", {"value": b"", "keep_ttl": 1}],
        ["store", "k", {"value": b"", "parts": b"x"}],
        ["store", "k", {"value": b"", "expect": b"x"}],
        ["consumers", "k", {"action": "steal", "ids": []}],
        ["consumers", "k", {"action": "set"}],
        ["consumers", "k", {"action": "list", "ids": []}],
        ["unlock", "k", {}],
    ],
    ids=str,
)
def test_a_wrong_argument_is_named_with_its_operation(call: list[Any]) -> None:
    error = refused({"operations": [["exists", "k"], call]})
    assert error.index == 1
    assert error.argument


@pytest.mark.parametrize(
    "asked",
    [
        None,
        [],
        {},
        {"operations": [["drop", "k"]]},
        {"operations": [["load", b"k"]]},
        {"operations": [["load"]]},
        {"operations": {}, "atomic": 1},
    ],
    ids=str,
)
def test_what_is_no_batch_is_refused(asked: object) -> None:
    assert refused(asked).argument == "request"


@given(st.binary(max_size=100))
def test_any_bytes_are_a_batch_or_refused(body: bytes) -> None:
    with pytest.raises((InvalidValue, LimitExceeded)):
        decode_batch(body)


@given(st.lists(CALLS, min_size=1, max_size=4), st.data())
def test_a_bent_batch_is_a_batch_or_refused(calls: list[Call], data: st.DataObject) -> None:
    body = bytearray(encode_batch(Batch(calls)))
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        batch = decode_batch(bytes(body))
    except (InvalidValue, LimitExceeded):
        return
    assert all(call.verb in wire.KNOWN for call in batch.operations)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(InvalidValue):
        decode_batch(b"\x81\xaaoperations" + b"\x91" * 1_000_000)


def test_the_limits_are_named() -> None:
    many = {"operations": [["exists", "k"]] * (BATCH_OPERATIONS + 1)}
    assert refused(many).limit == "BATCH_OPERATIONS"
    with pytest.raises(LimitExceeded) as caught:
        decode_batch(bytes(BATCH_BYTES + 1))
    assert caught.value.limit == "BATCH_BYTES"


def test_options_survive_as_arguments() -> None:
    options = StoreOptions(
        ttl_ns=5, if_absent=True, if_version=0, fence=0, consumers=encode_ids(["a", b"\xff"])
    )
    assert wire.options_of({"value": b""} | wire.arguments_of(options)) == options
    assert wire.options_of({"value": b""}) is None
    assert wire.arguments_of(StoreOptions()) == {}


@pytest.mark.parametrize(
    "asked", [{"ttl_ns": 0}, {"ttl_ns": -1}, {"ttl_ns": 1 << 63}, {"ttl_ns": 1, "permanent": True}]
)
def test_a_wrong_time_to_live_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidExpiry):
        wire.options_of({"value": b""} | asked)


def test_a_time_to_live_that_is_too_long_names_the_bound() -> None:
    with pytest.raises(InvalidExpiry) as refused:
        wire.options_of({"value": b"", "ttl_ns": 1 << 62})
    assert refused.value.facts == {"ttl_ns": 1 << 62, "limit": "TTL_NS", "most": (1 << 62) - 1}


def test_results_survive() -> None:
    calls = [
        Call("store", "a"),
        Call("load", "a"),
        Call("load", "b"),
        Call("stat", "a"),
        Call("delete", "a"),
        Call("append", "a"),
        Call("consumers", "a"),
        Call("lock", "a"),
        Call("exists", "a"),
    ]
    results = [
        RECEIPT,
        b"\xff",
        NotFound(key="b"),
        STAT,
        None,
        7,
        ["a", b"\xff"],
        ("0" * 40, 3),
        True,
    ]
    answered = decode_results(encode_results(results), calls)
    assert answered[:2] + answered[3:] == results[:2] + results[3:]
    assert isinstance(answered[2], NotFound)
    assert answered[2].key == "b"


@pytest.mark.parametrize(
    "body", [b"", b"\x90", b"\xff", b"\x91\x92\x00\xa1a", b"\x91\x92\x01\x00", b"\x91\x92\x00\xc0"]
)
def test_an_answer_to_something_else_is_not_believed(body: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_results(body, [Call("load", "a")])


FORMS: list[Form] = ["json", "msgpack"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "value",
    [
        RECEIPT,
        STAT,
        Keys(("a", "é"), "é"),
        Objects((STAT,), None),
        CheckReport(False, (Problem("7", "1:2", "torn"),), 1, 2),  # noqa: FBT003 - a field
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_survive_in_both_forms(value: object, form: Form) -> None:
    assert decode(encode(value, form), type(value), form) == value


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"key":1}', b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_value_is_refused_without_its_bytes(body: bytes, form: Form) -> None:
    with pytest.raises(InvalidValue) as caught:
        decode(body, Receipt, form)
    assert set(caught.value.facts) == {"argument", "reason"}


def test_the_form_is_what_was_asked() -> None:
    assert form_of(None) == form_of("*/*") == form_of("application/json") == "json"
    assert form_of("application/msgpack") == "msgpack"


@given(st.lists(st.text() | st.binary()))
def test_consumer_ids_survive(ids: list[str | bytes]) -> None:
    assert consumer_ids(told_ids(ids)) == ids
