"""Where rights are kept: a few small records in the store itself.

Stated by who needs it (``access`` and ``identity``); ``store/tenancy.py`` keeps
them under a namespace that no caller can name, so that they are durable, backed
up and restored like anything else.
"""

from __future__ import annotations

from typing import Protocol

NEW = 0  # the version of a record that is not there


class Records(Protocol):
    """Small durable records by name. What ``put`` and ``delete`` did is durable on return."""

    def get(self, key: str) -> tuple[bytes, int] | None:
        """A record and its version, or None where there is none."""

    def put(
        self, key: str, value: bytes, version: int | None = None, *, ttl_ns: int | None = None
    ) -> int:
        """Store a record; its new version.

        Args:
            key: its name.
            value: its bytes, at most 1 MiB.
            version: the one it must have now (NEW: none may be there); None: any.
            ttl_ns: it may go after so many nanoseconds.

        Raises:
            Exists, VersionMismatch: it has another; nothing was changed.
        """

    def delete(self, key: str) -> None:
        """Remove a record; one that is absent is passed over."""

    def list(self, prefix: str) -> list[tuple[str, bytes]]:
        """Every record below a prefix, in the order of their names."""
