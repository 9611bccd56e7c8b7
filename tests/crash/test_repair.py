"""Damage is one bucket's: the others go on, and what verifies is kept (rule 22)."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from holdfast.bucket import commit, fork
from holdfast.bucket.seal import seal_all
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Corrupt, HoldfastError, NotFound, StorageFailed
from holdfast.log.group import GROUP_HEAD_BYTES
from holdfast.log.header import SEGMENT_HEAD_BYTES
from holdfast.operations import Delete
from holdfast.operations import Store as Put
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import FOREVER, FailingDisk
from holdfast.testing.platter import copy_tree
from tests.segments import homes, segments

BUCKET_BYTES = 64 << 10
STATE_AT = SEGMENT_HEAD_BYTES + GROUP_HEAD_BYTES  # where a segment says what the log is
VALUES = {f"key/{number:03d}": bytes([number]) * 1_500 for number in range(120)}


def opened(disk: MemoryDisk | FailingDisk, seed: int = 2) -> Store:
    return open_on(
        disk,
        "store",
        bucket_bytes=BUCKET_BYTES,
        clock=ManualClock(),
        entropy=SeededEntropy(seed),
    )


@pytest.fixture(scope="module")
def base() -> MemoryDisk:
    disk = MemoryDisk()
    with opened(disk, 1) as store:
        space = store.namespace("n")
        for key, value in VALUES.items():
            space.put(key, value)
        for number in range(0, 120, 10):
            space.put(f"gone/{number}", b"x" * 100)
            space.delete(f"gone/{number}")
        store.tick(10)
        assert len(store.status().buckets) >= 3
    return disk


def copy_of(disk: MemoryDisk) -> MemoryDisk:
    return MemoryDisk(copy_tree(disk.root, {}))


def newest_of(disk: MemoryDisk) -> str:
    """The newest segment of a bucket in the middle."""
    bucket = segments(disk)[0].split("/")[2]
    return [path for path in segments(disk) if bucket in path][-1]


def spoil(disk: MemoryDisk, path: str, at: int, length: int = 1) -> None:
    file = disk.open(path)
    old = file.read(at, length)
    file.write(at, [bytes(byte ^ 0x20 for byte in old)])


def readable(store: Store) -> tuple[dict[str, bytes], int]:
    """What can be read, and how many keys are refused."""
    found, refused = {}, 0
    for key in VALUES:
        try:
            found[key] = store.namespace("n").get(key)
        except NotFound:
            continue
        except HoldfastError:
            refused += 1
    return found, refused


def mended(disk: MemoryDisk, store: Store, most_lost: int) -> None:
    """Repair, and hold what is left: nothing wrong, little missing, and it goes on."""
    report = store.check(repair=True)
    assert not report.ok
    assert any(problem.repaired for problem in report.problems)
    lost = [problem.what for problem in report.problems if problem.what.startswith("lost")]
    again = store.check()
    assert again.ok, again.problems
    for one in (store, opened(disk, 3)):
        found, refused = readable(one)
        assert refused == 0
        assert all(found[key] == VALUES[key] for key in found)
        missing = VALUES.keys() - found.keys()
        assert len(missing) <= most_lost
        assert bool(missing) <= bool(lost)
        assert not list(one.namespace("n").list("gone/"))
    version = one.namespace("n").put("key/000", VALUES["key/000"]).version
    assert version > 0
    one.namespace("n").put_many(VALUES)
    one.collect()
    assert one.check().ok
    assert dict(one.namespace("n").mapping()) == VALUES


def test_the_other_buckets_go_on(base: MemoryDisk) -> None:
    disk = copy_of(base)
    spoil(disk, newest_of(disk), 230)
    store = opened(disk)
    found, refused = readable(store)
    assert refused > 20
    assert len(found) > 40
    assert all(found[key] == VALUES[key] for key in found)
    report = store.check()
    assert not report.ok
    assert any("offset" in problem.position for problem in report.problems)
    with pytest.raises(Corrupt):
        list(store.namespace("n").list())
    store.tick(10)
    assert store.status().buckets


@pytest.mark.parametrize("number", range(12))
def test_what_verifies_is_kept(base: MemoryDisk, number: int) -> None:
    chance = Random(number)
    disk = copy_of(base)
    path = chance.choice(segments(disk))
    size = disk.open(path).size()
    spoil(disk, path, chance.randrange(200, size - 200), chance.choice((1, 40)))
    store = opened(disk)
    if store.check().ok:
        return  # behind the log's end, or within a torn tail that nobody vouched for
    mended(disk, store, most_lost=6)


def test_a_head_that_is_gone_loses_no_record(base: MemoryDisk) -> None:
    for path in segments(base):
        disk = copy_of(base)
        spoil(disk, path, 20)
        store = opened(disk)
        if not store.check().ok:
            mended(disk, store, most_lost=0)


def test_a_beginning_that_is_gone_loses_no_record(base: MemoryDisk) -> None:
    """What the newest segment holds is kept, though it does not tell the state any more."""
    for path in segments(base):
        disk = copy_of(base)
        spoil(disk, path, STATE_AT)
        mended(disk, opened(disk), most_lost=0)


def test_what_was_mended_grows_above_all_its_keys(base: MemoryDisk) -> None:
    """A child's only segment of its own told which the highest was of those that it shares."""
    for path in segments(base):
        disk = copy_of(base)
        spoil(disk, path, STATE_AT)
        store = opened(disk)
        store.check(repair=True)
        space = store.namespace("n")
        for key, value in VALUES.items():
            space.put(f"{key}/more", 2 * value)
        assert readable(store) == (VALUES, 0)


def test_a_log_that_ends_before_a_split_is_damaged_and_no_other() -> None:
    """One bad sector at its end, and its range lies over the child's again."""
    disk = MemoryDisk()
    with opened(disk, 1) as store:
        space, placement = store.namespace("n"), store.placement
        (parent,) = placement.directory
        space.put("key/000", VALUES["key/000"])
        whole = parent.log.stop
        child = fork.roll(parent, placement.new_id())
        assert child is not None
        placement.directory.add(child)
        space.put_many(VALUES)
        path = f"store/log/{parent.id}/{parent.log.number:016x}.seg"
    spoil(disk, path, whole, disk.open(path).size() - whole)
    store = opened(disk)
    found, refused = readable(store)
    assert (len(found), refused) == (len(VALUES) - 1, 1)
    mended(disk, store, most_lost=0)


def test_a_segment_that_is_gone_is_named(base: MemoryDisk) -> None:
    disk = copy_of(base)
    disk.unlink(segments(disk)[0])
    mended(disk, opened(disk), most_lost=60)


def test_a_repair_keeps_its_own_copy_where_the_highest_number_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The power goes right behind a merge, and the file that it brought is gone."""
    disk = MemoryDisk()
    store = opened(disk)
    space, placement = store.namespace("n"), store.placement
    low, high = dict(list(VALUES.items())[:20]), dict(list(VALUES.items())[20:40])
    space.put_many(list(low.items()))
    (left,) = placement.directory
    right = fork.roll(left, placement.new_id(), add=placement.directory.add)
    assert right is not None
    space.put_many(list(high.items()))
    fork.finish_moves(left)
    monkeypatch.setattr(fork, "go_on_above", lambda _: None)
    monkeypatch.setattr(fork, "checkpoint", lambda _: None)
    assert fork.merge(left, right)
    brought = max(number for number, info in left.log.ended.items() if info.origin == right.id)
    disk = copy_of(disk)
    disk.unlink(f"store/log/{left.id}/{brought:016x}.seg")
    store = opened(disk, 3)
    report = store.check(repair=True)
    assert any(problem.what.startswith("lost") for problem in report.problems)
    assert readable(store) == (low, 0)
    assert store.check().ok


def named_lost(store: Store) -> list[str]:
    """What a repair says that it could not keep."""
    return [p.what for p in store.check(repair=True).problems if p.what.startswith("lost")]


def test_an_object_that_lost_a_piece_is_what_it_was_before() -> None:
    """The pieces behind it are named: with them it would be what it never was."""
    disk = MemoryDisk()
    with opened(disk, 1) as store:
        space = store.namespace("n")
        space.put("log", b"A" * 50)
        for piece in (b"B" * 50, b"C" * 50, b"D" * 50):
            space.append("log", piece)
        path = segments(disk)[0]
    at = disk.open(path).read(0, 4096).find(b"B" * 50)
    spoil(disk, path, at + 7)
    store = opened(disk)
    lost = named_lost(store)
    assert [what.split(" version")[0] for what in lost[-2:]] == ["lost: append of n/log"] * 2
    for one in (store, opened(disk, 3)):
        assert one.check().ok
        assert one.namespace("n").get("log") == b"A" * 50
    assert store.namespace("n").append("log", b"E") == 51
    assert opened(disk, 4).namespace("n").get("log") == b"A" * 50 + b"E"


def test_what_was_added_to_a_lost_object_is_not_added_to_an_older_one() -> None:
    """Both are of one size: only the checksum of the whole tells them apart."""
    disk = MemoryDisk()
    with opened(disk, 1) as store:
        space = store.namespace("n")
        space.put("log", b"A" * 50)
        space.put("log", b"B" * 50)
        space.append("log", b"C" * 50)
        path = segments(disk)[0]
    spoil(disk, path, disk.open(path).read(0, 4096).find(b"B" * 50) + 7)
    store = opened(disk)
    assert any("append of n/log" in what for what in named_lost(store))
    assert store.namespace("n").get("log") == b"A" * 50
    assert store.check().ok


TOGETHER = {f"key/{number:03d}": b"value %03d;" % number * 9 for number in range(40)}
HEAD, NAME, VALUE, EXPIRY = range(4)  # what of a group is damaged


def written_together(*, sealed: bool) -> tuple[MemoryDisk, str, int]:
    """A store with a group of 40 new values that overwrite, and of 10 deletes."""
    disk = MemoryDisk()
    with opened(disk, 1) as store:
        space = store.namespace("n")
        space.put_many(dict.fromkeys((*TOGETHER, *map(str, range(10))), b"old"))
        (bucket,) = store.placement.directory
        at = bucket.log.stop
        stores = [Put(f"n\0{key}".encode(), key, value) for key, value in TOGETHER.items()]
        removals = [Delete(f"n\0{number}".encode(), str(number)) for number in range(10)]
        bucket.apply([*stores[:20], *removals, *stores[20:]], atomic=True)
        with commit.alone(bucket):
            commit.switch(bucket)
        if sealed:
            seal_all(bucket)
        path = segments(disk)[0]
    return disk, path, at


@pytest.mark.parametrize("where", [HEAD, NAME, VALUE, EXPIRY])
@pytest.mark.parametrize("sealed", [False, True])
def test_what_was_written_together_is_kept_one_by_one(where: int, *, sealed: bool) -> None:
    disk, path, at = written_together(sealed=sealed)
    file = disk.open(path)
    key = file.read(0, file.size()).find(b"key/030", at)
    spoil(disk, path, {HEAD: at + 9, NAME: key + 5, VALUE: key + 20, EXPIRY: key - 8}[where])
    store = opened(disk)
    lost = [what.split(" version")[0] for what in named_lost(store)]
    assert store.check().ok
    old = {"key/030"} if where == VALUE else set()
    names = [f"lost: store of n/{key}" for key in old]
    if where == NAME and not sealed:  # nor is the record behind it believed
        old, names = {"key/030", "key/031"}, ["lost: store of n/key/031"]
    assert [what for what in lost if not what.startswith("lost: bytes")] == names
    assert len(lost) - len(names) == (where in {NAME, EXPIRY} and not sealed)
    for one in (store, opened(disk, 3)):
        found = dict(one.namespace("n").mapping())
        if where == EXPIRY and not sealed:  # only the checksum of all of them covers it
            assert set(found.values()) == {b"old"}
        else:
            assert found == TOGETHER | dict.fromkeys(old, b"old")


def test_every_bucket_may_be_damaged(base: MemoryDisk) -> None:
    disk = copy_of(base)
    for path in segments(disk):
        spoil(disk, path, 900)
    store = opened(disk)
    assert readable(store)[1] > 60
    mended(disk, store, most_lost=40)


def test_a_repair_that_fails_leaves_everything_as_it_was(base: MemoryDisk) -> None:
    disk = copy_of(base)
    spoil(disk, segments(disk)[0], 700)
    before = readable(opened(copy_of(disk)))
    calls = FailingDisk(copy_of(disk), 0)
    opened(calls).check(repair=True)
    for number in range(1, calls.calls + 1):
        one = copy_of(disk)
        with suppress(StorageFailed):
            opened(FailingDisk(one, number, times=FOREVER)).check(repair=True)
        again = opened(one)
        found, refused = readable(again)
        assert all(found[key] == VALUES[key] for key in found)
        assert len(found) + refused >= 114
        if refused:
            assert (found, refused) == before
            mended(one, again, most_lost=6)


def test_a_misplaced_file_is_not_mended_away(base: MemoryDisk) -> None:
    disk = copy_of(base)
    first, second = homes(disk)[:2]
    source = segments(disk)[0]
    data = disk.open(source).read(0, 1 << 20)
    wrong = f"store/log/{second}/{77:016x}.seg"
    disk.open(wrong, create=True).write(0, [data])
    assert first in source
    with pytest.raises(Corrupt):
        opened(disk)
    assert disk.open(wrong).read(0, 1 << 20) == data
    disk.unlink(wrong)
    assert opened(disk).check().ok
