"""Testing: what a store is judged by, for our own tests and for whoever builds on Holdfast.

In: a store to judge (``holdfast.open`` or anything with its face), a clock and
chance that are moved by hand, recorded histories.
Out: the conformance suite, the machine of store against model, verdicts on
linearizability, a clock and entropy for deterministic runs.
Keeps: nothing between runs.
Must never know: how a store works inside; everything here goes through the face.
Invariants: no time and no chance but what is handed in; importing this package
loads neither pytest nor hypothesis, the names that need them load when asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.testing.clock import ManualClock, SeededEntropy
    from holdfast.testing.conformance import StoreSuite
    from holdfast.testing.linearizability import HistoryRecorder, Verdict, check_history
    from holdfast.testing.machine import StoreMachine
    from holdfast.testing.model import ModelNamespace, ModelStore

__all__ = [
    "HistoryRecorder",
    "ManualClock",
    "ModelNamespace",
    "ModelStore",
    "SeededEntropy",
    "StoreMachine",
    "StoreSuite",
    "Verdict",
    "check_history",
]

_HOMES = {
    "HistoryRecorder": "linearizability",
    "ManualClock": "clock",
    "ModelNamespace": "model",
    "ModelStore": "model",
    "SeededEntropy": "clock",
    "StoreMachine": "machine",
    "StoreSuite": "conformance",
    "Verdict": "linearizability",
    "check_history": "linearizability",
}


def __getattr__(name: str) -> object:
    """Load an export when it is asked for (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"holdfast.testing.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
