"""Records that verify and say what cannot be: a typed error or none, whatever reads them.

Whoever can write the disk can write checksums, too.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest

from holdfast.bucket import commit
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import HoldfastError
from holdfast.log.group import Kind
from holdfast.log.records import Type, encode
from holdfast.testing.clock import ManualClock
from tests.crash.test_refusals import copy_of, opened

ELSEWHERE = ["../../../elsewhere", b"", b"\xff", 1, 2, []]
VALUES = [
    b"",
    b"\xff",
    b"\x93\x01",
    b"\x90",
    b"\xc1" * 40,
    msgspec.msgpack.encode([1, 2, 3]),
    msgspec.msgpack.encode([[1, 2]]),
    msgspec.msgpack.encode(ELSEWHERE),
]


@pytest.mark.parametrize("kind", [Kind.CONTROL, Kind.RECORDS], ids=["control", "records"])
@pytest.mark.parametrize("record", Type, ids=lambda record: record.name)
def test_what_cannot_be_is_told_as_such(record: Type, kind: Kind) -> None:
    for value in VALUES:
        disk = _disk_with(record, kind, value)
        with suppress(HoldfastError):
            _use(disk, repair=False)
        with suppress(HoldfastError):
            _use(disk, repair=True)
        assert disk.list("") == ["store"], value  # an id that is a path leads nowhere


def _disk_with(record: Type, kind: Kind, value: bytes) -> MemoryDisk:
    """A store whose log ends with such a record, as a crash leaves it."""
    disk, clock = MemoryDisk(), ManualClock()
    store = opened(disk, clock, "always", 1)
    store.namespace("n").put("k", b"1")
    (bucket,) = store.placement.directory
    key = b"n\0k" if kind is Kind.RECORDS else b""
    with commit.alone(bucket):
        buffers = encode(record, key, value, bucket.next_version(), bucket.time.now_ns())
        bucket.log.append(buffers, 1, sum(map(len, buffers)), kind)
        bucket.log.sync()
    return copy_of(disk)


def _use(disk: MemoryDisk, *, repair: bool) -> None:
    with opened(disk, ManualClock(), "always", 2) as store:
        ns = store.namespace("n")
        for call in (lambda: ns.get("k"), lambda: ns.stat("k"), lambda: list(ns.list())):
            with suppress(HoldfastError):
                call()
        store.check(repair=repair)
        store.tick(1)
        with suppress(HoldfastError):
            store.collect()
        store.rebuild()
