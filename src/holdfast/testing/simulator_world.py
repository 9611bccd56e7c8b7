"""The simulator's machine: a disk that loses power, views that survive or do not, one store.

A *life* of the store lasts from its opening to a power cut. The next life
begins on what the platter kept; what it shows is held against the model.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from random import Random
from typing import Literal

import msgspec
from sortedcontainers import SortedDict

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.bucket.settings import Sync
from holdfast.engines.memory import MemoryDisk
from holdfast.limits import TIME_MARK_NS
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import FOREVER, MODES, CrashDisk, FailingDisk, Kind
from holdfast.testing.simulator_model import Model, Name, Seen, Sent, Step, brief, unexplained
from holdfast.upkeep import expire
from holdfast.views.memory_view import MemoryView
from holdfast.views.port import Table, View
from holdfast.views.state import SIDE, TABLES, Tally

Views = Literal["lost", "kept", "older"]
Tables = dict[Table, SortedDict]
ROOT = "store"
SPACES = ("acme", "zeta")
FAULT_POINTS = 90  # of a life, before its disk refuses a call
SNAPSHOTS = 4  # commits that an older view may go back


class Deviation(AssertionError):
    """The store did something that the model does not allow."""


class Settings(msgspec.Struct, frozen=True):
    """What a simulation runs with.

    ``views``: "lost" begins every life without views, "kept" with those of the
    last commit, "older" with those of an earlier commit, or none, by chance.
    ``steps_back`` sets wall time back at a reopening, as a machine without a
    battery does. ``faults``: in each life the disk refuses a call, or some in a
    row, or all from there on.
    """

    sync: Sync = "always"
    views: Views = "lost"
    bucket_bytes: int = 64 << 10
    steps_back: bool = False
    faults: bool = False


class Faulty(FailingDisk):
    """A disk that begins to refuse calls when it is armed."""

    armed = False

    def before(self, kind: Kind) -> None:
        """Count and refuse only while armed."""
        if self.armed:
            super().before(kind)


class KeptView(MemoryView):
    """A view whose committed rows outlive it, as files do."""

    def __init__(self, shelf: Shelf, bucket: str) -> None:
        super().__init__()
        self._shelf = shelf
        self._bucket = bucket
        self._tables = shelf.tables(bucket)

    def apply(self, changes: dict[Table, dict[bytes, bytes | None]], *, cleared: bool) -> None:
        """Make a commit visible, and keep it."""
        super().apply(changes, cleared=cleared)
        self._shelf.committed(self._bucket)


class Shelf:
    """Where kept views lie between two lives."""

    def __init__(self) -> None:
        self._now: dict[str, Tables] = {}
        self._before: dict[str, list[Tables]] = {}
        self.remembers = False

    def tables(self, bucket: str) -> Tables:
        """The committed rows of a bucket's view."""
        return self._now.setdefault(bucket, {table: SortedDict() for table in Table})

    def everything(self) -> dict[str, Tables]:
        """A copy of every view's rows."""
        return {
            bucket: {table: SortedDict(rows) for table, rows in tables.items()}
            for bucket, tables in self._now.items()
        }

    def committed(self, bucket: str) -> None:
        """Remember how a view stands now."""
        if self.remembers:
            copy = {table: SortedDict(rows) for table, rows in self._now[bucket].items()}
            self._before[bucket] = [*self._before.get(bucket, [])[1 - SNAPSHOTS :], copy]

    def age(self, chance: Random) -> None:
        """Put some views back to an earlier commit, or lose them."""
        for bucket in sorted(self._now):
            draw = chance.random()
            if draw < 0.1:
                del self._now[bucket]
            elif draw < 0.5 and self._before.get(bucket):
                self._now[bucket] = chance.choice(self._before[bucket])
            self._before.pop(bucket, None)


class World:
    """One simulated machine.

    Args:
        seed: of all chance.
        settings: what to run with.
    """

    store: Store

    def __init__(self, seed: int, settings: Settings) -> None:
        self.chance = Random(seed)  # noqa: S311 - repeatable is the point
        self.settings = settings
        self.clock = ManualClock()
        self.entropy = SeededEntropy(seed)
        self.model = Model()
        self.in_flight: tuple[Step, ...] = ()
        self.attempted: tuple[Step, ...] = ()  # what was last in flight
        self.sent: Sent | None = None  # the numbered write among it
        self.shelf = Shelf()
        self.shelf.remembers = settings.views == "older"
        self.disk = CrashDisk(MemoryDisk())
        self.faulty: Faulty | None = None
        self.refusals = 0
        self.points = self.crashes = self.most_buckets = 0
        self.life = 0
        self.last_ns = 0  # bucket time when the last life ended
        self.bound_ns = 0  # the same, if the next may not begin before it
        self.was_bound = False  # behind the last operation that came to its end
        self.log: list[str] = []

    # -- lives ------------------------------------------------------------------------

    def open(self, cut_at: int | None, start: MemoryDisk | None) -> None:
        """Begin a life on what the last one left; PowerCut at its ``cut_at``-th point."""
        self.life += 1
        self.is_open = False
        self.disk = self.new_disk(start, cut_at)
        self.faulty = self._faults()
        if self.settings.views == "older":
            self.shelf.age(self.chance)
        self.store = open_on(
            self.faulty or self.disk,
            ROOT,
            sync=self.settings.sync,
            bucket_bytes=self.settings.bucket_bytes,
            clock=self.clock,
            entropy=self.entropy,
            open_view=self.new_view,
        )
        self.is_open = True

    def _faults(self) -> Faulty | None:
        """What the disk of this life will refuse, and when; armed at once in a few lives."""
        if not self.settings.faults:
            return None
        chance = self.chance
        faulty = Faulty(
            self.disk,
            chance.randint(1, FAULT_POINTS),
            error=chance.choice((errno.EIO, errno.ENOSPC)),
            short=chance.random() < 0.5,
            times=chance.choice((1, 1, 1, 2, 3, 8, FOREVER)),
            seed=chance.randrange(1 << 30),
        )
        faulty.armed = chance.random() < 0.2
        return faulty

    def arm(self) -> None:
        """From here on the disk may refuse calls."""
        if self.faulty is not None:
            self.faulty.armed = True

    def new_disk(self, start: MemoryDisk | None, cut_at: int | None) -> CrashDisk:
        """The disk of a life."""
        return CrashDisk(start, cut_at=cut_at)

    def new_view(self, bucket: str) -> View:
        """The view of a bucket, as the last life left it, or empty."""
        return MemoryView() if self.settings.views == "lost" else KeptView(self.shelf, bucket)

    def cut(self) -> MemoryDisk:
        """The power is gone: what the next life begins on."""
        mode = self.chance.choice(MODES)
        self.note(f"-- power cut after {self.disk.points} points, {mode}")
        self.points += self.disk.points
        self.refusals += self.faulty.failed if self.faulty is not None else 0
        self.crashes += 1
        if self.faulty is not None and self.faulty.failed:
            self.model.doubt(self.in_flight)  # a bucket that failed let the others go on
        else:
            self.model.steps += self.in_flight
        self.in_flight = ()
        if self.settings.sync != "always":
            self.model.numbers.answered.clear()  # a crash may take what was not durable
        self._note_time()
        if self.settings.steps_back:
            self.clock.step_wall(-self.chance.randrange(4_000_000_000_000))
        return self.disk.after_cut(mode, self.chance.randrange(1 << 30))

    def look_at_time(self) -> None:
        """Note between two operations whether time is bound: one that is cut may be at that."""
        self.was_bound = self._is_bound()

    def _is_bound(self) -> bool:
        return not expire.is_over(self.store.placement.directory)

    def _note_time(self) -> None:
        """How far bucket time got, and what of that the next life may not fall behind."""
        if not self.is_open:  # who opened it may have written a mark
            self.last_ns = max(self.last_ns, self.clock.wall_ns()) + TIME_MARK_NS
            return
        time = self.store.placement.settings.time
        refused = self.faulty is not None and self.faulty.failed
        bound = self.was_bound and self._is_bound() and not refused
        self.bound_ns = time.told_ns if bound else 0
        time.release(lambda: True)  # nobody writes down what is only looked at from outside
        self.last_ns = self.now_ns()

    # -- looking ----------------------------------------------------------------------

    def now_ns(self) -> int:
        """Bucket time."""
        return self.store.placement.settings.time.now_ns()

    def bucket_of(self, name: Name) -> str:
        """Where a key lives."""
        return self.store.locate(*name).bucket

    def note(self, line: str) -> None:
        """Keep a line of the story for whoever must read it."""
        self.log.append(brief(line))

    def verify(self) -> None:
        """Hold a reopened store against the model, and go on from what it shows.

        Raises:
            Deviation: something promised is missing, or something impossible is there.
        """
        now = self.now_ns()
        model = self.model
        if now > max(self.last_ns, self.clock.wall_ns()) + TIME_MARK_NS:
            raise Deviation("bucket time jumped ahead by more than a mark")
        if now < self.bound_ns:
            raise Deviation("bucket time went back")
        seen = self.look()
        possible = [*model.steps, *model.doubtful]
        names = model.durable.keys() | {e.name for step in possible for e in step.effects}
        problems = unexplained(model, seen, now, _places(self.bucket_of, names))
        if problems:
            raise Deviation("; ".join(problems))
        self.check()
        model.adopt(seen)
        model.reopened(self.clock.monotonic_ns())

    def look(self) -> dict[Name, Seen]:
        """Everything the store shows; a list that disagrees with itself is a Deviation."""
        seen: dict[Name, Seen] = {}
        for space in SPACES:
            namespace = self.store.namespace(space)
            stats = list(namespace.entries())
            keys = list(namespace.list())
            if keys != [stat.key for stat in stats] or keys != sorted(set(keys), key=str.encode):
                raise Deviation(f"list and entries of {space} disagree, or are out of order")
            values = namespace.get_many(keys)
            for stat, value in zip(stats, values, strict=True):
                if value is None:
                    raise Deviation(f"{stat.key} is listed but cannot be read")
                held: tuple[str, ...] = ()
                if stat.state != "unmanaged":
                    held = tuple(map(str, namespace.consumers(stat.key).list()))
                if len(held) != stat.consumers:
                    raise Deviation(f"{stat.key} counts {stat.consumers} consumers, has {held}")
                seen[space, stat.key] = Seen(stat, value, held)
        expected = [space for space in SPACES if any(name[0] == space for name in seen)]
        if self.store.namespaces() != expected:
            raise Deviation("namespaces() tells other names than the objects do")
        return seen

    def check(self) -> None:
        """``store.check()`` must find nothing."""
        report = self.store.check()
        if self.faulty is not None and self.faulty.failed:
            return
        self.most_buckets = max(self.most_buckets, report.buckets)
        if not report.ok:
            raise Deviation(f"check: {report.problems[:3]}")
        for bucket in self.store.placement.directory:
            audit(bucket)

    def absorb(self) -> None:
        """Checkpoint every bucket, due or not."""
        for bucket in list(self.store.placement.directory):
            checkpoint(bucket)


def audit(bucket: Bucket) -> None:
    """Hold a bucket's counts against its rows; a Deviation where they differ."""
    counted = bucket.resolve_all()
    exact = Tally()
    for table in TABLES:
        at: bytes | None = bucket.start
        while at is not None:
            rows, at = bucket.state.page(table, at, bucket.stop, 1000)
            for key, row in rows:
                if table is Table.KEYS:
                    exact.count(key, row, 1)
                else:
                    _, segment, taken = SIDE.unpack_from(row)
                    exact.count_bytes(segment, taken)
    found = [
        (tally.keys, tally.special, {n: live for n, live in tally.live.items() if live})
        for tally in (counted, exact)
    ]
    if found[0] != found[1]:
        raise Deviation(f"bucket {bucket.id} counts {found[0]}, holds {found[1]}")


def _places(where: Callable[[Name], str], names: set[Name]) -> Mapping[Name, str]:
    return {name: where(name) for name in names}
