"""Several processes serve one store: any answers, a dead one is replaced, nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from select import select
from typing import IO, Literal, NamedTuple

import pytest

import holdfast
from holdfast.client.store import RemoteNamespace, RemoteStore
from holdfast.clock import SystemClock
from tests.rooms.server.raw import Raw

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
SMALL = 64 * 1024
CLOCK = SystemClock()


class Served(NamedTuple):
    """A server of several processes."""

    url: str
    token: str
    process: subprocess.Popen[str]

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        pid = self.process.pid
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(word) for word in told.split()]


def begun(folder: Path, *options: str, stderr: IO[str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "holdfast", "--bucket-bytes", str(SMALL), "serve"]
    command += [str(folder), "--port", "0", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)


def told_by(process: subprocess.Popen[str], folder: Path) -> Served:
    """A server that listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    url = re.fullmatch(r"listening on (http://\S+)\n", line)
    assert url, line
    return Served(url[1], (folder / "admin-token").read_text().strip(), process)


@contextmanager
def serving(
    folder: Path, workers: int = 2, *options: str, stderr: IO[str] | None = None
) -> Iterator[Served]:
    process = begun(folder, "--workers", str(workers), *options, stderr=stderr)
    try:
        yield told_by(process, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
    assert process.returncode == 0


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    chance = Random(7)
    values = {f"k{number:04d}": chance.randbytes(700) for number in range(600)}
    folder = tmp_path / "data"
    with holdfast.open(folder, bucket_bytes=SMALL) as store:
        store.namespace("acme").put_many(values)
    return folder, values


def test_workers_whose_supervisor_was_killed_end_and_leave_nothing(
    filled: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder, values), said = filled, tmp_path / "said"
    with (
        tempfile.TemporaryDirectory() as name,  # tmp_path is long for the name of a socket
        said.open("w") as stderr,
        monkeypatch.context() as patch,
    ):
        patch.setenv("TMPDIR", name)
        temporary = Path(name)
        process = begun(folder, "--workers", "2", stderr=stderr)
        try:
            served = told_by(process, folder)
            with holdfast.connect(served.url, token=served.token) as store:
                assert store.namespace("acme").get("k0001") == values["k0001"]
                workers = [os.pidfd_open(pid) for pid in served.workers()]
                assert len(list(temporary.glob("holdfast-*"))) == 1
                process.kill()
                for worker in workers:
                    assert select([worker], [], [], 60)[0], "a worker outlives its supervisor"
                    os.close(worker)
        finally:
            process.kill()
            process.communicate(timeout=60)
        assert list(temporary.glob("holdfast-*")) == []
    assert "Traceback" not in said.read_text()
    with holdfast.open(folder) as store:  # nobody holds it
        ns = store.namespace("acme")
        assert {key: ns.get(key) for key in values} == values


def test_any_process_answers_for_the_whole_store(filled: tuple[Path, dict[str, bytes]]) -> None:
    folder, values = filled
    with serving(folder) as served:
        assert len(served.workers()) == 2
        with holdfast.connect(served.url, token=served.token) as store:
            ns = store.namespace("acme")
            assert list(ns.list()) == sorted(values)
            places = [store.locate("acme", key) for key in sorted(values)[::30]]
            owners = {place.address for place in places}
            assert len(owners) == 2
            for address in owners:
                with holdfast.connect(address, token=served.token) as one:
                    space = one.namespace("acme")
                    assert {key: space.get(key) for key in values} == values
                    assert space.get_many([*values, "absent"]) == [*values.values(), None]
                    large = os.urandom(3 << 20)
                    space.put("k0001/large", large)
                    space.put("k0599/large", large)
                    assert space.get("k0001/large") == space.get("k0599/large") == large
                    assert patient_place(store, one, "k0300")
    with holdfast.open(folder) as store:
        assert store.check().ok
        assert store.namespace("acme").get("k0599") == values["k0599"]


@pytest.mark.parametrize("direct", [True, "auto"])
def test_direct_callers_reach_the_owners(
    filled: tuple[Path, dict[str, bytes]], direct: Literal[True, "auto"]
) -> None:
    folder, values = filled
    with (
        serving(folder) as served,
        holdfast.connect(served.url, token=served.token, direct=direct) as store,
    ):
        ns = store.namespace("acme")
        assert {key: ns.get(key) for key in values} == values
        for key in values:
            ns.put(key, key.encode())
        assert {key: ns.get(key) for key in values} == {key: key.encode() for key in values}


def test_a_dead_process_is_replaced_and_nothing_acknowledged_is_lost(
    filled: tuple[Path, dict[str, bytes]],
) -> None:
    folder, values = filled
    with (
        serving(folder) as served,
        holdfast.connect(served.url, token=served.token) as store,
    ):
        ns = store.namespace("acme")
        for round_number in range(2):
            told = {}
            for key in Random(round_number).sample(sorted(values), 60):
                value = f"{key} {round_number}".encode()
                ns.put(key, value)
                told[key] = value
            values |= told
            before = served.workers()
            os.kill(before[round_number % 2], signal.SIGKILL)
            assert {key: patiently(ns, key) for key in values} == values
            assert len(served.workers()) == 2
            assert served.workers() != before
    with holdfast.open(folder) as again:
        assert again.check().ok
        space = again.namespace("acme")
        assert {key: space.get(key) for key in values} == values


@pytest.mark.parametrize("direct", [False, True])
def test_while_processes_die_each_write_is_applied_once(
    filled: tuple[Path, dict[str, bytes]],
    direct: bool,  # noqa: FBT001 - given by name
) -> None:
    folder, values = filled
    keys = sorted(values)[::40]
    with (
        serving(folder) as served,
        holdfast.connect(served.url, token=served.token, timeout=60, direct=direct) as store,
    ):
        ns = store.namespace("acme")
        for round_number in range(6):
            if round_number == 3:
                os.kill(served.workers()[direct], signal.SIGKILL)
            for key in keys:
                ns.append(f"{key}/log", b"%d;" % round_number)
        told = b"".join(b"%d;" % number for number in range(6))
        assert {key: ns.get(f"{key}/log") for key in keys} == dict.fromkeys(keys, told)


def patiently(ns: RemoteNamespace, key: str) -> bytes:
    """A read by somebody who comes again when told to."""
    clock = SystemClock()
    for _ in range(3_000):
        try:
            return ns.get(key)
        except (holdfast.Unavailable, holdfast.Busy):
            clock.sleep(0.02)
    return ns.get(key)


def patient_place(store: RemoteStore, one: RemoteStore, key: str) -> bool:
    """Whether both tell one place of a key, which may become another between two calls."""
    for _ in range(3_000):
        if store.locate("acme", key) == one.locate("acme", key):
            return True
        CLOCK.sleep(0.02)
    return False


def test_a_young_store_spreads_as_it_grows(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with (
        serving(folder) as served,
        holdfast.connect(served.url, token=served.token) as store,
    ):
        ns = store.namespace("acme")
        values = {f"k{number:04d}": os.urandom(900) for number in range(800)}
        items = list(values.items())
        clock = SystemClock()
        owners: set[str] = set()
        for _ in range(100):  # until a bucket has changed hands, which happens within seconds
            ns.put_many(items)
            owners = {store.locate("acme", key).address for key in sorted(values)[::50]}
            if len(owners) == 2:
                break
            clock.sleep(0.2)
        assert len(owners) == 2
        assert {key: ns.get(key) for key in values} == values
        assert list(ns.list()) == sorted(values)
    with holdfast.open(folder) as again:
        assert again.check().ok
        assert {key: again.namespace("acme").get(key) for key in values} == values


def test_who_is_under_way_at_the_end_is_answered_with_the_help_of_all(
    filled: tuple[Path, dict[str, bytes]],
) -> None:
    folder, _ = filled
    size = 3 << 19
    with serving(folder) as served:
        host, _, port = served.url.removeprefix("http://").rpartition(":")
        address = (host, int(port))
        raws = [Raw(socket.create_connection(address, timeout=60), served.token) for _ in range(4)]
        for raw, key in zip(raws, ["k0000/a", "k0599/a"] * 2, strict=True):
            path, continues = f"/v1/namespaces/acme/objects/{key}", {"Expect": "100-continue"}
            asked = raw.request("PUT", path, bytes(size), **continues)
            raw.say(asked[:-size])
            assert raw.hear().status == 100  # whichever process has the connection has begun
            raw.say(asked[-size : -size // 2])
        served.process.send_signal(signal.SIGTERM)
        for _ in range(500):
            try:
                socket.create_connection(address, timeout=60).close()
            except ConnectionRefusedError:
                break
            CLOCK.sleep(0.01)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=60)
        for raw in raws:
            raw.say(bytes(size // 2))
        assert [raw.hear().status for raw in raws] == [200] * 4
        for raw in raws:
            raw.socket.close()
    with holdfast.open(folder) as store:
        assert len(store.namespace("acme").get("k0599/a")) == size


def test_processes_share_a_port_for_grpc_that_nobody_chose(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    with serving(tmp_path / "data", 2, "--grpc-port", "0") as served:
        assert served.process.stdout is not None
        url = re.fullmatch(
            r"listening on (grpc://\S+:[1-9]\d*)\n", served.process.stdout.readline()
        )
        assert url
        for number in range(8):  # whichever of them answers
            with holdfast.connect(url[1], token=served.token) as store:
                store.namespace("acme").put(f"k{number}", b"1")
        with holdfast.connect(served.url, token=served.token) as store:
            assert len(list(store.namespace("acme").list())) == 8
