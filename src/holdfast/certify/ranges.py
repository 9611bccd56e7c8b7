"""Which keys callers see, and what of a namespace lies in a range: pure."""

from __future__ import annotations

from typing import Final

from holdfast.certify import trie
from holdfast.certify.trie import Trie

VISIBLE, HIDDEN = b"\x00", b"\x01"  # what follows a namespace's name
RESERVED: Final = b"!"  # names of the store's own begin with it, and no caller's do

Split = tuple[bytes, bytes]  # namespace, key


def split_key(composite: bytes) -> Split | None:
    """Namespace and key of a composite key; None for what callers do not see."""
    namespace, separator, key = composite.partition(VISIBLE)
    if not separator or HIDDEN in namespace or namespace.startswith(RESERVED):
        return None
    return namespace, key


def within(tries: dict[bytes, Trie], span: tuple[bytes, bytes]) -> dict[bytes, Trie]:
    """What of some tries, by namespace, lies in a range."""
    start, stop = span
    kept = {}
    for namespace, made in tries.items():
        if start < namespace + HIDDEN and namespace + VISIBLE < stop:
            low, high = bounds(namespace, start, stop)
            left = trie.cut(made, low, high)
            if left is not None:
                kept[namespace] = left
    return kept


def bounds(namespace: bytes, start: bytes, stop: bytes) -> tuple[bytes, bytes | None]:
    """Which of its keys a range that meets a namespace holds; stop None: to the end."""
    space = namespace + VISIBLE
    low = start[len(space) :] if start.startswith(space) else b""
    high = stop[len(space) :] if stop.startswith(space) else None
    return low, high
