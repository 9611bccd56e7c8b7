"""One process of several that serve a store: it holds a range of keys and asks the others.

Started by the supervisor (supervisor.py) as ``python -m holdfast.server.worker``,
told by a line of JSON on its standard input what it holds and where to listen.
Another line ends its server, and the end of that pipe, which stays open as long as the supervisor
lives, ends the worker: until then it answers what the others ask to finish what they have begun.
A supervisor that was killed has ended that pipe without a word, and the last worker to go removes
the folder of their sockets.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from mmap import mmap
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, cast

import msgspec

from holdfast.bucket.settings import Sync
from holdfast.clock import BucketTime, SystemClock, SystemEntropy
from holdfast.engines.disk import OsDisk
from holdfast.errors import HoldfastError
from holdfast.placement.elsewhere import Elsewhere
from holdfast.placement.placement import Share
from holdfast.server.bounds import Bounds
from holdfast.server.certify_relay import RelayedCertifier, proofs_of
from holdfast.server.enclave_relay import HOME, RelayedEnclaves, answers
from holdfast.server.figures import Figures
from holdfast.server.link import LinkServer, SocketLink
from holdfast.server.listeners import Listener, tls_of
from holdfast.server.logs import write_to
from holdfast.server.parts import Parts
from holdfast.server.serving import Server, calm_interpreter
from holdfast.server.settings import Settings
from holdfast.server.whole import Whole
from holdfast.server.whole_money import MoneyParts, WholeMoney
from holdfast.store.handing import Handing
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.store.tenancy import make_enclaves
from holdfast.upkeep.upkeep import settle

if TYPE_CHECKING:
    from holdfast.store.certifying import Certifier

RELOAD_S = 1.0
ALONE_S = 1.0  # for so long who was sent a signal waits whether the others end too
PATIENCE_S = 3.0  # a dead process is replaced sooner

log = logging.getLogger("holdfast.server")


class Part(msgspec.Struct, frozen=True):
    """What one process holds: its range, the socket where it answers the others."""

    start: bytes
    stop: bytes
    socket: str


class Orders(msgspec.Struct, frozen=True):
    """What a worker is told when it starts.

    ``parts`` are those of all workers, ``index`` which is its own; ``listen`` are
    inherited sockets: the shared one, then its own, whose URL is ``address``; ``whole``
    is the socket where the supervisor answers for all of them together, ``bounds`` the file
    where they count requests (bounds.py).
    """

    root: str
    whole: str
    index: int
    parts: tuple[Part, ...]
    listen: tuple[int, ...]
    urls: tuple[str, ...]
    bounds: str
    settings: Settings
    sync: Sync
    bucket_bytes: int

    @property
    def address(self) -> str:
        """Where direct callers reach this worker."""
        return self.urls[-1]


class Worker:
    """A part of a store, and the ways to the others.

    Args:
        orders: what to hold.
    """

    def __init__(self, orders: Orders) -> None:
        self._index = orders.index
        clock = SystemClock()
        self._links = [
            SocketLink(part.socket, clock, patience_s=PATIENCE_S) for part in orders.parts
        ]
        self._time = BucketTime(clock)
        mine = orders.parts[orders.index]
        share = Share(mine.start, mine.stop, tuple(self._others(orders.parts)), f"{orders.index}")
        self.store: Store = open_on(
            OsDisk(),
            orders.root,
            sync=orders.sync,
            bucket_bytes=orders.bucket_bytes,
            clock=clock,
            entropy=SystemEntropy(),
            upkeep=True,
            in_place=False,
            share=share,
        )
        self.store.address = orders.address
        self.store.rights_changed = self._tell_rights
        self.store.partners = self._links[: self._index] + self._links[self._index + 1 :]
        self._methods: dict[str, Callable[..., Any]] = {
            "holdings": self._holdings,
            "give": self._give,
            "take": self._take,
            "route": self._route,
            "settings": self._take_settings,
            "meter": self.store.learn_metering,
            "part.figures": self._figures,
            **Parts(self.store).methods,
            **MoneyParts(self.store.meters).methods,
        }
        self._methods |= self._certify(orders)
        self._supervisor = SocketLink(orders.whole, clock, timeout_s=None)
        self.whole = Whole(self.store, self._supervisor)
        self.store.meters.share(WholeMoney(self._supervisor, self._index))
        self.server: Server | None = None
        attestation = orders.settings.attestation
        if self._index == HOME:
            self.enclaves = make_enclaves(self.store, attestation)
            self._methods |= answers(self.enclaves)
        else:
            self.enclaves = RelayedEnclaves(attestation, self.store, self._links[HOME])
        self._methods["reload_rights"] = self._reload_rights
        self._server = LinkServer(mine.socket, self._answer)

    def close(self) -> None:
        """Let go of the part."""
        self._server.close()
        self.store.close()
        for link in (*self._links, *self._ways, self._supervisor):
            link.close()

    def _certify(self, orders: Orders) -> dict[str, Callable[..., Any]]:
        """Have the first process sign for all; what this one answers the others of proofs."""
        ways = [
            SocketLink(part.socket, self.store.clock, patience_s=PATIENCE_S, timeout_s=None)
            for part in orders.parts
        ]
        self._ways = ways
        if self._index == HOME:
            self.store.peers = ways[:HOME] + ways[HOME + 1 :]
            return proofs_of(self.store)
        self.store.certify_by(cast("Certifier", RelayedCertifier(ways[HOME])))
        return Handing(self.store).methods

    def _others(self, parts: Sequence[Part]) -> list[Elsewhere]:
        return [
            Elsewhere(part.start, part.stop, self._links[at], self._time, f"process {at}")
            for at, part in enumerate(parts)
            if at != self._index
        ]

    def _answer(self, method: str, arguments: Sequence[Any]) -> Any:  # noqa: ANN401 - the method's
        ordered = self._methods.get(method)
        return ordered(*arguments) if ordered else self.store.relay.answer(method, arguments)

    # -- what the supervisor asks --------------------------------------------------------

    def _holdings(self) -> list[tuple[bytes, int]]:
        return [(bucket.start, bucket.weight) for bucket in self.store.placement.directory]

    def _give(self, start: bytes, stop: bytes, ranges: list[tuple[bytes, bytes, str]]) -> None:
        """Leave a range; absorbed first, so that whoever opens it has little to replay."""
        for bucket in list(self.store.placement.directory):
            if start <= bucket.start < stop:
                settle(bucket)
        self.store.save_search(start, stop)
        self.store.placement.give(start, stop, self._others(_parts(ranges)))

    def _take(self, start: bytes, stop: bytes, ranges: list[tuple[bytes, bytes, str]]) -> None:
        self.store.placement.take(start, stop, self._others(_parts(ranges)))

    def _route(self, ranges: list[tuple[bytes, bytes, str]]) -> None:
        self.store.placement.route(self._others(_parts(ranges)))

    def _take_settings(self, told: bytes) -> None:
        """Go on by settings that the supervisor has looked at; a server not begun has them."""
        if self.server is not None:
            self.server.take(msgspec.json.decode(told, type=Settings))

    def _figures(self) -> bytes:
        """What this process has counted so far."""
        server = self.server
        return msgspec.msgpack.encode(Figures() if server is None else server.figures())

    # -- rights --------------------------------------------------------------------------

    def _tell_rights(self) -> None:
        """Have all others decide by what was just changed; one that is not there reads it anew."""
        for at, link in enumerate(self._links):
            if at != self._index:
                with suppress(HoldfastError):
                    link.ask("reload_rights")

    def _reload_rights(self) -> None:
        """Read rights again, and wait for it.

        Not for ever: two processes that change rights at once wait for each other here.
        """
        reload = Thread(target=self._reload, daemon=True)
        reload.start()
        reload.join(RELOAD_S)

    def _reload(self) -> None:
        try:
            self.store.access.reload()
            self.store.tokens.reload()
            self.enclaves.handovers.forget()
        except HoldfastError:
            log.exception("rights could not be read again")


def _parts(ranges: Sequence[tuple[bytes, bytes, str]]) -> list[Part]:
    return [Part(*told) for told in ranges]


def listeners_of(orders: Orders) -> list[Listener]:
    """The sockets that were inherited."""
    tls = tls_of(orders.settings)
    return [
        Listener(socket.socket(fileno=number), tls if url.startswith("https:") else None, url)
        for number, url in zip(orders.listen, orders.urls, strict=True)
    ]


def bounds_of(orders: Orders) -> Bounds:
    """Where this process counts requests, beside the others."""
    with Path(orders.bounds).open("r+b") as file:
        return Bounds(memoryview(mmap(file.fileno(), 0)), orders.index)


def run(orders: Orders) -> None:
    """Serve until told to stop, or until the supervisor is gone."""
    write_to(sys.stderr)
    worker = Worker(orders)
    calm_interpreter()
    try:
        server = Server(
            worker.store,
            orders.settings,
            enclaves=worker.enclaves,
            listeners=listeners_of(orders),
            whole=worker.whole,
            bounds=bounds_of(orders),
            started=readied(),
        )
        worker.server = server
        ending, alone = Event(), Event()
        Thread(target=_heed, args=(server, ending, alone), daemon=True).start()
        server.run(signals=True)
        if ending.wait(ALONE_S):  # else this process alone was told to end
            _say("drained")
            alone.wait()
    finally:
        worker.close()
    if alone.is_set():
        remove_shared(orders.whole, orders.bounds)


def _heed(server: Server, ending: Event, alone: Event) -> None:
    """End the server when the supervisor says so; ``alone`` once nobody else needs this process."""
    while os.read(sys.stdin.fileno(), 1):
        ending.set()
        server.stop()
    ending.set()
    alone.set()
    server.stop()


def remove_shared(*paths: str) -> None:
    """Remove what the processes shared, and its folder once nobody has a socket in it.

    The supervisor does, and each worker that ends with all others: it may have been killed.
    """
    for path in paths:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - plain paths
    with suppress(OSError):
        os.rmdir(os.path.dirname(paths[0]))  # noqa: PTH106, PTH120 - plain paths


def readied() -> Callable[[str], None]:
    """Tells the supervisor that this process listens: once, however many doors it has.

    The next word that it waits for is another one.
    """
    said = Event()

    def say(_url: str) -> None:
        if not said.is_set():
            said.set()
            _say("ready")

    return say


def _say(word: str) -> None:
    """Tell the supervisor; one that was killed hears nothing."""
    with suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), f"{word}\n".encode())


def main() -> None:
    """Do what the supervisor orders; nothing where it was killed before it could."""
    told = sys.stdin.buffer.readline()
    if told:
        run(msgspec.json.decode(told, type=Orders))


if __name__ == "__main__":
    main()
