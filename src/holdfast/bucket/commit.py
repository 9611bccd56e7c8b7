"""From decided to durable: how a gathered group reaches the log.

``write_through`` is for stores that sync later: written and published under the
bucket's lock. ``queue`` and ``settle`` are the leader/follower commit of
``sync="always"``: whoever finds nobody leading leads one group to disk, outside
the lock, while others gather the next; its first waiter leads that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING

from holdfast.bucket import failing
from holdfast.engines.port import LeftBehind, refused
from holdfast.errors import HoldfastError, Moved, StorageFailed
from holdfast.log.group import Kind
from holdfast.log.records import Type, encode

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.group import Gathering
    from holdfast.log.log import Made

MANY = 256  # plain stores, that go into a group of their own
STRETCH = 4  # times its size that a segment may have before a writer waits for its end
LATE_PART = 8  # of a segment: so much more and a sync beside the writers is asked for again


def write_through(bucket: Bucket) -> None:
    """Write and publish the gathering group. The caller holds the lock."""
    group = bucket.gathering
    if group is None:
        return
    bucket.gathering = None
    if not group.count:
        return
    try:
        _tell(bucket, group, _prepared(bucket, group) or _written(bucket, group))
    except BaseException:
        failing.lose(bucket, group)
        raise
    if group.error is not None:
        raise group.error


def queue(bucket: Bucket, group: Gathering) -> Lock | None:
    """Take a place in the group: None to lead it, else a gate to wait at. Under the lock."""
    if not bucket.leading:
        bucket.leading = True
        return None
    gate = Lock()
    gate.acquire()
    group.waiters.append(gate)
    return gate


def let_pass(bucket: Bucket, count: int, *, plain: bool) -> None:
    """Let a gathering group of another kind go first: of plain stores, or of other records.

    Beside other records each store is told by itself, and all of the group is read again by who
    collects it: many together rather wait for a sync. What the group comes to is not theirs.
    """
    group = bucket.gathering
    if group is None or max(count, group.count) < MANY or not bucket.durable:
        return
    with bucket.lock:
        group = bucket.gathering
        if group is None or group.plain is not plain or not group.count:
            return
        gate = queue(bucket, group)
    with suppress(HoldfastError):
        stand_by(bucket, group, gate)


def settle(bucket: Bucket, group: Gathering, gate: Lock | None) -> None:
    """Return once the group is durable and published; raise what failed it.

    Whoever may be interrupted calls ``let_go`` then, also where he did not come to this yet.
    """
    if gate is not None:
        gate.acquire()
    if not group.settled:
        _lead(bucket)
    if group.error is not None:
        raise group.error


def stand_by(bucket: Bucket, group: Gathering, gate: Lock | None) -> None:
    """As ``settle``, and lets go by itself."""
    try:
        settle(bucket, group, gate)
    except HoldfastError:
        raise
    except BaseException:
        let_go(bucket, group, gate)
        raise


def let_go(bucket: Bucket, group: Gathering | None, gate: Lock | None) -> None:
    """Leave the line, and hand on the lead where one has it; whoever is interrupted calls this.

    ``group`` is None for who is in no line yet; ``gate`` is what ``queue`` gave.
    """
    heir = None
    with bucket.lock:
        if group is None:
            if bucket.gathering is not None and not bucket.durable:
                failing.spoil(bucket, bucket.gathering)  # decided, and written by nobody else
            return
        if group.settled:  # who settled it walks the line
            return
        if bucket.inflight is group and gate not in group.waiters:
            failing.fail(bucket, group, failing.interrupted(bucket))
            _hand_on(bucket, group)
        else:
            heir = _leave(bucket, group.waiters, gate)
    _wake(heir)


def follow(bucket: Bucket, group: Gathering) -> None:
    """As ``settle``, of a group that was gathered into earlier and left to whoever leads next."""
    line = gate = None
    try:
        with bucket.lock:
            if bucket.gathering is group:
                gate, line = queue(bucket, group), group
            elif not group.settled:
                gate = Lock()
                gate.acquire()
                group.waiters.append(gate)
                line = group
        settle(bucket, group, gate)
    except HoldfastError:
        raise
    except BaseException:
        let_go(bucket, line, gate)
        raise


def _lead(bucket: Bucket) -> None:
    """Bring the gathering group to disk, then hand the lead on."""
    with bucket.lock:
        group = bucket.gathering
        if group is None:
            raise AssertionError("a leader without a group")
        bucket.gathering = None
        try:
            failure = _prepared(bucket, group)
            take_off(bucket, group)
        except BaseException:
            failing.lose(bucket, group)
            _hand_on(bucket, group)
            raise
    carry(bucket, group, failure)


def take_off(bucket: Bucket, group: Gathering) -> None:
    """Let a group be the one in flight. Under the lock, by whoever leads."""
    bucket.before_flight = bucket.log.position
    bucket.inflight = group


def carry(bucket: Bucket, group: Gathering, failure: failing.Failure | None = None) -> None:
    """Bring the group in flight to disk and publish it, then hand the lead on."""
    try:
        if failure is None and group.count:
            failure = _written(bucket, group, durably=True)
        with bucket.lock:
            _tell(bucket, group, failure)
            _hand_on(bucket, group)
    except BaseException:
        failing.lose(bucket, group)
        _hand_on(bucket, group)
        raise


def _tell(bucket: Bucket, group: Gathering, failure: failing.Failure | None) -> None:
    """Publish a group that is on disk, or fail it. Under the lock."""
    if failure is not None:
        failing.fail(bucket, group, failure)
    elif group.count:
        bucket.publish(group)


def _prepared(bucket: Bucket, group: Gathering) -> failing.Failure | None:
    if group.error is not None:  # half an operation is in it
        return group.error
    try:
        _prepare(bucket, group)
    except HoldfastError as error:
        return error
    return None


def _written(bucket: Bucket, group: Gathering, *, durably: bool = False) -> failing.Failure | None:
    """Write a group; one that is interrupted meanwhile, by a Ctrl-C, is not stored."""
    try:
        bucket.log.append(group.buffers, group.count, group.length)
        if durably:
            bucket.log.sync()
    except OSError as error:
        return error
    except BaseException:
        with bucket.lock:
            failing.fail(bucket, group, failing.interrupted(bucket))
        raise
    return None


def _hand_on(bucket: Bucket, group: Gathering) -> None:
    with bucket.lock:
        bucket.inflight = None
        group.settled = True
        heir = _heir(bucket)
    for gate in group.waiters:
        gate.release()
    _wake(heir)


def _leave(bucket: Bucket, line: list[Lock], gate: Lock | None) -> Lock | None:
    """Stand in a line no more; who is in none has the lead, and it goes to the heir told."""
    if gate is None or gate not in line:
        return _heir(bucket)
    line.remove(gate)
    return None


def _wake(heir: Lock | None) -> None:
    if heir is not None:
        heir.release()


def _heir(bucket: Bucket) -> Lock | None:
    """Who leads next: whoever asked to be alone, then the next group's first waiter."""
    following, heir = bucket.gathering, None
    # Nothing is called from here on: who is interrupted has handed the lead on, or has not.
    line = bucket.barriers or (following.waiters if following is not None else None)
    if line:
        heir = line[0]
        del line[0]
    bucket.leading = heir is not None
    return heir


class _Turn:
    """Whether somebody who wants to be alone leads, and whom he made his heir."""

    leads = False
    heir: Lock | None = None


def _take_the_lead(bucket: Bucket, turn: _Turn) -> None:
    """Lead as soon as whoever does now is done."""
    with bucket.lock:
        gate = None
        if bucket.leading:
            gate = Lock()
            gate.acquire()
            bucket.barriers.append(gate)
        else:
            bucket.leading = turn.leads = True
    if gate is not None:
        _wait(bucket, gate)
        turn.leads = True


def _wait(bucket: Bucket, gate: Lock) -> None:
    """Wait to be alone; who is interrupted leaves the line, and hands on a lead he was given."""
    try:
        gate.acquire()
    except BaseException:  # a Ctrl-C
        with bucket.lock:
            heir = _leave(bucket, bucket.barriers, gate)
        _wake(heir)
        raise


def _step_down(bucket: Bucket, turn: _Turn, group: Gathering | None = None) -> None:
    """Hand the lead on, and let go who waits for a group that is settled; done twice, it is once.

    So whoever is interrupted meanwhile does it again.
    """
    with bucket.lock:
        if turn.leads:
            turn.heir, turn.leads = _heir(bucket), False
    settled = group.waiters if group is not None and group.settled else ()
    for gate in (turn.heir, *settled):
        if gate is not None and gate.locked():
            gate.release()


@contextmanager
def beside(bucket: Bucket) -> Iterator[None]:
    """Keep others from being ``alone``, and no writer from writing. For interval and never."""
    turn = _Turn()
    try:
        _take_the_lead(bucket, turn)
        yield
    finally:
        try:
            _step_down(bucket, turn)
        except BaseException:
            _step_down(bucket, turn)
            raise


@contextmanager
def alone(bucket: Bucket) -> Iterator[None]:
    """Hold the bucket with nothing in flight and nothing pending: for splits and merges."""
    turn, group = _Turn(), None
    try:
        _take_the_lead(bucket, turn)
        with bucket.lock:
            group = bucket.gathering
            if group is not None:
                _lead_in_place(bucket, group)
            yield
    finally:
        try:
            _step_down(bucket, turn, group)
        except BaseException:
            _step_down(bucket, turn, group)
            raise


def _lead_in_place(bucket: Bucket, group: Gathering) -> None:
    """Bring the gathering group to disk under the lock."""
    bucket.gathering = None
    try:
        failure = _prepared(bucket, group)
        if failure is None and group.count:
            failure = _written(bucket, group, durably=True)
        _tell(bucket, group, failure)
    except BaseException:
        failing.lose(bucket, group)
        raise
    finally:
        group.settled = True


def write_control(bucket: Bucket, kind: Type, value: bytes) -> None:
    """Write a record about the log itself, durably. Under the lock, with nothing in flight."""
    _write_alone(bucket, kind, value, bucket.time.now_ns())


def write_mark(bucket: Bucket, kind: Type, time_ns: int) -> None:
    """Write how far bucket time may get; the group's head says what is durable."""
    if kind is Type.CLOSE:
        bucket.log.active.finish()
    _write_alone(bucket, kind, b"", time_ns)
    bucket.marked_at = bucket.log.stop


def switch(bucket: Bucket, made: Made | None = None) -> None:
    """End the active segment and begin the next. Under the lock, with nothing in flight.

    A full disk gives its reserve for it. A segment that was ``made`` before is begun, but
    not yet durable.

    Raises:
        StorageFailed: no segment could be begun; the log goes on where it was, unless
            a crash might show what is left of the attempt: then the bucket only reads.
            Also where it only reads already.
        OutcomeUnknown: what was answered since the last sync may be lost.
    """
    _require_whole(bucket)
    _sync_active(bucket)
    try:
        failing.switch_with_reserve(bucket, made)
    except OSError as error:
        if isinstance(error, LeftBehind):
            bucket.broken = failing.LEFT
        raise refused(bucket.id, error) from error


def _sync_active(bucket: Bucket) -> None:
    """Make the active segment durable before another one says where it ends."""
    if bucket.log.synced == bucket.log.stop:
        return
    try:
        bucket.log.sync()
    except OSError as error:
        bucket.broken = failing.LOST
        raise failing.may_be_lost(bucket, str(error)) from error


def _require_whole(bucket: Bucket) -> None:
    """StorageFailed where nobody knows what the log will say after a crash."""
    if bucket.broken is not None:
        raise StorageFailed(bucket=bucket.id, cause=bucket.broken)


def _write_alone(bucket: Bucket, kind: Type, value: bytes, time_ns: int) -> None:
    if bucket.closed:  # merged away: nobody would read it
        raise Moved(bucket=bucket.id)
    _require_whole(bucket)
    version = bucket.next_version()
    buffers = encode(kind, b"", value, version, time_ns)
    length = sum(map(len, buffers))
    try:
        bucket.log.append(buffers, 1, length, Kind.CONTROL)
        bucket.log.sync()
    except OSError as error:
        raise failing.restart(bucket, error) from error
    except BaseException:
        failing.interrupted(bucket)
        raise


def _prepare(bucket: Bucket, group: Gathering) -> None:
    """Begin a new segment where the active one is full, and fix the group's place."""
    log = bucket.log
    if log.stop >= bucket.heed_at and group.count:
        _heed(bucket)
    if (group.segment, group.base - log.stop) != (log.number, 0):
        group.relocate(log.number, log.stop)


def _heed(bucket: Bucket) -> None:
    """Begin a new segment, unless somebody does so beside the writers; have much synced there."""
    full, at = full_at(bucket), bucket.log.stop
    soon = None if bucket.durable else bucket.settings.behind.soon
    most = full if soon is None else STRETCH * full
    if at >= most:
        switch(bucket)
        return
    step = most
    if soon is not None:
        step = full // 2 if at < full else full // LATE_PART
        if at - bucket.log.synced >= step:
            soon(bucket)
    bucket.heed_at = min(most, (at // step + 1) * step)


def full_at(bucket: Bucket) -> int:
    """Where the active segment should end, in bytes.

    It takes at least as many records as its state takes bytes, however long that is.
    """
    return max(bucket.settings.segment_bytes, 2 * bucket.log.begun)
