"""What a server's process takes of the processor, and when it is at rest."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
REST_S, RESTS = 1.5, 10  # collecting is looked for once a second: what a turn left is its own


def busy_s(pid: int) -> float:
    """Processor seconds that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rest(pid: int) -> None:
    """Wait until a process has nothing left to do, for at most some seconds."""
    for _ in range(RESTS):
        before_s = busy_s(pid)
        time.sleep(REST_S)
        if busy_s(pid) - before_s <= 2 / TICKS:
            return
