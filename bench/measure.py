"""What a measurement is taken with: a stopwatch that sees other load, and percentiles."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

Argument = TypeVar("Argument")

_TICKS = os.sysconf("SC_CLK_TCK")
_BACKED_BYTES = 1 << 30
_PIECE = bytes(1 << 20)
_IDLE_FIELDS = (3, 4)  # idle and iowait in /proc/stat


def _machine_busy_s() -> float:
    """CPU seconds that all cores together spent working since the machine started."""
    first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    fields = [int(field) for field in first.split()[1:9]]
    idle = sum(fields[number] for number in _IDLE_FIELDS)
    return (sum(fields) - idle) / _TICKS


def _own_busy_s() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@dataclass
class Stopwatch:
    """Wall time of a ``with`` block, this process's processor time, and others' cores.

    ``processor_s`` is user and system time of all its threads. ``other_cores`` counts
    everything that is not this process: neighbours, and the kernel's own writeback threads.
    """

    seconds: float = 0.0
    processor_s: float = 0.0
    other_cores: float = 0.0

    def __enter__(self) -> Self:
        """Start."""
        self._busy = _machine_busy_s() - _own_busy_s()
        self._spent_ns = time.process_time_ns()
        self._start = time.perf_counter_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.seconds = (time.perf_counter_ns() - self._start) / 1e9
        self.processor_s = (time.process_time_ns() - self._spent_ns) / 1e9
        others = _machine_busy_s() - _own_busy_s() - self._busy
        self.other_cores = max(0.0, others / self.seconds) if self.seconds else 0.0


def quiet_heap() -> None:
    """Collect the set-up's garbage and take what is left out of the collector's sight.

    A user's process holds no million prepared keys, so passes over them are not
    billed to the engine; what the engine itself allocates still is.
    """
    gc.collect()
    gc.freeze()


def backed_memory(size_bytes: int) -> None:
    """Write to so many bytes of memory and give them back, at most ``_BACKED_BYTES``.

    The host of a virtual machine takes free pages back within seconds, and whoever has
    them next waits for each of them: a write of 1 KiB to a new page of a file, of a bare
    ``pwrite`` or of any engine, then takes 1.4 to 3.8 us of the kernel's time and not 0.3.
    Without this it is chance which of a pair meets them.
    """
    size = min(size_bytes, _BACKED_BYTES)
    if size <= 0:
        return
    with mmap(-1, size) as memory:
        for start in range(0, size, len(_PIECE)):
            piece = _PIECE[: size - start]
            memory[start : start + len(piece)] = piece


def each(call: Callable[[Argument], object], arguments: Iterable[Argument]) -> None:
    """Call once per argument: the plain loop that a user would write."""
    for argument in arguments:
        call(argument)


def median(numbers: Sequence[float]) -> float:
    """The middle number, or the mean of the middle two."""
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest number that at least ``share`` of the ascending numbers do not pass.

    >>> percentile([10, 20, 30, 40], 0.5)
    20
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def anonymous_bytes() -> int:
    """This process's anonymous memory in bytes, from ``/proc/self/smaps_rollup``."""
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    message = "no Anonymous line in smaps_rollup"
    raise OSError(message)
