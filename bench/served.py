"""The server beside redis-server: 50 connections, 1 KiB, one process each, in turns.

    python -m bench.served [--rounds 5] [--seconds 3]

Needs ``wrk``, ``redis-server`` and ``redis-benchmark`` on the path. Ours checks a token on each
request; both sync each durable write before they answer it. Both load generators are compiled
and send one request at a time on each connection.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

KEYS = 20_000
BATCH = 100
VALUE_BYTES = 1024
CONNECTIONS = 50
PATH = "/v1/namespaces/bench"
PORT = 7911
DONE = re.compile(r"(\d+) requests in ([\d.]+)s")
LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)", re.MULTILINE)
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}

GET = 'local n = 0\nfunction request() n = (n * 1103515245 + 12345) % 2147483648\n\
return wrk.format("GET", "{path}/objects/" .. n % {keys}) end\n'
PUT = 'local n = 0\nlocal body = string.rep("x", {size})\nfunction request() n = n + 1\n\
return wrk.format("PUT", "{path}/objects/" .. n % {keys}, nil, body) end\n'
MANY = 'local body = io.open("{body}", "rb"):read("*a")\n\
function request() return wrk.format("POST", "{path}/batch", nil, body) end\n'


class Rate(NamedTuple):
    """Requests a second, and latencies in ms where they were told."""

    per_s: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0


@contextmanager
def ours(folder: Path) -> Iterator[tuple[str, str]]:
    """A server of ours: its URL and a token."""
    command = [sys.executable, "-m", "holdfast", "serve", str(folder / "data"), "--port", "0"]
    with subprocess.Popen(
        [*command, "--log", "none"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        if process.stdout is None:
            raise RuntimeError("the server tells nothing")
        url = process.stdout.readline().split()[-1]
        yield url, (folder / "data" / "admin-token").read_text().strip()
        process.terminate()


@contextmanager
def redis(folder: Path) -> Iterator[None]:
    """A redis-server that syncs each write."""
    options = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    command = ["redis-server", "--port", str(PORT), "--dir", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        time.sleep(0.5)
        yield
        process.terminate()


def wrk(at: tuple[str, str], script: Path, seconds: int) -> Rate:
    """Load ours for some seconds."""
    url, token = at
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script)]
    told = subprocess.run(
        [*command, "-H", f"Authorization: Bearer {token}", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if "Non-2xx" in told:
        raise RuntimeError(told)
    found = DONE.search(told)
    if found is None:
        raise RuntimeError(told)
    latencies = {part: float(n) * UNITS_MS[unit] for part, n, unit in LATENCY.findall(told)}
    return Rate(int(found[1]) / float(found[2]), latencies["50"], latencies["99"])


def redis_benchmark(count: int, *command: str) -> Rate:
    """Load redis with a number of commands."""
    options = ["-p", str(PORT), "-c", str(CONNECTIONS), "-d", str(VALUE_BYTES)]
    told = subprocess.run(
        ["redis-benchmark", *options, "-r", str(KEYS), "-n", str(count), "--csv", *command],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    row = told.strip().splitlines()[-1].replace('"', "").split(",")
    # "test","rps","avg","min","p50","p95","p99","max", from the right: a command may have commas
    return Rate(float(row[-7]), float(row[-4]), float(row[-2]))


def scripts(folder: Path) -> dict[str, Path]:
    """What wrk is to ask, by name."""
    operations = [("load", str(number), None) for number in range(BATCH)]
    body = folder / "batch"
    body.write_bytes(msgspec.msgpack.encode({"operations": operations}))
    texts = {
        "put": PUT.format(path=PATH, keys=KEYS, size=VALUE_BYTES),
        "get": GET.format(path=PATH, keys=KEYS),
        "batch": MANY.format(path=PATH, body=body),
    }
    made = {}
    for name, text in texts.items():
        made[name] = folder / f"{name}.lua"
        made[name].write_text(text)
    return made


def measure(rounds: int, seconds: int) -> dict[str, list[tuple[Rate, Rate]]]:
    """Pairs of ours and theirs, by name."""
    value = "x" * VALUE_BYTES
    mget = ["mget", *(f"key:{number:012}" for number in range(BATCH))]
    pairs: dict[str, list[tuple[Rate, Rate]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = scripts(folder)
        with ours(folder) as at, redis(folder):
            wrk(at, asked["put"], 2 * seconds)  # every key is there
            redis_benchmark(2 * KEYS, "set", "key:__rand_int__", value)
            for _ in range(rounds):
                for what, count, command in (
                    ("put", 6_000, ["set", "key:__rand_int__", value]),
                    ("get", 40_000, ["get", "key:__rand_int__"]),
                    ("batch", 1_000, mget),
                ):
                    mine = wrk(at, asked[what], seconds)
                    theirs = redis_benchmark(count * seconds, *command)
                    pairs.setdefault(what, []).append((mine, theirs))
    return pairs


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    chosen = parser.parse_args()
    for tool in ("wrk", "redis-server", "redis-benchmark"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is not installed")
    print("what    ours/redis: lowest  median  ours/s  redis/s  p50 ms  p99 ms")
    for what, pairs in measure(chosen.rounds, chosen.seconds).items():
        ratios = [mine.per_s / theirs.per_s for mine, theirs in pairs]
        middle = [statistics.median(column) for column in zip(*(m for m, _ in pairs), strict=True)]
        theirs = statistics.median(t.per_s for _, t in pairs)
        figures = f"{min(ratios):.2f}  {statistics.median(ratios):.2f}  {middle[0]:.0f}"
        print(f"{what:8}{figures}  {theirs:.0f}  {middle[1]:.2f}  {middle[2]:.2f}")


if __name__ == "__main__":
    main()
