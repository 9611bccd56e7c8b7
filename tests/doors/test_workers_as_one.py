"""What is asked of a whole store that several processes share is answered for all of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import IO, NamedTuple

import pytest

import holdfast
from holdfast.client.store import RemoteStore
from holdfast.clock import SystemClock
from holdfast.values import Status
from tests.doors.test_workers import SMALL, Served, serving

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
KEYS = [f"k{number:04d}" for number in range(300)]
FIRST, LAST = "k0000", "k0299"  # one in each process


class Shared(NamedTuple):
    """A served store, asked by each of its two processes' own addresses."""

    served: Served
    folder: Path
    doors: tuple[RemoteStore, ...]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    folder = tmp_path / "data"
    with holdfast.open(folder, bucket_bytes=SMALL) as store:
        for name in ("acme", "zeta"):
            store.namespace(name).put_many((key, key.encode() * 180) for key in KEYS)
    with serving(folder) as served, ExitStack() as stack:

        def connect(url: str) -> RemoteStore:
            return stack.enter_context(holdfast.connect(url, token=served.token, timeout=60))

        whole = connect(served.url)
        owners = {whole.locate(*at).address for at in (("acme", FIRST), ("zeta", LAST))}
        assert len(owners) == 2
        yield Shared(served, folder, tuple(connect(url) for url in sorted(owners)))


def test_each_process_speaks_for_the_whole_store(shared: Shared, tmp_path: Path) -> None:
    for one in shared.doors:
        status = one.status()
        assert sum(bucket.keys for bucket in status.buckets) >= 2 * len(KEYS)
        edges = [(bucket.start, bucket.stop) for bucket in status.buckets]
        assert edges[0][0] is None
        assert edges[-1][1] is None
        assert [stop for _, stop in edges[:-1]] == [start for start, _ in edges[1:]]
        report = one.check()
        assert report.ok
        assert report.buckets == len(status.buckets)
        assert report.records >= 2 * len(KEYS)
        assert one.namespaces() == ["acme", "zeta"]
        assert list(one.namespace("acme").list()) == list(one.namespace("zeta").list()) == KEYS
        assert one.flush() == one.dead_letters() == []
        one.rebuild()
        one.tick(0.01)
        assert one.namespace("acme").share(FIRST).startswith(shared.served.url + "/")
    refused_where_something_is(shared, tmp_path)


def refused_where_something_is(shared: Shared, tmp_path: Path) -> None:
    """A backup goes into an empty folder only, outside the store."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for path in (tmp_path / "full", shared.folder / "log" / "inside"):
        with pytest.raises(holdfast.InvalidValue):
            shared.doors[0].backup(path)
    assert (tmp_path / "full" / "mine").read_text() == "mine"


def metric(shared: Shared, url: str, name: str) -> float:
    """One figure of a scrape."""
    door = HTTPConnection(url.removeprefix("http://"), timeout=60)
    door.request("GET", "/metrics", headers={"Authorization": f"Bearer {shared.served.token}"})
    lines = door.getresponse().read().decode().splitlines()
    door.close()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def test_a_scrape_of_any_process_tells_of_all(shared: Shared) -> None:
    loads = 'holdfast_requests_total{operation="load",status="200"}'
    for one in shared.doors:
        assert one.namespace("acme").get(FIRST)
        assert one.namespace("zeta").get(LAST)
    ends = (("acme", FIRST), ("zeta", LAST))
    urls = [shared.doors[0].locate(*end).address or "" for end in ends]
    before = [metric(shared, url, loads) for url in urls]
    assert before[0] == before[1] >= 4
    for name in ("holdfast_buckets", "holdfast_live_bytes"):
        whole = [metric(shared, url, name) for url in urls]
        parts = [
            metric(shared, urls[0], name.replace("_", "_worker_", 1) + f'{{worker="{number}"}}')
            for number in (0, 1)
        ]
        assert whole == [sum(parts)] * 2
        assert min(parts) > 0
    pid = shared.served.workers()[0]
    os.kill(pid, signal.SIGKILL)
    assert shared.doors[0].namespace("acme").get(FIRST)  # once another has taken its place
    assert shared.doors[1].namespace("zeta").get(LAST)
    assert metric(shared, urls[0], loads) >= before[0] + 1


def test_space_of_all_processes_comes_back(shared: Shared) -> None:
    one, other = shared.doors
    dead = {key: os.urandom(900) for key in KEYS}
    for _ in range(3):
        for name in ("acme", "zeta"):
            one.namespace(name).put_many(dead)
    for name in ("acme", "zeta"):
        for key in KEYS[10:]:
            other.namespace(name).delete(key)
    before = one.status()
    freed, after = other.collect("copying").bytes_freed, one.status()
    most = 900 * len(KEYS) // 2  # of six times 900 bytes a key that were written
    for _ in range(100):  # what buckets share while they merge cannot go before they are one
        if after.dead_bytes < most:
            break
        sleep(0.2)
        freed, after = freed + other.collect("copying").bytes_freed, one.status()
    assert freed > 0 or before.dead_bytes < most  # upkeep was faster
    assert after.dead_bytes < most
    assert sum(bucket.keys for bucket in after.buckets) < 50
    for name in ("acme", "zeta"):
        assert list(one.namespace(name).list()) == KEYS[:10]


def test_damage_in_any_process_is_found(shared: Shared, tmp_path: Path) -> None:
    whole = shared.doors[0].status()
    for bucket in (whole.buckets[0], whole.buckets[-1]):
        segments = sorted((shared.folder / "log" / bucket.id).glob("*.seg"))
        with segments[0].open("r+b") as file:
            file.seek(segments[0].stat().st_size // 2)
            file.write(b"damage!")
    for one in shared.doors:
        report = one.check()
        assert not report.ok
        told = {problem.bucket for problem in report.problems}
        assert {whole.buckets[0].id, whole.buckets[-1].id} <= told
    with pytest.raises(holdfast.Corrupt):
        shared.doors[0].backup(tmp_path / "backup")
    assert list((tmp_path / "backup").iterdir()) == []


def test_a_backup_is_of_one_moment_of_all_processes(shared: Shared, tmp_path: Path) -> None:
    """A writer counts up in one process, then in the other: the second is never ahead."""
    first, last = shared.doors[0].namespace("acme"), shared.doors[1].namespace("zeta")
    going, ended = Event(), Event()

    def count() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            for space, key in ((first, FIRST), (last, LAST)):
                space.put(key, str(number).encode())
            going.set()

    writer = Thread(target=count)
    writer.start()
    try:
        assert going.wait(60)
        for at, one in enumerate((*shared.doors, *shared.doors)):
            one.backup(tmp_path / f"backup{at}")
    finally:
        ended.set()
        writer.join()
    os.kill(shared.served.workers()[1], signal.SIGKILL)
    status = patient_status(shared.served)
    assert sum(bucket.keys for bucket in status.buckets) >= 2 * len(KEYS)
    for at in range(4):
        told = restored(tmp_path / f"backup{at}", tmp_path / f"again{at}")
        assert 0 <= told[0] - told[1] <= 1


def patient_status(served: Served) -> Status:
    """Figures of the whole, though a process has just died."""
    with holdfast.connect(served.url, token=served.token, timeout=60) as store:
        return store.status()


def restored(backup: Path, into: Path) -> tuple[int, int]:
    """How far both counters were in a backup whose other objects are all there."""
    holdfast.restore(backup, into)
    with holdfast.open(into) as store:
        assert store.check().ok
        acme, zeta = store.namespace("acme"), store.namespace("zeta")
        assert {key: acme.get(key) for key in KEYS[1:]} == {k: k.encode() * 180 for k in KEYS[1:]}
        assert {key: zeta.get(key) for key in KEYS[:-1]} == {k: k.encode() * 180 for k in KEYS[:-1]}
        return int(acme.get(FIRST)), int(zeta.get(LAST))


def test_settings_are_read_again_by_all_processes(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    file = tmp_path / "settings.toml"
    file.write_text('log = "none"\n')
    with (
        (tmp_path / "log").open("w") as told,
        (tmp_path / "log").open() as log,
        serving(folder, 2, "--config", str(file), stderr=told) as served,
        holdfast.connect(served.url, token=served.token) as store,
    ):
        workers = served.workers()
        served.process.send_signal(signal.SIGHUP)
        until(log, "the settings were read again")
        file.write_text("log = 5\n")
        served.process.send_signal(signal.SIGHUP)
        until(log, "could not be read again")
        store.namespace("acme").put("quiet", b"")
        file.write_text('log = "all"\n')
        served.process.send_signal(signal.SIGHUP)
        until(log, "the settings were read again")
        store.namespace("acme").put("loud", b"")
        line = until(log, '"namespace":"acme"')
        assert json.loads(line)["operation"] == "store"
        assert served.workers() == workers


def until(log: IO[str], text: str) -> str:
    """The next line of a log that has a text in it; waits for it, within the test's time."""
    clock, line = SystemClock(), ""
    while not (text in line and line.endswith("\n")):
        line = log.readline()
        if not line:
            clock.sleep(0.02)
    return line
