"""The gRPC door beside bare handlers of grpc.aio, in turns.

    python -m bench.rpc [--rounds 5] [--seconds 1]

ours    checks a token on each call, writes to a log that it collects, syncs each write, verifies
        each value that it reads, and tells cost and version in trailers
bare    keeps values in a dict: nothing is durable
synced  the same, and a file: what came while one fdatasync ran is appended, and synced, together

Each is one process. All are asked by one client, with the same messages and the same metadata, and
parse and answer them with the same classes. A figure is calls or messages for each second of
processor time that the server took ("per core"), which another process's work changes least.
After each turn a server is left alone until it is at rest,
so that what a write leaves to do counts for the write. Every other round asks them in the opposite
order. The lowest and the median of the ratios of all rounds are told.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import grpc.aio
import uvloop

import holdfast
from bench.resting import busy_s, rest
from holdfast.access.grants import RIGHTS
from holdfast.limits import TOKEN_TTL_S
from holdfast.values import Grant
from holdfast.wire.protobuf.words import CLASSES

Said: TypeAlias = Any  # a message, or something of grpc's: it has no types
KEYS = 2_000
VALUE = os.urandom(1024)
CALLERS = 50
STREAMS, DUE = 4, 32
SERVICE = "holdfast.v1.Holdfast"


class Server(NamedTuple):
    """Where a server listens, who asks, and its process."""

    target: str
    token: str
    pid: int


class Rate(NamedTuple):
    """For each second of the server's processor, and of the wall."""

    per_core: float
    per_s: float


# -- servers ---------------------------------------------------------------------------------------


@contextmanager
def serving(command: list[str], token: str) -> Iterator[Server]:
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = ""
        while not url.startswith("grpc://"):
            url = process.stdout.readline().split()[-1]
        try:
            yield Server(url.partition("://")[2], token, process.pid)
        finally:
            process.terminate()


def token(folder: Path) -> str:
    """A token of a store that is not open yet; as tenants have them."""
    with holdfast.open(folder) as store:
        return store.tokens.issue("bench", [Grant("bench", RIGHTS)], TOKEN_TTL_S)


# -- what is asked -------------------------------------------------------------------------------


class Caller:
    """Asks one server.

    Args:
        server: which.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.channels = [
            grpc.aio.insecure_channel(
                server.target, options=[("grpc.use_local_subchannel_pool", 1)]
            )
            for _ in range(STREAMS)
        ]
        self.metadata = [("authorization", f"Bearer {server.token}")]

    def unary(self, at: int, method: str, reply: str) -> Said:
        return self.channels[at % STREAMS].unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=CLASSES[reply].FromString,
        )

    async def calls(self, method: str, until: float) -> int:
        """Callers that each ask one thing after the other."""
        asks, tells = {"Get": ("LoadRequest", "Value"), "Put": ("StoreRequest", "Receipt")}[method]
        more: dict[str, Said] = {"value": VALUE} if method == "Put" else {}
        requests = [CLASSES[asks](namespace="bench", key=f"{n}", **more) for n in range(KEYS)]

        async def one(at: int) -> int:
            call, done = self.unary(at, method, tells), 0
            while time.perf_counter() < until:
                await call(requests[(at * 97 + done) % KEYS], metadata=self.metadata)
                done += 1
            return done

        return sum(await asyncio.gather(*(one(at) for at in range(CALLERS))))

    async def stream(self, verb: str, size: int, until: float) -> int:
        """Streams that each keep some messages of ``size`` operations under way; messages."""

        async def one(at: int) -> int:
            call = self.channels[at].stream_stream(
                f"/{SERVICE}/Batch",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=CLASSES["BatchReply"].FromString,
            )(metadata=self.metadata)
            room, done = asyncio.Semaphore(DUE), 0
            messages = [_message(verb, size, at * KEYS // STREAMS + n) for n in range(50)]

            async def write() -> None:
                sent = 0
                while time.perf_counter() < until:
                    await room.acquire()
                    await call.write(messages[sent % len(messages)])
                    sent += 1
                await call.done_writing()

            writing = asyncio.ensure_future(write())
            async for reply in call:
                if len(reply.results) != size:
                    raise RuntimeError(reply)
                done += 1
                room.release()
            await writing
            return done

        return sum(await asyncio.gather(*(one(at) for at in range(STREAMS))))

    async def close(self) -> None:
        for channel in self.channels:
            await channel.close()


def _message(verb: str, size: int, first: int) -> Said:
    asks = {"load": "LoadRequest", "store": "StoreRequest"}[verb]
    more: dict[str, Said] = {"value": VALUE} if verb == "store" else {}
    keys = [f"{(first + n) % KEYS}" for n in range(size)]
    operations = [CLASSES["Operation"](**{verb: CLASSES[asks](key=key, **more)}) for key in keys]
    return CLASSES["BatchRequest"](namespace="bench", operations=operations)


WAYS: dict[str, Callable[[Caller, float], Coroutine[Any, Any, int]]] = {
    "get": lambda caller, until: caller.calls("Get", until),
    "put": lambda caller, until: caller.calls("Put", until),
    "stream, 1 get": lambda caller, until: caller.stream("load", 1, until),
    "stream, 1 put": lambda caller, until: caller.stream("store", 1, until),
    "stream, 100 gets": lambda caller, until: caller.stream("load", 100, until),
    "stream, 100 puts": lambda caller, until: caller.stream("store", 100, until),
}


async def measure(servers: Sequence[Server], seconds: float, order: int) -> dict[str, list[Rate]]:
    """By name, the rates of each server; ``order`` -1 asks the last first."""
    callers = [Caller(server) for server in servers]
    for caller in callers:
        requests = [_message("store", 100, n) for n in range(0, KEYS, 100)]
        call = caller.channels[0].stream_stream(
            f"/{SERVICE}/Batch",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=CLASSES["BatchReply"].FromString,
        )
        async for _ in call(iter(requests), metadata=caller.metadata):
            pass
    told = {}
    for name, way in WAYS.items():
        rates = {caller: await turn(caller, way, seconds) for caller in callers[::order]}
        told[name] = [rates[caller] for caller in callers]
    for caller in callers:
        await caller.close()
    return told


async def turn(
    caller: Caller, way: Callable[[Caller, float], Coroutine[Any, Any, int]], seconds: float
) -> Rate:
    """One server's turn: it begins and ends at rest."""
    begun, before_s, done = time.perf_counter(), busy_s(caller.server.pid), 0
    while not done:  # on a busy machine even a second may go by for nothing
        done = await way(caller, time.perf_counter() + seconds)
    took_s = time.perf_counter() - begun
    await asyncio.to_thread(rest, caller.server.pid)
    return Rate(done / (busy_s(caller.server.pid) - before_s), done / took_s)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    asked = parser.parse_args()
    uvloop.install()
    told = [round_of(asked.seconds, -1 if n % 2 else 1) for n in range(asked.rounds)]
    print(table({name: [one[name] for one in told] for name in WAYS}))


def round_of(seconds: float, order: int) -> dict[str, list[Rate]]:
    """One round, with processes of its own: two of a kind may differ by half for their lives."""
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        command = ["-m", "holdfast", "serve", str(data), "--port", "0", "--grpc-port", "0"]
        bare, shown = ["-m", "bench.rpc_bare"], token(data)
        with (
            serving([*command, "--log", "none"], shown) as ours,
            serving(bare, shown) as theirs,
            serving([*bare, str(Path(name) / "file")], shown) as synced,
        ):
            return asyncio.run(measure((ours, theirs, synced), seconds, order))


def table(told: dict[str, list[list[Rate]]]) -> str:
    """Ratios of ours to the others, and the figures they are of."""
    lines = [f"{'':18}   ours/bare: low, median   /synced: low, median   per core: all three"]
    for what, rounds in told.items():
        ratios = [
            [one[0].per_core / one[at].per_core for one in rounds]
            for at in range(1, len(rounds[0]))
        ]
        cores = [
            statistics.median(rate.per_core for rate in one) for one in zip(*rounds, strict=True)
        ]
        told_ratios = "".join(f"{min(one):16.2f} {statistics.median(one):7.2f}" for one in ratios)
        lines.append(f"{what:18}{told_ratios}     {' '.join(f'{one:6.0f}' for one in cores)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
