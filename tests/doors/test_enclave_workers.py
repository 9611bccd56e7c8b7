"""Enclaves and several processes: a session counts in all of them, a request in one and once."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import pytest

import holdfast
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.testing.authority import MockAuthority, image
from holdfast.testing.enclave import MockEnclave
from tests.doors.test_workers import serving
from tests.rooms.server.enclaves import Caller
from tests.rooms.server.raw import Raw

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
SMALL = 64 * 1024
CLOCK, ENTROPY = SystemClock(), SystemEntropy()
AUTHORITY = MockAuthority(ENTROPY, now_ns=CLOCK.wall_ns())
Enter = Callable[[int, int], Caller]


@pytest.fixture(scope="module")
def enter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enter]:
    """Lets an enclave of an image in by the process of a number."""
    folder = tmp_path_factory.mktemp("enclaves")
    (folder / "root.pem").write_text(AUTHORITY.pem)
    data = folder / "data"
    with holdfast.open(data, bucket_bytes=SMALL) as store:
        store.namespace("acme").put_many({f"k{number:04d}": bytes(700) for number in range(600)})
    made: list[socket.socket] = []
    with serving(data, 2, "--attestation-root", str(folder / "root.pem")) as served:
        with holdfast.connect(served.url, token=served.token) as remote:
            edges = [remote.locate("acme", key).address for key in ("k0000", "k0599")]
        assert len(set(edges)) == 2

        def let_in(number: int, process: int) -> Caller:
            host, _, port = edges[process].removeprefix("http://").rpartition(":")
            made.append(socket.create_connection((host, int(port)), timeout=60))
            enclave = MockEnclave(AUTHORITY, CLOCK, ENTROPY, image(number))
            return Caller(Raw(made[-1], ""), enclave)

        yield let_in
        for one in made:
            one.close()


@pytest.mark.parametrize("process", [0, 1])
def test_a_session_counts_in_every_process(enter: Enter, process: int) -> None:
    here, there = enter(1, process), enter(1, 1 - process)
    assert here.begin().status == 200
    there.enclave = here.enclave  # the same enclave, by two connections
    here.put("a", "by one")
    assert there.ask("/load", key="a") == (200, {"value": "by one"})
    there.put("a", "by the other")
    assert here.ask("/load", key="a") == (200, {"value": "by the other"})


def test_what_one_process_has_seen_is_worth_nothing_in_another(enter: Enter) -> None:
    one, other = enter(2, 0), enter(2, 1)
    assert one.begin().status == 200
    data = b'{"key": "a"}'
    for first, second in ((one, other), (other, one)):
        mark = one.enclave.mark("POST", "/exists", data)
        assert first.raw.ask("POST", "/exists", data, Holdfast_Enclave=mark).status == 200
        again = second.raw.ask("POST", "/exists", data, Holdfast_Enclave=mark)
        assert (again.status, json.loads(again.body)["facts"]["reason"]) == (401, "counter")


def test_a_nonce_of_one_process_is_spent_in_all(enter: Enter) -> None:
    one, other = enter(3, 0), enter(3, 1)
    nonce = json.loads(one.plain("/challenge").body)["nonce"]
    assert other.exchange(nonce).status == 200
    for caller in (one, other):
        assert json.loads(caller.exchange(nonce).body)["facts"]["reason"] == "nonce"


@pytest.mark.parametrize("process", [0, 1])
def test_who_has_handed_over_is_out_at_once_in_every_process(enter: Enter, process: int) -> None:
    old, new = enter(7 + process, process), enter(9, 0)
    assert old.begin().status == 200
    old.put("state", "precious")
    other = enter(7 + process, 1 - process)
    other.enclave = old.enclave
    assert old.ask("/load", key="state")[0] == other.ask("/load", key="state")[0] == 200
    assert old.ask("/handover", to=new.image_id)[0] == 200
    assert old.ask("/load", key="state")[0] == other.ask("/load", key="state")[0] == 403


def test_a_hand_over_is_known_everywhere_within_a_second(enter: Enter) -> None:
    old, new = enter(4, 1), enter(5, 0)
    assert old.begin().status == 200
    old.put("state", "precious")
    assert old.ask("/handover", to=new.image_id)[0] == 200
    left_s = 60.0
    while (
        new.begin(old.image_id).status != 200 and left_s > 0
    ):  # the other's memory is a second old
        CLOCK.sleep(0.05)
        left_s -= 0.05
    assert new.ask("/load", key="state") == (200, {"value": "precious"})


def test_a_mark_of_nobody_is_refused_by_all(enter: Enter) -> None:
    for process in (0, 1):
        caller = enter(6, process)
        for mark in ("", ";", f"{'0' * 32};1;{'0' * 64}"):
            told = caller.raw.ask("POST", "/load", b'{"key": "a"}', Holdfast_Enclave=mark)
            assert told.status == 401
