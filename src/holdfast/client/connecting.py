"""``holdfast.connect`` and ``holdfast.aconnect``: the ways to a store behind a server."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final, Literal

from holdfast.client.address import Address, address_of
from holdfast.client.async_store import AsyncRemoteStore
from holdfast.client.attested import Attested
from holdfast.client.box import Box
from holdfast.client.line import Line
from holdfast.client.outbox import Outbox
from holdfast.client.places import places_of
from holdfast.client.pool import Tls
from holdfast.client.soon import Soon
from holdfast.client.store import RemoteStore
from holdfast.client.sync import Sender
from holdfast.client.tasks import AsyncSender
from holdfast.client.whole import SoonCalls
from holdfast.clock import Clock, Entropy, SystemClock, SystemEntropy
from holdfast.errors import InvalidValue, Unavailable
from holdfast.extras import wanted
from holdfast.request import arguments
from holdfast.twins import Taken

if TYPE_CHECKING:
    from holdfast.client.enclave import Enclave

TIMEOUT_S: Final = 30.0
Path = str | os.PathLike[str]


def connect(
    url: str,
    *,
    token: str | None = None,
    enclave: Enclave | None = None,
    outbox: Path | None = None,
    direct: bool | Literal["auto"] = False,
    public_key: bytes | Attested | None = None,
    seen: Path | None = None,
    timeout: float | None = TIMEOUT_S,
    ca: Path | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> RemoteStore:
    """A store behind a server, with the face of ``holdfast.open``.

    Nothing is sent before the first call. Calls are tried again, with pauses, where that can
    do no harm: reads, whatever the server cannot have begun, and writes to objects, which are
    numbered so that each is applied once.

    Args:
        url: ``http(s)://host[:port]``, ``grpc(s)://host:port``, or ``unix:/path`` of a socket.
        token: the credential that every request carries.
        enclave: who asks in place of a token: an enclave, in sessions of its own.
        outbox: a file that keeps what ``put_soon`` queued until the server has it; one process
            at a time. Without it the queue is in memory.
        direct: ask the directory once, then talk to the owner of each key. "auto": where that
            is worth it, for values up to 1 MiB of a server that answers within 5 ms.
        public_key: of the store (``store.public_key()``). What reads objects then believes nothing
            without a proof that holds, is at most 5 minutes old, and of a root that goes on from
            the newest that was seen; ``ProofInvalid`` else. Other answers, and what ``stat`` and
            ``entries`` tell beyond size, version, times and content type, are not proved. Or
            ``Attested(images=[...])``: the key that the server's enclave shows (over HTTP).
        seen: a file that keeps the newest root for the next client, of one client at a time;
            without it a client begins by believing what it sees first.
        timeout: seconds that a call may take, all tries included; None for no end.
        ca: PEM file of the authorities that may vouch for the server, instead of the system's.
        clock: tells how much time is left; a clock of its own waits on its own terms.
        entropy: draws the pauses between tries.

    Raises:
        InvalidValue: an argument is not valid. InUse: another process has the outbox.

    Example:
        >>> with connect("http://127.0.0.1:8080", token="...") as store:
        ...     acme = store.namespace("acme")
    """
    line, address, tls = _prepared(url, token, timeout, ca, clock, entropy, enclave)
    _trust(line, public_key, seen)
    places = places_of(direct)
    _refuse_over_rpc(address, enclave=enclave, direct=direct, attested=_shown(public_key))
    sender = _sender(address, tls, ca, line.clock)
    try:
        store = RemoteStore(line, sender, places, _soon_maker(line, sender, outbox))
        if outbox is not None:
            store.start_queue()
    except BaseException:
        sender.close()
        raise
    return store


def aconnect(
    url: str,
    *,
    token: str | None = None,
    enclave: Enclave | None = None,
    outbox: Path | None = None,
    direct: bool | Literal["auto"] = False,
    public_key: bytes | Attested | None = None,
    seen: Path | None = None,
    timeout: float | None = TIMEOUT_S,
    ca: Path | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> Taken[AsyncRemoteStore]:
    """A store behind a server for asyncio, with the arguments and errors of ``connect``.

    To be awaited, or entered with ``async with``, which closes it at the end.
    """
    line, address, tls = _prepared(url, token, timeout, ca, clock, entropy, enclave)
    _trust(line, public_key, seen)
    places = places_of(direct)
    _refuse_over_rpc(address, enclave=enclave, direct=direct, attested=_shown(public_key))

    async def opened() -> AsyncRemoteStore:
        sender = _async_sender(address, tls, ca, line.clock)
        files = _sender(address, tls, ca, line.clock)  # for what runs on threads: files, put_soon
        store = AsyncRemoteStore(
            line, sender, files, places=places, soon=_soon_maker(line, files, outbox)
        )
        try:
            if outbox is not None:
                await store.start_queue()
        except BaseException:
            await sender.close()
            files.close()
            raise
        return store

    return Taken(opened)


def _prepared(  # noqa: PLR0917 - what both ways take
    url: str,
    token: str | None,
    timeout: float | None,
    ca: Path | None,
    clock: Clock | None,
    entropy: Entropy | None,
    enclave: Enclave | None,
) -> tuple[Line, Address, Tls]:
    """What both ways share, checked."""
    address = address_of(url)
    if timeout is not None and not (arguments.seconds(timeout, "timeout") > 0):
        raise InvalidValue(argument="timeout", reason="not above 0")
    if token is not None and not _is_plain(token):
        raise InvalidValue(argument="token", reason="not a token")
    if token is not None and enclave is not None:
        raise InvalidValue(argument="enclave", reason="excluded by token")
    line = Line(token, timeout, clock or SystemClock(), entropy or SystemEntropy(), enclave=enclave)
    if ca is None and not address.is_private:
        return line, address, None  # an ssl context takes 50 ms to make
    return line, address, _tls(ca)


def _sender(address: Address, tls: Tls, ca: Path | None, clock: Clock) -> Sender:
    if not address.is_rpc:
        return Sender(address, tls, clock)
    with _naming_the_extra():
        from holdfast.client.rpc import RpcSender  # noqa: PLC0415

    return RpcSender(address, _authorities(ca), clock)


def _async_sender(address: Address, tls: Tls, ca: Path | None, clock: Clock) -> AsyncSender:
    if not address.is_rpc:
        return AsyncSender(address, tls, clock)
    with _naming_the_extra():
        from holdfast.client.rpc import AsyncRpcSender  # noqa: PLC0415

    return AsyncRpcSender(address, _authorities(ca), clock)


@contextmanager
def _naming_the_extra() -> Iterator[None]:
    """Unavailable where what is imported is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Unavailable(reason=f"needs {wanted(error)}") from error


def _authorities(ca: Path | None) -> bytes | None:
    return None if ca is None else FilePath(ca).read_bytes()


def _refuse_over_rpc(address: Address, **asked: object) -> None:
    """What only HTTP has: the marks of an enclave, and the addresses of owners."""
    for name, value in asked.items():
        if address.is_rpc and value:
            raise InvalidValue(argument=name, reason="over HTTP only")


def _shown(public_key: object) -> bool:
    """Whether the server has to show the key."""
    return isinstance(public_key, Attested)


def _tls(ca: Path | None) -> Tls:
    try:
        return ssl.create_default_context(cafile=None if ca is None else os.fspath(ca))
    except (OSError, ssl.SSLError):
        raise InvalidValue(argument="ca", reason="not a file of certificates") from None


def _is_plain(token: object) -> bool:
    if not isinstance(token, str) or not token.isascii():
        return False
    return token != "" and token.isprintable() and " " not in token


def _trust(line: Line, public_key: bytes | Attested | None, seen: Path | None) -> None:
    """Have reads prove themselves, where a key was given."""
    if public_key is not None:
        from holdfast.client.trust import Trust  # noqa: PLC0415 - 50 ms

        line.trust = Trust(public_key, line.clock, None if seen is None else FilePath(seen))
    elif seen is not None:
        raise InvalidValue(argument="seen", reason="without a public key")


def _soon_maker(line: Line, sender: Sender, outbox: Path | None) -> Callable[[], Soon]:
    file = None if outbox is None else arguments.path(outbox, "outbox")

    def make() -> Soon:
        box = Box() if file is None else Outbox(file)
        return Soon(SoonCalls(line), sender.run, box, line.clock.wall_ns)

    return make
