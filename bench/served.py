"""The server beside redis-server: 50 connections, 1 KiB, one process each, in turns.

    python -m bench.served [--rounds 5] [--seconds 3]

Needs ``wrk``, ``redis-server`` and ``redis-benchmark`` on the path. Ours checks a token on each
request; both sync each durable write before they answer it. Both load generators are compiled
and send one request at a time on each connection.

Gets come twice: *behind* the puts, with what those leave upkeep to do, and when that is done.
Beside the latter, in the same run, a constant answered by a bare protocol on the same event loop:
what is slow there too is the machine.

Behind them gets of attested enclaves beside gets with a token, all from files, a thread of the
load generator for each connection: by the mark of a session, and by a document each time.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

import holdfast
from bench import attested
from bench.resting import rest
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.store.tenancy import signing_alone
from holdfast.values import Grant

KEYS = 20_000
BATCH = 100
VALUE_BYTES = 1024
CONNECTIONS = 50
PATH = "/v1/namespaces/bench"
PORT = 7911
DONE = re.compile(r"(\d+) requests in ([\d.]+)s")
LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)", re.MULTILINE)
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}

DIGITS = attested.KEY_DIGITS
MARKED_PER_S = 2_000  # requests that are made beforehand, for each connection and second
REPEATED = 200  # of those that may be sent again

KEY = '"{path}/objects/" .. string.format("%0{digits}d", n % {keys})'
GET = f'local n = 0\nfunction request() n = (n * 1103515245 + 12345) % 2147483648\n\
return wrk.format("GET", {KEY}) end\n'
PUT = f'local n = 0\nlocal body = string.rep("x", {{size}})\nfunction request() n = n + 1\n\
return wrk.format("PUT", {KEY}, nil, body) end\n'
MANY = 'local body = io.open("{body}", "rb"):read("*a")\n\
function request() return wrk.format("POST", "{path}/batch", nil, body) end\n'


Pairs = dict[str, list[tuple["Rate", "Rate"]]]


class Served(NamedTuple):
    """Where a server of ours answers, the operator's token and a tenant's, its process."""

    url: str
    operator: str
    token: str
    pid: int


class Rate(NamedTuple):
    """Requests a second, and latencies in ms where they were told."""

    per_s: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0


@contextmanager
def ours(folder: Path, roots: str) -> Iterator[Served]:
    """A server of ours, and tokens for it."""
    command = [sys.executable, "-m", "holdfast", "serve", str(folder / "data"), "--port", "0"]
    command += ["--log", "none", "--attestation-mode", "bearer", "--attestation-root", roots]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the server tells nothing")
            url = process.stdout.readline().split()[-1]
            operator = (folder / "data" / "admin-token").read_text().strip()
            yield Served(url, operator, token_of(folder / "data"), process.pid)
        finally:
            process.terminate()


@contextmanager
def constant() -> Iterator[Served]:
    """A protocol without a store."""
    command = [sys.executable, "-m", "bench.served_bare"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the server tells nothing")
            yield Served(process.stdout.readline().split()[-1], "", "none", process.pid)
        finally:
            process.terminate()


def token_of(folder: Path) -> str:
    """A tenant's token."""
    tokens = signing_alone(str(folder), SystemClock(), SystemEntropy())
    return tokens.issue("bench", [Grant("bench", ("read", "write"))], 3600)


def fill(served: Served, namespace: str) -> None:
    """Have every key there."""
    with holdfast.connect(served.url, token=served.operator) as store:
        space = store.namespace(namespace)
        names = [f"{number:0{DIGITS}}" for number in range(KEYS)]
        for at in range(0, KEYS, 1_000):
            space.put_many((name, b"x" * VALUE_BYTES) for name in names[at : at + 1_000])


@contextmanager
def redis(folder: Path) -> Iterator[None]:
    """A redis-server that syncs each write."""
    options = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    command = ["redis-server", "--port", str(PORT), "--dir", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            time.sleep(0.5)
            yield
        finally:
            process.terminate()


def wrk(served: Served, script: Path, seconds: int, *, threads: int = 1) -> Rate:
    """Load ours for some seconds."""
    command = ["wrk", f"-t{threads}", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    told = subprocess.run(
        [*command, "-s", str(script), "-H", f"Authorization: Bearer {served.token}", served.url],
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
    operations = [("load", f"{number:0{DIGITS}}", None) for number in range(BATCH)]
    body = folder / "batch"
    body.write_bytes(msgspec.msgpack.encode({"operations": operations}))
    texts = {
        "put": PUT.format(path=PATH, keys=KEYS, digits=DIGITS, size=VALUE_BYTES),
        "get": GET.format(path=PATH, keys=KEYS, digits=DIGITS),
        "batch": MANY.format(path=PATH, body=body),
    }
    texts["behind"] = texts["get"]
    made = {}
    for name, text in texts.items():
        made[name] = folder / f"{name}.lua"
        made[name].write_text(text)
    return made


def measure(rounds: int, seconds: int) -> tuple[Pairs, Pairs]:
    """Pairs of ours and theirs, by name; then of an enclave's and a token's requests."""
    value = "x" * VALUE_BYTES
    mget = ["mget", *(f"key:{number:012}" for number in range(BATCH))]
    pairs: Pairs = {}
    attested_pairs: Pairs = {}
    enclave = attested.enclave()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = scripts(folder)
        (folder / "root").write_text(enclave.authority.pem)
        with ours(folder, str(folder / "root")) as served, redis(folder), constant() as bare:
            fill(served, "bench")
            fill(served, enclave.new().image_id)
            redis_benchmark(2 * KEYS, "set", "key:__rand_int__", value)
            for _ in range(rounds):
                for what, count, command in (
                    ("put", 6_000, ["set", "key:__rand_int__", value]),
                    ("behind", 40_000, ["get", "key:__rand_int__"]),
                    ("get", 40_000, ["get", "key:__rand_int__"]),
                    ("batch", 1_000, mget),
                ):
                    if what == "get":
                        rest(served.pid)
                    mine = wrk(served, asked[what], seconds)
                    theirs = redis_benchmark(count * seconds, *command)
                    pairs.setdefault(what, []).append((mine, theirs))
                    if what == "get":
                        made = wrk(bare, asked[what], seconds)
                        pairs.setdefault("constant", []).append((made, theirs))
                by = attested_rates(served, enclave, folder, seconds)
                for what in ("session", "bearer"):
                    attested_pairs.setdefault(what, []).append((by[what], by["token"]))
    return pairs, attested_pairs


def attested_rates(
    served: Served, enclave: attested.Enclave, folder: Path, seconds: int
) -> dict[str, Rate]:
    """Gets of one object each, by token, session and document."""
    one = enclave.new()
    path = f"/v1/namespaces/{one.image_id}/objects/"
    document = attested.shown(one)
    ways: dict[str, Callable[[], attested.Request]] = {
        "token": lambda: attested.held(served.token, PATH + "/objects/"),
        "session": lambda: attested.marked(attested.opened(served.url, enclave), path),
        "bearer": lambda: document,
    }
    told = {}
    for what, begin in ways.items():
        files = folder / what
        files.mkdir(exist_ok=True)
        length = 0
        for number in range(CONNECTIONS):
            count = MARKED_PER_S * seconds if what == "session" else REPEATED
            length = attested.write(files / str(number), begin(), count=count, keys=KEYS)
        script = folder / f"{what}.lua"
        script.write_text(attested.FROM_FILE.format(folder=files, length=length))
        told[what] = wrk(served, script, seconds, threads=CONNECTIONS)
    return told


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    chosen = parser.parse_args()
    for tool in ("wrk", "redis-server", "redis-benchmark"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is not installed")
    pairs, attested_pairs = measure(chosen.rounds, chosen.seconds)
    show("ours/redis", pairs)
    show("enclave/token", attested_pairs)


def show(title: str, pairs: Pairs) -> None:
    """A table of pairs: lowest and median ratio, the rates, latencies in ms."""
    print(f"{title}: lowest  median  first/s  second/s  p50  p99  p99/p50")
    for what, rates in pairs.items():
        ratios = [mine.per_s / theirs.per_s for mine, theirs in rates]
        middle = [statistics.median(column) for column in zip(*(m for m, _ in rates), strict=True)]
        theirs = statistics.median(t.per_s for _, t in rates)
        figures = f"{min(ratios):.2f}  {statistics.median(ratios):.2f}  {middle[0]:.0f}"
        tail = f"{middle[1]:.2f}  {middle[2]:.2f}  {middle[2] / middle[1]:.1f}"
        print(f"{what:8}{figures}  {theirs:.0f}  {tail}")


if __name__ == "__main__":
    main()
