"""One recorded run, and the machine as any cut of it leaves it.

The run is made once: every point of the disk is numbered, and after each
operation the model, the views and the clock are noted. ``Story.case`` then
shows any cut: the disk as a mode leaves it, the views as of the last commit
before it or none, the promises that stood, and the operation that was in
flight.
"""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from copy import deepcopy
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest
from sortedcontainers import SortedDict

from holdfast.bucket import commit
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.settings import Sync
from holdfast.engines.memory import MemoryDisk
from holdfast.log.header import Birth
from holdfast.log.records import Type
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, MUTATING, CrashDisk, Kind, Mode
from holdfast.testing.simulator_clients import Clients
from holdfast.testing.simulator_model import Model
from holdfast.testing.simulator_world import (
    ROOT,
    Deviation,
    KeptView,
    Settings,
    Shelf,
    Tables,
    World,
)
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.memory_view import MemoryView
from holdfast.views.port import View

OPERATIONS: Final = 300
ANSWERED: Final = 4  # numbers that are asked again after a cut
OpenView = Callable[[str], View]
SEEDED: Final[tuple[Mode, ...]] = ("torn", "reordered")  # the modes that draw by chance


class Moment(NamedTuple):
    """What stood when an operation began: the points so far, promises, time."""

    points: int
    model: Model
    wall_ns: int
    bucket_ns: int
    told: str


class Case(NamedTuple):
    """One cut: in the middle of which point, what survives, which chance, which views."""

    point: int
    mode: Mode
    seed: int
    views: str | Path


class HistoricShelf(Shelf):
    """Keeps what every view said after each commit, and how many points there were then."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.history: dict[str, list[tuple[int, Tables]]] = {}

    def committed(self, bucket: str) -> None:
        copy = {table: SortedDict(rows) for table, rows in self._now[bucket].items()}
        self.history.setdefault(bucket, []).append((self._world.disk.points, copy))


class WatchedDisk(CrashDisk):
    """Tells somebody before each point."""

    def __init__(self, start: MemoryDisk | None, watch: Callable[[int], None]) -> None:
        super().__init__(start)
        self._watch = watch

    def before(self, kind: Kind) -> None:
        super().before(kind)
        if kind in MUTATING:
            self._watch(self.points + 1)


class RealViews(World):
    """A machine whose views are LMDB environments in a folder, copied at given points."""

    def __init__(
        self, seed: int, settings: Settings, folder: Path, points: AbstractSet[int]
    ) -> None:
        super().__init__(seed, settings)
        self.folder = folder
        (folder / "live").mkdir(parents=True)
        self.copies: dict[int, Path] = {}
        self._points = points

    def new_disk(self, start: MemoryDisk | None, cut_at: int | None) -> CrashDisk:
        del cut_at
        return WatchedDisk(start, self._copy)

    def new_view(self, bucket: str) -> View:
        return LmdbView(f"{self.folder}/live/{bucket}")

    def _copy(self, point: int) -> None:
        if point in self._points and point not in self.copies:
            self.copies[point] = self.folder / f"at{point}"
            shutil.copytree(self.folder / "live", self.copies[point])


class Story:
    """A run of ``OPERATIONS`` operations under one seed, and its cuts.

    Args:
        seed: of the run.
        sync: the store's sync mode.
        world: the machine to run on; by default one with views in memory.
    """

    def __init__(self, seed: int, sync: Sync, world: World | None = None) -> None:
        self.settings = Settings(sync=sync, views="kept")
        self.world = world or World(seed, self.settings)
        self.shelf = HistoricShelf(self.world)
        self.world.shelf = self.shelf
        self.moments: list[Moment] = []
        self.counts: Counter[str] = Counter()
        with pytest.MonkeyPatch.context() as patch:
            self._count(patch)
            self._run()

    def _run(self) -> None:
        world = self.world
        clients = Clients(world)
        self._note()  # the opening itself can be cut
        world.open(None, None)
        world.model.adopt({})
        for _ in range(OPERATIONS):
            self._note()
            clients.act()
            began = self.moments[-1].model
            began.steps.extend(world.attempted)
            if began.numbers.open is None:
                began.numbers.open = world.sent
            world.attempted, world.sent = (), None
        self._note()
        self.points = world.disk.points
        self.starts = [moment.points for moment in self.moments]

    def _note(self) -> None:
        world = self.world
        now = world.now_ns() if self.moments else 0
        told = world.log[-1] if world.log else ""
        model = deepcopy(world.model)
        self.moments.append(
            Moment(
                world.disk.points,
                model,
                world.clock.wall_ns(),
                now,
                told,
            )
        )

    def _count(self, patch: pytest.MonkeyPatch) -> None:
        """Count the decisions that logs wrote down: what the run must have inside."""
        write_control = commit.write_control

        def counted(bucket: Bucket, kind: Type, value: bytes) -> None:
            write_control(bucket, kind, value)
            rolls = kind == Type.SPLIT and not msgspec.msgpack.decode(value, type=Birth).segments
            self.counts["roll" if rolls else kind.name.lower()] += 1

        patch.setattr(commit, "write_control", counted)

    # -- cuts --------------------------------------------------------------------------

    def cases(self) -> list[Case]:
        """Every point x every mode, with and without the views."""
        return [
            Case(point, mode, seed, views)
            for point in range(1, self.points + 1)
            for mode in MODES
            for seed in (range(2) if mode in SEEDED else range(1))
            for views in ("lost", "kept")
        ]

    def moment(self, point: int) -> tuple[Moment, Moment]:
        """What stood when the operation that was cut began, and when it had ended."""
        index = bisect_left(self.starts, point)
        return self.moments[index - 1], self.moments[index]

    def after(self, case: Case) -> World:
        """The machine after a cut, its store reopened; not yet judged."""
        began, ended = self.moment(case.point)
        world = World(case.point * 7 + case.seed, self.settings)
        world.model = deepcopy(began.model)
        world.clock = ManualClock(ended.wall_ns)
        world.last_ns = max(began.bucket_ns, ended.bucket_ns)
        world.entropy = SeededEntropy(case.point)
        disk = self.world.disk.after_cut(case.mode, case.seed, at=case.point)
        views = self._views(case)
        world.store = open_on(
            disk,
            ROOT,
            sync=self.settings.sync,
            bucket_bytes=self.settings.bucket_bytes,
            clock=world.clock,
            entropy=world.entropy,
            open_view=views,
        )
        return world

    def _views(self, case: Case) -> OpenView:
        if case.views == "lost":
            return lambda _bucket: MemoryView()
        if isinstance(case.views, Path):
            folder = case.views
            return lambda bucket: LmdbView(f"{folder}/{bucket}")
        shelf = Shelf()
        for bucket, commits in self.shelf.history.items():
            before = [tables for points, tables in commits if points < case.point]
            if before:
                tables = shelf.tables(bucket)
                tables.update({t: SortedDict(rows) for t, rows in before[-1].items()})
        return lambda bucket: KeptView(shelf, bucket)


def judge(world: World) -> None:
    """Hold a reopened store against what stood, then use it: versions go on above."""
    world.verify()
    _ask_again(world)
    told = world.model.highest
    free = [name for name, found in world.model.now.items() if not found.permanent]
    for name in sorted(free, key=lambda name: told.get(name, 0))[-2:]:
        version = world.store.namespace(name[0]).put(name[1], b"after").version
        if version <= told.get(name, 0):
            message = f"{name}: version {version} after {told[name]}"
            raise Deviation(message)


def _ask_again(world: World) -> None:
    """What was under way is applied once, what was answered is not applied again."""
    clients = Clients(world)
    clients.send_again()
    if world.settings.sync == "always":
        for number in sorted(world.model.numbers.answered)[-ANSWERED:]:
            clients.ask_again(number)
