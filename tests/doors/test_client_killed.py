"""Either side is killed: nothing acknowledged is lost, and the outbox delivers each write once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Self

import pytest

import holdfast
from holdfast.client.store import RemoteStore
from holdfast.errors import DeadlineExceeded, HoldfastError, OutcomeUnknown, Unavailable
from holdfast.identity.operator import NAME
from holdfast.testing.proxy import Proxy
from holdfast.testing.serving import Serving

pytestmark = pytest.mark.push
WAIT_S = 60


class Process:
    """``holdfast serve`` as a process, always at the same address: that of a proxy.

    A port of its own could be anybody's by the time that it comes back.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process, url = self._started()
        self.proxy = Proxy(url)
        self.url = self.proxy.url

    def _started(self) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast", "serve", str(self._folder), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout
        return process, process.stdout.readline().split()[-1]

    @property
    def token(self) -> str:
        return (self._folder / NAME).read_text().strip()

    def die_and_come_back(self) -> None:
        self.proxy.refusing = True
        self.kill()
        self._process, url = self._started()
        self.proxy.retarget(url)
        self.proxy.refusing = False

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(WAIT_S)
        if self._process.stdout:
            self._process.stdout.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "data")
    with process.proxy:
        yield process
    process.kill()


class Writer:
    """Puts a counter under one key; knows what was acknowledged and what was only tried."""

    def __init__(self, remote: RemoteStore, key: str) -> None:
        self._ns = remote.namespace("acme")
        self.key = key
        self.acknowledged = self.tried = self.unknown = 0
        self.wrong: list[HoldfastError] = []
        self._stop, self._grown = Event(), Event()
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.tried += 1
            try:
                self.write(self.tried)
            except (OutcomeUnknown, Unavailable, DeadlineExceeded):
                self.unknown += 1
            except HoldfastError as error:
                self.wrong.append(error)
            else:
                self.acknowledged = self.tried
                self._grown.set()

    def write(self, number: int) -> None:
        self._ns.put(self.key, b"%d" % number)

    def goes_on(self) -> None:
        """Wait until something more was acknowledged."""
        self._grown.clear()
        assert self._grown.wait(WAIT_S)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def __exit__(self, *_: object) -> None:
        self.end()


class Appender(Writer):
    """Appends what it counts: whatever is killed, each is there once, and nobody is in doubt."""

    def write(self, number: int) -> None:
        self._ns.append(self.key, b"%d;" % number)


def test_a_killed_server_applies_each_write_once(server: Process) -> None:
    with (
        holdfast.connect(server.url, token=server.token, timeout=WAIT_S) as remote,
        Appender(remote, "log0") as one,
        Appender(remote, "log1") as other,
    ):
        for _ in range(2):
            for appender in (one, other):
                appender.goes_on()
            server.die_and_come_back()
        for appender in (one, other):
            appender.goes_on()
            appender.end()
            told = b"".join(b"%d;" % number for number in range(1, appender.tried + 1))
            assert remote.namespace("acme").get(appender.key) == told
    assert one.wrong == other.wrong == []
    assert one.unknown == other.unknown == 0


def test_a_killed_server_loses_nothing_that_was_acknowledged(
    server: Process, tmp_path: Path
) -> None:
    with (
        holdfast.connect(server.url, token=server.token, timeout=WAIT_S) as remote,
        holdfast.connect(
            server.url, token=server.token, timeout=WAIT_S, outbox=tmp_path / "out"
        ) as queue,
        Writer(remote, "w0") as one,
        Writer(remote, "w1") as other,
    ):
        queued = 0
        for _ in range(3):
            for writer in (one, other):
                writer.goes_on()
            for _ in range(20):
                queued += 1
                queue.namespace("acme").put_soon(f"q{queued % 2}", b"%d" % queued)
            server.die_and_come_back()
            for writer in (one, other):
                before = writer.acknowledged
                assert int(remote.namespace("acme").get(writer.key)) >= before
        assert not flushed(queue)
        ns = remote.namespace("acme")
        assert [int(ns.get(f"q{queued % 2}")), int(ns.get(f"q{(queued - 1) % 2}"))] == [
            queued,
            queued - 1,
        ]
    assert one.wrong == other.wrong == []


def flushed(remote: RemoteStore) -> list[str]:
    while True:
        try:
            return [letter.code for letter in remote.flush()]
        except (Unavailable, DeadlineExceeded):
            continue


CLIENT = """
import sys, holdfast
url, token, outbox = sys.argv[1:]
ns = holdfast.connect(url, token=token, outbox=outbox).namespace("acme")
for number in range(1, 1_000_000):
    ns.put_soon(f"k{number % 3}", b"%d" % number)
    print(number, flush=True)
"""


def test_a_killed_client_has_what_it_was_told_is_queued(tmp_path: Path) -> None:
    with holdfast.open(":memory:") as store, Serving(store) as serving:
        token, path = serving.token(), tmp_path / "out"
        last = 0
        for _ in range(3):
            process = subprocess.Popen(
                [sys.executable, "-c", CLIENT, serving.url, token, str(path)],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout
            for line in process.stdout:
                last = int(line)
                if last >= 100:
                    break
            process.kill()
            last = max([last, *map(int, process.stdout.read().split())])
            process.stdout.close()
            process.wait(WAIT_S)
            with holdfast.connect(serving.url, token=token, outbox=path) as remote:
                assert flushed(remote) == []
            stored = [int(value or b"0") for value in store.namespace("acme").get_many(KEYS)]
            # The write under way at the end may be there, though nobody was told.
            assert max(stored) - last in {0, 1}
            assert sorted(stored) == list(range(max(stored) - 2, max(stored) + 1))


KEYS = ["k0", "k1", "k2"]
