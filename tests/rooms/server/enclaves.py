"""Enclaves that speak to a server over raw connections, in both modes."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from holdfast.limits import SECOND_NS
from holdfast.testing.authority import MockAuthority
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.enclave import MockEnclave
from holdfast.testing.serving import Serving
from tests.rooms.server.raw import Raw, Told

HOUR_NS = 3600 * SECOND_NS
AUTHORITY = MockAuthority(SeededEntropy(1), now_ns=ManualClock().wall_ns())


def octets(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@contextmanager
def dialled(serving: Serving) -> Iterator[Raw]:
    """A connection without a token."""
    host, _, port = serving.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connected:
        yield Raw(connected, "")


class Caller:
    """An enclave and its connection; it has no token."""

    def __init__(self, raw: Raw, enclave: MockEnclave, *, bearer: bool = False) -> None:
        self.raw = raw
        self.enclave = enclave
        self.document = text(enclave.document()) if bearer else None

    @property
    def image_id(self) -> str:
        return self.enclave.image_id

    def plain(self, path: str, body: object = None, **headers: str) -> Told:
        """A request without any credential but what is given."""
        data = b"" if body is None else json.dumps(body).encode()
        return self.raw.ask("POST", path, data, **headers)

    def begin(self, namespace: str | None = None) -> Told:
        """Challenge, document, session."""
        return self.exchange(json.loads(self.plain("/challenge").body)["nonce"], namespace)

    def exchange(self, challenge: str, namespace: str | None = None) -> Told:
        """Document, session."""
        nonce = octets(challenge)
        asked = {"document": text(self.enclave.document(nonce))}
        if namespace is not None:
            asked["namespace"] = namespace
        told = self.plain("/session", asked)
        if told.status == 200:
            found = json.loads(told.body)
            sealed, key = octets(found["sealed"]), octets(found["public_key"])
            self.enclave.open(found["session"], key, sealed, nonce)
        return told

    def headers(self, path: str, data: bytes) -> Mapping[str, str]:
        """What proves who asks."""
        if self.document is not None:
            return {"Attestation": self.document}
        return {"Holdfast_Enclave": self.enclave.mark("POST", path, data)}

    def send(self, path: str, data: bytes) -> Told:
        return self.raw.ask("POST", path, data, **self.headers(path, data))

    def ask(self, path: str, **body: object) -> tuple[int, Any]:
        """Status, and what the answer says; the code of a problem."""
        told = self.send(path, json.dumps(body).encode())
        said: Any = json.loads(told.body) if told.body else None
        return told.status, said["code"] if told.status >= 400 else said

    def put(self, key: str, value: str = "v", expiry: int = HOUR_NS) -> None:
        assert self.ask("/store", key=key, value=value, expiry=expiry) == (200, None)
