"""What is read and written without objects is what protobuf reads and writes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import HoldfastError, InvalidValue, NotFound
from holdfast.limits import KEY_BYTES
from holdfast.values import Receipt
from holdfast.wire.batch import Call
from holdfast.wire.protobuf import quick
from holdfast.wire.protobuf.words import (
    CLASSES,
    Said,
    operations_of,
    outcome_message,
    parse,
    request_message,
)

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
VALUES = st.one_of(st.binary(max_size=3), st.integers(0, 40_000).map(bytes))
LOADS = st.builds(lambda key: Call("load", key), KEYS)
STORES = st.builds(lambda key, value: Call("store", key, {"value": value}), KEYS, VALUES)
OTHERS = st.one_of(
    st.builds(lambda key: Call("stat", key), KEYS),
    st.builds(lambda key: Call("load", key, {"start": 0, "stop": 2}), KEYS),
    st.builds(lambda key: Call("store", key, {"value": b"v", "if_version": 1}), KEYS),
    st.builds(lambda key: Call("append", key, {"value": b"v"}), KEYS),
)
BATCHES = st.one_of(
    st.lists(LOADS, min_size=1, max_size=6),
    st.lists(STORES, min_size=1, max_size=6),
    st.lists(st.one_of(LOADS, STORES, OTHERS), max_size=4),
)
NAMESPACES = st.sampled_from(["", "a", "n" * 128])


def body_of(namespace: str, calls: Sequence[Call], **flags: bool) -> bytes:
    kind = CLASSES["Operation"]
    operations = [kind(**{call.verb: request_message("", call)}) for call in calls]
    told: bytes = CLASSES["BatchRequest"](
        namespace=namespace, operations=operations, **flags
    ).SerializeToString()
    return told


def agree(message: Said, told: quick.Plain) -> None:
    """What is plain says all that its message says."""
    asked = operations_of(message)
    assert message.namespace == told.namespace
    assert (message.atomic, message.more) == (False, False)
    assert [call.key for call in asked] == told.names
    assert [name.encode() for name in told.names] == told.keys
    if told.values:
        assert asked == [
            Call("store", name, {"value": value})
            for name, value in zip(told.names, told.values, strict=True)
        ]
    else:
        assert asked == [Call("load", name) for name in told.names]


@given(NAMESPACES, BATCHES)
def test_a_batch_is_plain_if_it_says_nothing_else(namespace: str, calls: list[Call]) -> None:
    body = body_of(namespace, calls)
    message = parse("BatchRequest", body)
    told = quick.plain(body)
    if told is not None:
        agree(message, told)
    plain = len({call.verb for call in calls}) == 1 and all(
        set(call.arguments or {}) <= {"value"}
        and call.verb in {"load", "store"}
        and 0 < len(call.key.encode()) <= KEY_BYTES
        for call in calls
    )
    assert plain is (told is not None)


@given(st.sampled_from(["atomic", "more"]), st.lists(LOADS, min_size=1, max_size=3))
def test_a_batch_with_a_flag_is_not_plain(flag: str, calls: list[Call]) -> None:
    body = body_of("a", calls, **{flag: True})
    assert quick.plain(body) is None


@given(
    st.lists(st.one_of(LOADS, STORES), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
    st.binary(max_size=4),
)
def test_no_other_bytes_pass_for_a_plain_batch(
    calls: list[Call], flips: list[tuple[int, int]], more: bytes
) -> None:
    body = bytearray(body_of("a", calls))
    for at, byte in flips:
        body[at % len(body)] = byte
    told = quick.plain(bytes(body + more))
    try:
        message = parse("BatchRequest", bytes(body + more))
    except InvalidValue:
        assert told is None
        return
    if told is not None:
        agree(message, told)


def reply_of(verb: str, outcomes: Sequence[object]) -> bytes:
    results = [outcome_message(verb, outcome) for outcome in outcomes]
    told: bytes = CLASSES["BatchReply"](results=results).SerializeToString()
    return told


MISSING = NotFound(key="k")


@given(st.lists(st.one_of(VALUES, st.just(MISSING)), max_size=6))
def test_loads_are_answered_as_protobuf_would(outcomes: list[bytes | HoldfastError]) -> None:
    pieces: list[bytes] = []
    for outcome in outcomes:
        if isinstance(outcome, bytes):
            pieces += quick.loaded(outcome)
        else:
            pieces += quick.result(outcome_message("load", outcome))
    assert b"".join(pieces) == reply_of("load", outcomes)


RECEIPTS = st.builds(
    Receipt,
    st.text("kö/", min_size=1, max_size=150),
    st.one_of(st.integers(1, 130), st.integers(1, (1 << 64) - 1)),
    st.integers(0, 1 << 40),
    st.one_of(st.none(), st.integers(1, (1 << 63) - 1)),
    st.sampled_from(["0123456789abcdef", "b" * 130]),
    st.integers(0, 10**30),
)


@given(st.lists(st.one_of(RECEIPTS, st.just(MISSING)), max_size=6))
def test_receipts_are_told_as_protobuf_would(outcomes: list[Receipt | HoldfastError]) -> None:
    told = [
        one if isinstance(one, Receipt) else quick.result(outcome_message("store", one))
        for one in outcomes
    ]
    keys = [one.key.encode() if isinstance(one, Receipt) else b"" for one in outcomes]
    assert b"".join(quick.stored(told, keys)) == reply_of("store", outcomes)


@given(st.lists(RECEIPTS, max_size=6), st.booleans())
def test_receipts_that_are_alike_are_told_so_too(receipts: list[Receipt], alike: bool) -> None:  # noqa: FBT001 - drawn
    if alike:
        receipts = [
            Receipt(one.key, one.version, 7, None, receipts[0].bucket, 5) for one in receipts
        ]
    keys = [one.key.encode() for one in receipts]
    assert b"".join(quick.stored_alike(receipts, keys)) == reply_of("store", receipts)
