"""What tests of enclaves share: an authority, enclaves, records in memory, a store's half."""

from __future__ import annotations

from hashlib import sha256

from holdfast.access.records import NEW
from holdfast.errors import Exists, VersionMismatch
from holdfast.identity.enclaves import AttestationSettings, Enclaves, Opened
from holdfast.testing.authority import MockAuthority, image
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.enclave import MockEnclave
from holdfast.values import Principal

STORE = "5" * 32


class MemoryRecords:
    """Records that forget."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[bytes, int]] = {}

    def get(self, key: str) -> tuple[bytes, int] | None:
        return self.held.get(key)

    def put(
        self, key: str, value: bytes, version: int | None = None, *, ttl_ns: int | None = None
    ) -> int:
        del ttl_ns
        _, now = self.held.get(key, (b"", NEW))
        if version is not None and version != now:
            raise Exists if version == NEW else VersionMismatch
        self.held[key] = (value, now + 1)
        return now + 1

    def delete(self, key: str) -> None:
        self.held.pop(key, None)

    def list(self, prefix: str) -> list[tuple[str, bytes]]:
        return [(key, held[0]) for key, held in self.held.items() if key.startswith(prefix)]


class World:
    """A store's half, an authority that it trusts, and time that stands still."""

    def __init__(self, records: MemoryRecords | None = None, **settings: object) -> None:
        self.clock = ManualClock()
        self.entropy = SeededEntropy(3)
        self.records = records or MemoryRecords()
        self.authority = MockAuthority(SeededEntropy(1), now_ns=self.clock.wall_ns())
        told = {"roots": (self.authority.pem,)} | settings
        self.settings = AttestationSettings(**told)  # type: ignore[arg-type]
        self.enclaves = self.begin()

    def begin(self) -> Enclaves:
        """The store's half, as a process begins it."""
        return Enclaves(
            self.settings, self.records, clock=self.clock, entropy=self.entropy, store=STORE
        )

    def enclave(self, number: int = 1) -> MockEnclave:
        """An enclave of the image of this number."""
        return MockEnclave(self.authority, self.clock, self.entropy, image(number))

    def opened(self, enclave: MockEnclave, namespace: str | None = None) -> Opened:
        """A session for an enclave, taken up by it."""
        nonce = self.enclaves.challenge()
        opened = self.enclaves.exchange(enclave.document(nonce), namespace)
        enclave.open(opened.session, opened.public_key, opened.sealed, nonce)
        return opened

    def ask(self, enclave: MockEnclave, body: bytes = b"{}") -> Principal:
        """Who asks with the enclave's next request."""
        mark = enclave.mark("POST", "/load", body)
        return self.enclaves.by_session(mark, "POST", "/load", sha256(body).digest())
