"""Free what nobody can see any more: expired objects, unreferenced ones, abandoned parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop
from weakref import WeakKeyDictionary

from holdfast.bucket import rows
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import WHEN, Pace, no_pace
from holdfast.bucket.deciding import apply_in_lots
from holdfast.bucket.hidden import owner_of
from holdfast.errors import Corrupt, HoldfastError, Moved
from holdfast.log.entry import unpack
from holdfast.log.log import Position
from holdfast.log.records import Flag
from holdfast.operations import Delete, Operation, Upload
from holdfast.request.arguments import BEYOND, HIDDEN, VISIBLE
from holdfast.request.corridor import Corridor
from holdfast.request.large import abandoned, disowned
from holdfast.request.listing import rows as live_rows
from holdfast.views.port import Table

BATCH = 200
SEEN_MOST = 50  # batches of rows that may turn out to be of what is gone already
NEVER = 1 << 64


def is_over(buckets: Iterable[Bucket]) -> bool:
    """Whether nothing in these has an expiry, as far as anybody has seen."""
    return not any(bucket.may_expire for bucket in list(buckets))


def due_keys(bucket: Bucket) -> Iterator[list[bytes]]:
    """Pages of composite keys whose time has come, as overlays and view remember it.

    A memory may be stale: whoever removes an object asks the object itself.
    """
    now = bucket.time.now_ns()
    while keys := _due_in_memory(bucket, now):
        yield keys
    at: bytes | None = b""
    while at is not None:
        rows = bucket.view.scan(Table.EXPIRY, at, WHEN.pack(now + 1), BATCH)
        at = rows[-1][0] + b"\0" if len(rows) == BATCH else None
        yield [key for _, key in rows]


def _due_in_memory(bucket: Bucket, now: int) -> list[bytes]:
    """Up to a batch of keys out of the overlays, which forget them."""
    found: list[bytes] = []
    with bucket.lock:
        for overlay in (bucket.state.active, *bucket.state.frozen):
            while overlay.expiring and overlay.expiring[0][0] <= now and len(found) < BATCH:
                found.append(heappop(overlay.expiring)[1])
    return found


class Watch:
    """Knows when the next object of a bucket expires, without asking its view each time."""

    def __init__(self) -> None:
        self._next: dict[str, tuple[Position | None, int]] = {}

    def is_due(self, bucket: Bucket) -> bool:
        """Whether the time of an object may have come; a bucket without any is told so."""
        layers = (bucket.state.active, *bucket.state.frozen)
        soonest = min((layer.expiring[0][0] for layer in layers if layer.expiring), default=NEVER)
        known = self._next.get(bucket.id)
        if known is None or known[0] != bucket.absorbed:
            known = self._look(bucket, b"")
        soonest = min(soonest, known[1])
        if soonest == NEVER:
            self._calm(bucket)
        return soonest <= bucket.time.now_ns()

    def swept(self, bucket: Bucket, now: int) -> None:
        """Everything due until ``now`` was removed, or was due no more."""
        self._look(bucket, WHEN.pack(now + 1))

    def forget_all_but(self, names: set[str]) -> None:
        """Let go of buckets that are no more."""
        self._next = {name: known for name, known in self._next.items() if name in names}

    def _look(self, bucket: Bucket, start: bytes) -> tuple[Position | None, int]:
        absorbed = bucket.absorbed
        row = bucket.view.scan(Table.EXPIRY, start, None, 1)
        known = (absorbed, WHEN.unpack_from(row[0][0])[0] if row else NEVER)
        self._next[bucket.id] = known
        return known

    @staticmethod
    def _calm(bucket: Bucket) -> None:
        """Nothing here expires any more, unless something is just being written."""
        with bucket.lock:
            layers = (bucket.state.active, *bucket.state.frozen)
            idle = bucket.gathering is None and bucket.inflight is None
            if idle and not any(layer.expiring for layer in layers):
                bucket.may_expire = False


class Room:
    """Frees a little of what has expired where somebody waits for it, and upkeep did not yet.

    It goes on where it was: rows of the view that it has seen are not read again before a
    checkpoint has brought others.
    """

    def __init__(self) -> None:
        self._at: WeakKeyDictionary[Bucket, tuple[Position | None, bytes]] = WeakKeyDictionary()

    def free(self, bucket: Bucket) -> bool:
        """Remove up to a batch of expired objects; False where none was found."""
        if not bucket.may_expire or bucket.lender is not None:
            return False
        now = bucket.time.now_ns()
        if keys := _due_in_memory(bucket, now):
            _sweep(bucket, keys)
            return True
        absorbed, stop = bucket.absorbed, WHEN.pack(now + 1)
        known = self._at.get(bucket)
        at = known[1] if known is not None and known[0] == absorbed else b""
        for _ in range(SEEN_MOST):
            rows = bucket.view.scan(Table.EXPIRY, at, stop, BATCH)
            if not rows:
                return False
            at = rows[-1][0] + b"\0"
            self._at[bucket] = absorbed, at
            if _sweep(bucket, [key for _, key in rows]):
                return True
        return False


def sweep_expired(bucket: Bucket, pace: Pace) -> int:
    """Remove expired objects of one bucket; how many went."""
    removed = 0
    if bucket.may_expire:
        for keys in due_keys(bucket):
            removed += _sweep(bucket, keys, pace)
    return removed


def _sweep(bucket: Bucket, keys: list[bytes], pace: Pace = no_pace) -> int:
    mine = [key for key in keys if bucket.start <= key < bucket.stop]
    try:
        return _remove(bucket, [Delete(key, "", "expired") for key in mine], pace)
    except Moved:  # a split came between: the next look has the new range
        _remember(bucket, mine)
        return 0
    except BaseException:  # a Ctrl-C, too
        _remember(bucket, mine)
        raise


def _remember(bucket: Bucket, keys: list[bytes]) -> None:
    """Keys whose removal failed stay due: while one is there, lists must leave it out."""
    with bucket.lock:
        for key in keys:
            bucket.state.active.expires(0, key)


def _remove(bucket: Bucket, operations: list[Operation], pace: Pace) -> int:
    outcomes = apply_in_lots(bucket, operations, pace)
    return sum(not isinstance(outcome, HoldfastError) for outcome in outcomes)


def sweep_marked(bucket: Bucket, pace: Pace) -> int:
    """Remove objects that lost their last consumer; how many went."""
    if not bucket.special:
        return 0
    removed = 0
    at: bytes | None = bucket.start
    while at is not None and at < bucket.stop:
        try:
            page, at = bucket.page(at, bucket.stop, BATCH)
            marked = [key for key, row in page if unpack(row).flags & Flag.MARKED]
            removed += _remove(bucket, [Delete(key, "", "unreferenced") for key in marked], pace)
        except Moved:
            return removed
        pace()
    return removed


def sweep_parts(corridor: Corridor, pace: Pace) -> int:
    """Remove parts whose owner says that they are garbage; how many went (rule 8).

    Looks at every part there is; ``sweep_uploads`` only at what is noted.
    """
    removed = 0
    for page in _hidden_pages(corridor):
        removed += _drop(corridor, page)
        pace()
    return removed + sweep_uploads(corridor, pace)


def sweep_uploads(corridor: Corridor, pace: Pace) -> int:
    """Remove the parts of uploads that are noted and garbage, and the notes; how many went."""
    removed = 0
    for bucket in list(corridor.directory):
        try:
            for key, upload in _abandoned(corridor, bucket):
                corridor.write(Upload(key, "", upload, "given_up"))  # first: no manifest may come
                start = key.partition(VISIBLE)[0] + HIDDEN + upload
                for page in live_rows(corridor, start, start + b"\xff"):
                    removed += _drop(corridor, page)
                    pace()
        except Moved:
            continue  # a split came between: next time
    return removed


def _abandoned(corridor: Corridor, bucket: Bucket) -> Iterator[tuple[bytes, bytes]]:
    """Keys and uploads that a bucket has a note of and that will not go on."""
    at: bytes | None = bucket.start
    while at is not None and at < bucket.stop:
        page, at = bucket.page(at, bucket.stop, BATCH, Table.UPLOADS)
        for key, row in page:
            for note in rows.unpack_uploads(rows.unpack_row(row).payload):
                if abandoned(corridor, bucket, key, note):
                    yield key, note.upload


def _drop(corridor: Corridor, page: list[tuple[bytes, bytes]]) -> int:
    """Remove the parts of a page that are garbage; how many went.

    What made them garbage must not be lost by a crash that this survives.
    """
    garbage = [(part, row) for part, row in page if _is_garbage(corridor, part)]
    if not garbage:
        return 0
    if corridor.placement.settings.sync != "always":
        _sync_all(corridor)
    outcomes = corridor.write_many(
        [Delete(part, "", "dropped", if_version=unpack(row).version) for part, row in garbage]
    )
    return sum(not isinstance(outcome, HoldfastError) for outcome in outcomes)


def _sync_all(corridor: Corridor) -> None:
    for bucket in list(corridor.directory):
        bucket.sync_published()


def _hidden_pages(corridor: Corridor) -> Iterator[list[tuple[bytes, bytes]]]:
    """Pages of parts, seeking from one namespace's hidden range to the next."""
    at = b""
    while True:
        page = next((p for p in live_rows(corridor, at, b"\xff", 1) if p), None)
        if page is None:
            return
        key = page[0][0]
        ends = [i for i in (key.find(VISIBLE), key.find(HIDDEN)) if i >= 0]
        if not ends:  # no key at all; a check tells of it
            at = key + b"\0"
            continue
        name = key[: min(ends)]
        yield from live_rows(corridor, name + HIDDEN, name + BEYOND)
        at = name + BEYOND


def _is_garbage(corridor: Corridor, hidden: bytes) -> bool:
    """Ask the bucket of the object's key; nobody else may decide it."""
    try:
        part = owner_of(hidden)
    except Corrupt:  # no part at all; a check tells of it
        return False
    return corridor.read(part[0], lambda bucket: disowned(bucket, *part))
