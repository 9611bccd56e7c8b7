"""Absorb overlays into the view, so that memory and recovery stay bounded (rules 2, 4)."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from holdfast.limits import VIEW_KEY_BYTES
from holdfast.log.columns import runs
from holdfast.log.entry import DELETED
from holdfast.log.header import Identity
from holdfast.log.log import Position
from holdfast.log.ordering import in_order
from holdfast.log.packs import Flat, ordered
from holdfast.values import planned
from holdfast.views.port import Table, Writer
from holdfast.views.state import EXPIRES, EXPIRES_AT, TABLES, Overlay, Tally

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

Pace = Callable[[], None]
Rows = Sequence[tuple[bytes, bytes]]
SLICE = 100  # rows that are looked up between two calls of pace
PIECE = 100  # rows that are written between two, where each is an object
LOOKED = 1_000  # keys that are looked at between two
CHECKPOINT = b"checkpoint"
WHEN = struct.Struct(">Q")
NAME_BYTES = 16
PRINTS_PART = 8
PRESENCE_LEAST = 10_000  # keys of which it does not matter how many are gone
HOPELESS_RUNS = 16
COUNTED_MOST = 10_000  # keys of an overlay that were looked up before; the others need no look
LOOSE_PART = 64  # of an overlay's rows: so many that came alone or twice are put among the others
NOTED_ROWS = 100_000


@planned
class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """What a view says of itself: the log position it has absorbed, its counts, whose it is.

    ``bucket`` is empty in one from before that was said.
    """

    position: Position
    version: int
    time_ns: int
    keys: int
    special: int
    live: dict[int, int]
    start: bytes
    stop: bytes
    bucket: str = ""
    incarnation: int = 0

    def is_of(self, bucket: str, identity: Identity) -> bool:
        """Whether it is of this bucket in this life of the store, as far as it says."""
        return (self.bucket, self.incarnation) in {("", 0), (bucket, identity.incarnation)}


def expiry_row(expires_ns: int, key: bytes) -> bytes:
    """The key of a row in EXPIRY: when (u64, big-endian), then which (a digest)."""
    return WHEN.pack(expires_ns) + blake2b(key, digest_size=NAME_BYTES).digest()


def read_checkpoint(data: bytes | None) -> Checkpoint | None:
    """The checkpoint in a view's META row, or None."""
    return None if data is None else msgspec.msgpack.decode(data, type=Checkpoint)


def no_pace() -> None:
    """Do not wait between slices."""


def never() -> bool:
    """Go on to the end: there is never enough."""
    return False


def checkpoint(bucket: Bucket, pace: Pace = no_pace) -> bool:
    """Absorb what was in memory when this was called; whether there was anything.

    Writers and readers go on meanwhile. The log is durable up to the position
    before the view commits, and the overlay leaves memory after it.
    """
    bucket.finish_birth(pace)
    with bucket.absorbing:
        with bucket.lock:
            if not bucket.state.records() and bucket.absorbed == bucket.published:
                return False
            bucket.freeze()
        absorb_waiting(bucket, pace)
    return True


def absorb_waiting(bucket: Bucket, pace: Pace = no_pace) -> None:
    """Absorb every frozen overlay, oldest first, in one commit of the view."""
    with bucket.absorbing:
        with bucket.lock:
            layers = tuple(reversed(bucket.state.frozen))
            position, version = bucket.frozen_at, bucket.version
        bucket.sync_to(position)
        tally = Tally(
            bucket.view_tally.keys, bucket.view_tally.special, dict(bucket.view_tally.live)
        )
        stale = bucket.lender is None and bucket.state.view is not bucket.view
        with bucket.view.writer() as writer:
            if stale:  # who derived the state anew could not clear it
                writer.clear()
            for overlay in layers:
                _absorb(bucket, writer, overlay, pace)
                tally.add(overlay.tally)
            writer.put(Table.META, [(CHECKPOINT, encode_mark(bucket, position, version, tally))])
        with bucket.lock:
            if stale:
                bucket.state.view = bucket.view
            bucket.state.thaw(layers)
            bucket.settings.room.give_back(layers)
            # What an overlay held is not held on to for key blocks, but for those that come next.
            active = bucket.log.number
            if len(bucket.noted.get(active, ())) > NOTED_ROWS:
                del bucket.noted[active]
            bucket.view_tally = tally
            bucket.absorbed = position


def encode_mark(
    bucket: Bucket, position: Position, version: int, tally: Tally, *, cut: bool = False
) -> bytes:
    """The view's word on itself, for META.

    While a split is not finished the view still holds what it gave away, and says so; not
    once it is ``cut`` to the bucket's range.
    """
    births = () if cut else bucket.births
    stop = max([bucket.stop, *(birth.stop for birth in births)])
    return msgspec.msgpack.encode(
        Checkpoint(
            position,
            version,
            bucket.time.now_ns(),
            tally.keys,
            tally.special,
            bucket.existing(tally.live),
            bucket.start,
            stop,
            bucket.id,
            bucket.log.identity.incarnation,
        )
    )


def _absorb(bucket: Bucket, writer: Writer, overlay: Overlay, pace: Pace) -> None:
    """Write an overlay's rows through."""
    with bucket.lock:
        if overlay.resolved <= COUNTED_MOST and overlay.counted is None:
            overlay.counted = set(islice(overlay.keys, overlay.resolved))
    while overlay.counted is None and bucket.resolve_next(SLICE, overlay):
        pace()
    _rest_prints(bucket, overlay)
    _tell_keys(bucket, overlay, pace)
    for table in TABLES:
        rows = overlay.tables[table]
        writer.delete(table, sorted(_long_gone(rows, pace)))
        if table is Table.KEYS:
            _absorb_keys(bucket, writer, overlay, pace)
            continue
        for run in in_order(list(rows), pace):
            writer.put(table, [(key, row) for key in run if (row := rows[key]) != DELETED])
            writer.delete(table, [key for key in run if rows[key] == DELETED])


def _long_gone(rows: dict[bytes, bytes], pace: Pace) -> list[bytes]:
    """Long keys that go: they share rows that hold so many and no more, so they make room first."""
    gone: list[bytes] = []
    keys = iter(rows)
    while lot := list(islice(keys, LOOKED)):
        gone += [key for key in lot if len(key) > VIEW_KEY_BYTES and rows[key] == DELETED]
        pace()
    return gone


def _absorb_keys(bucket: Bucket, writer: Writer, overlay: Overlay, pace: Pace) -> None:
    """Write an overlay's entries through, and count out what they hide unless that is done.

    Keys that an insert finds new hide nothing, so nobody looks for it. After a run
    that was not new some are looked up without trying.
    """
    timed = bucket.view.count(Table.EXPIRY) > 0
    hopeless = 0
    for run in _pieces(_runs(overlay, pace), pace):
        if bucket.growing is not None:
            bucket.growing.put(run)
        plain = isinstance(run, Flat)
        stay = run if plain else [pair for pair in run if pair[1] != DELETED]
        new = not hopeless and writer.insert(Table.KEYS, stay)
        hopeless = 0 if new else (hopeless or HOPELESS_RUNS) - 1
        last, _ = run[-1]
        if new and len(stay) == len(run):
            overlay.counted_to = last  # without the lock: who looks meanwhile finds nothing
        else:
            keys = _keys_of(run)
            _count_out(bucket, overlay, keys)
            if timed:
                _drop_expiry(bucket, writer, keys, pace)
        if overlay.timed and not plain:
            _note_expiry(writer, stay)
        if not new:
            writer.put(Table.KEYS, stay)
        if len(stay) < len(run):
            writer.delete(Table.KEYS, [key for key, row in run if row == DELETED])
    with bucket.lock:
        overlay.resolved = len(overlay.keys)


def _count_out(bucket: Bucket, overlay: Overlay, keys: list[bytes]) -> None:
    """Count out what a run of keys hides, unless that is done."""
    if overlay.counted is not None:
        with bucket.lock:
            beneath = bucket.state.beneath(overlay, keys)
        rows = beneath.rows()
        with bucket.lock:
            overlay.count_hidden(rows)
            overlay.counted_to = keys[-1]


def _tell_keys(bucket: Bucket, overlay: Overlay, pace: Pace) -> None:
    """Tell what knows the view's keys which ones will be in it.

    All of them first, so that nobody who asks for new ones has to look in the overlay too.
    """
    presence, left = bucket.presence, iter(overlay.keys)
    if overlay.present is presence:
        return
    while presence is not None and (keys := list(islice(left, SLICE))):
        presence.add(keys)
        pace()
    overlay.present = presence


def _runs(overlay: Overlay, pace: Pace) -> Iterator[Rows]:
    """An overlay's entries in runs of ascending keys: from packs, where these are nearly all."""
    rows, packs = overlay.keys, overlay.packs
    if packs and (len(rows) - overlay.packed + len(overlay.changed)) * LOOSE_PART <= len(rows):
        made = ordered(packs, overlay.packed, pace, overlay.changed)
        if made is not None:
            loose = {key: rows[key] for key in (*overlay.strays(pace), *overlay.changed)}
            told = in_order(list(loose), pace)
            others = [(key, loose[key]) for run in told for key in run]
            yield from _merged(made.runs(pace), others)
            return
    for keys, entries in runs(rows, pace):
        yield list(zip(keys, entries, strict=True))


def _merged(runs: Iterable[Rows], others: Rows) -> Iterator[Rows]:
    """Runs in order, with other rows, in order too, where they belong."""
    at = 0
    for run in runs:
        stop = bisect_right(others, run[-1], at)
        yield sorted((*run, *others[at:stop])) if stop > at else run
        at = stop
    if at < len(others):
        yield others[at:]


def _pieces(runs: Iterable[Rows], pace: Pace) -> Iterator[Rows]:
    """Runs as they are written: what is in columns at once, the rest in pieces."""
    for run in runs:
        if isinstance(run, Flat):
            yield run
            continue
        for at in range(0, len(run), PIECE):
            yield run[at : at + PIECE]
            pace()


def _keys_of(run: Rows) -> list[bytes]:
    return run.ascending() if isinstance(run, Flat) else [key for key, _ in run]


def _rest_prints(bucket: Bucket, overlay: Overlay) -> None:
    """Let fingerprints go where so many change that it is cheaper to build them anew when idle.

    What knows the keys is let go where most of them are gone.
    """
    if bucket.growing is not None and len(overlay.keys) * PRINTS_PART > len(bucket.growing):
        bucket.prints = bucket.growing = None
    keys = bucket.view_tally.keys + len(overlay.keys)
    if bucket.presence is not None and len(bucket.presence) > 2 * max(keys, PRESENCE_LEAST):
        bucket.presence = None  # most of it went: who asks next begins anew


def _drop_expiry(bucket: Bucket, writer: Writer, keys: list[bytes], pace: Pace) -> None:
    """Take what the view says of these keys out of the expiry table."""
    for at in range(0, len(keys), SLICE):
        gone = [
            expiry_row(expires, key)
            for key, row in bucket.view.get_many(Table.KEYS, keys[at : at + SLICE]).items()
            if (expires := EXPIRES.unpack_from(row, EXPIRES_AT)[0])
        ]
        writer.delete(Table.EXPIRY, gone)
        pace()


def _note_expiry(writer: Writer, rows: Rows) -> None:
    """Put entries that expire into the expiry table."""
    coming = [
        (expiry_row(expires, key), key)
        for key, row in rows
        if (expires := EXPIRES.unpack_from(row, EXPIRES_AT)[0])
    ]
    if coming:
        writer.put(Table.EXPIRY, sorted(coming))
