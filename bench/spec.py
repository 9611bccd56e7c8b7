"""What the runner tells a child process to do, and what the child answers."""

from __future__ import annotations

from typing import Literal

import msgspec

from bench.compare.engine import Setting


class Job(msgspec.Struct, frozen=True):
    """One step of one workload on one engine.

    The store in ``folder`` already holds the keys numbered below ``keys``; new
    keys are numbered from ``first``. ``batch`` is the group size of a ``put_many``.
    ``variant`` is a word that only the workload understands.
    """

    workload: str
    step: Literal["prepare", "measure"]
    engine: str
    folder: str
    setting: Setting
    keys: int
    first: int
    operations: int
    batch: int = 1
    value_bytes: int = 1024
    variant: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What one measurement found.

    ``overlay_share`` is the part of the store's keys whose index entry was in
    memory only when the clock stopped, None where the engine has no overlay or
    cannot say. ``other_cores`` is how much processor others took meanwhile.
    ``figures`` are named after what they are, with their unit.
    """

    operations: int
    seconds: float
    other_cores: float = 0.0
    overlay_share: float | None = None
    figures: dict[str, float] = {}

    @property
    def per_second(self) -> float:
        """Operations a second; 0 where nothing was timed as a whole."""
        return self.operations / self.seconds if self.seconds else 0.0
