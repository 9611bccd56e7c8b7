"""Values that look like groups of a log: who stores them learns nothing and forges nothing."""

from __future__ import annotations

from crc32c import crc32c

from holdfast.engines.memory import MemoryDisk
from holdfast.log.group import Kind, seal_head
from holdfast.log.records import Type, encode
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from tests.segments import homes, segments

FORGED = b"FORGED"


def opened(disk: MemoryDisk, seed: int) -> Store:
    return open_on(disk, "store", clock=ManualClock(), entropy=SeededEntropy(seed), upkeep=False)


def group_like(synced_to: int, body: bytes = b"", count: int = 0) -> bytes:
    head, _ = seal_head(Kind.RECORDS, count, len(body), crc32c(body), synced_to, 0)
    return head + body


def newest(disk: MemoryDisk) -> str:
    (*_, last) = (path for path in segments(disk) if homes(disk)[0] in path)
    return last


def rewrite(disk: MemoryDisk, path: str, data: bytes) -> None:
    disk.unlink(path)
    disk.open(path, create=True).write(0, [data])


def stored(value: bytes) -> tuple[MemoryDisk, str, bytes]:
    """A store in which mallory stored a value last, its newest segment and what is in it."""
    disk = MemoryDisk()
    store = opened(disk, 1)
    store.namespace("victim").put("safe", b"1")
    store.namespace("mallory").put("bad", value)
    path = newest(disk)
    file = disk.open(path)
    return disk, path, file.read(0, file.size())


def test_a_torn_value_of_fakes_is_a_torn_tail() -> None:
    """Each fake claims that much before it was durable: the tail would be damage, for everybody."""
    fakes = b"".join(group_like(guess) for guess in range(1, 4_000, 16))
    disk, path, data = stored(fakes.ljust(20_000, b"\0"))
    rewrite(disk, path, data[: data.rindex(fakes) + 19_990])
    store = opened(disk, 2)
    assert store.namespace("victim").get("safe") == b"1"
    assert not store.namespace("mallory").exists("bad")
    assert store.check().ok


def test_a_repair_takes_no_record_from_within_a_damaged_value() -> None:
    record = b"".join(encode(Type.STORE, b"victim\0safe", FORGED, 1 << 60, 0))
    disk, path, data = stored(group_like(0, record, 1).ljust(5_000, b"x"))
    at = data.rindex(b"xxxx")
    rewrite(disk, path, data[:at] + b"y" + data[at + 1 :])
    store = opened(disk, 2)
    store.check(repair=True)
    assert store.namespace("victim").get("safe") == b"1"
