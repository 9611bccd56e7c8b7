"""Stores as this version writes them, kept for every later one to open.

A store of a few hundred small objects over some buckets has everything in it
that a store can have: rolls, splits, merges, appends, parts, reference lists,
locks, expiries, long keys. It is kept four times: closed, as a killed process
leaves it, killed in the middle of a merge, and as a backup.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import holdfast
from holdfast import Namespace, Store
from holdfast.log.header import SegmentInfo
from holdfast.log.log import Log
from holdfast.testing import ManualClock, SeededEntropy

HERE = Path(__file__).resolve().parent
STORES = HERE / "stores"
PROJECT = HERE.parent.parent / "pyproject.toml"
ARCHIVE = "stores.tar.xz"
EXPECTED = "expected.json"
KINDS = ("closed", "killed", "merging", "backup")
NOW = 1_700_000_000_000_000_000
LATER = NOW + 100_000_000_000  # after every advance of the clock below
BUCKET_BYTES = 1 << 16

Told = dict[str, dict[str, dict[str, Any]]]  # namespace -> key -> what is known of it


def open_store(folder: Path, clock: ManualClock) -> Store:
    """Open one of these stores, or begin it."""
    return holdfast.open(
        folder,
        sync="never",
        clock=clock,
        entropy=SeededEntropy(7),
        bucket_bytes=BUCKET_BYTES,
        upkeep=False,
    )


def told(store: Store) -> Told:
    """Everything that a caller can see, but for the names of buckets."""
    return {name: dict(_objects(store.namespace(name))) for name in store.namespaces()}


def _objects(ns: Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    for stat in ns.entries():
        known = {name: getattr(stat, name) for name in stat.__struct_fields__}
        del known["bucket"], known["key"]
        known["digest"] = digest_of(ns.get(stat.key))
        known["consumers"] = [
            consumer if isinstance(consumer, str) else consumer.hex()
            for consumer in ns.consumers(stat.key).list()
        ]
        yield stat.key, known


def digest_of(value: bytes) -> str:
    """Enough to tell one value from another."""
    return hashlib.sha256(value).hexdigest()[:16]


def text(number: int) -> bytes:
    """A value that packs well."""
    return b"object %d, again and again; " % number * 30


def _grow(store: Store, clock: ManualClock) -> None:
    """Fill buckets from the right edge and from the middle."""
    ns = store.namespace("acme")
    for number in range(250):
        ns.put(f"ascending/{number:04d}", text(number))
        ns.put(f"scattered/{number * 7919 % 1000:04d}", text(number)[: number * 3])
        clock.advance(10_000_000)
    for number in range(0, 250, 2):
        ns.put(f"ascending/{number:04d}", b"overwritten %d" % number)
    store.collect()
    store.tick(10)


def _leave(store: Store, clock: ManualClock) -> None:
    """Leave splits unfinished, writes unabsorbed, the dead uncollected, neighbours unmerged."""
    ns = store.namespace("acme")
    for number in range(60):
        ns.put(f"scattered/{number * 10:04d}x", text(number))
    for number in range(40, 240):
        ns.delete(f"ascending/{number:04d}")
        ns.delete(f"scattered/{number * 7919 % 1000:04d}")
    with ns.lock("fenced", ttl=30) as lock:
        ns.put("fenced", b"by a lock", fence=lock.fence)
    ns.put("ending", b"expired, and still on the disk", ttl=1)
    ns.put("unreferenced", b"still held", consumers=["job-8"])
    ns.put("unreferenced", b"marked, and still to be collected", consumers=[])
    clock.advance(2_000_000_000)


def _fill(store: Store, clock: ManualClock) -> None:
    """One of everything else."""
    ns = store.namespace("acme")
    ns.put("typed", b"{}", content_type="application/json")
    ns.put("kept", b"for ever", permanent=True)
    ns.put("released", b"no longer", permanent=True)
    ns.release("released")
    ns.put("short", b"gone by the time this is read", ttl=5)
    ns.put("long", b"there for a year", ttl="365d")
    ns.put("held", b"by two", consumers=["job-7", b"\x00\xff"])
    ns.put("marked", b"by none any more", consumers=["job-7"])
    ns.consumers("marked").remove(["job-7"])
    ns.put("appended", text(0))
    for number in range(70):
        ns.append("appended", b"line %d\n" % number)
    ns.put("large", bytes(range(256)) * 4096 + b"and a tail")
    ns.append("large", b", and more")
    ns.put("replaced", bytes(1 << 20) + b"once")
    ns.put("replaced", b"small now")
    for number in range(5):
        ns.put("k" * 1000 + str(number), b"a long key %d" % number)
    ns.put("grüße/\N{SNOWMAN}", b"snow")
    store.namespace("Other.namespace-2").put("a", b"")
    ns.lock("locked", ttl=3600)
    clock.advance(10_000_000_000)


def write_store() -> Path:
    """Write the stores of this version; where they are."""
    version: str = tomllib.loads(PROJECT.read_text())["project"]["version"]
    folder = STORES / version
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        clock = ManualClock(NOW)
        closed, killed, merging, backup = (Path(work, kind) for kind in KINDS)
        with open_store(closed, clock) as store:
            for act in (_fill, _grow, _leave):
                act(store, clock)
            expected = told(store)
            shutil.copytree(closed, killed)
            store.backup(backup)
            with _copied_while_merging(closed, merging):
                store.placement.shrink()
        Path(work, EXPECTED).write_text(json.dumps(expected, indent=1, sort_keys=True))
        with tarfile.open(folder / ARCHIVE, "w:xz", preset=9) as archive:
            for name in (EXPECTED, *KINDS):
                archive.add(Path(work, name), name, filter=_plain)
    return folder


@contextmanager
def _copied_while_merging(source: Path, target: Path) -> Iterator[None]:
    """Copy the folder once a merge is decided and nothing that follows from it was done."""
    adopt = Log.adopt

    def copy_first(log: Log, info: SegmentInfo) -> None:
        if not target.exists():
            shutil.copytree(source, target)
        adopt(log, info)

    with mock.patch.object(Log, "adopt", copy_first):
        yield


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What is kept of a file: neither its owner nor bytes that mean nothing."""
    if Path(member.name).name.startswith(("reserve", "lock.mdb")):
        return None
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member
