"""What is read and written without objects is what protobuf reads and writes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import HoldfastError, InvalidValue, NotFound
from holdfast.limits import KEY_BYTES
from holdfast.values import Receipt, Receipts
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


ALIKE = st.builds(
    lambda verb, names, value: [
        Call(verb, name, {"value": value} if verb == "store" else None) for name in names
    ],
    st.sampled_from(["load", "store"]),
    st.lists(st.text("ab", min_size=3, max_size=4), min_size=quick.FEW, max_size=40),
    st.sampled_from([b"", b"v", bytes(200)]),
)


@given(ALIKE)
def test_a_batch_of_operations_that_lie_alike_is_plain(calls: list[Call]) -> None:
    body = body_of("a", calls)
    told = quick.plain(body)
    assert told is not None
    agree(parse("BatchRequest", body), told)


@given(ALIKE, st.integers(0, 1 << 16), st.integers(0, 255))
def test_nor_one_of_which_one_lies_otherwise(calls: list[Call], at: int, byte: int) -> None:
    body = bytearray(body_of("a", calls))
    body[at % len(body)] = byte
    told = quick.plain(bytes(body))
    if told is not None:
        agree(parse("BatchRequest", bytes(body)), told)


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


@given(
    st.one_of(st.integers(1, 300), st.integers(1, 1 << 60)),
    st.one_of(
        st.lists(st.text("kö/", min_size=1, max_size=150), max_size=300),
        st.lists(st.text("abc", min_size=3, max_size=3), max_size=300),
    ),
    st.one_of(
        st.lists(st.sampled_from([0, 7, 1 << 40]), min_size=300, max_size=300),
        st.just([7] * 300),
    ),
    st.sampled_from([0, 10**30]),
)
def test_receipts_of_one_bucket_are_told_so_too(
    version: int, names: list[str], sizes: list[int], cost_atto: int
) -> None:
    versions = range(version, version + len(names))
    receipts = Receipts(names, versions, sizes[: len(names)], "0123456789abcdef", cost_atto)
    keys = [name.encode() for name in names]
    assert b"".join(quick.stored_together(receipts, keys)) == reply_of("store", list(receipts))
    for part in (receipts[1:], receipts[:-1]):
        assert list(part) == [receipt for receipt in receipts if receipt in part]
