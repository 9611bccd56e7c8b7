"""The steps of the demo, each told with its figures when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from holdfast.cli.files import local_file
from holdfast.cli.opening import opened
from holdfast.cli.options import StoreOptions
from holdfast.cli.output import Output, counted, shown, size_text
from holdfast.cli.places import total
from holdfast.cli.progress import progress, watched
from holdfast.clock import Clock
from holdfast.values import CheckReport, CollectReport, Status

if TYPE_CHECKING:
    from holdfast.store import Namespace, Store

NAMESPACE = "demo"
_BATCH = 64  # files in one durable group
_TTL_S = 0.2
_GROWTH_POINTS = 6  # so that they fit a line
_MARK = b"# overwritten by holdfast demo\n"


class Fate(Enum):
    """What becomes of a file after it was stored."""

    KEPT = "kept"
    OVERWRITTEN = "overwritten"
    DELETED = "deleted"
    EXPIRED = "expired"


# Of ten neighbours; so every bucket gets dead bytes, as in a store that is in use.
_FATES = (
    Fate.OVERWRITTEN,
    Fate.KEPT,
    Fate.DELETED,
    Fate.KEPT,
    Fate.OVERWRITTEN,
    Fate.KEPT,
    Fate.EXPIRED,
    Fate.OVERWRITTEN,
    Fate.DELETED,
    Fate.KEPT,
)


@dataclass(frozen=True)
class Sample:
    """A real file: its key, where it is, its place among the others."""

    name: str
    path: Path
    number: int

    @property
    def fate(self) -> Fate:
        """What the demo does with it."""
        return _FATES[self.number % len(_FATES)]

    def value(self) -> bytes:
        """Its bytes, as they are on disk now."""
        with local_file(self.path):
            return self.path.read_bytes()

    def expected(self) -> bytes:
        """What a read must return at the end."""
        return _MARK + self.value() if self.fate is Fate.OVERWRITTEN else self.value()


@dataclass(frozen=True)
class Found:
    """What a tour came to."""

    files: int
    steps: dict[str, float]
    growth: list[int]
    before: Status
    after: Status
    collect: CollectReport
    check: CheckReport
    differences: list[str]

    def document(self) -> dict[str, object]:
        """The same as one JSON document."""
        return {
            "files": self.files,
            "seconds": {step: round(seconds, 3) for step, seconds in self.steps.items()},
            "buckets_while_growing": self.growth,
            "before_collect": total(self.before),
            "after_collect": total(self.after),
            "collect": self.collect,
            "check": self.check,
            "differences": self.differences,
        }


@dataclass
class Tour:
    """Takes files through the life of a store.

    Args:
        output: where each step is told.
        clock: times the steps and waits for what expires.
        path: where the store will be.
        options: how it is opened.
    """

    output: Output
    clock: Clock
    path: Path
    options: StoreOptions
    steps: dict[str, float] = field(default_factory=dict)

    def take(self, samples: Sequence[Sample]) -> Found:
        """Go all the way; differences are collected, not raised."""
        with opened(self.path, self.options, create=True) as store:
            objects = store.namespace(NAMESPACE)
            growth = self._store(store, samples)
            self._overwrite(objects, samples)
            self._delete(objects, samples)
            still_there = self._expire(objects, samples)
            before = store.status()
            collected = self._collect(store)
            after = store.status()
        wrong, checked = self._second_life(samples)
        return Found(
            files=len(samples),
            steps=self.steps,
            growth=growth,
            before=before,
            after=after,
            collect=collected,
            check=checked,
            differences=still_there + wrong,
        )

    def _second_life(self, samples: Sequence[Sample]) -> tuple[list[str], CheckReport]:
        """Open what was closed, and hold it against the files."""
        left = [sample for sample in samples if sample.fate in {Fate.KEPT, Fate.OVERWRITTEN}]
        with ExitStack() as stack:
            with self._step("reopened") as tell:
                store = stack.enter_context(opened(self.path, self.options))
                tell("the store was closed and opened again")
            objects = store.namespace(NAMESPACE)
            wrong = self._list(objects, left) + self._compare(objects, left)
            return wrong, self._check(store)

    # -- the steps -------------------------------------------------------------

    def _store(self, store: Store, samples: Sequence[Sample]) -> list[int]:
        """Store every file; returns how many buckets there were along the way."""
        objects = store.namespace(NAMESPACE)
        every = max(_BATCH, len(samples) // _GROWTH_POINTS)
        growth = [len(store.status().buckets)]
        stored = size = 0
        with (
            self._step("stored") as tell,
            progress(self.output, "storing", len(samples)) as advance,
        ):
            for batch in _batches(samples):
                pairs = [(sample.name, sample.value()) for sample in batch]
                objects.put_many(pairs)
                size += sum(len(value) for _, value in pairs)
                if (stored + len(batch)) // every > stored // every:
                    growth.append(len(store.status().buckets))
                stored += len(batch)
                advance(len(batch), f"{growth[-1]} buckets")
            growth.append(len(store.status().buckets))
            tell(f"{counted(stored, 'file')}, {size_text(size)}, each group synced to the disk")
        self.output.say(f"{'':23}buckets: {' > '.join(map(str, growth))}")
        return growth

    def _overwrite(self, objects: Namespace, samples: Sequence[Sample]) -> None:
        chosen = _with_fate(samples, Fate.OVERWRITTEN)
        with self._step("overwritten") as tell:
            for batch in _batches(chosen):
                objects.put_many([(sample.name, sample.expected()) for sample in batch])
            tell(f"{counted(len(chosen), 'file')}, with a line more")

    def _delete(self, objects: Namespace, samples: Sequence[Sample]) -> None:
        chosen = _with_fate(samples, Fate.DELETED)
        with self._step("deleted") as tell:
            for sample in chosen:
                objects.delete(sample.name)
            tell(f"{counted(len(chosen), 'file')}, one by one")

    def _expire(self, objects: Namespace, samples: Sequence[Sample]) -> list[str]:
        """Give some files a short life and wait; returns those that are there after it."""
        chosen = _with_fate(samples, Fate.EXPIRED)
        with self._step("expired") as tell:
            for batch in _batches(chosen):
                objects.put_many([(sample.name, sample.value()) for sample in batch], ttl=_TTL_S)
            self.clock.sleep(_TTL_S * 1.5)
            tell(f"{counted(len(chosen), 'file')}, stored again to live {_TTL_S} s, and waited")
        return [f"{one.name}: did not expire" for one in chosen if objects.exists(one.name)]

    def _collect(self, store: Store) -> CollectReport:
        with self._step("collected") as tell, watched(self.output, "collecting") as seen:
            report = store.collect(progress=seen)
            freed, moved = size_text(report.bytes_freed), size_text(report.bytes_moved)
            tell(f"{freed} given back, {moved} moved, {counted(report.segments, 'segment')}")
        return report

    def _list(self, objects: Namespace, left: Sequence[Sample]) -> list[str]:
        with self._step("listed") as tell:
            found = list(objects.list())
            top = sum(1 for _ in objects.list(recursive=False))
            keys, names = counted(len(found), "key"), counted(top, "name")
            tell(f"{keys} in byte order, {names} on the first level")
        wanted = sorted((sample.name for sample in left), key=str.encode)
        return [
            f"listed {is_there!r} where {should!r} belongs"
            for should, is_there in zip_longest(wanted, found)
            if should != is_there
        ]

    def _compare(self, objects: Namespace, left: Sequence[Sample]) -> list[str]:
        wrong = []
        with (
            self._step("read back") as tell,
            progress(self.output, "comparing", len(left)) as advance,
        ):
            for batch in _batches(left):
                values = objects.get_many([sample.name for sample in batch])
                for sample, value in zip(batch, values, strict=True):
                    if value != sample.expected():
                        wrong.append(f"{sample.name}: not the bytes of {sample.path}")
                advance(len(batch), shown(batch[-1].name)[-40:])
            same = len(left) - len(wrong)
            tell(f"{same:,} of {len(left):,} files equal those on disk, byte for byte")
        return wrong

    def _check(self, store: Store) -> CheckReport:
        with self._step("checked") as tell, watched(self.output, "checking") as seen:
            report = store.check(progress=seen)
            verdict = "all sound" if report.ok else f"{counted(len(report.problems), 'PROBLEM')}"
            read = f"{counted(report.records, 'record')} in {counted(report.buckets, 'bucket')}"
            tell(f"{read}: {verdict}")
        return report

    @contextmanager
    def _step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time a step and print one line for it; yields what takes its words."""
        words: list[str] = []
        begun = self.clock.monotonic_ns()
        yield words.append
        seconds = (self.clock.monotonic_ns() - begun) / 1e9
        self.steps[name] = seconds
        told = f"{seconds:7.2f} s  {' '.join(words)}"  # the time first: no line wraps at 80 columns
        self.output.say(Text.assemble((f"{name:12}", "bold"), told))


def _with_fate(samples: Sequence[Sample], fate: Fate) -> list[Sample]:
    return [sample for sample in samples if sample.fate is fate]


def _batches(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), _BATCH):
        yield samples[start : start + _BATCH]
