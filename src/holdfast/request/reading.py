"""A value together with what is known of it, from one look: for doors, whose readers need both.

``look_at_row`` never waits for the disk, ``look`` may, ``load_many`` as it is told. Bytes that
they do not bring come from ``pieces``, which belong to the entry they are asked for with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from holdfast.bucket import many
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.many import ABSENT, AFAR, Value
from holdfast.bucket.read import NOW_BYTES
from holdfast.errors import Changed, HoldfastError, Moved, NotFound
from holdfast.log.entry import Entry
from holdfast.placement.elsewhere import Elsewhere
from holdfast.request import large
from holdfast.request.corridor import Corridor

Loaded = Value | HoldfastError
SAID: Final[Mapping[object, Any]] = {ABSENT: None, AFAR: False}  # between processes
MEANT: Final[Mapping[object, Any]] = {said: meant for meant, said in SAID.items()}


class Found(msgspec.Struct, frozen=True, gc=False):
    """An object's entry, and its value where it is small and was to be had at once."""

    entry: Entry
    value: bytes | None


def is_near(corridor: Corridor, composite: bytes) -> bool:
    """Whether what is known of a key is to be had at once, whatever it is."""
    bucket = corridor.directory.find(composite)
    return not (bucket.far or bucket.cold)


def look_at_row(corridor: Corridor, composite: bytes) -> tuple[bytes, bytes | None] | None:
    """The entry as it is packed (log/entry.py) and the value, if neither is waited for.

    No value where that is not one slice in memory; None of keys that are not near.

    Raises:
        NotFound: nothing is there.
    """
    while True:
        bucket = corridor.directory.find(composite)
        if bucket.far:
            return None
        try:
            return bucket.load_now(composite)
        except Moved:
            corridor.directory.look_again()


def look(corridor: Corridor, composite: bytes, name: str) -> Found:
    """What is there, with its value unless that is large; waits for the disk.

    Raises:
        NotFound, Corrupt.
    """
    while True:
        try:
            bucket = corridor.directory.find(composite)
            if isinstance(bucket, Elsewhere):
                return Found(*bucket.look(composite, name))
            entry = corridor.read(composite, lambda bucket: bucket.object(composite)).entry
            if entry.size > NOW_BYTES:
                return Found(entry, None)
            read = pieces(corridor, composite, name, entry)
            return Found(entry, b"".join(read))
        except Changed:
            continue  # replaced meanwhile: the new one, then
        except Moved:
            corridor.directory.look_again()
        except NotFound:
            raise NotFound(key=name) from None


def load_many(
    corridor: Corridor, keys: Sequence[bytes], most_bytes: int, *, waits: bool
) -> list[Loaded] | None:
    """The values of composite keys, each as ``bucket/many.py`` tells it, or why there is none.

    None where they are over ``most_bytes`` together. Unless it ``waits``, it never waits for the
    disk, and is None where another process holds one of them.
    """
    found: list[Loaded] = [ABSENT] * len(keys)
    left: Sequence[int] = range(len(keys))
    while left:
        bucket = corridor.directory.find(keys[left[0]])
        if bucket.far and not waits:
            return None
        here = [index for index in left if bucket.start <= keys[index] < bucket.stop]
        asked = [keys[index] for index in here]
        try:
            values = _of_one(bucket, asked, most_bytes, waits=waits) if asked else []
        except Moved:
            corridor.directory.look_again()
            continue
        if values is None:
            return None
        for index, value in zip(here, values, strict=True):
            found[index] = value
        most_bytes -= sum(len(value) for value in values if isinstance(value, bytes))
        left = sorted(set(left).difference(here)) if len(here) < len(left) else ()
    return found


def _of_one(
    bucket: Bucket, keys: Sequence[bytes], most_bytes: int, *, waits: bool
) -> Sequence[Loaded] | None:
    """The values of keys of one bucket, or of one other process, which is asked once for all."""
    if not isinstance(bucket, Elsewhere):
        return many.load_many(bucket, keys, most_bytes, waits=waits)
    try:
        told = bucket.load_many(keys, most_bytes)
    except Moved:
        raise
    except HoldfastError as error:  # those of other processes are read all the same
        return [error] * len(keys)
    return None if told is None else [_but(MEANT, value) for value in told]


def said(found: Sequence[Loaded]) -> list[Any]:
    """What ``load_many`` found, as one process tells it to another."""
    return [_but(SAID, value) for value in found]


def _but(others: Mapping[object, Any], value: Loaded) -> Any:  # noqa: ANN401 - as the table has it
    return value if isinstance(value, bytes | HoldfastError) else others[value]


def pieces(  # noqa: PLR0917 - an object and what of it
    corridor: Corridor,
    composite: bytes,
    name: str,
    entry: Entry,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[bytes]:
    """The bytes ``start`` to ``stop`` of an object, of this entry and no other.

    Raises:
        Changed: it was replaced meanwhile.
    """
    end = entry.size if stop is None else stop
    return large.pieces(corridor, composite, name, entry, start, end)
