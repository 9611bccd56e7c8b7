"""A namespace as 0-stor sees one: objects up to 1 MiB, each with a reference list of its own.

0-stor keeps a list apart from its object, so one can be there without the other. Here it is
the object's list of consumers; a list without an object lies at an empty object of a content
type of its own (``CARRIER``), which every look from this face passes over.

Everything here may wait for the disk, and belongs on a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.errors import (
    Changed,
    Corrupt,
    Exists,
    InvalidKey,
    InvalidNamespace,
    LimitExceeded,
    NotFound,
)
from holdfast.identity.scopes import is_label
from holdfast.limits import KEYS_SKIPPED, VALUE_RECORD_BYTES
from holdfast.log.entry import ENTRY, Entry, unpack
from holdfast.log.records import Flag
from holdfast.operations import Delete
from holdfast.request import arguments, listing, reading
from holdfast.request.handles import ConsumerList
from holdfast.wire.sdstor import Status

if TYPE_CHECKING:
    from holdfast.store.store import Store

CARRIER: Final = "application/vnd.0-stor.reference-list"
LABEL_CHARS: Final = 5


class Kept(NamedTuple):
    """An object and its reference list."""

    data: bytes
    ids: tuple[str, ...]


class Figures(NamedTuple):
    """How many objects a namespace has, and bytes of them."""

    objects: int
    size_bytes: int


def check_label(label: str) -> None:
    """Return where 0-stor can have a namespace of this name; InvalidNamespace where not."""
    if len(label) < LABEL_CHARS or not is_label(label):
        raise InvalidNamespace(namespace=label)


def is_carrier(entry: Entry) -> bool:
    """Whether an entry only carries a reference list."""
    return entry.size == 0 and entry.attributes.content_type == CARRIER


class Shelf:
    """The objects and reference lists of one label.

    Args:
        store: the open store.
        label: of an organisation, like "org_0stor_ns".

    Raises:
        InvalidNamespace: it is none.
    """

    def __init__(self, store: Store, label: str) -> None:
        check_label(label)
        self._corridor = store.corridor
        self._space = store.namespace(label)
        self._prefix = arguments.namespace_bytes(label) + arguments.VISIBLE

    def compose(self, key: str) -> bytes:
        """The composite key of a key."""
        return arguments.compose(self._prefix, key)

    # -- objects ---------------------------------------------------------------------

    def look(self, key: str) -> reading.Found:
        """What is known of an object; NotFound where there is none."""
        found = self._look(key)
        if is_carrier(found.entry):
            raise NotFound(key=key)
        return found

    def _look(self, key: str) -> reading.Found:
        return reading.look(self._corridor, self.compose(key), key)

    def get(self, key: str) -> Kept:
        """An object and its list.

        Raises:
            NotFound, Corrupt.
            LimitExceeded: another face stored more than 1 MiB there.
        """
        found = self.look(key)
        size = found.entry.size
        if size > VALUE_RECORD_BYTES:
            raise LimitExceeded(limit="VALUE_RECORD_BYTES", most=VALUE_RECORD_BYTES, asked=size)
        value = found.value
        if value is None:
            composite = self.compose(key)
            value = b"".join(reading.pieces(self._corridor, composite, key, found.entry))
        return Kept(value, self._ids(key) if found.entry.flags & Flag.MANAGED else ())

    def put(self, key: str, data: bytes, ids: Sequence[str] | None) -> None:
        """Create or replace an object; None leaves the list that is there."""
        if ids is None:
            self._free_marked(key)
        self._space.put(key, data, consumers=ids)

    def may_store(self, key: str) -> bool:
        """Whether an object may be stored without a list at once; told without the disk."""
        try:
            near = reading.look_at_row(self._corridor, self.compose(key))
        except NotFound:
            return True
        return near is not None and not ENTRY.unpack_from(near[0])[5] & Flag.MARKED

    def _free_marked(self, key: str) -> None:
        """Remove what lost its last reference: what is stored in its place is not to be collected.

        Whoever looks between the two finds nothing; what is marked may go at any time.
        """
        try:
            entry = self._look(key).entry
        except NotFound:
            return
        if entry.flags & Flag.MARKED:
            composite = self.compose(key)
            with suppress(NotFound, Changed):
                self._corridor.write(Delete(composite, key, "unreferenced"))

    def delete(self, key: str) -> None:
        """Remove an object and its list; NotFound where there is no object."""
        self.look(key)
        self._space.delete(key)

    def drop(self, key: str) -> None:
        """Remove an object, or a list without one, if any is there."""
        self._space.delete(key, missing_ok=True)

    def status(self, key: str) -> Status:
        """Whether an object is there, and verifies."""
        try:
            found = self.look(key)
            if found.value is None:
                composite = self.compose(key)
                for _ in reading.pieces(self._corridor, composite, key, found.entry):
                    pass
        except (NotFound, InvalidKey):
            return "missing"
        except Corrupt:
            return "corrupted"
        return "ok"

    def keys(self) -> Iterator[list[str]]:
        """Pages of the keys of objects."""
        for page in self._pages():
            yield [key[len(self._prefix) :].decode() for key, _ in page]

    def page(self, skip: int, count: int) -> list[str]:
        """Some keys, from one on.

        Raises:
            LimitExceeded: it lies behind more than a million keys.
        """
        if skip > KEYS_SKIPPED:
            raise LimitExceeded(limit="KEYS_SKIPPED", most=KEYS_SKIPPED, asked=skip)
        names = (name for page in self.keys() for name in page)
        return list(islice(names, skip, skip + count))

    def figures(self) -> Figures:
        """How many objects there are, and bytes of them: every entry is looked at."""
        objects = size_bytes = 0
        for page in self._pages():
            objects += len(page)
            size_bytes += sum(ENTRY.unpack_from(row)[3] for _, row in page)
        return Figures(objects, size_bytes)

    def _pages(self) -> Iterator[list[listing.Row]]:
        stop = listing.successor(self._prefix)
        for page in listing.rows(self._corridor, self._prefix, stop):
            yield [pair for pair in page if not _carries(pair[1])]

    # -- reference lists ---------------------------------------------------------------

    def references(self, key: str) -> tuple[str, ...]:
        """A list; NotFound where there is none, or nothing is in it."""
        ids = self._ids(key)
        if not ids:
            raise NotFound(key=key)
        return ids

    def _ids(self, key: str) -> tuple[str, ...]:
        ids = self._listed(key).list()
        return tuple(one if isinstance(one, str) else one.decode(errors="replace") for one in ids)

    def _listed(self, key: str) -> ConsumerList:
        """A list; that it is looked at is part of a request, which is counted by itself."""
        return ConsumerList(self._corridor, self.compose(key), key, _uncounted)

    def replace(self, key: str, ids: Sequence[str]) -> None:
        """Replace the list of an object; NotFound where there is no object."""
        self.look(key)
        self._space.consumers(key).set(ids)

    def set(self, key: str, ids: Sequence[str]) -> None:
        """Set a list, whether there is an object or not."""
        self._change(key, ids, append=False)

    def append(self, key: str, ids: Sequence[str]) -> None:
        """Add to a list, whether there is an object or not."""
        self._change(key, ids, append=True)

    def _change(self, key: str, ids: Sequence[str], *, append: bool) -> None:
        consumers = self._space.consumers(key)
        while True:
            with suppress(NotFound):
                return consumers.append(ids) if append else consumers.set(ids)
            with suppress(Exists):  # somebody was quicker: change what is there, then
                self._space.put(key, b"", if_absent=True, consumers=ids, content_type=CARRIER)
                return None

    def remove(self, key: str, ids: Sequence[str]) -> int:
        """Take out one occurrence per mention; how many are left."""
        try:
            consumers = self._listed(key)
            consumers.remove(ids)
            return len(consumers.list())
        except NotFound:
            return 0

    def count(self, key: str) -> int:
        """How many references there are; 0 where there is no list."""
        try:
            return len(self._ids(key))
        except NotFound:
            return 0

    def clear(self, key: str) -> None:
        """Empty a list, if there is one."""
        with suppress(NotFound):
            self._space.consumers(key).set([])


def _uncounted() -> None:
    pass


def _carries(row: bytes) -> bool:
    fields = ENTRY.unpack_from(row)
    return not fields[3] and fields[6] and is_carrier(unpack(row))
