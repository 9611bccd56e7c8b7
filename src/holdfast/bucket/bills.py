"""Bills: what whoever asks was charged, gathered where it was decided.

A door opens a bill around what it asks for; whatever is charged in that context lands on
it, in the order it was decided. Nobody needs one: without, a charge is only booked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast.bucket.purse import Booking


class Bill:
    """What was charged since it was opened.

    A write that failed on its way to the disk was not charged, so bookings are counted
    when somebody looks.
    """

    __slots__ = ("_bookings", "_read_atto", "reads")

    def __init__(self) -> None:
        self._bookings: list[Booking] = []
        self._read_atto = 0
        self.reads = 0  # that were counted

    @property
    def cost_atto(self) -> int:
        """All of it, in 10^-18 USD; below zero where more was given back."""
        return self._read_atto + sum(b.amount for b in self._bookings if not b.failed)

    def add(self, booking: Booking) -> None:
        """Put what a write took on it."""
        self._bookings.append(booking)

    def add_told(self, amount: int) -> None:
        """Put what another process charged on it."""
        self._read_atto += amount

    def add_read(self, amount: int) -> None:
        """Put what a read costs on it."""
        self._read_atto += amount
        self.reads += 1


OPENED: Final[list[Bill]] = []  # where it is empty, a read need not look for its bill
OPEN: Final[ContextVar[Bill | None]] = ContextVar("holdfast_bill", default=None)


@contextmanager
def opened() -> Iterator[Bill]:
    """A bill for what is asked for within, by this thread or task."""
    bill = Bill()
    token = OPEN.set(bill)
    OPENED.append(bill)
    try:
        yield bill
    finally:
        OPENED.remove(bill)
        OPEN.reset(token)
