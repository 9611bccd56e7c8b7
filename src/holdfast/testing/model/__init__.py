"""The model: the face of one store, written for obviousness, as the oracle of the machines.

In: the calls of the embedded face, from machines, suites and tests, with a
clock that is moved by hand.
Out: the results and the errors that any store must give.
Keeps: a dict of objects and a dict of locks per namespace, one counter of versions.
Must never know: the store it judges. It shares with it the names of errors and
values, the table of limits, and nothing that decides.
Invariants: no durability, no growth, no threads; every operation checks its
arguments before it looks at any state, and changes nothing when it raises.
"""

from __future__ import annotations

from holdfast.testing.model.namespace import ModelNamespace
from holdfast.testing.model.store import ModelStore

__all__ = ["ModelNamespace", "ModelStore"]
