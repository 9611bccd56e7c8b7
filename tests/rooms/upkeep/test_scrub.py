"""The scrub: what it reads, when, and what it finds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import holdfast
from holdfast.bucket import commit
from holdfast.bucket.seal import seal_all
from holdfast.engines.disk import OsDisk
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.limits import SCRUB_DAYS
from holdfast.log import records
from holdfast.log.keyblock import Row, build, columns
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import CountingDisk
from holdfast.upkeep import check
from holdfast.upkeep.failing import KEPT, Failures
from holdfast.upkeep.scrub import MARK, PERIOD_NS, SURVEY_NS, phase_ns
from holdfast.views.port import Table

DAY_NS = 86_400 * 1_000_000_000
BUCKET_BYTES = 512 * 1024  # segments of 32 KiB
STEPS = 200


class House:
    """A store whose disk and clock a test can reach; in memory unless told otherwise."""

    def __init__(self, disk: Disk | None = None, path: str = "data") -> None:
        self.clock = ManualClock()
        self.disk = CountingDisk(MemoryDisk())
        self.on = (disk or self.disk, path)
        self.store = self.opened()

    def opened(self) -> Store:
        disk, path = self.on
        return open_on(
            disk,
            path,
            sync="never",
            bucket_bytes=BUCKET_BYTES,
            clock=self.clock,
            entropy=SeededEntropy(1),
        )

    def fill(self, count: int = 150) -> None:
        ns = self.store.namespace("acme")
        for number in range(count):
            ns.put(f"k{number:03d}", bytes(1_000), consumers=["x"] if number % 10 == 0 else None)
        for number in range(0, count, 7):
            ns.append(f"k{number:03d}", b"more")
        for number in range(0, count, 15):  # too few for a collection
            ns.delete(f"k{number:03d}")
        ns.lock("k001", ttl=100)
        self.store.tick()

    def scrub_for(self, days: float, per_day: int = 24) -> list[str]:
        """What upkeep finds while so many days pass."""
        before = len(self.store.upkeep.failures)
        for _ in range(round(days * per_day)):
            self.clock.advance(DAY_NS // per_day)
            self.store.tick(60)
            while self.store.upkeep.scrub._work is not None:
                self.store.tick(60)
        return self.store.upkeep.failures[before:]

    def known(self) -> dict[int, int]:
        (bucket,) = self.store.placement.directory
        return dict(self.store.upkeep.scrub._known[bucket.id])


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    made.fill()
    yield made
    made.store.close()


def test_every_sealed_segment_is_found_good_once_in_the_period(house: House) -> None:
    (bucket,) = house.store.placement.directory
    begin = house.store._settings.time.now_ns()
    assert house.scrub_for(SCRUB_DAYS + 1) == []
    known = house.known()
    assert set(known) == bucket.log.sealed
    assert len(known) > 3
    assert all(when >= begin for when in known.values())
    assert house.store.upkeep.scrub.problems == []


def test_the_work_spreads_over_the_period(house: House) -> None:
    house.scrub_for(SCRUB_DAYS + 1)
    days = {when // DAY_NS for when in house.known().values()}
    assert len(days) >= len(house.known()) // 2
    (bucket,) = house.store.placement.directory
    assert all(0 <= phase_ns(bucket.id, number) < PERIOD_NS for number in range(1, 100))


def test_a_segment_is_read_whole_and_only_once(house: House) -> None:
    house.scrub_for(1)
    house.disk.reset()
    house.scrub_for(SCRUB_DAYS)
    (bucket,) = house.store.placement.directory
    sealed = sum(bucket.log.segment(number).size for number in bucket.log.sealed)
    assert sealed <= house.disk.bytes["read"] <= 2 * sealed


def test_what_was_found_good_is_remembered(tmp_path: Path) -> None:
    house = House(OsDisk(), str(tmp_path / "data"))
    house.fill()
    house.scrub_for(SCRUB_DAYS + 1)
    before = house.known()
    house.store.close()
    house.store = house.opened()
    house.scrub_for(0.1)
    (bucket,) = house.store.placement.directory
    assert bucket.view.get(Table.META, MARK) is not None
    assert {number: house.known()[number] for number in before} == before
    house.store.close()


def test_nothing_is_done_before_its_time(house: House) -> None:
    house.disk.reset()
    house.clock.advance(SURVEY_NS // 2)
    house.store.tick(60)
    assert house.store.upkeep.scrub._known == {}


def damage(house: House, number: int, offset: int) -> None:
    (bucket,) = house.store.placement.directory
    house.store.disk.open(f"data/log/{bucket.id}/{number:016x}.seg").write(offset, [b"\xff\xfe"])


def first_sealed(house: House) -> int:
    (bucket,) = house.store.placement.directory
    return min(bucket.log.sealed)


def test_damage_in_a_record_is_found_and_told(house: House) -> None:
    number = first_sealed(house)
    damage(house, number, 5_000)
    (told,) = house.scrub_for(SCRUB_DAYS)
    (problem,) = house.store.upkeep.scrub.problems
    assert "a group does not verify" in told
    assert f"segment {number} " in problem.position
    assert not house.store.check().ok


def test_damage_in_a_key_block_is_found_though_memory_holds_it(house: House) -> None:
    number = first_sealed(house)
    (bucket,) = house.store.placement.directory
    assert bucket.log.key_block(number) is not None
    damage(house, number, bucket.log.ended[number].stop + 100)
    (told,) = house.scrub_for(SCRUB_DAYS)
    assert "key block fails" in told


def test_a_row_that_a_view_lost_is_found(house: House) -> None:
    (bucket,) = house.store.placement.directory
    house.store.rebuild()
    key = b"acme\0k001"
    with bucket.view.writer() as writer:
        writer.delete(Table.KEYS, [key])
    (told,) = house.scrub_for(SCRUB_DAYS)
    assert "does not keep alive" in told
    assert not house.store.check().ok


def test_a_row_that_points_elsewhere_is_found(house: House) -> None:
    (bucket,) = house.store.placement.directory
    house.store.rebuild()
    row = bytearray(bucket.view.get(Table.KEYS, b"acme\0k001") or b"")
    row[44] ^= 1  # the offset of the value
    with bucket.view.writer() as writer:
        writer.put(Table.KEYS, [(b"acme\0k001", bytes(row))])
    told = house.scrub_for(SCRUB_DAYS)
    assert any("points elsewhere" in line for line in told)


def test_writers_collectors_and_growth_raise_no_alarm(house: House) -> None:
    ns = house.store.namespace("acme")
    told: list[str] = []
    for number in range(STEPS):
        for key in range(20):
            ns.put(f"k{(number * 7 + key) % 400:03d}", bytes(500 + number))
        if number % 20 == 0:
            house.store.collect()
        house.clock.advance(DAY_NS // 2)
        house.store.tick(60)  # a few slices only: the segment changes under the scrub
        told += house.store.upkeep.failures
    assert told == []
    assert len(list(house.store.placement.directory)) >= 1
    assert house.store.check().ok


def lacking(rows: list[Row]) -> list[Row]:
    return rows[:-1]


def disordered(rows: list[Row]) -> list[Row]:
    return [rows[1], rows[0], *rows[2:]]


def misleading(rows: list[Row]) -> list[Row]:
    wrong = bytearray(rows[0].entry)
    wrong[44] ^= 1  # the offset of the value
    return [rows[0]._replace(entry=bytes(wrong)), *rows[1:]]


@pytest.mark.parametrize("wrong", [lacking, disordered, misleading])
def test_a_key_block_that_does_not_tell_the_records_is_found(
    house: House, wrong: Callable[[list[Row]], list[Row]]
) -> None:
    """Its checksum is right: it was made so."""
    (bucket,) = house.store.placement.directory
    number = first_sealed(house)
    block = bucket.log.key_block(number)
    assert block is not None
    bucket.log.seal(number, *build([columns(wrong(list(block)))]))
    (told,) = house.scrub_for(SCRUB_DAYS)
    assert "key block differs from the records" in told


def test_a_segment_of_another_history_is_found(house: House) -> None:
    (bucket,) = house.store.placement.directory
    number = first_sealed(house)
    info = bucket.log.ended[number]
    bucket.log.ended[number] = msgspec.structs.replace(info, digest=info.digest ^ 1)
    (told,) = house.scrub_for(SCRUB_DAYS)
    assert "the groups are not those of the log" in told


def test_more_alive_than_is_counted_is_found(house: House) -> None:
    (bucket,) = house.store.placement.directory
    house.store.rebuild()
    bucket.view_tally.live[first_sealed(house)] -= 500
    (told,) = house.scrub_for(SCRUB_DAYS)
    assert "does not keep alive" in told


def test_a_segment_is_followed_by_a_rest(house: House) -> None:
    """However many are due, they are read at the pace of the budget."""
    house.scrub_for(SCRUB_DAYS + 1)
    begin = house.store._settings.time.now_ns() + 2 * PERIOD_NS
    house.clock.advance(2 * PERIOD_NS)
    for read in range(1, 4):
        for _ in range(20):
            house.store.tick(60)
        assert sum(when >= begin for when in house.known().values()) == read
        house.clock.advance(SURVEY_NS)


def test_a_value_that_was_written_with_another_check_is_found(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group verifies: whoever wrote it was mistaken."""
    with monkeypatch.context() as patched:
        patched.setattr(records, "check_of", lambda *_: 0)
        house.store.namespace("acme").put("odd", b"value", content_type="text/plain")
    (bucket,) = house.store.placement.directory
    with commit.alone(bucket):
        commit.switch(bucket)
    seal_all(bucket)
    told = house.scrub_for(SCRUB_DAYS)
    assert any("a value fails its checksum" in line for line in told)


def test_a_walk_over_a_bucket_ends_where_that_is_merged_away() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        ns = store.namespace("acme")
        ns.put_many([(f"k{number:05d}", b"v") for number in range(2 * check.PAGE)])
        (bucket,) = store.placement.directory
        rows = check._view_rows(bucket)
        next(rows)
        with commit.alone(bucket):
            bucket.close()
        assert len(list(rows)) == check.PAGE - 1


@pytest.mark.parametrize("part", [0, 0.5, 1])
def test_a_segment_that_was_cut_short_is_found(tmp_path: Path, part: float) -> None:
    house = House(OsDisk(), str(tmp_path / "data"))
    ns = house.store.namespace("acme")
    for number in range(150):  # nothing is dead: a collector has no reason to look
        ns.put(f"k{number:03d}", bytes(1_000))
    house.store.tick()
    number = first_sealed(house)
    (bucket,) = house.store.placement.directory
    length = bucket.log.segment(number).size
    os.truncate(
        tmp_path / "data" / "log" / bucket.id / f"{number:016x}.seg", int(part * (length - 1))
    )
    (told,) = house.scrub_for(SCRUB_DAYS + 1)
    assert "the segment is cut short" in told
    (problem,) = house.store.upkeep.scrub.problems
    assert f"segment {number} " in problem.position
    house.store.close()


def test_what_is_found_is_told_once_in_the_log_and_stands_in_the_status(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    assert house.store.status().problems == ()
    number = first_sealed(house)
    damage(house, number, 5_000)
    house.scrub_for(2 * SCRUB_DAYS + 2)
    (record,) = [one for one in caplog.records if one.name == "holdfast.upkeep"]
    assert record.levelname == "WARNING"
    assert f"segment {number} " in record.getMessage()
    (problem, *_) = house.store.status().problems
    assert f"segment {number} " in problem.position


def test_a_failure_that_comes_again_is_counted_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = Failures()
    for _ in range(3):
        failures.append("one")
    failures.extend(["two", "one"])
    assert (failures.total, len(failures)) == (5, 5)
    assert [one.getMessage() for one in caplog.records] == ["upkeep: one", "upkeep: two"]
    failures.extend(f"{number}" for number in range(KEPT))
    assert (failures.total, len(failures)) == (KEPT + 5, KEPT)
    failures.append("one")  # none of it is kept any more
    assert caplog.records[-1].getMessage() == "upkeep: one"
