"""Requests of attested enclaves for a compiled load generator that knows nothing of enclaves.

Each request of a session carries a mark that counts for itself alone, so they are made
beforehand: a file for each connection, with requests of one length behind one another.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.testing.authority import MockAuthority
from holdfast.testing.enclave import MockEnclave

KEY_DIGITS = 5
# wrk runs as many threads as there are connections, so each has a file of its own. Where it
# begins anew, marks are refused: they count once.
FROM_FILE = """local at, mine = 0, nil
local threads = 0
function setup(thread) thread:set("file", "{folder}/" .. threads); threads = threads + 1 end
function init() mine = io.open(file, "rb"):read("*a") end
function request()
  at = at + {length}
  if at > #mine then at = {length} end
  return mine:sub(at - {length} + 1, at)
end
"""


# Of a key: the method, the path and behind a space the body, the line of its credential.
Request = Callable[[str], tuple[str, str, str]]


class Enclave(NamedTuple):
    """An enclave, and how a server comes to believe it."""

    authority: MockAuthority
    clock: SystemClock
    entropy: SystemEntropy

    def new(self) -> MockEnclave:
        """The enclave, with a key of its own."""
        return MockEnclave(self.authority, self.clock, self.entropy)


def enclave() -> Enclave:
    """An enclave with documents of now."""
    clock, entropy = SystemClock(), SystemEntropy()
    return Enclave(MockAuthority(entropy, now_ns=clock.wall_ns()), clock, entropy)


def opened(url: str, made: Enclave) -> MockEnclave:
    """The enclave in a session of its own."""
    one = made.new()
    nonce = base64.b64decode(httpx.post(f"{url}/challenge").json()["nonce"])
    document = base64.b64encode(one.document(nonce)).decode()
    told = httpx.post(f"{url}/session", json={"document": document}).json()
    sealed, key = (base64.b64decode(told[name]) for name in ("sealed", "public_key"))
    one.open(told["session"], key, sealed, nonce)
    return one


def marked(one: MockEnclave, path: str) -> Request:
    """A get by a session."""
    return lambda key: ("GET", f"{path}{key}", f"Holdfast-Enclave: {one.mark('GET', path + key)}")


def shown(one: MockEnclave) -> Request:
    """A load by whoever has a document, as the enclave API was first written down."""
    document = base64.b64encode(one.document()).decode()
    return lambda key: ("POST", f'/load {{"key":"{key}"}}', f"Attestation: {document}")


def held(token: str, path: str) -> Request:
    """A get by a token."""
    return lambda key: ("GET", f"{path}{key}", f"Authorization: Bearer {token}")


def write(file: Path, request: Request, *, count: int, keys: int) -> int:
    """A file of requests for one connection; the bytes of each.

    Args:
        file: to be written.
        request: makes one of a key: method, path and body, and its credential.
        count: of requests.
        keys: of how many keys, each named by its number.
    """
    texts = []
    for number in range(count):
        method, target, credential = request(f"{(number * 7919) % keys:0{KEY_DIGITS}}")
        path, _, body = target.partition(" ")
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{credential}\r\n{length}"
        texts.append((head, body))
    size = max(len(head) for head, _ in texts) + len("Pad: \r\n\r\n")
    file.write_text("".join(_padded(head, body, size) for head, body in texts))
    return size + len(texts[0][1])


def _padded(head: str, body: str, size: int) -> str:
    return f"{head}Pad: ".ljust(size - 4, "0") + "\r\n\r\n" + body
