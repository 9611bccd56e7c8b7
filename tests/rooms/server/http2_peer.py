"""A peer that says over HTTP/2 whatever it is told to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from holdfast.server.http2 import coding, frames
from holdfast.server.http2.messages import PREFIX
from holdfast.testing.serving import Serving
from holdfast.wire.protobuf.words import CLASSES

WITHIN_S = 60
SERVICE = "/holdfast.v1.Holdfast/"
BEGINS = frames.END_HEADERS
ENDS = frames.END_STREAM


class Frame(NamedTuple):
    """What a server said."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Peer:
    """One connection.

    Args:
        serving: is connected to.
        settings: that it says, None to say nothing at all.
    """

    def __init__(self, serving: Serving, settings: dict[int, int] | None) -> None:
        host, _, port = serving.rpc_url.partition("://")[2].rpartition(":")
        self.token = serving.token()
        self.socket = socket.create_connection((host, int(port)), WITHIN_S)
        self._decoder = coding.Decoder(1 << 20, 1_000)
        self._rest = b""
        if settings is not None:
            self.socket.sendall(frames.PREFACE + frames.settings(settings))

    def say(self, *told: bytes) -> None:
        self.socket.sendall(b"".join(told))

    def head(self, path: str, **more: str) -> bytes:
        """A block that begins a call; ``more`` replaces or adds, with _ for - and : first."""
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            "content-type": "application/grpc",
            "authorization": f"Bearer {self.token}",
        }
        fields |= {name.replace("_", "-"): value for name, value in more.items()}
        if (method := more.get("method")) is not None:
            fields[":method"] = method
            del fields["method"]
        return b"".join(coding.field(n.encode(), v.encode()) for n, v in fields.items())

    def begin(self, stream: int, method: str, flags: int = BEGINS, **more: str) -> bytes:
        return frames.frame(frames.HEADERS, flags, stream, self.head(SERVICE + method, **more))

    def call(self, stream: int, method: str, message: bytes, **more: str) -> bytes:
        """A whole call of one message."""
        told = PREFIX.pack(0, len(message)) + message
        data = frames.frame(frames.DATA, ENDS, stream, told)
        return self.begin(stream, method, BEGINS, **more) + data

    def frames(self) -> Iterator[Frame]:
        """What the server says, until it says nothing more."""
        while True:
            while len(self._rest) >= frames.HEAD_BYTES:
                high, low, kind, flags, stream = frames.HEAD.unpack_from(self._rest)
                stop = frames.HEAD_BYTES + (high << 8 | low)
                if len(self._rest) < stop:
                    break
                payload, self._rest = self._rest[frames.HEAD_BYTES : stop], self._rest[stop:]
                yield Frame(kind, flags, stream, payload)
            try:
                told = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return
            if not told:
                return
            self._rest += told

    def until(self, kind: int, stream: int = 0) -> Frame:
        """The next frame of a kind."""
        for told in self.frames():
            if told.kind == kind and told.stream == stream:
                return told
        raise AssertionError("it never came")

    def goaway(self) -> int:
        """Why the server ends the connection."""
        told = self.until(frames.GOAWAY).payload
        assert list(self.frames()) == []
        return int(frames.DOUBLE.unpack_from(told)[1])

    def fields(self, told: Frame) -> dict[str, str]:
        return {n.decode(): v.decode() for n, v in self._decoder.decode(told.payload)}

    def answer(self, stream: int) -> tuple[bytes, dict[str, str]]:
        """The bytes that a call is answered with, and all fields around them."""
        data, fields = b"", dict[str, str]()
        for told in self.frames():
            if told.stream != stream:
                continue
            if told.kind == frames.DATA:
                data += told.payload
            elif told.kind == frames.HEADERS:
                fields |= self.fields(told)
            if told.flags & ENDS and told.kind in {frames.DATA, frames.HEADERS}:
                return data, fields
        raise AssertionError("it was not answered")


@contextmanager
def peer(serving: Serving, settings: dict[int, int] | None = None) -> Iterator[Peer]:
    connected = Peer(serving, {} if settings is None else settings)
    with connected.socket:
        yield connected


@contextmanager
def stranger(serving: Serving) -> Iterator[Peer]:
    """A connection that says nothing by itself."""
    connected = Peer(serving, None)
    with connected.socket:
        yield connected


def end_patience(serving: Serving, **seconds: float) -> None:
    """Have the server wait no longer than that; a test that stalls before then is not late."""
    rpc = serving.server.rpc
    assert rpc is not None
    server = rpc._server
    server.bounds = msgspec.structs.replace(server.bounds, **seconds)


def get(key: str = "k") -> bytes:
    """The message that asks for a value."""
    told: bytes = CLASSES["LoadRequest"](namespace="a", key=key).SerializeToString()
    return told
