"""The bucket: one bounded unit of storage, one owner, batches applied in order.

Every change walks the same way: decided against what is known (plan.py), gathered
into a commit group, written, made durable, published. With ``sync="always"``
one caller leads a group to disk while the next group gathers; a group is
visible once it is durable, and if it fails, everything that was decided on top
of it fails with it (rule 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock as Gate
from threading import RLock
from typing import TypeVar
from weakref import WeakSet

import msgspec

from holdfast.bucket import behind, commit, counted, deciding, numbered, plain, purse, rows
from holdfast.bucket.checkpoint import Checkpoint, Pace, no_pace
from holdfast.bucket.group import Gathering
from holdfast.bucket.locks import Locks
from holdfast.bucket.noting import Noted
from holdfast.bucket.read import EXPIRES_SLICE, NEVER, Hold, Reader
from holdfast.bucket.sessions import Sessions
from holdfast.bucket.settings import Settings
from holdfast.errors import Corrupt, HoldfastError, Moved, StorageFailed
from holdfast.log.entry import Entry, Extent, unpack
from holdfast.log.header import Birth, LogState, NumberedState, PursedState
from holdfast.log.log import Log, Position
from holdfast.operations import Once, Operation
from holdfast.values import Receipts
from holdfast.views.port import Table, View
from holdfast.views.presence import Presence
from holdfast.views.prints import Prints
from holdfast.views.state import Overlay, State, Tally, needs_care

RESOLVED_ROWS = 100  # that are looked up between two calls of pace
COUNTED_ROWS = 1_000  # that may be looked up while a writer waits
NOWHERE = b"\xff\xff"

T = TypeVar("T")


class Bucket(Reader):
    """One bucket, open for reading and writing.

    Args:
        settings: what all buckets share.
        log: its log, created or recovered.
        state: what its last STATE record says, brought up to date.
        view: its view, opened before; opened now if None.

    Made by ``bucket/birth.py`` (create, recover); callers go through
    ``placement``.
    """

    dormant = False  # not opened yet (dormant.py)
    heed_at = 0  # where the next segment, or a sync beside the writers, is to be seen to
    forked_at: Position | None = None  # where its log began, if a split made it just now,
    forked_from = ""  # and the id of the bucket that was split
    searched = False  # a put asked for it since the bucket was opened
    damage: Corrupt | None = None  # of a log that does not verify (repair.py)
    presence: Presence | None = None  # where somebody asked what a store replaces

    def __init__(
        self, settings: Settings, log: Log, state: LogState, view: View | None = None
    ) -> None:
        self.settings = settings
        self.log = log
        log.in_place = settings.in_place
        self.id = log.bucket
        self.start = state.start
        self.stop = state.stop
        self.version = state.version
        self.births: tuple[Birth, ...] = state.births
        self.retired: tuple[str, ...] = state.retired
        self.highest = state.highest
        self.time = settings.time
        self.view = view if view is not None else settings.open_view(self.id)
        self.state = State(self.view)
        self.prints: Prints | None = None  # complete; ``growing`` may not be yet
        self.growing: Prints | None = None
        self.grown_to = b""
        self.view_tally = Tally()
        # Rows of plain stores by segment, as they were written, for its key block (seal.py), and
        # where groups of others lie. A segment that holds a key twice has more records than these.
        self.noted: dict[int, Noted] = {} if log.records else {log.number: Noted()}
        self.mixed: dict[int, list[plain.Span]] = {}
        self.kept: dict[int, int] = {}  # bytes of evacuated removals, by segment
        self.locks = Locks(settings.clock)
        self.sessions = Sessions(settings.identity)
        numbers = state.numbers if isinstance(state, NumberedState) else None
        self.sessions.take_in(numbers, state.time_ns)
        told = (state.purses, state.shares) if isinstance(state, PursedState) else ()
        self.purses = purse.Purses(self.id, *told)
        self.lock, self.holds = RLock(), WeakSet[Hold]()
        self.absorbing = RLock()
        self.collecting = RLock()
        self.sealing = RLock()
        self.before_flight = log.position
        self.absorbed: Position | None = None
        self.gathering: Gathering | None = None
        self.inflight: Gathering | None = None
        self.barriers: list[Gate] = []
        self.synced_version = self.version
        self.closed_at: Position | None = None
        self.born_at = self.frozen_at = log.position
        self.broken: str | None = None
        self.closed = self.leading = self.crowded = self._may_expire = False
        self.weight = self.special = self.opened_version = self.time_mark = 0
        self.marked_at = log.stop  # where the log ended when its last mark was written
        self.idle_since = (log.stop, settings.clock.monotonic_ns())
        self.lender: Bucket | None = None
        self.standing: set[str] = set()  # children that stand, which the log does not say yet
        self.bound = settings.full_bytes
        self.durable = settings.sync == "always"
        self.reads: dict[bytes, counted.Reads] = {}  # by namespace that has a purse
        self.gathers = self.durable  # no store goes a way of its own
        self.meter()

    @property
    def may_expire(self) -> bool:
        """Whether an object here may have an expiry; the store's time is bound as long."""
        return self._may_expire

    @may_expire.setter
    def may_expire(self, may: bool) -> None:
        self._may_expire = may
        if may:
            self.time.bind()

    def meter(self) -> None:
        """Charge from now on, if there is a purse: single stores go another way then."""
        if self.purses:
            self.gathers = True

    def reads_of(self, namespace: bytes) -> counted.Reads:
        """What was read of a namespace and is not charged yet."""
        found = self.reads.get(namespace)
        if found is None:
            lag = self.settings.lags.of(self, namespace)
            made = counted.Reads(namespace, lag, self.settings.gates)
            found = self.reads.setdefault(namespace, made)
        return found

    # -- deciding -----------------------------------------------------------------

    def apply(self, operations: Sequence[Operation], *, atomic: bool = False) -> list[object]:
        """Apply a batch as one commit group.

        Args:
            operations: with composite keys inside this bucket's range.
            atomic: all or nothing; otherwise each operation has its own result.

        Returns:
            Per operation its result, or the error that refused it.

        Raises:
            Moved: a key lies outside the range; nothing was applied.
            StorageFailed: the group was not stored.
            OutcomeUnknown: the group may or may not be stored.
        """
        return self._carry_out(partial(deciding.decide, self, operations, atomic=atomic))

    def store_many(
        self, batch: plain.Batch, low: bytes, high: bytes, first: Once | None = None
    ) -> Receipts | None:
        """Apply stores without options, whose keys lie from ``low`` to ``high``.

        As ``apply``, quicker; None where something in the bucket needs a look first. Their
        numbers follow one another from ``first`` on, if they have any.
        """
        commit.let_pass(self, len(batch[0]), plain=False)
        return self._carry_out(partial(deciding.decide_many, self, batch, (low, high), first))

    def _carry_out(self, decide: Callable[[], tuple[Gathering, T]]) -> T:
        """Decide, under the lock, and write what was decided; its outcomes. None: nothing was."""
        group = turn = None
        try:
            with self.lock:
                decided, outcomes = decide()
                if outcomes is None:
                    return outcomes
                if not self.durable:
                    commit.write_through(self)
                    return outcomes
                group, turn = decided, commit.queue(self, decided)
            commit.settle(self, group, turn)
        except HoldfastError:
            raise
        except BaseException:
            commit.let_go(self, group, turn)
            raise
        return outcomes

    def apply_one(self, operation: Operation) -> object:
        """Apply one operation; its error is raised."""
        (outcome,) = self.apply((operation,))
        if isinstance(outcome, HoldfastError):
            raise outcome
        return outcome

    def gather(self) -> Gathering:
        """The group that gathers now. Under the lock."""
        group = self.gathering
        if group is None:
            ahead = self.inflight
            start = self.log.stop if ahead is None else ahead.base + ahead.length
            group = self.gathering = Gathering(self.log.number, start)
        return group

    def admit_range(self, low: bytes, high: bytes) -> None:
        """Moved where a key is not in the range, StorageFailed where nothing can be written."""
        if not self.start <= low or not high < self.stop:
            raise Moved(bucket=self.id)
        if self.broken is not None:
            raise StorageFailed(bucket=self.id, cause=self.broken)

    def next_version(self) -> int:
        """The next number of the bucket's one counter."""
        self.version += 1
        return self.version

    def peek(self, table: Table, key: bytes) -> bytes | None:
        """A row as pending groups will leave it, or None."""
        for group in (self.gathering, self.inflight):
            if group is not None:
                if table is Table.KEYS:
                    row = group.pending.get(key)
                else:
                    row = group.pending_side.get((table, key))
                if row is not None:
                    return row or None
        return self.state.entry(key) if table is Table.KEYS else self.state.get(table, key)

    def pending_rows(self, table: Table) -> dict[bytes, bytes]:
        """What pending groups will set of a table; removed rows are empty. Under the lock."""
        told: dict[bytes, bytes] = {}
        for group in (self.inflight, self.gathering):
            if group is not None:
                told |= group.rows_of(table)
        return told

    def peek_entry(self, key: bytes) -> Entry | None:
        """An object as pending groups will leave it, expired or not, or None."""
        row = self.peek(Table.KEYS, key)
        return None if row is None else unpack(row)

    def stage(self, group: Gathering, table: Table, key: bytes, row: bytes) -> None:
        """Note a change that the group makes, for later decisions and for publication."""
        group.stage(table, key, row)
        self.highest = max(self.highest, key)
        if table is Table.KEYS:
            if row and needs_care(row):
                self.special += 1
            if row and row[EXPIRES_SLICE] != NEVER:
                self.may_expire = True

    def unstage(self, changes: list[tuple[Table, bytes, bytes]]) -> None:
        """Take back what a refused atomic batch, or a failed group, did beside its rows."""
        for table, key, _ in changes:
            if table is Table.LOCKS:
                self.locks.forget(key)
            elif table is Table.SESSIONS:
                self.sessions.forget(key)

    def read_extent(self, key: bytes, extent: Extent) -> bytes:
        """The verified bytes of one extent, from memory where it is not written yet."""
        for group in (self.gathering, self.inflight):
            if group is not None and group.holds(extent.segment, extent.offset):
                return group.bytes_at(extent.offset, extent.length)
        return self.log.value(key, extent.version, extent.segment, extent.offset, extent.length)

    # -- publishing ----------------------------------------------------------------

    def publish(self, group: Gathering) -> None:
        """Make a written group visible. The caller holds the lock."""
        if group.plain:
            plain.publish(self, group)
        else:
            self._publish_changes(group)
        if group.bookings:
            purse.publish(group)
        if group.noted:
            numbered.publish(self, group)
        self.wrote(group.length)

    def _publish_changes(self, group: Gathering) -> None:
        plain.pass_over(self, group)
        for table, key, row in group.changes:
            if table is Table.KEYS:
                self.state.put_entry(key, row)
            elif table is Table.SEGMENTS:
                held = self.kept.get(group.segment, 0)
                self.kept[group.segment] = held + len(key) + rows.REMOVAL_BYTES
            elif table is Table.SESSIONS:
                self.sessions.settle(key)
            else:
                self.state.put_side(table, key, row)

    def wrote(self, length: int) -> None:
        """Take note of ``length`` bytes of records that are visible now. Under the lock."""
        self.weight = weight = self.weight + length
        if weight >= self.bound or self.state.active.is_full():
            self.crowded = True

    @property
    def published(self) -> Position:
        """Up to where the log is visible: its end, but for a group in flight."""
        return self.log.position if self.inflight is None else self.before_flight

    def freeze(self) -> None:
        """Put a new overlay on top; a checkpoint may absorb what is below. Under the lock."""
        self.state.freeze()
        self.state.active.present = self.presence
        self.frozen_at = self.published
        self.crowded = self.weight >= self.bound

    def tally(self) -> Tally:
        """The counts over all layers, exact where ``resolve_all`` went before.

        Only segments that exist count: what layers still say of a dropped one
        cancels out once they are resolved.
        """
        with self.lock:  # a writer may be adding a segment to the counts
            total = self.state.tally(self.view_tally)
            total.live = self.existing(total.live)
            return total

    def existing(self, live: dict[int, int]) -> dict[int, int]:
        """The part of per-segment counts that speaks of segments that exist."""
        log = self.log
        return {n: taken for n, taken in live.items() if n in log.ended or n == log.number}

    def resolve_next(self, most: int, overlay: Overlay | None = None) -> int:
        """Look up what some rows of an overlay hide; how many were looked up.

        Of the oldest one not done, if none is given. The view is asked without the lock:
        whoever writes would wait for that again and again. An overlay whose rows the view has
        by then is resolved, and what was found is not counted.
        """
        with self.lock:
            overlay = overlay or self.state.unresolved()
            if overlay is None:
                return 0
            begun = overlay.resolved
            keys = sorted(overlay.arrived(begun, most))
            beneath = self.state.beneath(overlay, keys)
        rows = beneath.rows()
        with self.lock:
            if overlay.resolved == begun:
                overlay.count_hidden(rows)
                overlay.resolved += len(keys)
        return len(keys)

    def resolve_all(self, pace: Pace = no_pace) -> Tally:
        """Exact counts, resolved in slices; not exact while another's view is borrowed."""
        if self.lender is not None:
            return self.tally()
        while self.resolve_next(RESOLVED_ROWS):
            pace()
        with self.lock:
            tally = self.tally()
            self.weight = tally.total()
            self.special = tally.special
            if self.weight < self.settings.full_bytes:
                self.bound = self.settings.full_bytes
            self.crowded = self.weight >= self.bound
            return tally

    def is_counted(self) -> bool:
        """Whether exact counts take no more than a moment."""
        layers = (self.state.active, *self.state.frozen)
        return sum(len(layer.keys) - layer.resolved for layer in layers) <= COUNTED_ROWS

    def is_full(self) -> bool:
        """Whether the live bytes have come so near the bound that it is to grow."""
        if self.weight < self.settings.full_bytes:
            return False
        self.finish_birth()
        return self.resolve_all().total() >= self.settings.full_bytes

    # -- log state -------------------------------------------------------------------

    def log_state(self) -> LogState:
        """What the log must be told about itself to begin from here."""
        return LogState(
            self.start,
            self.stop,
            self.version,
            max(self.time.now_ns(), self.time_mark),
            (),
            self.births,
            self.retired,
            self.highest,
        )

    def segment_state(self) -> PursedState:
        """What the next segment's STATE record must say: that, and what sessions applied."""
        state = self.log_state()
        told = self.sessions.told(self.time.now_ns())  # a time mark runs ahead
        fields = msgspec.structs.asdict(state)
        purses, shares = self.purses.told(), self.purses.told_shares()
        return PursedState(**fields, numbers=told, purses=purses, shares=shares)

    def sync_to(self, position: Position) -> None:
        """Make the log durable up to a position that was published."""
        if not self.log.is_durable(position):
            behind.sync_behind(self)

    def sync_published(self) -> None:
        """Make everything published durable."""
        behind.sync_behind(self)

    def wants_sync_mark(self, now_ns: int, idle_s: float) -> bool:
        """Whether the log stood still for ``idle_s`` and its last group is unvouched (rule 5)."""
        stop, since = self.idle_since
        if stop != self.log.stop:
            self.idle_since = (self.log.stop, now_ns)
            return False
        due = now_ns - since >= idle_s * 1e9 and self.marked_at != stop
        return due and self.log.durable.stop == stop

    def finish_birth(self, pace: Pace = no_pace) -> None:
        """Stop borrowing the parent's view: load an own one (fork.py)."""
        if self.lender is not None:
            from holdfast.bucket.fork import take_over  # noqa: PLC0415 - fork makes buckets

            take_over(self, pace)

    def doing(self) -> str:
        """What the bucket is about, in a word: open, splitting, borrowing, broken or closed."""
        if self.closed:
            return "closed"
        if self.broken:
            return "broken"
        if self.lender is not None:
            return "borrowing"
        return "splitting" if self.births else "open"

    def disown(self) -> None:
        """Hold no key any more and touch no file: another process has the log.

        For a child that was forked: its lock may be held by a thread that did not come along.
        """
        self.lock = RLock()
        self.closed = True
        self.start = self.stop = NOWHERE

    def close(self) -> None:
        """Take no more writes; give back descriptors and maps."""
        try:
            with self.lock:
                self.closed = True
                self.start = self.stop = NOWHERE  # so that every key has moved away from here
                self.log.park()
        finally:
            self.settings.room.give_back((self.state.active, *self.state.frozen))
            self.view.close()  # waits for a checkpoint, which waits for the lock

    def begin_anew(self, state: State, special: int) -> None:
        """Read from a state that was derived from the log; the view counts for nothing."""
        before, tally = self.state, Tally()
        weight = state.tally(tally).total()
        # No call is made between: who is interrupted has begun anew, or has not.
        self.prints = self.growing = self.presence = self.absorbed = None
        self.view_tally, self.special, self.weight = tally, special, weight
        self.state = state
        self.settings.room.give_back((before.active, *before.frozen))

    def restore_counts(self, mark: Checkpoint) -> None:
        """Begin from what the view says of itself."""
        self.view_tally = Tally(mark.keys, mark.special, dict(mark.live))
        self.absorbed = mark.position
        self.weight = self.view_tally.total()
        self.special = mark.special
        self.may_expire = self.view.count(Table.EXPIRY) > 0
        self.version = max(self.version, mark.version)
