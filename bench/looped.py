"""How long ``aopen`` holds the event loop, on a disk that takes 200 ms to sync.

    python -m bench.looped [runs]

200 tasks write, read and list at once, then one writes 3 MB, while a task of the
same loop sleeps a millisecond at a time and notes how late it comes. A bare loop
in a process of its own does only that: what it is late by, the machine owes.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from statistics import median

from holdfast.aio import AsyncNamespace, twin_of
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engines.memory import MemoryDisk
from holdfast.store.opening import open_on
from holdfast.testing.disk import SlowDisk

RUNS, TASKS, LARGE = 5, 200, 3_000_000
SYNC_S, NAP_S = 0.2, 0.001
BARE = "bare"


async def late() -> float:
    """Come back every millisecond until cancelled; by how much it was late at worst, seconds."""
    worst = 0.0
    try:
        while True:
            before = time.monotonic()
            await asyncio.sleep(NAP_S)
            worst = max(worst, time.monotonic() - before - NAP_S)
    except asyncio.CancelledError:
        return worst


async def task(ns: AsyncNamespace, number: int) -> None:
    """What a task of a server does."""
    key = f"k{number:03d}"
    await ns.put(key, bytes(1_000))
    await ns.get(key)
    async for _ in ns.list(limit=100):
        pass


async def ours() -> float:
    """Work on the slow disk; by how much the loop was late at worst."""
    noted = asyncio.create_task(late())
    slow = SlowDisk(MemoryDisk(), SYNC_S, time.sleep)
    async with twin_of(open_on)(
        slow, "data", clock=SystemClock(), entropy=SystemEntropy()
    ) as store:
        ns = store.namespace("acme")
        await asyncio.gather(*(task(ns, number) for number in range(TASKS)))
        await ns.put("large", bytes(LARGE))
    noted.cancel()
    return await noted


async def bare() -> float:
    """Be late until standard input closes."""
    noted = asyncio.create_task(late())
    await asyncio.to_thread(sys.stdin.read)
    noted.cancel()
    return await noted


def pair() -> tuple[float, float]:
    """One run: ours, and the bare loop beside it."""
    beside = subprocess.Popen(
        [sys.executable, "-m", "bench.looped", BARE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    held = asyncio.run(ours())
    output, _ = beside.communicate()
    return held, float(output)


def main() -> None:
    """Run and print, or be the bare loop of a run."""
    if sys.argv[1:] == [BARE]:
        sys.stdout.write(str(asyncio.run(bare())))
        return
    pairs = [pair() for _ in range(int(sys.argv[1]) if sys.argv[1:] else RUNS)]
    for name, seconds in zip(("ours", "bare"), zip(*pairs, strict=True), strict=True):
        shown = " ".join(f"{second * 1e3:.0f}" for second in seconds)
        sys.stdout.write(f"{name}: median {median(seconds) * 1e3:.0f} ms of {shown}\n")


if __name__ == "__main__":
    main()
