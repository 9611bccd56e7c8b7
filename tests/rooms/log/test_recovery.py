"""Where a log ends, and what is damage: rules 1, 5 and 22 on single buckets of one store."""

from __future__ import annotations

import errno
from collections.abc import Callable
from threading import Event, Thread

import pytest
from crc32c import crc32c
from xxhash import xxh3_64_intdigest

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.settings import Sync
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import (
    Corrupt,
    FormatTooNew,
    HoldfastError,
    NotFound,
    OutcomeUnknown,
    StorageFailed,
)
from holdfast.limits import SECOND_NS
from holdfast.log.group import GROUP_HEAD_BYTES, Kind, scan, seal_head
from holdfast.log.header import SEGMENT_HEAD_BYTES, unpack_head
from holdfast.log.records import Type, encode
from holdfast.store import Namespace, Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import FOREVER, FailingDisk
from holdfast.testing.platter import copy_tree
from holdfast.upkeep.upkeep import QUIET_S
from tests.rooms.gate import Gate
from tests.segments import homes, segments

BUCKET_BYTES = 64 << 10


class Machine:
    """A disk, a clock, and the store that is open on them."""

    def __init__(self, sync: Sync = "always") -> None:
        self.disk = MemoryDisk()
        self.clock = ManualClock()
        self.sync = sync
        self.seed = 0

    def open(self, disk: Disk | None = None) -> Store:
        self.seed += 1
        return open_on(
            disk or self.disk,
            "store",
            sync=self.sync,
            bucket_bytes=BUCKET_BYTES,
            clock=self.clock,
            entropy=SeededEntropy(self.seed),
        )

    def segments(self) -> list[str]:
        """The paths of all segments, oldest first."""
        return segments(self.disk)

    def data(self, path: str) -> bytes:
        file = self.disk.open(path)
        return file.read(0, file.size())

    def groups(self, path: str) -> list[tuple[int, int, int]]:
        """Start, stop and kind of each group of a segment."""
        data = self.data(path)
        digest = unpack_head(data[:SEGMENT_HEAD_BYTES], path).digest
        found = scan(data[SEGMENT_HEAD_BYTES:], SEGMENT_HEAD_BYTES, len(data), digest)
        return [(group.head.start, group.head.stop, group.head.kind) for group in found]

    def flip(self, path: str, at: int) -> None:
        file = self.disk.open(path)
        (byte,) = file.read(at, 1)
        file.write(at, [bytes([byte ^ 4])])


@pytest.fixture
def machine() -> Machine:
    return Machine()


def space_of(store: Store) -> Namespace:
    return store.namespace("n")


def only(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def damage(machine: Machine) -> Corrupt:
    """What is wrong with the one bucket: it refuses reads and writes, and ``check`` says why."""
    store = machine.open()
    with pytest.raises(Corrupt) as refused:
        list(space_of(store).list())
    with pytest.raises(StorageFailed):
        space_of(store).put("more", b"x")
    assert str(refused.value.position) in [problem.position for problem in store.check().problems]
    return refused.value


# -- rule 1: failed writes ------------------------------------------------------------


def test_a_failed_sync_ends_the_segment_where_it_was_durable(machine: Machine) -> None:
    store = machine.open()
    space_of(store).put("kept", b"1")
    durable = only(store).log.durable
    store.close()
    disk = FailingDisk(machine.disk, 1, kinds={"sync"})
    disk_calls = quiet_calls(machine)
    disk = FailingDisk(machine.disk, disk_calls + 1, kinds={"sync"})
    store = machine.open(disk)
    before = only(store).log.durable
    with pytest.raises(StorageFailed) as refused:
        space_of(store).put("failed", b"2")
    assert refused.value.errno == "EIO"
    head = unpack_head(machine.data(machine.segments()[-1])[:SEGMENT_HEAD_BYTES], "")
    assert (head.previous, head.previous_stop) == (before.segment, before.stop)
    assert head.previous_digest == before.digest
    assert durable.segment == before.segment
    assert space_of(store).put("next", b"3").version > 2
    again = machine.open()  # the failed bytes are all there, and are no part of the log
    assert list(space_of(again).list()) == ["kept", "next"]
    assert again.check().ok


def quiet_calls(machine: Machine) -> int:
    """How many syncs an opening takes."""
    disk = FailingDisk(MemoryDisk(copy_tree(machine.disk.root, {})), 0, kinds={"sync"})
    machine.open(disk)
    return disk.calls


def test_what_was_decided_on_a_group_that_failed_fails_with_it(machine: Machine) -> None:
    disk = Gate(machine.disk, "sync", refuses=True)
    store = machine.open(disk)
    bucket, space = only(store), space_of(store)
    told: list[object] = []

    def write(work: Callable[[str, bytes], object], value: bytes) -> None:
        try:
            told.append(work("a", value))
        except HoldfastError as error:
            told.append(type(error))

    disk.shut = True
    threads = [Thread(target=write, args=(work, b"1")) for work in (space.put, space.append)]
    threads[0].start()
    assert disk.entered.wait(30)
    threads[1].start()  # sees what the first will leave, and joins the group behind it
    for _ in range(30_000):
        if bucket.gathering is not None and bucket.gathering.count:
            break
        Event().wait(0.001)
    disk.go.set()
    for thread in threads:
        thread.join(30)
    assert told == [StorageFailed, StorageFailed]
    assert not space.exists("a")
    assert space.append("a", b"3") == 1
    again = machine.open()
    assert space_of(again).get("a") == b"3"
    assert again.check().ok


def test_a_version_that_failed_is_never_given_again(machine: Machine) -> None:
    machine.open().close()
    disk = FailingDisk(machine.disk, quiet_calls(machine) + 2, kinds={"sync"})
    store = machine.open(disk)
    first = space_of(store).put("a", b"1").version
    with pytest.raises(StorageFailed):
        space_of(store).put("a", b"2")
    second = space_of(store).put("a", b"3").version
    assert second > first + 1


def test_without_a_new_segment_the_bucket_only_reads_until_it_is_opened(
    machine: Machine,
) -> None:
    with machine.open() as store:
        space_of(store).put("kept", b"1")
    disk = FailingDisk(machine.disk, quiet_calls(machine) + 1, kinds={"sync"}, times=FOREVER)
    store = machine.open(disk)
    with pytest.raises(OutcomeUnknown):
        space_of(store).put("unknown", b"2")
    assert space_of(store).get("kept") == b"1"
    with pytest.raises(NotFound):
        space_of(store).get("unknown")
    with pytest.raises(StorageFailed):
        space_of(store).put("more", b"3")
    again = machine.open()
    assert space_of(again).get("kept") == b"1"
    space_of(again).put("more", b"3")


def test_without_a_new_segment_the_bucket_only_reads_until_there_is_room(machine: Machine) -> None:
    with machine.open() as store:
        space_of(store).put("kept", b"1")
    disk = FailingDisk(machine.disk, quiet_calls(machine) + 1, kinds={"sync"}, times=FOREVER)
    store = machine.open(disk)
    with pytest.raises(OutcomeUnknown):
        space_of(store).put("unknown", b"2")
    store.tick(10)
    with pytest.raises(StorageFailed):
        space_of(store).put("more", b"3")
    disk._span = range(0)  # the disk works again
    store.tick(10)
    space_of(store).put("more", b"3")
    for there in (store, machine.open()):
        assert list(space_of(there).list()) == ["kept", "more"]


@pytest.mark.parametrize("sync", ["interval", "never"])
def test_a_flush_names_the_versions_that_may_be_lost(sync: Sync) -> None:
    machine = Machine(sync)
    machine.open().close()
    disk = FailingDisk(machine.disk, 1, kinds={"sync"}, times=FOREVER)
    disk = FailingDisk(machine.disk, quiet_calls(machine) + 1, kinds={"sync"}, times=FOREVER)
    store = machine.open(disk)
    receipts = [space_of(store).put(f"k{number}", b"x") for number in range(3)]
    for _ in range(2):  # as often as somebody asks
        with pytest.raises(OutcomeUnknown) as lost:
            store.flush()
        first, last = lost.value.facts["first_version"], lost.value.facts["last_version"]
        assert isinstance(first, int)
        assert isinstance(last, int)
        assert first <= receipts[0].version < receipts[-1].version <= last
    with pytest.raises(StorageFailed):
        space_of(store).put("k3", b"x")


def test_a_full_disk_answers_by_name(machine: Machine) -> None:
    machine.open().close()
    calls = FailingDisk(MemoryDisk(copy_tree(machine.disk.root, {})), 0, kinds={"write"})
    machine.open(calls)
    disk = FailingDisk(machine.disk, calls.calls + 1, error=errno.ENOSPC, kinds={"write"})
    store = machine.open(disk)
    with pytest.raises(StorageFailed) as refused:
        space_of(store).put("a", b"1")
    assert refused.value.errno == "ENOSPC"
    space_of(store).put("a", b"2")
    assert space_of(store).get("a") == b"2"


@pytest.mark.parametrize("sync", ["interval", "never"])
def test_what_was_answered_is_saved_before_a_failed_write_cuts_the_log(sync: Sync) -> None:
    machine = Machine(sync)
    machine.open().close()
    calls = FailingDisk(MemoryDisk(copy_tree(machine.disk.root, {})), 0, kinds={"write"})
    machine.open(calls)
    disk = FailingDisk(machine.disk, calls.calls + 2, kinds={"write"})
    store = machine.open(disk)
    space_of(store).put("answered", b"1")
    with pytest.raises(StorageFailed):
        space_of(store).put("failed", b"2")
    space_of(store).put("next", b"3")
    again = machine.open()
    assert dict(space_of(again).mapping()) == {"answered": b"1", "next": b"3"}
    assert again.check().ok


# -- rule 5: torn tail or damage ----------------------------------------------------------


@pytest.fixture
def three(machine: Machine) -> tuple[Machine, str]:
    """A log of three puts whose process was killed, and its segment."""
    store = machine.open()
    for name in ("a", "b", "c"):
        space_of(store).put(name, name.encode() * 50)
    (path,) = machine.segments()
    return machine, path


def test_bytes_that_end_early_are_a_torn_tail(three: tuple[Machine, str]) -> None:
    machine, path = three
    start, stop, _ = machine.groups(path)[-1]
    for cut in (start + 1, start + GROUP_HEAD_BYTES, stop - 1):
        disk = MemoryDisk(copy_tree(machine.disk.root, {}))
        whole = disk.open(path).read(0, cut)
        disk.unlink(path)
        disk.open(path, create=True).write(0, [whole])
        store = machine.open(disk)
        assert list(space_of(store).list()) == ["a", "b"]
        space_of(store).put("d", b"goes on")
        assert store.check().ok
        assert list(space_of(machine.open(disk)).list()) == ["a", "b", "d"]


def test_the_last_group_before_a_crash_cannot_be_told_apart(three: tuple[Machine, str]) -> None:
    machine, path = three
    start, stop, _ = machine.groups(path)[-1]
    machine.flip(path, (start + stop) // 2)
    assert list(space_of(machine.open()).list()) == ["a", "b"]


def test_a_group_before_the_last_is_damage_with_its_position(three: tuple[Machine, str]) -> None:
    machine, path = three
    start, stop, _ = machine.groups(path)[-2]
    for at in (start + 9, start + GROUP_HEAD_BYTES + 5, stop - 1):
        machine.flip(path, at)
        assert f"offset {start}" in str(damage(machine).position)
        machine.flip(path, at)
    assert list(space_of(machine.open()).list()) == ["a", "b", "c"]


def test_an_idle_bucket_vouches_for_its_last_group(machine: Machine) -> None:
    store = machine.open()
    space_of(store).put("a", b"vouched for")
    for _ in range(4):
        machine.clock.advance(2 * SECOND_NS)
        store.tick(10)
    path = machine.segments()[-1]
    start, stop, _ = next(
        group for group in reversed(machine.groups(path)) if group[2] == Kind.RECORDS
    )
    machine.flip(path, stop - 3)
    assert f"offset {start}" in str(damage(machine).position)


def test_an_idle_bucket_vouches_within_a_second(machine: Machine) -> None:
    """However late upkeep looks first, and as seldom as it looks where all is quiet."""
    store = machine.open()
    for first_ns in range(0, round(QUIET_S * SECOND_NS), SECOND_NS // 50):
        space_of(store).put("a", b"1")
        written = only(store).log.position
        machine.clock.advance(first_ns)
        passed_ns = first_ns
        while only(store).log.position == written:
            store.tick()
            machine.clock.advance(round(QUIET_S * SECOND_NS))
            passed_ns += round(QUIET_S * SECOND_NS)
        assert passed_ns - round(QUIET_S * SECOND_NS) <= SECOND_NS


def test_a_close_vouches_for_everything(machine: Machine) -> None:
    with machine.open() as store:
        space_of(store).put("a", b"vouched for")
    path = machine.segments()[-1]
    start, stop, kind = machine.groups(path)[-2]
    assert kind == Kind.RECORDS
    machine.flip(path, (start + stop) // 2)
    assert f"offset {start}" in str(damage(machine).position)


def test_damage_in_an_ended_segment_is_found_where_it_is_read(machine: Machine) -> None:
    with machine.open() as store:
        for number in range(20):
            space_of(store).put(f"k{number}", bytes([number]) * 3_000)
        store.collect()
    first = machine.segments()[0]
    start, stop, _ = machine.groups(first)[1]
    machine.flip(first, (start + stop) // 2)
    report = machine.open().check()
    assert not report.ok
    assert any("offset" in problem.position for problem in report.problems)


# -- rule 22: files in the wrong place --------------------------------------------------------


def test_a_segment_of_another_bucket_is_refused_and_not_touched(machine: Machine) -> None:
    store = machine.open()
    for number in range(40):
        space_of(store).put(f"k{number:02d}", bytes([number]) * 3_000)
    store.close()
    assert len(homes(machine.disk)) >= 2
    source = machine.segments()[0]
    target = next(f"store/log/{home}" for home in homes(machine.disk) if home not in source)
    misplaced = f"{target}/{99:016x}.seg"
    machine.disk.open(misplaced, create=True).write(0, [machine.data(source)])
    with pytest.raises(Corrupt) as refused:
        machine.open()
    assert refused.value.what == "this segment belongs elsewhere"
    assert machine.data(misplaced) == machine.data(source)
    machine.disk.unlink(misplaced)
    assert machine.open().check().ok


def test_a_segment_of_another_store_is_refused(machine: Machine) -> None:
    machine.open().close()
    other = Machine()
    other.seed = 7
    other.open().close()
    (path,) = machine.segments()
    (theirs,) = other.segments()
    home = path.rpartition("/")[0]
    machine.disk.open(f"{home}/{9:016x}.seg", create=True).write(0, [other.data(theirs)])
    with pytest.raises(Corrupt) as refused:
        machine.open()
    assert refused.value.what == "this segment belongs elsewhere"


def test_a_missing_segment_is_damage(machine: Machine) -> None:
    with machine.open() as store:
        for number in range(20):
            space_of(store).put(f"k{number}", bytes([number]) * 3_000)
    first, *others = machine.segments()
    assert others
    machine.disk.unlink(first)
    assert damage(machine).what == "segment is missing"


def test_a_log_that_is_refused_keeps_all_of_its_files(machine: Machine) -> None:
    with machine.open() as store:
        for number in range(20):
            space_of(store).put(f"k{number}", bytes([number]) * 3_000)
    first = machine.segments()[0]
    unborn = f"{first.rpartition('/')[0]}/{99:016x}.seg"
    machine.disk.open(unborn, create=True).write(0, [b"\x00" * 512])
    machine.disk.unlink(first)
    assert damage(machine).what == "segment is missing"
    assert machine.data(unborn) == b"\x00" * 512


# -- later formats -------------------------------------------------------------------------------


def test_a_later_segment_format_is_refused(machine: Machine) -> None:
    machine.open().close()
    (path,) = machine.segments()
    head = bytearray(machine.data(path)[:SEGMENT_HEAD_BYTES])
    head[8] += 1
    digest = xxh3_64_intdigest(bytes(head[:-8])).to_bytes(8, "little")
    machine.disk.open(path).write(0, [bytes(head[:-8]) + digest])
    before = machine.data(path)
    with pytest.raises(FormatTooNew):
        machine.open()
    assert machine.data(path) == before


@pytest.mark.parametrize("kind", [Kind.RECORDS, Kind.CONTROL])
def test_a_later_record_is_refused(machine: Machine, kind: Kind) -> None:
    store = machine.open()
    space_of(store).put("a", b"1")
    log = only(store).log
    body = b"".join(encode(99, b"n\0k", b"from tomorrow", 1_000, 0))
    head, _ = seal_head(kind, 1, len(body), crc32c(body), log.synced, log.digest)
    machine.disk.open(machine.segments()[-1]).write(log.stop, [head, body])
    with pytest.raises(FormatTooNew):
        machine.open()


def test_record_numbers_are_not_reused() -> None:
    assert {kind.name: int(kind) for kind in Type} | {"INTEND": 40} == {
        "STORE": 1,
        "APPEND": 2,
        "DELETE": 3,
        "EXPIRE": 4,
        "UNREFERENCED": 5,
        "CONSUMERS": 6,
        "LOCK": 7,
        "UNLOCK": 8,
        "UPLOAD": 9,
        "RELEASE": 10,
        "JOIN": 11,
        "SESSION": 12,
        "CHARGE": 13,
        "STATE": 32,
        "SPLIT": 33,
        "BORN": 34,
        "MERGE": 35,
        "RETIRED": 36,
        "DROP": 37,
        "TIME": 38,
        "CLOSE": 39,
        "INTEND": 40,
        "PURSE": 41,
    }
