"""The gRPC door beside bare handlers of grpc.aio that keep values in a dict, in turns.

    python -m bench.rpc [--rounds 5] [--seconds 2]

Both servers are one process each, speak the same messages and parse what they are asked; ours also
checks a token on each call, syncs each write, and tells cost and version in trailers. One client
process asks each of them in turns. A figure is calls or messages for each second of processor
time that the server took ("per core"), which another process's work does not change; beside it is
what came through in a second.
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
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import grpc
import grpc.aio
import uvloop

import holdfast
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
TICKS = os.sysconf("SC_CLK_TCK")


class Server(NamedTuple):
    """Where a server listens, who asks, and its process."""

    target: str
    token: str
    pid: int

    def busy_s(self) -> float:
        """Processor seconds that it took so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


class Rate(NamedTuple):
    """For each second of the server's processor, and of the wall."""

    per_core: float
    per_s: float


# -- bare handlers -------------------------------------------------------------------------------


def bare() -> None:
    """Serve a dict until the standard input ends."""
    uvloop.install()
    asyncio.run(_bare())


async def _bare() -> None:
    values: dict[str, bytes] = {}
    value, receipt = CLASSES["Value"], CLASSES["Receipt"]

    async def get(request: Said, _context: Said) -> Said:
        return value(value=values[request.key], version=1, modified_ns=1)

    async def put(request: Said, _context: Said) -> Said:
        values[request.key] = request.value
        return receipt(key=request.key, version=1, size=len(request.value), bucket="0" * 16)

    def result(operation: Said) -> Said:
        if operation.WhichOneof("verb") == "load":
            return CLASSES["Result"](load=value(value=values[operation.load.key]))
        stored = operation.store
        values[stored.key] = stored.value
        told = receipt(key=stored.key, version=1, size=len(stored.value), bucket="0" * 16)
        return CLASSES["Result"](store=told)

    async def batch(requests: AsyncIterator[Said], context: Said) -> None:
        async for request in requests:
            results = [result(one) for one in request.operations]
            await context.write(CLASSES["BatchReply"](results=results))

    def told(make: Said, handle: Said, asks: str) -> Said:
        return make(handle, CLASSES[asks].FromString, lambda message: message.SerializeToString())

    unary = grpc.unary_unary_rpc_method_handler
    handlers = {
        "Get": told(unary, get, "LoadRequest"),
        "Put": told(unary, put, "StoreRequest"),
        "Batch": told(grpc.stream_stream_rpc_method_handler, batch, "BatchRequest"),
    }
    server = grpc.aio.server()
    server.add_registered_method_handlers(SERVICE, handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on grpc://127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


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
        yield Server(url.partition("://")[2], token, process.pid)
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


async def rate(caller: Caller, ask: Callable[[float], Coroutine[Any, Any, int]], s: float) -> Rate:
    begun, busy_s = time.perf_counter(), caller.server.busy_s()
    done = await ask(begun + s)
    took_s = time.perf_counter() - begun
    return Rate(done / (caller.server.busy_s() - busy_s), done / took_s)


WAYS: dict[str, Callable[[Caller, float], Coroutine[Any, Any, int]]] = {
    "get": lambda caller, until: caller.calls("Get", until),
    "put": lambda caller, until: caller.calls("Put", until),
    "stream, 1 get": lambda caller, until: caller.stream("load", 1, until),
    "stream, 1 put": lambda caller, until: caller.stream("store", 1, until),
    "stream, 100 gets": lambda caller, until: caller.stream("load", 100, until),
    "stream, 100 puts": lambda caller, until: caller.stream("store", 100, until),
}


async def measure(
    ours: Server, theirs: Server, rounds: int, seconds: float
) -> dict[str, list[tuple[Rate, Rate]]]:
    """Pairs of ours and theirs, by name."""
    pairs: dict[str, list[tuple[Rate, Rate]]] = {}
    callers = Caller(ours), Caller(theirs)
    for caller in callers:
        requests = [_message("store", 100, n) for n in range(0, KEYS, 100)]
        call = caller.channels[0].stream_stream(
            f"/{SERVICE}/Batch",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=CLASSES["BatchReply"].FromString,
        )
        async for _ in call(iter(requests), metadata=caller.metadata):
            pass
    for _ in range(rounds):
        for name, way in WAYS.items():
            mine, bare_one = [
                await rate(caller, partial(way, caller), seconds) for caller in callers
            ]
            pairs.setdefault(name, []).append((mine, bare_one))
    for caller in callers:
        await caller.close()
    return pairs


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.bare:
        bare()
        return
    uvloop.install()
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        command = ["-m", "holdfast", "serve", str(data), "--port", "0", "--grpc-port", "0"]
        with (
            serving([*command, "--log", "none"], token(data)) as ours,
            serving(["-m", "bench.rpc", "--bare"], "none") as theirs,
        ):
            pairs = asyncio.run(measure(ours, theirs, asked.rounds, asked.seconds))
    print(f"{'':18} ours/bare per core: lowest  median   ours   bare   per s: ours   bare")
    for what, told in pairs.items():
        ratios = [mine.per_core / other.per_core for mine, other in told]
        middle = [
            statistics.median(column)
            for column in zip(*((*mine, *other) for mine, other in told), strict=True)
        ]
        print(
            f"{what:18} {min(ratios):26.2f} {statistics.median(ratios):7.2f}"
            f" {middle[0]:6.0f} {middle[2]:6.0f} {middle[1]:13.0f} {middle[3]:6.0f}"
        )


if __name__ == "__main__":
    main()
