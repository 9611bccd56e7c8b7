"""Large objects: parts under hidden keys, the manifest written last (rule 8).

A value over 1 MiB is cut into parts of exactly 1 MiB; what is left over lies in
the manifest's own record, so parts never have to be rewritten. Parts are
records like any other: they are placed, split and moved, and one object may
span many buckets. Until the manifest is written a reader sees the old object,
afterwards the new one.

The bucket of the object's key alone says what an upload is, and it changes its mind
in one commit: parts are written under a note there that the upload was begun, the
manifest takes the note away and is refused without it, and who removes parts takes
it away first. So a manifest that is still on its way, from a process that died or
whose answer was lost, never stands without its parts.

    hidden key:  namespace 0x01  upload (8 bytes)  number (u32 BE)  key
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from crc32c import crc32c

from holdfast.bucket import rows
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.hidden import UPLOAD_BYTES, part_key
from holdfast.errors import Changed, Corrupt, HoldfastError, LimitExceeded, Moved, NotFound
from holdfast.limits import EXTENTS, OBJECT_BYTES, READ_GRACE_NS, VALUE_RECORD_BYTES
from holdfast.log.entry import Entry, unpack
from holdfast.log.records import Flag
from holdfast.operations import Append, Delete, Parts, Store, StoreOptions, Upload
from holdfast.placement.elsewhere import Elsewhere
from holdfast.request.corridor import Corridor, bound
from holdfast.values import Receipt
from holdfast.views.port import Table

PART_BYTES = VALUE_RECORD_BYTES
APPEND_BYTES = (EXTENTS - 1) * VALUE_RECORD_BYTES  # beside what is left where extents became parts
PLAIN = StoreOptions()


def parts_of(key: bytes, entry: Entry) -> Iterator[bytes]:
    """The hidden keys of all parts of an object."""
    attributes = entry.attributes
    if entry.flags & Flag.LARGE and attributes.upload is not None:
        if attributes.parts_bytes > OBJECT_BYTES:
            raise Corrupt(position=f"object {key[:64].hex()}", what="more parts than can be")
        for number in range(attributes.parts_bytes // PART_BYTES):
            yield part_key(key, attributes.upload, number)


class LargeWriter:
    """Takes an object's bytes as they come, in constant memory.

    Args:
        corridor: the way to the buckets.
        key: the composite key; ``name`` the caller's spelling.
        options: as for a put; they are decided when the manifest is written.
    """

    def __init__(self, corridor: Corridor, key: bytes, name: str, options: StoreOptions | None):
        self._corridor = corridor
        self._key = key
        self.name = name
        self._options = options
        self._upload: bytes | None = None
        self._number = 0
        self._crc = 0
        self._known_crc: int | None = None
        self._kept = 0
        self._buffer = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        """Take more bytes; whole parts are stored at once."""
        size = self._number * PART_BYTES + len(self._buffer) + len(data)
        if size > OBJECT_BYTES:
            raise LimitExceeded(limit="OBJECT_BYTES", most=OBJECT_BYTES, asked=size)
        view = memoryview(data)
        at = 0
        while at < len(view):
            room = PART_BYTES - len(self._buffer)
            if not room:
                self._store_part()
                room = PART_BYTES
            self._buffer += view[at : at + room]
            at += room

    def go_on(self, upload: bytes | None, parts: int, entry: Entry) -> None:
        """Take an object's parts as they stand and write behind them; its CRC is known."""
        self._known_crc = entry.crc
        self._number = self._kept = parts
        if upload is not None:
            self._begin(upload)

    def finish(self) -> Receipt:
        """Write the manifest: from here on readers see this object."""
        try:
            operation = self.manifest()
            receipt: Receipt = self._corridor.write(operation)
        except HoldfastError:
            self.give_up()
            raise
        if operation.once is not None and self._upload is not None and not self._is_manifest():
            self.give_up()  # the number was applied before, by an upload of its own
        return receipt

    def manifest(self) -> Store:
        """What makes an object of the parts, which are durable now, and of what is left over."""
        options = self._options
        if self._upload is not None:
            whole = self._known_crc
            if whole is None:
                whole = crc32c(self._buffer, self._crc)
            parts = Parts(self._upload, self._number * PART_BYTES, whole)
            options = _with_parts(options or PLAIN, parts)
        self._sync_parts()
        return Store(self._key, self.name, bytes(self._buffer), options)

    def _is_manifest(self) -> bool:
        """Whether the object is the one that this upload made."""
        row = self._corridor.read(self._key, lambda bucket: bucket.row(self._key))
        return row is not None and unpack(row).attributes.upload == self._upload

    def give_up(self) -> None:
        """Abandon the upload: its parts are garbage at once, unless they are an object's by now."""
        if self._upload is None:
            return
        upload, self._upload = self._upload, None
        try:
            self._corridor.write(Upload(self._key, self.name, upload, "given_up"))
            for number in range(0 if self._kept else self._number):
                drop_part(self._corridor, self._key, upload, number)
        except HoldfastError:
            return  # collect finds them: nobody knows this upload any more

    def _sync_parts(self) -> None:
        """Make the parts durable: a manifest must not outlive a crash that they do not.

        With ``sync="always"`` they are; else they may lie in other buckets than the
        manifest, which have an order of their own.
        """
        if self._upload is None or self._corridor.placement.settings.sync == "always":
            return
        first = part_key(self._key, self._upload, 0)
        last = part_key(self._key, self._upload, self._number)
        for bucket in self._corridor.directory.table[1]:
            if bucket.start <= last and first < bucket.stop:
                bucket.sync_published()

    def _store_part(self) -> None:
        upload = self._upload or self._begin(
            self._corridor.placement.settings.entropy.bytes(UPLOAD_BYTES)
        )
        data = bytes(self._buffer)
        key = part_key(self._key, upload, self._number)
        try:
            self._corridor.write(Store(key, self.name, data))
        except HoldfastError:
            self.give_up()
            raise
        self._crc = crc32c(data, self._crc)
        self._number += 1
        self._buffer.clear()

    def _begin(self, upload: bytes) -> bytes:
        self._corridor.uploads[upload] = self
        self._corridor.write(Upload(self._key, self.name, upload, "begun"))
        self._upload = upload
        return upload


def _with_parts(options: StoreOptions, parts: Parts) -> StoreOptions:
    return StoreOptions(
        options.ttl_ns,
        options.keep_ttl,
        options.if_absent,
        options.if_version,
        options.fence,
        options.consumers,
        options.permanent,
        options.content_type,
        parts,
        options.expect,
        options.index,
        options.tags,
    )


def store_large(corridor: Corridor, operation: Store, source: bytes | memoryview) -> Receipt:
    """Store a value that is larger than one record."""
    writer = LargeWriter(corridor, operation.key, operation.name, operation.options)
    writer.write(source)
    return writer.finish()


def store_many(corridor: Corridor, operations: Sequence[Store]) -> list[object]:
    """Store values of which some are larger than one record; as ``Corridor.write_many``.

    All parts are stored before, so that the operations of one bucket still commit together.
    """
    bound(len(operations), sum(_left_over(len(operation.value)) for operation in operations))
    outcomes: list[object] = [None] * len(operations)
    writers: dict[int, LargeWriter] = {}
    ready: dict[int, Store] = {}
    for index, operation in enumerate(operations):
        ready[index] = operation
        if len(operation.value) > VALUE_RECORD_BYTES:
            writer = LargeWriter(corridor, operation.key, operation.name, operation.options)
            writers[index] = writer
            try:
                writer.write(operation.value)
                ready[index] = writer.manifest()
            except HoldfastError as error:
                del ready[index]
                outcomes[index] = error
    try:
        for index, told in zip(ready, corridor.write_many(list(ready.values())), strict=True):
            outcomes[index] = told
    finally:
        for index, writer in writers.items():
            if not isinstance(outcomes[index], Receipt):
                writer.give_up()
    return outcomes


def _left_over(size_bytes: int) -> int:
    """How much of a value lies beside its parts."""
    return (size_bytes - 1) % PART_BYTES + 1 if size_bytes else 0


def drop_part(corridor: Corridor, key: bytes, upload: bytes, number: int) -> None:
    """Remove a part of an upload, where it is there and the bucket of ``key`` has no use for it."""
    if corridor.read(key, lambda bucket: disowned(bucket, key, upload, number)):
        with suppress(NotFound):
            corridor.write(Delete(part_key(key, upload, number), "", "dropped"))


def pieces(  # noqa: PLR0917 - an object and what of it
    corridor: Corridor, key: bytes, name: str, entry: Entry, start: int, stop: int
) -> Iterator[bytes]:
    """The bytes ``start`` to ``stop`` of an object, piece by piece.

    Raises:
        Changed: the object was replaced, and its parts went, while being read.
        Corrupt: a part is missing from an object that still stands.
    """
    attributes = entry.attributes
    border = attributes.parts_bytes if entry.flags & Flag.LARGE else 0
    upload = attributes.upload or b""
    at = start
    while at < min(stop, border):
        number = at // PART_BYTES
        end = min(stop, border, (number + 1) * PART_BYTES)
        part = _part(corridor, key, name, entry, part_key(key, upload, number))
        yield part[at - number * PART_BYTES : end - number * PART_BYTES]
        at = end
    if stop > border:
        low, high = max(at, border) - border, stop - border
        try:
            yield corridor.read(key, lambda b: b.read_extents(key, entry, low, high))
        except Changed:
            raise Changed(key=name) from None


def _part(  # noqa: PLR0917 - an object and what of it
    corridor: Corridor, key: bytes, name: str, entry: Entry, hidden: bytes
) -> bytes:
    try:
        part = corridor.read(hidden, lambda bucket: bucket.load(hidden))
    except NotFound:
        part = b""
    if isinstance(part, bytes) and len(part) == PART_BYTES:
        return part
    try:
        now = corridor.read(key, lambda bucket: bucket.object(key).entry)
    except NotFound:
        raise Changed(key=name) from None
    if now.version != entry.version:
        raise Changed(key=name)
    raise Corrupt(position=f"part of {name!r}", what="a part of a large object is missing")


def append(corridor: Corridor, operation: Append) -> int:
    """Add at most ``APPEND_BYTES`` to an object, all at once; the total size.

    What is over 1 MiB is several records of one group. An index entry holds 64
    locations. Where they are all of the largest size, whole MiBs of what was
    appended become hidden parts.
    """
    records = _records_of(operation)
    while True:
        try:
            if len(records) == 1:
                total: int = corridor.write(operation)
            else:
                (*_, total) = corridor.write_many(records, atomic=True)  # type: ignore[assignment]
        except LimitExceeded as error:
            if not wants_folding(error):
                raise
            _fold_into_parts(corridor, operation.key, operation.name)
        else:
            return total


def _records_of(operation: Append) -> list[Append]:
    """An append cut so that each piece is a record."""
    key, name, value = operation.key, operation.name, operation.value
    if len(value) <= VALUE_RECORD_BYTES:
        return [operation]
    places = range(0, len(value), VALUE_RECORD_BYTES)
    return [
        Append(key, name, value[at : at + VALUE_RECORD_BYTES], more=operation.more or at > 0)
        for at in places
    ]


def wants_folding(outcome: object) -> bool:
    """Whether an append was refused only because its extents must become parts first."""
    return isinstance(outcome, LimitExceeded) and outcome.facts.get("limit") == "EXTENTS"


def _fold_into_parts(corridor: Corridor, key: bytes, name: str) -> None:
    """Rewrite an object's extents as parts and a tail; nothing if it changed meanwhile."""
    row = corridor.read(key, lambda bucket: bucket.row(key))
    if row is None:
        return
    entry = unpack(row)
    old = entry.attributes
    writer = LargeWriter(corridor, key, name, _same(entry, row))
    try:
        writer.go_on(old.upload, old.parts_bytes // PART_BYTES, entry)
        for piece in pieces(corridor, key, name, entry, old.parts_bytes, entry.size):
            writer.write(piece)
        writer.finish()
    except Changed:
        writer.give_up()


def _same(entry: Entry, row: bytes) -> StoreOptions:
    """Options that rewrite an object as it is."""
    return StoreOptions(
        keep_ttl=True,
        permanent=bool(entry.flags & Flag.PERMANENT),
        content_type=entry.attributes.content_type,
        expect=row,
        index=entry.attributes.index,
        tags=entry.attributes.tags,
    )


def disowned(bucket: Bucket, key: bytes, upload: bytes, number: int) -> bool:
    """Whether nobody needs a part, given as its object's key, upload and number.

    Only the bucket of the object's key can say it. What was begun is needed until it is
    given up, which ``abandoned`` tells.
    """
    if isinstance(bucket, Elsewhere):
        return bucket.disowned(key, upload, number)
    if not bucket.start <= key < bucket.stop:
        raise Moved(bucket=bucket.id)
    with bucket.lock:
        entry = bucket.peek_entry(key)
        row = bucket.peek(Table.UPLOADS, key)
    notes = rows.unpack_uploads(rows.unpack_row(row).payload) if row else []
    note = next((note for note in notes if note.upload == upload), None)
    if note is not None and note.state == rows.BEGUN:
        return False
    if entry is not None and entry.flags & Flag.LARGE and entry.attributes.upload == upload:
        return number * PART_BYTES >= entry.attributes.parts_bytes
    return note is None or note.time_ns + READ_GRACE_NS <= bucket.time.now_ns()


def abandoned(corridor: Corridor, bucket: Bucket, key: bytes, note: rows.UploadNote) -> bool:
    """Whether an upload that is noted will not go on: replaced past the grace, or nobody's."""
    if note.state == rows.BEGUN:
        return not corridor.is_writing(note.upload)
    return disowned(bucket, key, note.upload, 0)
