"""Steps that workloads share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from bench.compare import Engine, Key, Pair, start
from bench.data import key_at, scattered
from bench.spec import Job

_LOAD_BATCH = 1_000
_LOAD_BYTES = 32 << 20
_CHECKED = 200  # written values read back after the clock has stopped


class WrongValueError(Exception):
    """An engine answered something else than what was stored: its figure is worth nothing."""

    def __init__(self, key: Key) -> None:
        """``key`` is the key that was read."""
        super().__init__(f"wrong value at {key!r}")


def opened(job: Job) -> Engine:
    """The job's engine on the job's folder."""
    return start(job.engine, Path(job.folder), job.setting)


def pairs(engine: Engine, indexes: Iterable[int], pool: Sequence[bytes]) -> Iterator[Pair]:
    """The numbered objects, keys as the engine likes them."""
    native, size = engine.native, len(pool)
    for index in indexes:
        yield native(key_at(index)), pool[index % size]


def batches(items: Iterable[Pair], size: int) -> Iterator[list[Pair]]:
    """The items in lists of ``size``, the last one shorter."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def fill(engine: Engine, keys: int, pool: Sequence[bytes], batch: int = _LOAD_BATCH) -> None:
    """Store the keys numbered below ``keys``, in scattered order."""
    batch = max(1, min(batch, _LOAD_BYTES // len(pool[0])))
    for group in batches(pairs(engine, scattered(0, keys), pool), batch):
        engine.put_many(group)


def check(engine: Engine, indexes: Sequence[int], pool: Sequence[bytes]) -> None:
    """Read some of the numbered objects back; raise WrongValueError where one differs."""
    step = max(1, len(indexes) // _CHECKED)
    for key, value in pairs(engine, indexes[::step], pool):
        if engine.get(key) != value:
            raise WrongValueError(key)


def overlay_share(engine: Engine, keys: int) -> float | None:
    """The part of ``keys`` that is in the overlay now; None where the engine cannot say."""
    held = engine.overlay_keys()
    return None if held is None or not keys else min(1.0, held / keys)
