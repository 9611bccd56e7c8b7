"""Everything at once: doors, processes, prices, proofs and growth, while processes are killed.

What each part keeps is tested beside it. Here it must be kept while all the others work: what
was acknowledged is there, nothing else is ever read, and the books agree with what is there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from threading import Event, Thread
from time import sleep

import pytest

import holdfast
from holdfast.client.store import RemoteNamespace, RemoteStore
from holdfast.errors import (
    Busy,
    DeadlineExceeded,
    LockHeld,
    LockLost,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from holdfast.identity.operator import NAME
from holdfast.ledger import statement

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]
BOUND = 256 * 1024
USD = 10**18
KILLS = 12
BETWEEN = 150  # operations of all tenants between two kills
WAIT_S = 60
DOORS = ("http", "direct", "grpc") * 2
SIZES = (10, 300, 1_500, 9_000)
# Of these a write may have come or not, or be under way; the model allows for both.
INTERRUPTED = (OutcomeUnknown, DeadlineExceeded, Unavailable, RateLimited, Busy)
May = set[bytes | None]
ABSENT: May = {None}


class Server:
    """``holdfast serve`` with three processes, on the ports that it had before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = ["0", "0"]
        self.begin()

    def begin(self) -> None:
        command = [sys.executable, "-m", "holdfast", "--bucket-bytes", str(BOUND), "serve"]
        ports = ("--port", self._ports[0], "--grpc-port", self._ports[1])
        self._process = subprocess.Popen(
            [*command, str(self._folder), *ports, "--workers", "3"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.urls = [self._process.stdout.readline().split()[-1] for _ in range(2)]
        self._ports = [url.rpartition(":")[2] for url in self.urls]

    def workers(self) -> list[int]:
        me = self._process.pid
        return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]

    def kill_some(self, chance: Random) -> None:
        """One worker, or all there is; or end it well, or have it read its settings again."""
        how = chance.choice(("worker", "worker", "worker", "all", "end", "reload"))
        if how == "worker":
            with suppress(ProcessLookupError):
                os.kill(chance.choice(self.workers()), signal.SIGKILL)
        elif how == "reload":
            self._process.send_signal(signal.SIGHUP)
        else:
            self.end(hard=how == "all")
            self.begin()

    def end(self, *, hard: bool = False) -> None:
        workers = self.workers() if hard else []
        self._process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        self._process.wait(WAIT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def connect(self, door: str) -> RemoteStore:
        token = (self._folder / NAME).read_text().strip()
        url = self.urls[door == "grpc"]
        return holdfast.connect(url, token=token, direct=door == "direct")


class Tenant:
    """Does one thing after another in a namespace of its own; knows what may be there."""

    def __init__(self, server: Server, number: int, seed: int) -> None:
        self.space = f"t{number}"
        self.done = 0
        self.wrong: list[str] = []
        self.may: dict[str, May] = {}
        self._server, self._door = server, DOORS[number]
        self._chance = Random(f"{seed}/{number}")
        self._is_over = Event()
        self._thread = Thread(target=self._run)
        self._ways: list[tuple[Callable[[RemoteNamespace], None], int]] = [
            (self._put, 30),
            (self._get, 25),
            (self._put_many, 8),
            (self._delete, 8),
            (self._append, 8),
            (self._get_many, 6),
            (self._list, 5),
            (self._prove, 4),
            (self._stream, 3),
            (self._lock, 2),
            (self._use, 1),
        ]

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                with self._server.connect(self._door) as store:
                    self._go_on(store.namespace(self.space))
            except INTERRUPTED:
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                self.wrong.append(repr(error))
                return

    def _go_on(self, ns: RemoteNamespace) -> None:
        ways, weights = zip(*self._ways, strict=True)
        while not self._is_over.is_set():
            (way,) = self._chance.choices(ways, weights)
            with suppress(*INTERRUPTED):
                way(ns)
            self.done += 1

    def _key(self) -> str:
        return f"d{self._chance.randrange(8)}/k{self._chance.randrange(300)}"

    @contextmanager
    def _writing(self, key: str, to: May) -> Iterator[None]:
        """Until it is acknowledged, what was there may be there as well."""
        self.may[key] = self.may.get(key, ABSENT) | to
        yield
        self.may[key] = to

    def _judge(self, key: str, value: bytes | None) -> None:
        may = self.may.get(key, ABSENT)
        if value not in may:
            told = [None if one is None else len(one) for one in (value, *may)]
            self.wrong.append(f"{key}: {told[0]} bytes, not of {told[1:]}")

    def _put(self, ns: RemoteNamespace) -> None:
        key, value = self._key(), self._chance.randbytes(self._chance.choice(SIZES))
        with self._writing(key, {value}):
            ns.put(key, value)

    def _put_many(self, ns: RemoteNamespace) -> None:
        pairs = {self._key(): self._chance.randbytes(500) for _ in range(20)}
        for key, value in pairs.items():
            self.may[key] = self.may.get(key, ABSENT) | {value}
        ns.put_many(pairs)
        self.may.update((key, {value}) for key, value in pairs.items())

    def _stream(self, ns: RemoteNamespace) -> None:
        key, value = self._key(), self._chance.randbytes(self._chance.randrange(5 << 20))
        with self._writing(key, {value}), ns.open(key, "wb") as file:
            for at in range(0, len(value), 300_000):
                file.write(value[at : at + 300_000])

    def _delete(self, ns: RemoteNamespace) -> None:
        key = self._key()
        with self._writing(key, {None}):
            ns.delete(key, missing_ok=True)

    def _append(self, ns: RemoteNamespace) -> None:
        key, more = self._key(), self._chance.randbytes(50)
        grown = {(value or b"") + more for value in self.may.get(key, ABSENT)}
        self.may[key] = self.may.get(key, ABSENT) | grown
        size = ns.append(key, more)
        self.may[key] = {value for value in grown if len(value) == size}

    def _get(self, ns: RemoteNamespace) -> None:
        key = self._key()
        try:
            self._judge(key, ns.get(key))
        except NotFound:
            self._judge(key, None)

    def _get_many(self, ns: RemoteNamespace) -> None:
        keys = [self._key() for _ in range(30)]
        for key, value in zip(keys, ns.get_many(keys), strict=True):
            self._judge(key, value)

    def _list(self, ns: RemoteNamespace) -> None:
        prefix = f"d{self._chance.randrange(8)}/"
        found = set(ns.list(prefix))
        for key, may in self.may.items():
            is_wrong = may == ABSENT if key in found else None not in may
            if key.startswith(prefix) and is_wrong:
                self.wrong.append(f"a list is wrong about {key}")

    def _prove(self, ns: RemoteNamespace) -> None:
        key = self._key()
        try:
            self._judge(key, ns.get(key, prove=True).value)
        except NotFound:
            self._judge(key, None)

    def _lock(self, ns: RemoteNamespace) -> None:
        with suppress(LockHeld, LockLost), ns.lock(f"lock/{self._key()}", ttl=1) as lock:
            lock.renew()

    def _use(self, ns: RemoteNamespace) -> None:
        ns.usage()


def prepare(folder: Path) -> None:
    """Every other tenant pays, from an account that a rule tops up."""
    with holdfast.open(folder, bucket_bytes=BOUND) as store:
        store.accounts.deposit("reserve", 10**6 * USD, "first")
        for number in range(0, len(DOORS), 2):
            name = f"t{number}"
            store.accounts.transfer("reserve", name, USD, name)
            store.accounts.rule(name, threshold=USD // 10, amount=USD, per_day=1_000)
            store.namespace(name).configure(tariff="enclave")


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_while_everything_goes_on(tmp_path: Path, seed: int) -> None:
    folder, chance = tmp_path / "data", Random(seed)
    prepare(folder)
    server = Server(folder)
    tenants = [Tenant(server, number, seed) for number in range(len(DOORS))]
    for tenant in tenants:
        tenant.begin()
    try:
        for _ in range(KILLS):
            before = sum(tenant.done for tenant in tenants)
            while sum(t.done for t in tenants) < before + BETWEEN and not any(
                t.wrong for t in tenants
            ):
                sleep(0.05)
            server.kill_some(chance)
    finally:
        for tenant in tenants:
            tenant.end()
        server.end()
    assert [tenant.wrong for tenant in tenants] == [[]] * len(tenants)
    with holdfast.open(folder, bucket_bytes=BOUND) as store:
        assert store.check().problems == ()
        for tenant in tenants:
            hold(store.namespace(tenant.space), tenant.may)
        document = store.statement("reserve", 0, 1 << 62)
        statement.verify(document, public_key=store.public_key())
        store.accounts.ledger.books().check()


def hold(ns: holdfast.Namespace, may: dict[str, May]) -> None:
    """A namespace has what it may have, and is told and proven to have that."""
    there = {key: value for key, value in ns.mapping().items() if not key.startswith("lock/")}
    assert there.keys() <= may.keys()
    assert [key for key, allowed in may.items() if there.get(key) not in allowed] == []
    used = ns.usage()
    sizes = [len(key.encode()) + len(value) for key, value in there.items()]
    assert (used.objects, used.live_bytes) == (len(sizes), sum(sizes))
    for key in list(may)[:20]:
        assert ns.prove(key).value == there.get(key)
