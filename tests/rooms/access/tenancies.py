"""Records and tenancies in memory, for tests of decisions alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.access.decide import Given
from holdfast.access.policy import Policy
from holdfast.errors import Exists, VersionMismatch


@dataclass
class DictRecords:
    """Records in a dictionary; ``crash`` refuses what would be written from now on."""

    held: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    version: int = 0
    writes: int = 0

    def get(self, key: str) -> tuple[bytes, int] | None:
        return self.held.get(key)

    def put(
        self, key: str, value: bytes, version: int | None = None, *, ttl_ns: int | None = None
    ) -> int:
        assert ttl_ns is None or ttl_ns > 0
        there = self.held[key][1] if key in self.held else 0
        if version == 0 and there:
            raise Exists(key=key)
        if version is not None and version != there:
            raise VersionMismatch(key=key)
        self.version += 1
        self.writes += 1
        self.held[key] = (value, self.version)
        return self.version

    def delete(self, key: str) -> None:
        self.held.pop(key, None)

    def list(self, prefix: str) -> list[tuple[str, bytes]]:
        return [(key, self.held[key][0]) for key in sorted(self.held) if key.startswith(prefix)]


@dataclass
class PlainTenancy:
    """What a decision asks for, as plain attributes."""

    policies: Sequence[Policy] = ()
    now: int = 1_000
    gives: dict[tuple[str, str], Sequence[Given]] = field(default_factory=dict)
    open: dict[str, Sequence[str]] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    def now_ns(self) -> int:
        return self.now

    def given(self, namespace: str, to: str) -> Sequence[Given]:
        return self.gives.get((namespace, to), ())

    def published(self, namespace: str) -> Sequence[str]:
        return self.open.get(namespace, ())

    def spend(self, counted: str, granted: int, until_ns: int | None) -> bool:
        del until_ns
        left = self.left.setdefault(counted, granted)
        self.left[counted] = max(0, left - 1)
        return left > 0
