"""What upkeep could not do: the newest kept, all counted, each told in the log once (rule 22)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

KEPT: Final = 100  # to be asked for
log: Final = logging.getLogger("holdfast.upkeep")


class Failures(list[str]):
    """The failures of one store's upkeep, and what its scrub found, the newest last.

    One that comes again while it is kept here is counted, and no line of the log.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def append(self, failure: str) -> None:
        """Note one."""
        if failure not in self:
            log.warning("upkeep: %s", failure)
        self.total += 1
        super().append(failure)
        del self[:-KEPT]

    def extend(self, failures: Iterable[str]) -> None:
        """Note several."""
        for failure in failures:
            self.append(failure)
