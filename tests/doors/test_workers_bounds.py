"""Bounds on the requests of a namespace hold for a server, not for each of its processes."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.clock import SystemClock
from tests.doors.test_workers import SMALL, Served, serving
from tests.rooms.server.raw import Raw

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
SPACE = "/v1/namespaces/acme"
RATE = 20
TOO_MANY = 429
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    chance = Random(7)
    data = tmp_path_factory.mktemp("bounds") / "data"
    with holdfast.open(data, bucket_bytes=SMALL) as store:
        store.namespace("acme").put_many({f"k{n:04d}": chance.randbytes(700) for n in range(600)})
    with serving(data, 3) as server:
        yield server


@contextmanager
def owners(served: Served) -> Iterator[dict[str, tuple[Raw, str]]]:
    """A connection to each process by its address, and a key that it holds."""
    made: dict[str, tuple[Raw, str]] = {}
    keys = [f"k{n:04d}" for n in range(0, 600, 40)]
    with holdfast.connect(served.url, token=served.token) as store:
        places = [(store.locate("acme", key).address, key) for key in keys]
    for address, held in groupby(places, itemgetter(0)):
        inner = [key for _, key in held]
        key = inner[len(inner) // 2]  # no border: a bucket there may change hands
        host, _, port = address.removeprefix("http://").rpartition(":")
        raw = Raw(socket.create_connection((host, int(port)), timeout=60), served.token)
        made[address] = raw, key
    try:
        yield made
    finally:
        for raw, _ in made.values():
            raw.socket.close()


def bound(raw: Raw, **bounds: int) -> None:
    told = raw.ask("PUT", f"{SPACE}/metering", json.dumps(bounds).encode())
    assert told.status == 200, told.body


def wait_for(wanted: object, raw: Raw, key: str, count: int = 1) -> None:
    """Until a process that has taken note of a bound answers so to one of ``count`` requests."""
    for _ in range(3_000):
        if wanted in answers(raw, key, count):
            return
        CLOCK.sleep(0.02)
    raise AssertionError(wanted)


def answers(raw: Raw, key: str, count: int) -> list[object]:
    """What requests were told that came in together: a status, or the bound that refused them."""
    raw.say(raw.request("GET", f"{SPACE}/objects/{key}") * count)
    told = [raw.hear() for _ in range(count)]
    return [
        json.loads(one.body)["facts"]["limit"] if one.status == TOO_MANY else one.status
        for one in told
    ]


def test_requests_per_second_are_counted_over_all_processes(served: Served) -> None:
    with owners(served) as each:
        assert len(each) == 3
        bound(next(iter(each.values()))[0], requests_per_s=RATE)
        for raw, key in each.values():
            wait_for("requests_per_s", raw, key, 2 * RATE)
        let_in, began_ns = 0, CLOCK.monotonic_ns()
        while (passed_ns := CLOCK.monotonic_ns() - began_ns) < 1_000_000_000:
            for raw, key in each.values():
                let_in += answers(raw, key, 5).count(200)
            CLOCK.sleep(0.01)
        assert 0 < let_in <= RATE * (passed_ns / 1e9 + 1) + 5 * len(each)
        while raw.ask("PUT", f"{SPACE}/metering", b"{}").status == TOO_MANY:  # it is a request, too
            CLOCK.sleep(0.02)


def process_at(served: Served, address: str) -> int:
    """Which of the workers alone listens at an address, as the system has it."""
    port = int(address.rpartition(":")[2])
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = (line.split() for line in table)
    inode = next(row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A")
    for pid in served.workers():
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if str(entry.readlink()) == f"socket:[{inode}]":
                return pid
    raise AssertionError(address)


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """A process whose threads all stand still: one on another processor runs on for a moment."""
    os.kill(process, signal.SIGSTOP)
    try:
        while any(not is_still(thread) for thread in Path(f"/proc/{process}/task").iterdir()):
            CLOCK.sleep(0.001)
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def is_still(thread: Path) -> bool:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_requests_at_once_are_counted_over_all_processes(served: Served) -> None:
    with owners(served) as each:
        assert len(each) == 3
        (here, _), (there, mine), (_, theirs) = each.values()
        far = process_at(served, list(each)[2])
        bound(here, concurrent_max=0)
        for raw in (here, there):
            wait_for("concurrent_max", raw, mine)
        bound(here, concurrent_max=1)
        for raw in (here, there):
            wait_for(200, raw, mine)
        with stopped(far):
            stat = here.request("GET", f"{SPACE}/stat/{theirs}")  # waits for who does not answer
            here.say(stat)
            while answers(there, mine, 1) != ["concurrent_max"]:
                if select.select([here.socket], [], [], 0.02)[0]:  # this one was there first
                    assert here.hear().status == TOO_MANY
                    here.say(stat)
        assert here.hear().status == 200
        assert answers(there, mine, 1) == [200]
