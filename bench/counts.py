"""Counts that do not jitter: what one operation asks of the disk.

``python -m bench.counts`` prints them, ``--write`` keeps them in
``bench/results.json``; ``tests/bench/test_counts.py`` fails when they change.
Calls are those of the ``Disk`` port, which the real disk turns into one system
call each (pwrite or pwritev, fdatasync, pread); what LMDB does for a checkpoint
is not among them. User bytes are the key's and the value's.

Everything runs on one thread with a clock that stands still and upkeep off, so
two runs differ only where the code does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench import report, results
from bench.compare.ours import Counted, counted
from bench.data import KEY_BYTES, key_at, values

if TYPE_CHECKING:
    from holdfast.testing.disk import Kind

FILE = Path(__file__).parent / "results.json"
Count = dict[str, float]
Argument = TypeVar("Argument")

_KIB = 1_024
_MIB = 1 << 20
_MANY = 100
_KINDS: dict[str, Kind] = {
    "writes": "write",
    "syncs": "sync",
    "reads": "read",
    "maps": "map",
    "creates": "create",
    "folder syncs": "sync_folder",
}


def take(folder: Path) -> dict[str, Count]:
    """Every count, from stores made in ``folder``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     take(Path(folder))["durable put, 1 KiB"]["syncs"]  # doctest: +SKIP
    1.0
    """
    found: dict[str, Count] = {}
    for durability in ("always", "never"):
        name = "durable" if durability == "always" else "unsynced"
        with counted(folder / durability, durability) as store:
            found |= {f"{name} {what}": count for what, count in _writes(store)}
    with counted(folder / "reads", "never") as store:
        found |= _reads(store)
    with counted(folder / "reads", "never") as store:
        found["get, 1 KiB, after open"] = _gets(store)
    with counted(folder / "updates", "always") as store:
        found |= _updates(store)
    return found


def _writes(store: Counted) -> Iterable[tuple[str, Count]]:
    small, large = values(_KIB)[0], values(_MIB)[0]
    put, put_many = store.namespace.put, store.namespace.put_many
    keys = [key_at(index) for index in range(2 * _MANY * _MANY)]
    put(keys[0], small)  # the first write of a store begins its log
    singles, batched = keys[1 : _MANY + 1], keys[_MANY + 1 : 11 * _MANY + 1]
    batches = [batched[at : at + _MANY] for at in range(0, len(batched), _MANY)]
    user = KEY_BYTES + _KIB
    yield (
        "put, 1 KiB",
        _count(store, singles, lambda key: put(key, small), user),
    )
    yield (
        "put_many of 100, 1 KiB",
        _count(
            store, batches, lambda batch: put_many([(key, small) for key in batch]), _MANY * user
        ),
    )
    yield (
        "put, 1 MiB",
        _count(store, keys[-10:], lambda key: put(key, large), KEY_BYTES + _MIB),
    )
    yield (
        "put, 10 MiB in parts",
        _count(store, keys[-11:-10], lambda key: put(key, large * 10), KEY_BYTES + 10 * _MIB),
    )
    yield (
        "delete",
        _count(store, singles, store.namespace.delete, KEY_BYTES),
    )


def _reads(store: Counted) -> dict[str, Count]:
    pool = values(_KIB)
    store.namespace.put_many([(key_at(index), pool[0]) for index in range(1_000)])
    return {
        "get, 1 KiB, just written": _gets(store),
        "get_many of 100, 1 KiB": _count(
            store, [[key_at(index) for index in range(_MANY)]], store.namespace.get_many
        ),
        "list of 1,000": _count(
            store, [""], lambda prefix: list(store.namespace.list(prefix, limit=1_000))
        ),
        "stat": _count(store, [key_at(1)], store.namespace.stat),
        "exists": _count(store, [key_at(1)], store.namespace.exists),
    }


def _gets(store: Counted) -> Count:
    return _count(store, [key_at(index) for index in range(_MANY)], store.namespace.get)


def _updates(store: Counted) -> dict[str, Count]:
    """What must not depend on the size of the value it concerns."""
    namespace = store.namespace
    small, large = values(_KIB)[0], values(_MIB)[0]
    namespace.put("small", small)
    namespace.put("large", large)
    namespace.put("log", b"")
    found = {
        "append of 1 KiB": _count(
            store, [small] * 10, lambda data: namespace.append("log", data), _KIB
        )
    }
    for key, size in (("small", "1 KiB"), ("large", "1 MiB")):
        found[f"consumer set on a {size} value"] = _count(
            store, [key], lambda held: namespace.consumers(held).set(["reader"])
        )
    found["lock and release"] = _count(
        store, ["small"], lambda key: namespace.lock(key, ttl=30).release()
    )
    return found


def _count(
    store: Counted,
    arguments: Iterable[Argument],
    call: Callable[[Argument], object],
    user_bytes: int = 0,
) -> Count:
    """Calls of the disk for each operation, and bytes for each user byte where there are any."""
    listed = list(arguments)
    store.disk.reset()
    for argument in listed:
        call(argument)
    count = {
        name: store.disk.calls[kind] / len(listed)
        for name, kind in _KINDS.items()
        if store.disk.calls[kind]
    }
    written = store.disk.bytes["write"] / len(listed)
    if user_bytes:
        count["bytes written / user byte"] = round(written / user_bytes, 4)
    elif written:
        count["bytes written"] = written
    return count


def main() -> None:
    """Print the counts; keep them where ``--write`` says so."""
    parser = argparse.ArgumentParser(prog="python -m bench.counts", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"keep them in {FILE.name}")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = take(Path(folder))
    sys.stdout.write(report.render(results.Results(counts=found)))
    if asked.write:
        kept = results.read(FILE)
        kept.counts = found
        results.write(FILE, kept)


if __name__ == "__main__":
    main()
