"""The first calls of several threads on a store that was closed cleanly: they wake its buckets."""

from __future__ import annotations

import subprocess
import sys

WAKING = """
import sys, threading
sys.setswitchinterval(1e-5)
from holdfast.log.header import LogState, decode_state, encode_state
data = encode_state(LogState(b"", b"\\xff", 1, 1))
go = threading.Barrier(4)
def first():
    go.wait()
    decode_state(data)
threads = [threading.Thread(target=first) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_threads_that_read_the_first_state_at_once_all_live() -> None:
    """msgspec planned a type when it was first needed, without a lock: 3 of 20 processes died."""
    for _ in range(12):
        subprocess.run([sys.executable, "-c", WAKING], check=True, timeout=60)
