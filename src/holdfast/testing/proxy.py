"""A network that fails on demand: a TCP proxy between a client and a real server.

with Serving(store) as serving, Proxy(serving.url) as proxy:
store = holdfast.connect(proxy.url, token=serving.token())
proxy.lose_answers(1)      # the next answer never arrives
proxy.delay_s = 0.05       # one way: as far as light takes so long
"""

from __future__ import annotations

import socket
from contextlib import suppress
from queue import Queue
from threading import Lock, Thread
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from holdfast.clock import Clock, SystemClock

PIECE_BYTES: Final = 64 << 10
PIECES: Final = 512  # on their way, each way of a connection
ACCEPT_S: Final = 0.05


class Proxy:
    """Forwards connections to a server, as long as its context lasts.

    ``delay_s`` is how long everything is on its way, each way; ``refusing`` closes connections
    before a byte of theirs is forwarded; ``lost`` counts the answers that never arrived.

    Args:
        url: the server's, ``http://host:port``.
        clock: waits out the delays.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._clock = clock or SystemClock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(ACCEPT_S)
        self._lock = Lock()
        self._sockets: set[socket.socket] = set()
        self._answers_to_lose = 0
        self.lost = 0
        self._open = True
        self.delay_s = 0.0
        self.refusing = False
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = Thread(target=self._accept, name="holdfast-proxy", daemon=True)

    def lose_answers(self, count: int) -> None:
        """Cut the connection instead of forwarding the next ``count`` answers."""
        with self._lock:
            self._answers_to_lose = count

    def retarget(self, url: str) -> None:
        """Forward new connections to another server."""
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)

    def cut(self) -> None:
        """Break every connection there is."""
        with self._lock:
            held, self._sockets = self._sockets, set()
        for one in held:
            _shut(one)

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if self.refusing:
                _shut(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _shut(client)
                continue
            for one in (client, server):  # a network holds nothing back to fill its packets
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            self._carry(client, server, answers=False)
            self._carry(server, client, answers=True)

    def _carry(self, source: socket.socket, target: socket.socket, *, answers: bool) -> None:
        """Forward one way: one thread takes what comes, another hands it on when it is due."""
        pieces: Queue[tuple[int, bytes]] = Queue(PIECES)
        Thread(target=self._take, args=(source, pieces), daemon=True).start()
        hand_on = Thread(
            target=self._hand_on, args=(source, target, pieces), kwargs={"answers": answers}
        )
        hand_on.daemon = True
        hand_on.start()

    def _take(self, source: socket.socket, pieces: Queue[tuple[int, bytes]]) -> None:
        piece = b""
        with suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                pieces.put((self._clock.monotonic_ns() + round(self.delay_s * 1e9), piece))
        pieces.put((0, b""))

    def _hand_on(
        self,
        source: socket.socket,
        target: socket.socket,
        pieces: Queue[tuple[int, bytes]],
        *,
        answers: bool,
    ) -> None:
        with suppress(OSError):
            while True:
                due_ns, piece = pieces.get()
                if not piece or (answers and self._loses()):
                    break
                left_s = (due_ns - self._clock.monotonic_ns()) / 1e9
                if left_s > 0:
                    self._clock.sleep(left_s)
                target.sendall(piece)
        self._end(source, target)
        while piece:  # so that whoever takes can end, too
            _, piece = pieces.get()

    def _loses(self) -> bool:
        with self._lock:
            lost = self._answers_to_lose > 0
            self._answers_to_lose -= lost
            self.lost += lost
            return lost

    def _end(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._sockets -= set(sockets)
        for one in sockets:
            _shut(one)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open = False
        self._thread.join()
        self._listener.close()
        self.cut()


def _shut(one: socket.socket) -> None:
    """Close it, and wake whoever waits for it."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
