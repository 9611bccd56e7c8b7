"""A client that says exactly what a test wants said, and reads what comes back byte by byte."""

from __future__ import annotations

import socket
from typing import NamedTuple

OBJECTS = "/v1/namespaces/acme/objects/"


class Told(NamedTuple):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Raw:
    """One connection."""

    def __init__(self, connected: socket.socket, token: str) -> None:
        self.socket = connected
        self.token = token
        self.unread = b""

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """A request as bytes; header names are written with "_" for "-"."""
        lines = [f"{method} {path} HTTP/1.1", "Host: h", f"Authorization: Bearer {self.token}"]
        lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
        if body or method in {"PUT", "POST"}:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Told:
        self.say(self.request(method, path, body, **headers))
        return self.hear(head=method == "HEAD")

    def hear(self, *, head: bool = False) -> Told:
        """The next answer."""
        while b"\r\n\r\n" not in self.unread:
            self._more()
        top, _, self.unread = self.unread.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
        size = 0 if head else int(headers.get("content-length", "0"))
        while len(self.unread) < size:
            self._more()
        body, self.unread = self.unread[:size], self.unread[size:]
        return Told(int(first.split(" ")[1]), headers, body)

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError(self.unread)
        self.unread += data

    def rest(self) -> bytes:
        """Everything until the server closes."""
        data, self.unread = self.unread, b""
        try:
            while piece := self.socket.recv(1 << 16):
                data += piece
        except ConnectionResetError:
            pass
        return data
