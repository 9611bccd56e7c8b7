"""The face that a workload sees of any engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

Key = Any  # whatever ``native`` returns: each engine has its own type
Pair = tuple[Key, bytes]
Durability = Literal["always", "never"]


class Setting(msgspec.Struct, frozen=True):
    """What a store promises and how it is bounded.

    ``durability``: "always" means that a write is on the medium when the call
    returns, "never" that the operating system has it (it survives ``kill -9``, not
    a power cut). ``bucket_bytes`` and ``upkeep`` are Holdfast's own; None leaves
    its defaults.
    """

    durability: Durability
    bucket_bytes: int | None = None
    upkeep: bool | None = None


class Engine(ABC):
    """An open store.

    The three calls of the hot path are attributes, so an engine can put its own
    function there and a workload pays for nothing else.
    """

    put: Callable[[Key, bytes], object]
    put_many: Callable[[Sequence[Pair]], object]
    get: Callable[[Key], bytes | None]

    @staticmethod
    def native(key: str) -> Key:
        """The key in the type this engine is fastest with."""
        return key.encode()

    def list(self, prefix: Key, count: int) -> list[Key]:
        """The first ``count`` keys at or above ``prefix``, in byte order."""
        raise NotImplementedError

    def settle(self) -> None:  # noqa: B027 - most have nothing to do
        """Bring what was written to where it is read from in the long run."""

    def warm(self) -> None:  # noqa: B027 - most have nothing to do
        """Let what an open builds beside the reads be built, before the clock starts."""

    def overlay_keys(self) -> int | None:
        """Keys whose newest index entry is in memory only; None where there is no such thing."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Close; what was acknowledged stays."""


class Opener(Protocol):
    """What every module of this folder offers as ``start``."""

    def __call__(self, folder: Path, setting: Setting) -> Engine:
        """Open (or create) a store in ``folder``."""
