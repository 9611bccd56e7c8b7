"""The enclave API's two forms: each asks the same, and is answered as it asked."""

from __future__ import annotations

import json

import msgspec
import pytest

from holdfast.errors import InvalidExpiry, InvalidValue
from holdfast.limits import TTL_NS
from holdfast.values import Stat
from holdfast.wire import enclave
from holdfast.wire.enclave import Keyed, Listed, Stored, Unlocked
from holdfast.wire.problems import status_of

KEYED = ["load", "exists", "stat", "delete", "lock"]
LOCK = bytes(range(20))


def ask(route: str, **told: object) -> tuple[enclave.Asked, enclave.Shape]:
    return enclave.asked(route, json.dumps(told).encode())


@pytest.mark.parametrize("route", KEYED)
def test_a_key_in_both_forms(route: str) -> None:
    assert ask(route, key="a/b") == (Keyed("a/b"), "flat")
    assert ask(route, data="a/b") == (Keyed("a/b"), "data")
    assert ask(route, data="a", encoding="base64") == (Keyed("a", "base64"), "data")


def test_a_store_in_both_forms() -> None:
    told = {"key": "a", "value": "b", "expiry": 5}
    assert ask("store", **told) == (Stored("a", "b", 5), "flat")
    assert ask("store", data=told) == (Stored("a", "b", 5), "data")
    binary = told | {"encoding": "base64"}
    assert ask("store", **binary)[0] == ask("store", data=binary)[0]


def test_a_list_in_both_forms() -> None:
    told = {"prefix": "a", "is_recursive": True}
    assert ask("list", **told) == (Listed("a", is_recursive=True), "flat")
    assert ask("list", data=told) == (Listed("a", is_recursive=True), "data")
    assert ask("list", limit=1, after="a") == (Listed(limit=1, after="a"), "flat")


def test_an_unlock_in_both_forms() -> None:
    for name, shape in (("key", "flat"), ("data", "data")):
        found, told = ask("unlock", **{name: "a", "lock_id": list(LOCK)})
        assert isinstance(found, Unlocked)
        assert (found.key, found.id, told) == ("a", LOCK, shape)


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("load", b""),
        ("load", b"{"),
        ("load", b"[]"),
        ("load", b'"a"'),
        ("load", b"{}"),
        ("load", b'{"key": 1}'),
        ("load", b'{"key": null}'),
        ("load", b'{"data": {"key": "a"}}'),
        ("load", b'{"key": "a", "data": "b"}'),
        ("load", b'{"key": "a", "surprise": 1}'),
        ("load", b'{"data": "a", "surprise": 1}'),
        ("load", b'{"key": "a", "encoding": "hex"}'),
        ("load", b'{"key": "\\ud800"}'),
        ("load", b'{"key": "a"} x'),
        ("load", b"\xff"),
        ("load", b'{"key": ' + b"[" * 100_000),
        ("store", b'{"data": "a"}'),
        ("store", b'{"key": "a", "expiry": 1}'),
        ("store", b'{"key": "a", "value": "b", "expiry": 1.5}'),
        ("store", b'{"key": "a", "value": "b", "expiry": "1"}'),
        ("store", b'{"key": "a", "value": "b", "expiry": true}'),
        ("store", b'{"data": {"key": "a", "value": "b", "expiry": 1}, "expiry": 2}'),
        ("list", b'{"prefix": "a", "recursive": true}'),
        ("list", b'{"prefix": "a", "is_recursive": 1}'),
        ("unlock", b'{"key": "a"}'),
        ("unlock", b'{"key": "a", "lock_id": "00"}'),
        ("unlock", b'{"key": "a", "lock_id": [1.5]}'),
    ],
)
def test_what_cannot_be_read_is_refused(route: str, body: bytes) -> None:
    with pytest.raises(InvalidValue) as caught:
        enclave.asked(route, body)
    assert status_of(caught.value) == 400


@pytest.mark.parametrize(
    ("expiry", "ttl_ns"), [(-1, None), (1, 1), (999, 999), (10**9 + 1, 10**9 + 1), (TTL_NS, TTL_NS)]
)
def test_expiry_is_nanoseconds_to_the_last_one(expiry: int, ttl_ns: int | None) -> None:
    assert Stored("a", "b", expiry).ttl_ns == ttl_ns


@pytest.mark.parametrize("expiry", [None, 0, -2, -(1 << 70), TTL_NS + 1, 1 << 63, 1 << 70])
def test_no_expiry_is_no_expiry(expiry: int | None) -> None:
    with pytest.raises(InvalidExpiry):
        _ = Stored("a", "b", expiry).ttl_ns


def test_a_value_is_text_or_base64() -> None:
    assert Stored("a", "ä\0", 1).payload == b"\xc3\xa4\0"
    assert Stored("a", "/wA=", 1, "base64").payload == b"\xff\0"
    for wrong in ("/wA", "ä", "/w A=", "=", "_w=="):
        with pytest.raises(InvalidValue):
            _ = Stored("a", wrong, 1, "base64").payload


@pytest.mark.parametrize("ids", [[256], [-1], [1 << 70]])
def test_a_lock_id_is_bytes(ids: list[int]) -> None:
    with pytest.raises(InvalidValue) as caught:
        _ = Unlocked("a", ids).id
    assert status_of(caught.value) == 422


def test_answers_are_in_the_form_of_the_question() -> None:
    assert json.loads(enclave.told_value(b"v", "flat", "utf-8")) == {"value": "v"}
    assert json.loads(enclave.told_value(b"v", "data", "utf-8")) == {"data": "v"}
    told = json.loads(enclave.told_value(b"\xff", "flat", "base64"))
    assert told == {"value": "/w==", "encoding": "base64"}
    assert json.loads(enclave.told_exists(True, "flat")) == {"value": True}  # noqa: FBT003
    assert json.loads(enclave.told_exists(False, "data")) == {"data": False}  # noqa: FBT003
    assert json.loads(enclave.told_keys(["a"], "flat")) == {"keys_list": ["a"]}
    assert json.loads(enclave.told_keys([], "data")) == {"data": []}
    assert json.loads(enclave.told_lock(LOCK)) == {"lock_id": list(LOCK)}


def test_a_value_that_is_no_text_is_not_told_as_text() -> None:
    with pytest.raises(InvalidValue) as caught:
        enclave.told_value(b"\xff", "flat", "utf-8")
    assert status_of(caught.value) == 422


STAT = Stat(
    "a/b",
    1001,
    1_700_000_000_123_456_789,
    None,
    7,
    terminal=True,
    consumers=0,
    permanent=False,
    state="unmanaged",
    content_type=None,
    crc32c=0,
    bucket="b",
)


def test_a_stat_says_what_the_callers_of_both_spellings_look_for() -> None:
    told = {
        "key": "a/b",
        "modified": "2023-11-14T22:13:20.123456789Z",
        "modified_ms": 1_700_000_000_123,
        "size": 1001,
        "terminal": True,
        "is_terminal": True,
    }
    assert json.loads(enclave.told_stat(STAT, "flat")) == told
    assert json.loads(enclave.told_stat(STAT, "data")) == {"data": told}


def test_a_directory_was_never_modified() -> None:
    directory = msgspec.structs.replace(STAT, terminal=False, modified_ns=0, size=0)
    told = json.loads(enclave.told_stat(directory, "flat"))
    assert (told["modified"], told["modified_ms"], told["terminal"]) == (None, None, False)


def test_children_are_whole_components_once_in_byte_order() -> None:
    names = ["d/b", "d/b!", "d/b/", "d/ä/", "d/z"]
    assert enclave.children(names) == ["d/b", "d/b!", "d/z", "d/ä"]
    assert enclave.children(["/", "a/"]) == ["/", "a"]
