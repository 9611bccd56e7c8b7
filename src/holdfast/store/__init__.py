"""The embedded face: ``holdfast.open`` and what it hands out.

Comes in: a caller's arguments, in the words of the issue's face.
Goes out: values of ``values.py``, errors of ``errors.py``, bytes.
Keeps: one open store: its owner's lock, its placement, its upkeep thread.
Must never know: how records, views or segments are laid out.
Invariants: arguments are checked before anything is touched; nothing here
decides what an operation means.
"""

from __future__ import annotations

from holdfast.store.namespace import Namespace
from holdfast.store.opening import open_store
from holdfast.store.store import Store

__all__ = ["Namespace", "Store", "open_store"]
