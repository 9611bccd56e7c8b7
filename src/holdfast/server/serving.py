"""A server from its first socket to its last answer."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from holdfast.errors import HoldfastError, InvalidValue
from holdfast.server.connection import Connection
from holdfast.server.deadlines import look_at
from holdfast.server.door import Door, StoreDoor, issuers_of
from holdfast.server.enclave_callers import Callers
from holdfast.server.figures import Figures
from holdfast.server.listeners import Listener, bind, tls_of
from holdfast.server.nearness import Nearness
from holdfast.server.settings import Settings
from holdfast.server.site import Site
from holdfast.server.webhook import Webhook
from holdfast.store.tenancy import make_enclaves

if TYPE_CHECKING:
    from holdfast.identity.enclaves import Enclaves
    from holdfast.server.bounds import Bounds
    from holdfast.server.rpc.host import RpcHost
    from holdfast.server.whole import Whole
    from holdfast.store.store import Store

log = logging.getLogger("holdfast.server")
TICK_S = 0.25
LOOK_S = 1.0
GARBAGE = 20_000  # objects made and not freed, before anybody looks for cycles among them
SWITCH_S = 0.0005  # a computing thread keeps the loop waiting for no longer (rule 11)


class Server:
    """Serves a store. One event loop, on the thread that calls ``run``.

    Args:
        store: what is served; it stays open.
        settings: where to listen, and the bounds.
        door: settles who asks and whether they may; the store's own tokens and rights if None.
        enclaves: settles which enclave asks; made of the settings if None.
        started: called with each URL once the server listens: its own, that of the Unix socket,
            and that of the gRPC door.
        reload: reads the settings again, when SIGHUP asks for it.
        listeners: sockets that are bound already; the last is this process's own.
        whole: all of the store, where this process holds a part of it.
        bounds: counts requests, where other processes serve the store too.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        door: Door | None = None,
        enclaves: Enclaves | None = None,
        started: Callable[[str], object] = lambda _: None,
        reload: Callable[[], Settings] | None = None,
        listeners: Sequence[Listener] = (),
        whole: Whole | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.door = door if door is not None else StoreDoor(store)
        if settings.issuers:
            store.tokens.trust(issuers_of(settings.issuers))
        self.enclaves = enclaves or make_enclaves(store, settings.attestation)
        self._webhook = _webhook_of(store, settings)
        self.url = ""
        self.rpc: RpcHost | None = None
        self._started = started
        self._reload = reload
        self._bound = listeners
        self._whole: Store | Whole = whole or store
        self._bounds = bounds
        self._site: Site | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._state = ServerState()
        self._tasks: set[asyncio.Future[None]] = set()

    def run(self, *, signals: bool = False) -> None:
        """Serve until ``stop``, or a signal where ``signals`` are heard."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(signals=signals))

    def stop(self) -> None:
        """Take no more, answer what is due, and let ``run`` return. From any thread."""
        loop, ending = self._loop, self._ending
        if loop is not None and ending is not None:
            with suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(ending.set)

    async def _serve(self, *, signals: bool) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        address = self._bound[-1].url if self._bound else ""
        listeners = self._bound = self._bound or bind(self.settings)
        site = self._site = Site(self.store, self.settings, self.door, Callers(self.enclaves))
        site.charging.bounds = self._bounds or site.charging.bounds
        site.whole = self._whole
        site.connections = lambda: len(self._state.connections)
        near = Nearness(self.store.placement.directory)
        await asyncio.to_thread(near.look)
        servers = [await self._listen(listener, site) for listener in listeners]
        self.url = site.url = listeners[0].url
        self.store.address = address or self.url
        if signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._ending.set)
            loop.add_signal_handler(signal.SIGHUP, self._read_again)
        ticking = [asyncio.ensure_future(one) for one in (self._tick(site), _look_near(near))]
        try:
            self.rpc = await self._listen_rpc(site)
            for listener in listeners:
                self._started(listener.url)
            if self.rpc is not None:
                self._started(self.rpc.url)
            await self._ending.wait()
        finally:
            await self._drain(site, servers)
            for one in ticking:
                one.cancel()
            if self._webhook is not None:
                await asyncio.to_thread(self._webhook.close)
            await asyncio.to_thread(site.close)
            for listener in listeners:
                listener.close()

    def figures(self) -> Figures:
        """What it has counted so far. Not from the loop: figures of the store are read."""
        site = self._site
        return Figures() if site is None else site.metrics.figures()

    def take(self, settings: Settings) -> None:
        """Go on by other settings: bounds, deadlines, logs, issuers, certificates.

        Addresses stay. From any thread but the loop's: files are read.

        Raises:
            InvalidValue: an issuer or a certificate cannot be used; nothing changes.
        """
        issuers = issuers_of(settings.issuers)
        tls_of(settings)
        self.store.tokens.trust(issuers)
        for listener in self._bound:
            listener.renew(settings)
        if self.rpc is not None:
            self.rpc.renew(settings)
        self.settings = settings
        loop, site = self._loop, self._site
        if loop is not None and site is not None:
            with suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(site.take, settings)

    def _read_again(self) -> None:
        """SIGHUP: take the settings as they are now."""
        if self._reload is not None:
            task = asyncio.ensure_future(self._take(self._reload))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _take(self, reload: Callable[[], Settings]) -> None:
        try:
            await asyncio.to_thread(lambda: self.take(reload()))
        except (HoldfastError, OSError) as error:
            log.error("the settings could not be read again: %s", error)  # noqa: TRY400 - no trace
            return
        log.info("the settings were read again")

    async def _listen(self, listener: Listener, site: Site) -> asyncio.AbstractServer:
        config = Config(_nothing, lifespan="off", ws="none", log_config=None, http=Connection)
        config.load()
        make = partial(Connection, config, self._state, {"site": site})
        return await asyncio.get_running_loop().create_server(
            make, sock=listener.socket, ssl=listener.tls, backlog=listener.backlog
        )

    async def _listen_rpc(self, site: Site) -> RpcHost | None:
        if self.settings.grpc_port is None:
            return None
        from holdfast.server.rpc.host import listen  # noqa: PLC0415 - needs an extra

        return await listen(site, self.settings)

    async def _tick(self, site: Site) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            site.tick()
            for connection in list(self._connections()):
                look_at(connection, site.now_s)

    def _connections(self) -> set[Connection]:
        return self._state.connections  # type: ignore[return-value] # no others are made

    async def _drain(self, site: Site, servers: list[asyncio.AbstractServer]) -> None:
        """Answer what is under way, for at most ``drain_s`` seconds."""
        site.draining = True
        rpc = self.rpc
        if rpc is not None:
            await rpc.drain()
        for server in servers:
            server.close()
        for connection in list(self._connections()):
            connection.shutdown()
        until = asyncio.get_running_loop().time() + self.settings.drain_s
        if rpc is not None:
            await rpc.stop(self.settings.drain_s)
        # uvicorn's set of connections tells nobody when it is empty.
        while self._connections() and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
            await asyncio.sleep(TICK_S / 25)
        for connection in list(self._connections()):
            connection.transport.abort()


async def _look_near(near: Nearness) -> None:
    """Know which indexes can be asked on the loop."""
    while True:
        await asyncio.sleep(LOOK_S)
        await asyncio.to_thread(near.look)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own
    """Uvicorn's configuration asks for an application; nothing is ever sent to it."""


def serve(
    store: Store,
    settings: Settings | None = None,
    *,
    started: Callable[[str], object] = lambda _: None,
    reload: Callable[[], Settings] | None = None,
    **options: Any,  # noqa: ANN401 - settings by name
) -> None:
    """Serve a store from this thread, until SIGTERM or SIGINT.

    Args:
        store: an open store, best opened with ``in_place=False`` (rule 12).
        settings: where to listen, and the bounds; or these by name (``port=0``).
        enclaves: settles which enclave asks; made of the settings if None.
        started: called with each URL once the server listens: its own, that of the Unix socket,
            and that of the gRPC door.
        reload: reads the settings again, when SIGHUP asks for it.
        **options: fields of ``Settings``.

    Raises:
        InvalidValue: strangers would be served without TLS, or the address is taken.
    """
    calm_interpreter()
    Server(store, settings or Settings(**options), started=started, reload=reload).run(signals=True)


def calm_interpreter() -> None:
    """Set up a process that does nothing but serve, with its store open."""
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()  # what is there by now stays; and requests leave no cycles behind
    gc.set_threshold(GARBAGE, *gc.get_threshold()[1:])


def _webhook_of(store: Store, settings: Settings) -> Webhook | None:
    """Who is told that an account is low, if anybody is."""
    url, file = settings.webhook.url, settings.webhook.secret_file
    if url is None:
        return None
    try:
        secret = Path(file).read_bytes().strip() if file is not None else b""
    except OSError:
        raise InvalidValue(argument="webhook.secret_file", reason="it cannot be read") from None
    webhook = Webhook(url, secret, store=store.file.store, clock=store.clock)
    store.meters.heard_low = webhook.tell
    return webhook
