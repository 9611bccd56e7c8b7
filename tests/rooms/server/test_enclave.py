"""The enclave API over HTTP: both forms, both modes, and what its forerunner got wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

import holdfast
from holdfast.clock import SystemClock
from holdfast.identity.enclaves import AttestationSettings
from holdfast.limits import SECOND_NS
from holdfast.store.store import Store
from holdfast.testing.authority import image
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.enclave import MockEnclave
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.enclaves import AUTHORITY, HOUR_NS, Caller, octets, text
from tests.rooms.server.raw import Raw

Dial = Callable[[Serving], Raw]
Mode = Literal["session", "bearer"]
Enter = Callable[..., Caller]
ENTROPY = SeededEntropy(2)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[Store]:
    with holdfast.open(":memory:", in_place=False, clock=clock, upkeep=False) as opened:
        yield opened


@pytest.fixture(params=["session", "bearer"])
def mode(request: pytest.FixtureRequest) -> Mode:
    told: Mode = request.param
    return told


@pytest.fixture
def enter(store: Store, serve: Serve, connect: Dial, mode: Mode) -> Enter:
    """Lets an enclave of an image in, by the mode of the test."""
    serving = serve(attestation=AttestationSettings(mode=mode, roots=(AUTHORITY.pem,)))

    def let_in(number: int = 1, namespace: str | None = None) -> Caller:
        enclave = MockEnclave(AUTHORITY, store.clock, ENTROPY, image(number))
        caller = Caller(connect(serving), enclave, bearer=mode == "bearer")
        caller.raw.token = ""
        if mode == "session":
            told = caller.begin(namespace)
            assert told.status == 200, told.body
        return caller

    return let_in


# -- the table of the page --------------------------------------------------------------


def test_flat(enter: Enter) -> None:
    ask = enter().ask
    assert ask("/store", key="a/b", value="väl", expiry=HOUR_NS) == (200, None)
    assert ask("/load", key="a/b") == (200, {"value": "väl"})
    assert ask("/exists", key="a/b") == (200, {"value": True})
    assert ask("/exists", key="a") == (200, {"value": False})
    assert ask("/list", prefix="a", is_recursive=True) == (200, {"keys_list": ["a/b"]})
    status, stat = ask("/stat", key="a/b")
    assert status == 200
    assert stat.pop("modified").startswith("2023-11-14T22:13:20.")
    assert stat.pop("modified_ms") // 1000 == 1_700_000_000
    assert stat == {"key": "a/b", "size": 4, "terminal": True, "is_terminal": True}
    status, lock = ask("/lock", key="a/b")
    assert (status, list(lock), len(lock["lock_id"])) == (200, ["lock_id"], 20)
    assert ask("/unlock", key="a/b", lock_id=lock["lock_id"]) == (200, None)
    assert ask("/delete", key="a/b") == (200, None)
    assert ask("/load", key="a/b") == (404, "not_found")


def test_under_data(enter: Enter) -> None:
    ask = enter().ask
    assert ask("/store", data={"key": "a", "value": "v", "expiry": HOUR_NS}) == (200, None)
    assert ask("/load", data="a") == (200, {"data": "v"})
    assert ask("/exists", data="a") == (200, {"data": True})
    assert ask("/list", data={"prefix": "a", "is_recursive": False}) == (200, {"data": []})
    assert ask("/list", data={"prefix": "", "is_recursive": False}) == (200, {"data": ["a"]})
    status, stat = ask("/stat", data="a")
    assert (status, list(stat), stat["data"]["terminal"]) == (200, ["data"], True)
    status, lock = ask("/lock", data="a")
    assert (status, list(lock)) == (200, ["lock_id"])
    assert ask("/unlock", data="a", lock_id=lock["lock_id"]) == (200, None)
    assert ask("/delete", data="a") == (200, None)


def test_headers_say_what_it_cost_and_what_it_is(enter: Enter) -> None:
    caller = enter()
    told = caller.send("/store", b'{"key": "a", "value": "v", "expiry": 1000000000}')
    assert (told.status, told.body, told.headers["holdfast-cost"]) == (200, b"", "0")
    told = caller.send("/load", b'{"key": "a"}')
    assert told.headers["content-type"] == "application/json"
    assert told.headers["holdfast-cost"] == "0"
    told = caller.send("/load", b'{"key": "b"}')
    assert told.headers["content-type"] == "application/problem+json"


def test_no_price_is_asked_of_what_is_around_a_value(enter: Enter, store: Store) -> None:
    caller = enter()
    store.accounts.deposit(caller.image_id, 10**18, "invoice 1")
    store.namespace(caller.image_id).configure(tariff="enclave")
    c, byte = 1_763_750_000, 90_000_000
    value = "v" * 99
    costs = {
        "/store": ({"key": "k", "value": value, "expiry": HOUR_NS}, c + 100 * 3_600 * 8_796),
        "/load": ({"key": "k"}, c + 99 * byte),
        "/exists": ({"key": "k"}, c),
        "/stat": ({"key": "k"}, c + byte),
        "/list": ({"prefix": "", "is_recursive": True}, 10 * c + byte),
        "/delete": ({"key": "k"}, c - 100 * 3_600 * 8_796 * 4 // 5),
    }
    for path, (asked, cost) in costs.items():
        told = caller.send(path, json.dumps(asked).encode())
        assert (path, told.status, int(told.headers["holdfast-cost"])) == (path, 200, cost)
    caller.ask("/store", data={"key": "k", "value": value, "expiry": HOUR_NS})
    told = caller.send("/load", b'{"data": "k"}')
    assert int(told.headers["holdfast-cost"]) == c + 99 * byte


def test_bounds_of_a_namespace_hold_for_its_enclave(enter: Enter, store: Store) -> None:
    caller = enter()
    assert caller.ask("/exists", key="a") == (200, {"value": False})
    store.namespace(caller.image_id).configure(requests_per_s=0)
    told = caller.send("/exists", b'{"key": "a"}')
    for _ in range(1_200):  # the server takes note of it four times a second
        store.tick(1)
        told = caller.send("/exists", b'{"key": "a"}')
        if told.status != 200:
            break
        SystemClock().sleep(0.05)
    assert (told.status, json.loads(told.body)["facts"]["limit"]) == (429, "requests_per_s")


def test_what_cannot_be_read_is_400_and_changes_nothing(enter: Enter) -> None:
    caller = enter()
    for body in (b"", b"{", b"{}", b"[1]", b'{"key": "a", "value": "v", "expiry": 1, "x": 1}'):
        told = caller.send("/store", body)
        assert (told.status, json.loads(told.body)["code"]) == (400, "invalid_value")
    assert caller.ask("/list", prefix="", is_recursive=True) == (200, {"keys_list": []})


def test_a_key_is_a_key_of_the_store(enter: Enter) -> None:
    ask = enter().ask
    for key in ("", "k" * 1025, "ä" * 513):
        assert ask("/load", key=key) == (422, "invalid_key")
        assert ask("/store", key=key, value="v", expiry=HOUR_NS) == (422, "invalid_key")
    for key in ("k" * 1024, "/", "..", "a//b", "\0", "a\n"):
        assert ask("/store", key=key, value="v", expiry=HOUR_NS) == (200, None)
        assert ask("/load", key=key) == (200, {"value": "v"})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_is_another_request(enter: Enter, method: str) -> None:
    told = enter().raw.ask(method, "/load")
    assert (told.status, told.headers["allow"]) == (405, "POST")


# -- expiry -----------------------------------------------------------------------------


def test_expiry_is_nanoseconds(enter: Enter, clock: ManualClock) -> None:
    """The forerunner took milliseconds, and its store rounded to them."""
    caller = enter()
    caller.put("a", expiry=5 * SECOND_NS)
    clock.advance(4 * SECOND_NS)
    assert caller.ask("/load", key="a")[0] == 200
    clock.advance(SECOND_NS)
    assert caller.ask("/load", key="a") == (404, "not_found")
    for expiry in (1, 999, 999_999):
        caller.put("b", expiry=expiry)  # too short for a millisecond is not for ever
        clock.advance(expiry)
        assert caller.ask("/exists", key="b") == (200, {"value": False})


def test_minus_one_keeps_the_expiry_to_the_nanosecond(enter: Enter, clock: ManualClock) -> None:
    caller = enter()
    caller.put("a", "1", 5 * SECOND_NS)
    clock.advance(4 * SECOND_NS)
    caller.put("a", "2", -1)
    assert caller.ask("/load", key="a") == (200, {"value": "2"})
    clock.advance(SECOND_NS)
    assert caller.ask("/load", key="a") == (404, "not_found")


def test_minus_one_makes_nothing_where_nothing_is(enter: Enter, clock: ManualClock) -> None:
    caller = enter()
    asked = {"key": "a", "value": "v", "expiry": -1}
    assert caller.ask("/store", **asked) == (404, "not_found")
    assert caller.ask("/store", data=asked) == (404, "not_found")
    assert caller.ask("/exists", key="a") == (200, {"value": False})
    caller.put("a", expiry=SECOND_NS)
    clock.advance(SECOND_NS)
    assert caller.ask("/store", **asked) == (404, "not_found")


@pytest.mark.parametrize("expiry", [0, -2, -(10**18), 1 << 62, 1 << 64])
def test_no_other_expiry_is_one(enter: Enter, expiry: int) -> None:
    caller = enter()
    assert caller.ask("/store", key="a", value="v", expiry=expiry) == (422, "invalid_expiry")
    assert caller.ask("/store", key="a", value="v") == (422, "invalid_expiry")
    assert caller.ask("/exists", key="a") == (200, {"value": False})


# -- values -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000, 1001, 300_000, 700_000])
def test_the_size_is_that_of_the_value_whatever_it_is(enter: Enter, size: int) -> None:
    """The forerunner put more than 1,000 bytes elsewhere and told the size of the reference."""
    caller = enter()
    caller.put("a", "v" * size)
    assert caller.ask("/stat", key="a")[1]["size"] == size
    assert caller.ask("/load", key="a") == (200, {"value": "v" * size})


def test_bytes_need_an_encoding_both_ways(enter: Enter) -> None:
    caller = enter()
    told = text(bytes(range(256)))
    asked = {"key": "a", "value": told, "expiry": HOUR_NS, "encoding": "base64"}
    assert caller.ask("/store", **asked) == (200, None)
    assert caller.ask("/load", key="a") == (422, "invalid_value")
    assert caller.ask("/load", data="a") == (422, "invalid_value")
    answer = {"value": told, "encoding": "base64"}
    assert caller.ask("/load", key="a", encoding="base64") == (200, answer)
    assert caller.ask("/stat", key="a")[1]["size"] == 256
    assert caller.ask("/store", **asked | {"value": "?"}) == (422, "invalid_value")
    told_json = b'{"key": "a", "value": "\\ud800", "expiry": 1}'
    assert caller.send("/store", told_json).status == 400


def test_an_object_too_large_for_a_json_answer_is_refused(enter: Enter, store: Store) -> None:
    caller = enter()
    store.namespace(caller.image_id).put("a", bytes((1 << 20) + 1))
    assert caller.ask("/load", key="a", encoding="base64") == (413, "limit_exceeded")
    store.namespace(caller.image_id).put("a", bytes(1 << 20))
    assert len(octets(caller.ask("/load", key="a", encoding="base64")[1]["value"])) == 1 << 20


# -- lists ------------------------------------------------------------------------------

NAMES = ["dir/a", "dir/b/c", "dir/b/d", "dir/b!", "dir", "dirt", "dirs/x", "a*b", "a?b", "[ab]"]


@pytest.fixture
def full(enter: Enter) -> Caller:
    caller = enter()
    for name in NAMES:
        caller.put(name)
    return caller


def listed(caller: Caller, prefix: str, *, deep: bool, **more: object) -> Any:  # noqa: ANN401 - JSON
    flat = caller.ask("/list", prefix=prefix, is_recursive=deep, **more)
    data = caller.ask("/list", data={"prefix": prefix, "is_recursive": deep, **more})
    assert flat[0] == data[0]
    if flat[0] != 200:
        return flat
    assert flat[1]["keys_list"] == data[1]["data"]
    return flat[1]["keys_list"]


def test_children_are_told_whole_and_only_of_that_directory(full: Caller) -> None:
    """The forerunner told ["dir"] for "dir", and took "dir" for the beginning of "dirt"."""
    for prefix in ("dir", "dir/"):
        assert listed(full, prefix, deep=False) == ["dir/a", "dir/b", "dir/b!"]
    assert listed(full, "dir/b", deep=False) == ["dir/b/c", "dir/b/d"]
    assert listed(full, "", deep=False) == ["[ab]", "a*b", "a?b", "dir", "dirs", "dirt"]
    assert listed(full, "nothing", deep=False) == []


def test_a_recursive_list_is_every_key_that_begins_so(full: Caller) -> None:
    below = ["dir", "dir/a", "dir/b!", "dir/b/c", "dir/b/d", "dirs/x", "dirt"]
    assert listed(full, "dir", deep=True) == below
    assert listed(full, "dir/b", deep=True) == ["dir/b!", "dir/b/c", "dir/b/d"]
    assert listed(full, "", deep=True) == sorted(NAMES)


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("prefix", ["*", "?", "[ab]*", "d?r", "dir*", "a[*]b", "\\", " ", "%"])
def test_no_character_of_a_prefix_is_special(full: Caller, prefix: str, deep: bool) -> None:  # noqa: FBT001
    assert listed(full, prefix, deep=deep) == []


def test_glob_characters_are_letters(full: Caller) -> None:
    assert listed(full, "a*", deep=True) == ["a*b"]
    assert listed(full, "a?", deep=True) == ["a?b"]
    assert listed(full, "[", deep=True) == ["[ab]"]


def test_a_list_is_bounded_and_goes_on_where_it_is_told(
    full: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.server.enclave.ENCLAVE_LIST", 5)
    assert listed(full, "", deep=True) == (413, "limit_exceeded")
    first = listed(full, "", deep=True, limit=5)
    rest = listed(full, "", deep=True, limit=5, after=first[-1])
    assert first + rest == sorted(NAMES)
    for limit in (0, -1, 6):
        assert listed(full, "", deep=True, limit=limit) == (422, "invalid_value")


def test_a_directory_has_a_stat_and_no_value(full: Caller) -> None:
    """The forerunner looked at the last letter of the name."""
    status, stat = full.ask("/stat", key="dirs")
    assert (status, stat["terminal"], stat["is_terminal"], stat["size"]) == (200, False, False, 0)
    assert (stat["modified"], stat["modified_ms"]) == (None, None)
    assert full.ask("/stat", key="dir")[1]["terminal"] is True
    assert full.ask("/load", key="dirs") == (404, "not_found")
    assert full.ask("/stat", key="nothing") == (404, "not_found")


def test_what_is_absent_is_not_deleted(full: Caller) -> None:
    for key in ("nothing", "dirs"):
        assert full.ask("/delete", key=key) == (404, "not_found")
    assert full.ask("/delete", data="dirt") == (200, None)
    assert full.ask("/delete", data="dirt") == (404, "not_found")


# -- locks ------------------------------------------------------------------------------


def test_a_lock_that_is_held_is_refused_at_once(enter: Enter) -> None:
    """The forerunner slept for a second, and every other caller with it."""
    one, other = enter(1), enter(1)
    lock = one.ask("/lock", key="a")[1]["lock_id"]
    assert other.ask("/lock", key="a") == (409, "lock_held")
    assert other.ask("/lock", data="a") == (409, "lock_held")
    other.put("a", "another caller goes on")
    assert one.ask("/unlock", key="a", lock_id=lock) == (200, None)
    assert other.ask("/lock", key="a")[0] == 200


def test_a_lock_lasts_30_seconds_and_its_id_is_none_afterwards(
    enter: Enter, clock: ManualClock
) -> None:
    caller = enter()
    first = caller.ask("/lock", key="a")[1]["lock_id"]
    clock.advance(30 * SECOND_NS - 1)
    assert caller.ask("/lock", key="a") == (409, "lock_held")
    clock.advance(1)
    second = caller.ask("/lock", key="a")[1]["lock_id"]
    assert first != second
    assert caller.ask("/unlock", key="a", lock_id=first) == (423, "lock_lost")
    assert caller.ask("/lock", key="a") == (409, "lock_held")  # the second's still
    assert caller.ask("/unlock", key="a", lock_id=second) == (200, None)


@pytest.mark.parametrize("locked", [True, False])
def test_no_other_id_unlocks(enter: Enter, locked: bool) -> None:  # noqa: FBT001
    """The forerunner took the empty list for the id of a lock that nobody held."""
    caller = enter()
    if locked:
        caller.ask("/lock", key="a")
    for wrong in ([], [0], [0] * 20, [255] * 20, [0] * 21):
        assert caller.ask("/unlock", key="a", lock_id=wrong) == (423, "lock_lost")
        assert caller.ask("/unlock", data="a", lock_id=wrong) == (423, "lock_lost")
    for wrong in ([256] * 20, [-1]):
        assert caller.ask("/unlock", key="a", lock_id=wrong) == (422, "invalid_value")
    assert caller.ask("/lock", key="a")[0] == (409 if locked else 200)


def test_a_lock_is_no_object(enter: Enter) -> None:
    caller = enter()
    caller.ask("/lock", key="a")
    assert caller.ask("/exists", key="a") == (200, {"value": False})
    assert listed(caller, "", deep=True) == []


# -- namespaces -------------------------------------------------------------------------


def test_no_key_of_one_image_is_anothers(enter: Enter, store: Store) -> None:
    """The forerunner joined namespace and key by "/", and locks by ".lock/"."""
    one, other = enter(1), enter(2)
    assert one.image_id != other.image_id
    tricks = ["a", f"../{one.image_id}/a", f"{one.image_id}/a", f"/{one.image_id}.lock/a", "\0a"]
    for key in tricks:
        one.put(key, "one")
    lock = one.ask("/lock", key="a")[1]["lock_id"]
    for key in tricks:
        assert other.ask("/load", key=key) == (404, "not_found")
        assert other.ask("/delete", key=key) == (404, "not_found")
        assert other.ask("/stat", key=key) == (404, "not_found")
    for deep in (True, False):
        assert listed(other, "", deep=deep) == []
    assert other.ask("/unlock", key="a", lock_id=lock) == (423, "lock_lost")
    assert other.ask("/lock", key="a")[0] == 200
    for key in tricks:
        other.put(key, "other")
        assert one.ask("/load", key=key) == (200, {"value": "one"})
    assert set(store.namespaces()) == {one.image_id, other.image_id}


def test_it_is_the_namespace_that_every_other_door_knows(enter: Enter, store: Store) -> None:
    caller = enter()
    caller.put("a", "1")
    assert store.namespace(caller.image_id).get("a") == b"1"
    store.namespace(caller.image_id).put("b", b"2")
    assert caller.ask("/load", key="b") == (200, {"value": "2"})


# -- who asks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/load", "/store", "/exists", "/list", "/stat", "/delete", "/lock", "/unlock"]
)
def test_without_a_credential_nothing_is_told(enter: Enter, path: str) -> None:
    caller = enter()
    for token, headers in (("", {}), ("", {"pcr": caller.image_id}), (caller.image_id, {})):
        caller.raw.token = token
        told = caller.plain(path, {"key": "a"}, **headers)
        assert (told.status, json.loads(told.body)["code"]) == (401, "unauthenticated")


def test_ping_needs_nothing(enter: Enter) -> None:
    told = enter().raw.ask("GET", "/ping")
    assert (told.status, json.loads(told.body)) == (200, {"version": "1.0.0"})
