"""The checker against histories with known verdicts: public ones and small ones by hand."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from holdfast.testing.linearizability import (
    NEVER,
    UNKNOWN,
    HistoryRecorder,
    KeyModel,
    Operation,
    RegisterModel,
    check_history,
    parse_jepsen_log,
)

HISTORIES = json.loads((Path(__file__).parent / "etcd_histories.json").read_text())["histories"]


def test_there_are_histories_of_both_kinds() -> None:
    assert len(HISTORIES) >= 29
    assert {history["linearizable"] for history in HISTORIES.values()} == {True, False}


@pytest.mark.parametrize("name", HISTORIES)
def test_public_histories_are_judged_as_known(name: str) -> None:
    known = HISTORIES[name]
    lines = known["events"].splitlines()
    history = parse_jepsen_log("\n".join(f"INFO  jepsen.util - {line}" for line in lines))
    assert len(history) > 50
    assert check_history(history, RegisterModel()).linearizable is known["linearizable"]


def op(call: tuple[object, ...], answer: object, began: float, ended: float) -> Operation:
    return Operation(0, call, answer, began, ended)


def put(value: bytes, version: int, began: float, ended: float) -> Operation:
    return op(("put", value), version, began, ended)


def get(value: bytes | None, began: float, ended: float) -> Operation:
    return op(("get",), value, began, ended)


def deleted(began: float, ended: float) -> Operation:
    return Operation(0, ("delete",), True, began, ended)  # noqa: FBT003 - an answer


def found_nothing(began: float, ended: float) -> Operation:
    return Operation(0, ("delete",), False, began, ended)  # noqa: FBT003 - an answer


GOOD = {
    "nothing": [],
    "one after the other": [put(b"1", 1, 0, 1), get(b"1", 2, 3), put(b"2", 2, 4, 5)],
    "a read beside a write sees either": [
        put(b"1", 1, 0, 1),
        put(b"2", 2, 2, 9),
        get(b"1", 3, 4),
        get(b"2", 5, 6),
    ],
    "an unknown write shows": [op(("put", b"1"), UNKNOWN, 0, NEVER), get(b"1", 5, 6)],
    "an unknown write shows late": [
        op(("put", b"1"), UNKNOWN, 0, NEVER),
        get(None, 5, 6),
        get(b"1", 7, 8),
    ],
    "an unknown write never shows": [op(("put", b"1"), UNKNOWN, 0, NEVER), get(None, 5, 6)],
    "two deletes, one of them finds it": [
        put(b"1", 1, 0, 1),
        deleted(2, 5),
        found_nothing(2, 5),
        get(None, 6, 7),
    ],
    "cas that fits and cas that does not": [
        put(b"1", 1, 0, 1),
        op(("cas", 1, b"2"), 2, 2, 5),
        op(("cas", 1, b"3"), None, 2, 5),
        get(b"2", 6, 7),
    ],
    "cas on a version that nobody was told": [
        op(("put", b"1"), UNKNOWN, 0, NEVER),
        op(("cas", 7, b"2"), 8, 2, 3),
        get(b"2", 4, 5),
    ],
    "an unknown cas": [
        put(b"1", 1, 0, 1),
        op(("cas", 1, b"2"), UNKNOWN, 2, NEVER),
        get(b"1", 3, 4),
        get(b"2", 5, 6),
    ],
}

BAD = {
    "a stale read": [put(b"1", 1, 0, 1), put(b"2", 2, 2, 3), get(b"1", 4, 5)],
    "a read of what was never written": [get(b"1", 0, 1)],
    "a read from the future": [get(b"1", 0, 1), put(b"1", 1, 2, 3)],
    "a lost write": [put(b"1", 1, 0, 1), get(None, 2, 3)],
    "reads that go back": [
        put(b"1", 1, 0, 1),
        put(b"2", 2, 2, 9),
        get(b"2", 3, 4),
        get(b"1", 5, 6),
    ],
    "a deleted value that comes back": [
        put(b"1", 1, 0, 1),
        deleted(2, 3),
        get(None, 4, 5),
        get(b"1", 6, 7),
    ],
    "two cas on one version": [
        put(b"1", 1, 0, 1),
        op(("cas", 1, b"2"), 2, 2, 5),
        op(("cas", 1, b"3"), 3, 2, 5),
    ],
    "a cas refused for no reason": [put(b"1", 1, 0, 1), op(("cas", 1, b"2"), None, 2, 3)],
    "two deletes that both found it": [
        put(b"1", 1, 0, 1),
        deleted(2, 5),
        deleted(2, 5),
    ],
    "a version that goes back": [put(b"1", 5, 0, 1), put(b"2", 4, 2, 3)],
    "a version that comes again after a delete": [
        put(b"1", 5, 0, 1),
        deleted(2, 3),
        put(b"2", 5, 4, 5),
    ],
    "an unknown write that shows, hides and shows": [
        put(b"0", 1, 0, 1),
        op(("put", b"1"), UNKNOWN, 2, NEVER),
        get(b"1", 3, 4),
        get(b"0", 5, 6),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_histories_that_can_be(name: str) -> None:
    verdict = check_history(GOOD[name], KeyModel())
    assert verdict.linearizable
    assert Counter(verdict.placed) == Counter(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_histories_that_cannot_be(name: str) -> None:
    verdict = check_history(BAD[name], KeyModel())
    assert not verdict.linearizable
    assert len(verdict.placed) < len(BAD[name])


def by_brute_force(history: list[Operation]) -> bool:
    """Try every order: the definition itself, for histories of known outcomes."""
    model = KeyModel()
    for order in itertools.permutations(history):
        in_time = all(
            later.ended >= earlier.began for earlier, later in itertools.combinations(order, 2)
        )
        state = model.first() if in_time else None
        for operation in order:
            state = None if state is None else model.step(state, operation)
        if state is not None:
            return True
    return False


def test_agrees_with_the_definition() -> None:
    chance, seen = random.Random(20), {True: 0, False: 0}
    for _ in range(400):
        history, version = [], 0
        for stamp in range(6):
            began = stamp + chance.random() * 3
            ended = began + chance.random() * 4
            if chance.random() < 0.4:
                version += 1
                history.append(put(b"%d" % version, version, began, ended))
            elif chance.random() < 0.2:
                history.append(op(("delete",), chance.random() < 0.7, began, ended))
            else:
                history.append(get(chance.choice([None, b"1", b"2"]), began, ended))
        expected = by_brute_force(history)
        assert check_history(history, KeyModel()).linearizable is expected
        seen[expected] += 1
    assert min(seen.values()) > 20


def test_a_long_history_of_few_clients_is_judged_quickly() -> None:
    """300 operations of 5 clients, as the threads below make them."""
    chance, history, value, version = random.Random(3), [], None, 0
    free = [0.0] * 5
    for moment in range(300):
        client = min(range(5), key=free.__getitem__)
        began, ended = moment - chance.random() * 2, moment + chance.random() * 2
        free[client] = ended
        if chance.random() < 0.5:
            version += 1
            value = b"%d" % version
            history.append(put(value, version, began, ended))
        else:
            history.append(get(value, began, ended))
    assert check_history(history, KeyModel()).linearizable
    assert not check_history([*history, get(b"1", 900, 901)], KeyModel()).linearizable


def test_the_recorder_takes_down_what_happened() -> None:
    recorder = HistoryRecorder()
    first = recorder.begin(0, "a", ("put", b"1"))
    second = recorder.begin(1, "a", ("get",))
    first.ok(1)
    second.ok(b"1")
    recorder.begin(2, "a", ("put", b"2")).unknown()
    recorder.begin(3, "a", ("put", b"3")).fail()
    recorder.begin(0, "b", ("get",)).ok(None)
    histories = recorder.histories()
    assert [operation.call[0] for operation in histories["a"]] == ["put", "get", "put"]
    one, two, three = histories["a"]
    assert one.began < two.began < one.ended < two.ended
    assert (three.answer, three.ended) == (UNKNOWN, NEVER)
    assert check_history(histories["a"], KeyModel()).linearizable


def test_a_log_that_ends_what_never_began_is_refused() -> None:
    with pytest.raises(ValueError, match=":ok"):
        parse_jepsen_log("INFO  jepsen.util - 0\t:ok\t:write\t3\n")
