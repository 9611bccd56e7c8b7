"""More buckets than a process may have files: opened, used and closed within its limits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import pytest

MAKE = """
import sys
import holdfast
from holdfast.limits import KIB

path, buckets = sys.argv[1], int(sys.argv[2])
with holdfast.open(path, bucket_bytes=64 * KIB, sync="never", upkeep=False) as store:
    ns = store.namespace("acme")
    count = 0
    while len(store.placement.directory) < buckets:
        ns.put_many([(f"k{count + i:08d}", b"v" * 4_000) for i in range(14)])
        count += 14
"""

USE = """
import json, os, random, resource, sys, time
import holdfast
from holdfast.limits import KIB

path, files, end = sys.argv[1], int(sys.argv[2]), sys.argv[3]
resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
most = 0

def look():
    global most
    most = max(most, len(os.listdir("/proc/self/fd")))

begun = time.perf_counter()
store = holdfast.open(path, bucket_bytes=64 * KIB, sync="never", upkeep=False)
seconds = time.perf_counter() - begun
ns = store.namespace("acme")
look()
keys = list(ns.list())
some = random.Random(end).sample(keys, min(len(keys), 2_000))
for key in some:
    assert len(ns.get(key)) == 4_000
look()
for key in some[::2]:
    ns.put(key, b"w" * 4_000)
look()
store.tick(600)
look()
assert sum(bucket.keys for bucket in store.status().buckets) == len(keys)
problems = 0
if end == "close":
    store.collect()
    look()
    problems = len(store.check().problems)
    look()
buckets = len(store.placement.directory)
store.sync()
told = {"files": most, "buckets": buckets, "problems": problems, "seconds": seconds}
print(json.dumps(told), flush=True)
if end == "kill":
    os._exit(0)
store.close()
"""


class Told(TypedDict):
    """What a process says of itself: most files open, seconds to open."""

    files: int
    buckets: int
    problems: int
    seconds: float


def run(script: str, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


def use(path: Path, buckets: int, files: int) -> list[Told]:
    """What each of three lives told: after a close, after a kill, after a close again."""
    run(MAKE, path, buckets)
    return [json.loads(run(USE, path, files, end)) for end in ("kill", "close", "close")]


def hold(lives: list[Told], buckets: int, files: int) -> None:
    for told in lives:
        assert told["files"] < files
        assert told["buckets"] >= buckets
        assert told["problems"] == 0


@pytest.mark.push
def test_a_hundred_and_fifty_buckets_work_with_128_files(tmp_path: Path) -> None:
    hold(use(tmp_path / "data", 150, 128), 150, 128)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_two_thousand_buckets_work_with_1024_files(tmp_path: Path) -> None:
    lives = use(tmp_path / "data", 2_000, 1_024)
    hold(lives, 2_000, 1_024)
    begun, killed, closed = (told["seconds"] for told in lives)
    print(f"2,000 buckets opened in {begun:.2f} s and {closed:.2f} s after a clean close,")
    print(f"and in {killed:.2f} s after a kill")
