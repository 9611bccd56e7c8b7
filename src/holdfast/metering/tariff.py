"""Tariffs: pure functions from what is asked to what it costs."""

from __future__ import annotations

from typing import Final, Protocol


class Tariff(Protocol):
    """Says what operations cost."""

    name: str

    def quote(self, operation: str, size_bytes: int) -> int:
        """The price of one operation, in 10^-18 USD.

        Args:
            operation: its name in the table of rights.
            size_bytes: of the value that is stored or sent.
        """


class Free:
    """Everything costs nothing.

    Example:
        >>> FREE.quote("store", 1_000_000)
        0
    """

    name = "free"

    def quote(self, operation: str, size_bytes: int) -> int:
        """Nothing."""
        del operation, size_bytes
        return 0


FREE: Final[Tariff] = Free()
