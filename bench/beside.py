"""A bare write + fdatasync loop that runs beside a workload and notes when the disk stalls.

Run as ``python -m bench.beside FILE``; ends when its standard input closes and
then prints its calls. It pauses between calls, so it is a witness and not a load.
The clock is the machine's monotonic one, so its times can be laid over those of
another process.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

_PAUSE_S = 0.005
_BLOCK = b"x" * 1024

Call = tuple[int, int]  # start and duration, nanoseconds


def watch(file: int) -> list[Call]:
    """Append and sync until standard input closes."""
    calls = []
    while not select.select([sys.stdin], [], [], _PAUSE_S)[0]:
        begun = time.monotonic_ns()
        os.write(file, _BLOCK)
        os.fdatasync(file)
        calls.append((begun, time.monotonic_ns() - begun))
    return calls


class Witness:
    """The loop as a child process, from construction to ``stop``."""

    def __init__(self, file: Path) -> None:
        """Start it on a new file in the folder of the store under test."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.beside", str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def stop(self) -> list[Call]:
        """End it; every call it made."""
        output, _ = self._process.communicate()
        return [(begun, taken) for begun, taken in json.loads(output)]


def stalled(call: Call, witnessed: list[Call]) -> bool:
    """Whether a witnessed call overlapped this one and took at least half as long."""
    begun, taken = call
    return any(
        other < begun + taken and begun < other + lasted and 2 * lasted >= taken
        for other, lasted in witnessed
    )


def main() -> None:
    """Watch the file named on the command line; print the calls as JSON."""
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.write(json.dumps(watch(file)))


if __name__ == "__main__":
    main()
