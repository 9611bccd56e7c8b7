"""Relayed against direct: what asking the owner is worth, by distance and size.

    python -m bench.direct > table.md

Two workers serve one store; every key asked for belongs to the other worker than the one that the
relayed client talks to. A proxy before each worker keeps everything on its way for the delay, each
way. Cells are medians in milliseconds, relayed / direct / "auto", of calls that take turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import holdfast
from holdfast.client.address import Address
from holdfast.client.box import Box
from holdfast.client.line import Line
from holdfast.client.places import NearPlaces, Places
from holdfast.client.soon import Soon
from holdfast.client.store import RemoteNamespace, RemoteStore
from holdfast.client.sync import Sender
from holdfast.client.whole import SoonCalls
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.testing.proxy import Proxy

KIB, MIB = 1 << 10, 1 << 20
DELAYS_S = (0.0, 0.005, 0.05)
SIZES = {"1 KiB": KIB, "64 KiB": 64 * KIB, "1 MiB": MIB, "16 MiB": 16 * MIB}
KEYS = 4_000
BUDGET_S = 4.0  # for one cell, both ways
LEAST, MOST = 3, 40


class Far(Address, frozen=True):
    """An address behind which every server stands behind a proxy of its own."""

    proxies: tuple[tuple[str, str], ...] = ()

    def at(self, origin: str | None) -> str:
        """The proxy before an owner."""
        return dict(self.proxies).get(origin or self.origin, self.origin)


class Cell(NamedTuple):
    """Median milliseconds of each way."""

    relayed: float
    direct: float
    auto: float


@contextmanager
def workers(folder: Path) -> Iterator[tuple[str, str]]:
    """Two workers of a store that is cut into several buckets; its url and the operator's token."""
    with holdfast.open(folder, bucket_bytes=MIB) as store:
        store.namespace("acme").put_many([(f"k{at:04d}", os.urandom(KIB)) for at in range(KEYS)])
    command = [sys.executable, "-m", "holdfast", "--bucket-bytes", str(MIB), "serve"]
    command += [str(folder), "--workers", "2", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        yield url, (folder / "admin-token").read_text().strip()
    finally:
        process.terminate()
        process.wait(30)


def client(origin: str, proxies: dict[str, str], token: str, places: Places | None) -> RemoteStore:
    line = Line(token, 60.0, SystemClock(), SystemEntropy())
    sender = Sender(Far(origin, proxies=tuple(proxies.items())), None, line.clock)
    calls = SoonCalls(line)
    return RemoteStore(
        line, sender, places, lambda: Soon(calls, sender.run, Box(), line.clock.wall_ns)
    )


def measured(*ways: Callable[[], object]) -> Cell:
    """All, in turns, for as long as the budget lasts."""
    times: list[list[float]] = [[] for _ in ways]
    begun = time.perf_counter()
    while len(times[-1]) < LEAST or (
        len(times[-1]) < MOST and time.perf_counter() - begun < BUDGET_S
    ):
        for call, taken in zip(ways, times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return Cell(*(statistics.median(taken) * 1000 for taken in times))


def row(ways: Sequence[RemoteNamespace], key: str, size: int) -> tuple[Cell, Cell]:
    """Put and get of one size."""
    value = os.urandom(size)
    for ns in ways:
        ns.put(key, value)
        assert ns.get(key) == value
    return (
        measured(*(partial(ns.put, key, value) for ns in ways)),
        measured(*(partial(ns.get, key) for ns in ways)),
    )


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data"
        url, token = stack.enter_context(workers(folder))
        with holdfast.connect(url, token=token) as plain:
            keys = [f"k{at:04d}" for at in range(0, KEYS, 50)]
            owners = {key: plain.locate("acme", key).address for key in keys}
        first, *others = sorted(set(owners.values()))
        key = next(key for key, owner in owners.items() if owner in others)
        proxies = {origin: stack.enter_context(Proxy(origin)) for origin in (first, *others)}
        through = {origin: proxy.url for origin, proxy in proxies.items()}
        print("| one way | size | put: relayed / direct / auto | get: relayed / direct / auto |")
        print("| --- | --- | --- | --- |")
        for delay_s in DELAYS_S:
            for proxy in proxies.values():
                proxy.delay_s = delay_s
            ways = [
                stack.enter_context(client(first, through, token, places)).namespace("acme")
                for places in (None, Places(), NearPlaces())
            ]
            for ns in ways:
                for one in keys:
                    ns.get(one)  # "auto" finds out how far it is
            for name, size in SIZES.items():
                cells = row(ways, key, size)
                told = [" / ".join(f"{way:.1f}" for way in cell) + " ms" for cell in cells]
                print(f"| {delay_s * 1000:.0f} ms | {name} | {told[0]} | {told[1]} |", flush=True)


if __name__ == "__main__":
    main()
