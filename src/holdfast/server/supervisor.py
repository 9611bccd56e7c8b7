"""Several processes that serve one store: who holds what, and who takes a dead one's place.

The supervisor owns the store's folder and holds no data. It opens the store once,
which settles whatever a crash left, cuts it into ranges of whole buckets and starts
a worker (worker.py) for each. From then on it does three things: a worker that died
is started again with the same range; now and then a bucket moves from a busy worker
to its neighbour; a signal to end is passed on.

The lock on the folder is inherited by every worker, so that nobody else opens the
store while any of them lives, whatever becomes of the supervisor.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from holdfast.bucket.settings import Sync
from holdfast.clock import Clock, SystemClock
from holdfast.errors import HoldfastError, InvalidValue
from holdfast.limits import BUCKET_BYTES
from holdfast.server.bounds import TABLE_BYTES
from holdfast.server.door import issuers_of
from holdfast.server.gathering import Gathering
from holdfast.server.link import LinkServer, SocketLink
from holdfast.server.listeners import bind, bind_rpc, tls_of
from holdfast.server.settings import Settings
from holdfast.server.shares import Holding, Move, cut, even_out
from holdfast.server.worker import PATIENCE_S, Orders, Part, remove_shared
from holdfast.store.opening import open_store
from holdfast.store.ownership import Ownership

if TYPE_CHECKING:
    from holdfast.store.store import Store

log = logging.getLogger("holdfast.server")
LOOK_S: Final = 0.02
EVEN_OUT_S: Final = 2.0


class Supervisor:
    """Runs the workers of one store.

    Args:
        root: the store's folder.
        settings: where to listen, the bounds, and how many workers.
        options: keywords of ``holdfast.open``.
        clock: to wait by.
        reload: reads the settings again, when ``read_again`` asks for it.
        prepare: done with the whole store, before it is cut into ranges.
    """

    def __init__(
        self,
        root: str,
        settings: Settings,
        options: Mapping[str, Any],
        *,
        clock: Clock,
        reload: Callable[[], Settings] | None = None,
        prepare: Callable[[Store], object] = lambda _: None,
    ) -> None:
        self._root = os.path.abspath(root)  # noqa: PTH100 - plain paths
        self._settings = settings
        self._clock = clock
        self._sync: Sync = options.get("sync", "always")
        self._bucket_bytes: int = options.get("bucket_bytes", BUCKET_BYTES)
        self._reload = reload
        self._ending = self._reloading = False
        count = settings.workers
        parts = self._cut(options, prepare)
        self._owner = Ownership(self._root)
        self._listeners = bind(settings)
        # Held, and silent: the port that every worker listens on by itself.
        self._rpc = None if settings.grpc_port is None else bind_rpc(settings)
        alone = msgspec.structs.replace(settings, port=0, unix_socket=None)
        self._own = [bind(alone)[0] for _ in range(count)]
        self._run = tempfile.mkdtemp(prefix="holdfast-")  # a socket's path must be short
        self.parts = [
            Part(start, stop, f"{self._run}/{at}.sock") for at, (start, stop) in enumerate(parts)
        ]
        self._links = [SocketLink(part.socket, clock) for part in self.parts]
        self._gathering = Gathering(
            [
                SocketLink(part.socket, clock, patience_s=PATIENCE_S, timeout_s=None)
                for part in self.parts
            ],
            clock,
        )
        self._bounds = f"{self._run}/bounds"
        with open(self._bounds, "xb") as file:  # noqa: PTH123 - plain paths
            file.truncate(count * TABLE_BYTES)
        self._whole = f"{self._run}/whole.sock"
        self._door = LinkServer(self._whole, self._gathering.answer)
        self.workers: list[subprocess.Popen[bytes] | None] = [None] * count

    @property
    def url(self) -> str:
        """Where callers reach any of the workers."""
        return self._listeners[0].url

    def _cut(
        self, options: Mapping[str, Any], prepare: Callable[[Store], object]
    ) -> list[tuple[bytes, bytes]]:
        """Open the whole store, which settles what a crash left, and cut it into ranges."""
        with open_store(self._root, upkeep=False, **options) as store:
            prepare(store)
            holdings = [Holding(b.start, b.weight) for b in store.placement.directory]
        return cut(holdings, self._settings.workers)

    # -- running ---------------------------------------------------------------------

    def run(self, started: Callable[[str], object] = lambda _: None) -> None:
        """Start the workers and see to them until ``stop``."""
        try:
            for at in range(len(self.workers)):
                self._start(at)
            for at in range(len(self.workers)):
                self._wait_for(at)
            for at in range(len(self.workers)):
                self._have_metered(at)
            rpc = () if self._rpc is None else (self._rpc,)
            for listener in (*self._listeners, *rpc):
                started(listener.url)
            self._watch()
        finally:
            self._end()

    def stop(self) -> None:
        """Have ``run`` end the workers and return; may be called from a signal handler."""
        self._ending = True

    def read_again(self) -> None:
        """Have ``run`` read the settings again; may be called from a signal handler."""
        self._reloading = True

    def _read_again(self) -> None:
        """Look at the settings as they are now, and hand them on if they can be used."""
        if self._reload is None:
            return
        try:
            settings = self._reload()
            issuers_of(settings.issuers)
            tls_of(settings)
        except (HoldfastError, OSError) as error:
            log.error("the settings could not be read again: %s", error)  # noqa: TRY400 - no trace
            return
        self._settings = settings
        for at, link in enumerate(self._links):
            try:
                link.ask("settings", msgspec.json.encode(settings))
            except HoldfastError as error:
                log.error("worker %d did not take the settings: %s", at, error)  # noqa: TRY400
                return
        log.info("the settings were read again")

    def _watch(self) -> None:
        passed = 0.0
        while not self._ending:
            if self._reloading:
                self._reloading = False
                self._read_again()
            for at, worker in enumerate(self.workers):
                if worker is None or worker.poll() is not None:
                    log.error("worker %d is gone; another takes its place", at)
                    self._start(at)
                    self._wait_for(at)
                    self._have_metered(at)
            self._clock.sleep(LOOK_S)
            passed += LOOK_S
            if passed >= EVEN_OUT_S:
                passed = 0.0
                self._even_out()

    def _start(self, at: int) -> None:
        """Start a worker with the range that it holds."""
        mine = [*self._listeners, self._own[at]]
        descriptors = [listener.socket.fileno() for listener in mine]
        orders = Orders(
            root=self._root,
            whole=self._whole,
            bounds=self._bounds,
            index=at,
            parts=tuple(self.parts),
            listen=tuple(descriptors),
            urls=tuple(listener.url for listener in mine),
            settings=self._told(),
            sync=self._sync,
            bucket_bytes=self._bucket_bytes,
        )
        worker = subprocess.Popen(
            [sys.executable, "-m", "holdfast.server.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[*descriptors, self._owner.descriptor],
        )
        self.workers[at] = worker
        self._tell(worker, msgspec.json.encode(orders) + b"\n")

    def _told(self) -> Settings:
        """The settings as workers are told them: port 0 is the same port for all."""
        if self._rpc is None:
            return self._settings
        return msgspec.structs.replace(self._settings, grpc_port=self._rpc.socket.getsockname()[1])

    @staticmethod
    def _tell(worker: subprocess.Popen[bytes], line: bytes) -> None:
        if worker.stdin is not None:
            with suppress(BrokenPipeError):  # it has died: the watch sees it
                worker.stdin.write(line)
                worker.stdin.flush()

    def _wait_for(self, at: int) -> None:
        """Until a worker says that it is ready, or has drained, or has died."""
        worker = self.workers[at]
        if worker is not None:
            _next_line(worker)

    def _have_metered(self, at: int) -> None:
        """Have a worker know what is metered, which another may hold; upkeep tries again."""
        try:
            self._links[at].ask("meter")
        except HoldfastError as error:
            log.error("worker %d does not know what is metered yet: %s", at, error)  # noqa: TRY400

    def _end(self) -> None:
        """Let every worker answer what is due, with the help of the others, and then go."""
        running = [worker for worker in self.workers if worker is not None]
        for worker in running:
            self._tell(worker, b"\n")
        rpc = () if self._rpc is None else (self._rpc,)
        for listener in (*self._listeners, *self._own, *rpc):
            listener.close()  # or who connects would wait in line for nobody
        for worker in running:
            _next_line(worker)
        for worker in running:
            _let_go(worker)
        for worker in running:
            with worker:  # until it is gone
                pass
        self._door.close()
        for link in self._links:
            link.close()
        self._gathering.close()
        remove_shared(self._bounds, *(part.socket for part in self.parts))
        self._owner.release()

    # -- evening out -------------------------------------------------------------------

    def _even_out(self) -> None:
        """Move one bucket, if that makes the load more even."""
        with self._gathering.moving() as may_move:
            if not may_move:
                return
            try:
                loads = [[Holding(*told) for told in link.ask("holdings")] for link in self._links]
                move = even_out(loads)
                if move is not None:
                    self.move(move)
            except HoldfastError as error:
                log.warning("ranges could not be evened out: %s", error.code)

    def move(self, move: Move) -> None:
        """Have a range change hands: the giver leaves it, the taker opens it, all others learn.

        Whoever does not answer is ended: the one that takes its place holds what the table
        says by then. So the table changes between the two steps, and never on a guess.
        """
        after = moved(self.parts, move)
        ranges = [(part.start, part.stop, part.socket) for part in after]
        try:
            self._links[move.giver].ask("give", move.start, move.stop, ranges)
        except InvalidValue:
            return  # it has grown meanwhile: nothing was done
        except HoldfastError:
            self._kill(move.giver)
            raise
        self.parts = after
        others = [at for at in range(len(after)) if at not in {move.giver, move.taker}]
        orders: list[tuple[int, str, tuple[object, ...]]]
        orders = [(move.taker, "take", (move.start, move.stop, ranges))]
        orders += [(at, "route", (ranges,)) for at in others]
        for at, method, arguments in orders:
            try:
                self._links[at].ask(method, *arguments)
            except HoldfastError as error:
                log.warning("worker %d did not answer: %s", at, error.code)
                self._kill(at)

    def _kill(self, at: int) -> None:
        worker = self.workers[at]
        if worker is not None:
            worker.kill()
            worker.wait()


def _next_line(worker: subprocess.Popen[bytes]) -> None:
    """Until a process says something, or its output ends."""
    if worker.stdout is not None:
        worker.stdout.readline()


def _let_go(worker: subprocess.Popen[bytes]) -> None:
    """Close a process's standard input: nobody needs it any more."""
    if worker.stdin is not None:
        with suppress(BrokenPipeError):
            worker.stdin.close()


def serve_shared(
    path: str,
    settings: Settings,
    options: Mapping[str, Any],
    *,
    started: Callable[[str], object] = lambda _: None,
    reload: Callable[[], Settings] | None = None,
    prepare: Callable[[Store], object] = lambda _: None,
) -> None:
    """Serve a store with several processes, until SIGTERM or SIGINT.

    Args:
        path: the store's folder; nobody has it open.
        settings: where to listen, the bounds, and how many processes.
        options: keywords of ``holdfast.open``.
        started: called with each URL once all of them listen.
        reload: reads the settings again, when SIGHUP asks for it.
        prepare: done with the whole store, before it is cut into ranges.
    """
    supervisor = Supervisor(
        path, settings, options, clock=SystemClock(), reload=reload, prepare=prepare
    )
    signal.signal(signal.SIGHUP, lambda *_: supervisor.read_again())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.run(started)


def moved(parts: list[Part], move: Move) -> list[Part]:
    """The table once a range has changed hands; whoever holds nothing stays at the border.

    Example:
        >>> parts = [Part(b"", b"m", "0"), Part(b"m", b"z", "1")]
        >>> [(p.start, p.stop) for p in moved(parts, Move(0, 1, b"f", b"m"))]
        [(b'', b'f'), (b'f', b'z')]
    """
    told = list(parts)
    giver, taker = parts[move.giver], parts[move.taker]
    if move.taker > move.giver:
        told[move.giver] = msgspec.structs.replace(giver, stop=move.start)
        told[move.taker] = Part(move.start, max(taker.stop, move.stop), taker.socket)
    else:
        told[move.giver] = msgspec.structs.replace(giver, start=move.stop)
        told[move.taker] = Part(min(taker.start, move.start), move.stop, taker.socket)
    return told
