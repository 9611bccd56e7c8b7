"""Large objects: in parts across buckets, replaced, abandoned, streamed."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.bucket import fork
from holdfast.bucket.group import Gathering
from holdfast.bucket.hidden import part_key
from holdfast.bucket.read import Object
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import (
    Changed,
    HoldfastError,
    LimitExceeded,
    NotFound,
    Permanent,
    StorageFailed,
)
from holdfast.limits import MIB, READ_GRACE_NS
from holdfast.operations import Delete
from holdfast.operations import Store as Put
from holdfast.request import large
from holdfast.request.arguments import HIDDEN
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from holdfast.testing.disk import FullDisk
from tests.growth.growing import in_memory, tick_on

PART = MIB
DATA = Random(1).randbytes(10 * MIB + 12_345)
OTHER = Random(2).randbytes(7 * MIB + 1)


@pytest.fixture
def opened() -> Iterator[tuple[Store, ManualClock]]:
    with in_memory() as both:
        yield both


def read_on(file: io.RawIOBase, size: int = 300_000) -> bytes:
    pieces = []
    while piece := file.read(size):
        pieces.append(piece)
    return b"".join(pieces)


def alive(store: Store) -> int:
    return store.status().live_bytes


def test_one_object_spans_buckets_and_is_one_object(opened: tuple[Store, ManualClock]) -> None:
    store, clock = opened
    ns = store.namespace("acme")
    ns.put("large", DATA, content_type="video/x")
    tick_on(store, clock)
    status = store.status()
    assert len(status.buckets) >= 10
    assert status.live_bytes > len(DATA)
    assert ns.get("large") == DATA
    assert list(ns.list()) == ["large"]
    told = ns.stat("large")
    assert (told.size, told.content_type) == (len(DATA), "video/x")
    store.rebuild()
    assert ns.get("large") == DATA
    assert store.check().problems == ()
    ns.delete("large")
    with pytest.raises(NotFound):
        ns.get("large")


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 1),
        (PART - 1, PART + 1),
        (PART, 2 * PART),
        (3 * PART - 5, 7 * PART + 9),
        (10 * PART - 1, 10 * PART + 1),
        (10 * PART, len(DATA)),
        (0, len(DATA) + 99),
        (len(DATA), len(DATA) + 5),
        (5 * PART, 5 * PART),
    ],
)
def test_ranges_lie_across_borders(
    opened: tuple[Store, ManualClock], start: int, stop: int
) -> None:
    ns = opened[0].namespace("acme")
    ns.put("large", DATA)
    assert ns.get("large", range=(start, stop)) == DATA[start:stop]


@pytest.mark.parametrize("after", ["put", "delete", "large put"])
@pytest.mark.parametrize("read", [0, 3 * PART, 10 * PART + 5])
def test_what_was_opened_is_read_to_its_end_within_the_grace(
    opened: tuple[Store, ManualClock], after: str, read: int
) -> None:
    store, clock = opened
    ns = store.namespace("acme")
    ns.put("large", DATA)
    file = ns.open("large", "rb")
    begun = file.read(read)
    assert len(begun) == read  # fewer only at the end
    if after == "put":
        ns.put("large", b"small")
    elif after == "delete":
        ns.delete("large")
    else:
        ns.put("large", OTHER)
    store.collect()
    clock.advance(READ_GRACE_NS - 1)
    store.collect()
    tick_on(store, clock, 0)
    assert begun + read_on(file) == DATA
    clock.advance(1)
    store.collect()
    file.seek(0)
    with pytest.raises(Changed):
        read_on(file)
    assert alive(store) < (len(OTHER) if after == "large put" else 0) + 10_000
    if after == "large put":
        assert ns.get("large") == OTHER
    assert store.check().problems == ()


@pytest.mark.parametrize("after", ["put", "delete", "appends"])
def test_what_was_appended_is_read_as_it_was_opened_within_the_grace(after: str) -> None:
    """Over 1 MiB in records of the object's own, which go as soon as they are replaced."""
    with in_memory(bucket_bytes=32 * MIB) as (store, clock):
        ns = store.namespace("acme")
        pieces = [DATA[at : at + PART // 16] for at in range(0, 4 * PART, PART // 16)]
        for piece in pieces:
            ns.append("log", piece)
        files = [ns.open("log", "rb") for _ in range(2)]
        if after == "put":
            ns.put("log", b"new")
        elif after == "delete":
            ns.delete("log")
        else:
            for piece in pieces:  # what is there is joined
                ns.append("log", piece)
        for _ in range(2):
            store.collect()
            assert read_on(files[0]) == b"".join(pieces)
            files[0].seek(0)
            clock.advance(READ_GRACE_NS // 2 - 1)
        clock.advance(2)
        store.collect()
        with pytest.raises(Changed):
            read_on(files[1])
        assert store.check().ok


def test_what_a_reader_has_closed_goes() -> None:
    with in_memory(bucket_bytes=32 * MIB) as (store, _):
        ns = store.namespace("acme")
        for at in range(0, 4 * PART, PART // 16):
            ns.append("log", DATA[at : at + PART // 16])
        file = ns.open("log", "rb")
        ns.put("log", b"new")
        assert store.collect().bytes_freed < PART
        file.close()
        assert store.collect().bytes_freed > 3 * PART


@pytest.mark.parametrize("below", [True, False])
def test_what_is_read_is_kept_through_a_split(*, below: bool) -> None:
    with in_memory(bucket_bytes=32 * MIB) as (store, _):
        ns = store.namespace("acme")
        key = "a" if below else "z"
        for at in range(0, 4 * PART, PART // 16):
            ns.append(key, DATA[at : at + PART // 16])
        file = ns.open(key, "rb")
        (bucket,) = store.placement.directory
        child = fork.split(bucket, "0c" * 8, b"acme\0m")
        assert child is not None
        store.placement.directory.replace([bucket, child], ())
        ns.put(key, b"new")
        for bucket in store.placement.directory:
            bucket.finish_birth()
        store.collect()
        assert read_on(file) == DATA[: 4 * PART]


@pytest.mark.parametrize("after", ["put", "delete", "append"])
@pytest.mark.parametrize("appends", [0, 20])
def test_what_is_small_is_read_as_it_was_opened(
    opened: tuple[Store, ManualClock], after: str, appends: int
) -> None:
    """Its bytes lie in records that go when it is replaced: no grace holds them."""
    store, _ = opened
    ns = store.namespace("acme")
    ns.put("small", DATA[:5_000])
    for _ in range(appends):
        ns.append("small", DATA[:5_000])
    was = ns.get("small")
    file = ns.open("small", "rb")
    _replace(store, after)
    assert read_on(file) == was


@pytest.mark.parametrize("after", ["put", "append"])
def test_who_looks_while_it_is_replaced_reads_what_is_there_now(
    opened: tuple[Store, ManualClock], monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """Between an entry and the bytes it names these may be written again and given back."""
    store, _ = opened
    ns = store.namespace("acme")

    def late(key: bytes) -> Object:
        found = kept(key)
        monkeypatch.undo()
        _replace(store, after)
        return found

    def whole() -> bytes:
        with ns.open("small", "rb") as file:
            return read_on(file)

    for read in (whole, lambda: ns.get("small"), lambda: ns.get("small", range=(0, MIB))):
        ns.put("small", DATA[:5_000])
        ns.append("small", DATA[:5_000])
        bucket = store.placement.directory.find(b"acme\0small")
        kept = bucket.object
        monkeypatch.setattr(bucket, "object", late)
        assert read() == ns.get("small")
        assert bucket.object == kept


def _replace(store: Store, how: str) -> None:
    """Replace an object and give back the space of what it was."""
    ns = store.namespace("acme")
    if how == "put":
        ns.put("small", b"other")
    elif how == "delete":
        ns.delete("small")
    else:
        for _ in range(70):  # more than an entry lists: those before are joined
            ns.append("small", DATA[:5_000])
    ns.put("much", DATA[:60_000])
    ns.delete("much")
    for _ in range(3):
        store.collect("copying")


def test_ticks_alone_remove_what_was_replaced(opened: tuple[Store, ManualClock]) -> None:
    store, clock = opened
    ns = store.namespace("acme")
    ns.put("large", DATA)
    ns.put("large", b"small")
    tick_on(store, clock, 40)
    assert alive(store) > len(DATA) - PART
    clock.advance(READ_GRACE_NS)
    tick_on(store, clock, 40)
    assert alive(store) < 10_000


def test_a_file_that_is_being_written_keeps_its_parts(
    opened: tuple[Store, ManualClock],
) -> None:
    store, clock = opened
    ns = store.namespace("acme")
    file = ns.open("large", "wb")
    for at in range(0, len(DATA), 777_777):
        file.write(DATA[at : at + 777_777])
        if at % 3 == 0:
            store.collect()
        clock.advance(READ_GRACE_NS)
    with pytest.raises(NotFound):
        ns.get("large")
    file.close()
    store.collect()
    assert ns.get("large") == DATA


@pytest.mark.parametrize("how", ["abandoned", "left by an error", "forgotten"])
def test_parts_of_a_file_that_was_not_closed_go(
    opened: tuple[Store, ManualClock], how: str
) -> None:
    store, clock = opened
    ns = store.namespace("acme")
    ns.put("large", b"old")
    file = ns.open("large", "wb")
    file.write(DATA)
    assert alive(store) > 9 * PART
    if how == "abandoned":
        file.abandon()  # type: ignore[attr-defined]
    elif how == "left by an error":
        with pytest.raises(ZeroDivisionError), file:
            raise ZeroDivisionError
    del file
    clock.advance(60 * 10**9)
    tick_on(store, clock, 40)
    assert alive(store) < 10_000
    assert ns.get("large") == b"old"


@pytest.mark.parametrize("killed_after", range(0, 12, 3))
def test_parts_of_a_process_that_died_go(tmp_path: Path, killed_after: int) -> None:
    path = tmp_path / "data"
    store = holdfast.open(path, bucket_bytes=65_536, upkeep=False)
    store.namespace("acme").put("large", b"old")
    file = store.namespace("acme").open("large", "wb")
    file.write(DATA[: killed_after * PART + 5])
    store._owners.release()
    with holdfast.open(path, upkeep=False) as again:
        assert again.namespace("acme").get("large") == b"old"
        again.collect()
        assert alive(again) < 10_000
        assert again.check().problems == ()
    del file


def test_a_part_that_is_missing_is_found(opened: tuple[Store, ManualClock]) -> None:
    store, _ = opened
    ns = store.namespace("acme")
    ns.put("large", DATA)
    hidden = b"acme" + HIDDEN
    for bucket in store.placement.directory:
        page, _ = bucket.page(bucket.start, bucket.stop, 10)
        parts = [key for key, _ in page if key.startswith(hidden)]
        if parts:
            bucket.apply_one(Delete(parts[0], "", "dropped"))
            break
    with pytest.raises(HoldfastError) as caught:
        ns.get("large")
    assert caught.value.code == "corrupt"
    (problem,) = store.check().problems
    assert "1 parts of a large object are missing" in problem.what


def test_appends_beyond_what_an_entry_can_list_become_parts(
    opened: tuple[Store, ManualClock],
) -> None:
    store, _ = opened
    ns = store.namespace("acme")
    piece = Random(3).randbytes(PART)
    whole = b""
    for number in range(70):
        part = piece[number:] + piece[:number]
        whole += part
        assert ns.append("log", part) == len(whole)
    assert ns.get("log") == whole
    assert (
        ns.get("log", range=(63 * PART - 7, 66 * PART + 7)) == whole[63 * PART - 7 : 66 * PART + 7]
    )
    store.collect()
    store.rebuild()
    assert ns.get("log") == whole
    assert alive(store) < len(whole) * 1.01 + 100_000
    assert store.check().problems == ()


@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("was", [0, 100, 3 * MIB + 100])
def test_an_append_that_the_disk_refuses_midway_added_nothing(sync: str, was: int) -> None:
    disk = FullDisk(MemoryDisk(), 9 * MIB)
    with in_memory(disk, bucket_bytes=MIB, sync=sync) as (store, _):
        ns = store.namespace("acme")
        ns.put("log", DATA[:was])
        with pytest.raises(StorageFailed):
            ns.append("log", DATA[: 9 * MIB - 10_000 - was])
        assert ns.get("log") == DATA[:was]
        assert store.check().problems == ()


@pytest.mark.parametrize("before", [0, 1, 62])
def test_a_large_append_is_one_change(opened: tuple[Store, ManualClock], before: int) -> None:
    """Its records become visible together, though extents have to become parts before."""
    store, _ = opened
    ns = store.namespace("acme")
    for _ in range(before):
        ns.append("log", DATA[:MIB])
    bucket = store.placement.directory.find(b"acme\0log")
    sizes = []
    publish = bucket.publish

    def published(group: Gathering) -> None:
        publish(group)
        sizes.append(ns.stat("log").size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket, "publish", published)
        assert ns.append("log", DATA) == before * MIB + len(DATA)
    assert set(sizes) <= {before * MIB, before * MIB + len(DATA)}
    assert ns.get("log") == DATA[:MIB] * before + DATA
    store.rebuild()
    assert ns.get("log") == DATA[:MIB] * before + DATA
    assert store.check().problems == ()


def test_a_batch_with_a_large_value_is_one_change_of_its_bucket() -> None:
    with in_memory(bucket_bytes=64 * MIB) as (store, _):
        ns = store.namespace("acme")
        ns.put("kept", b"", permanent=True)
        bucket = store.placement.directory.find(b"acme\0a")
        seen = []
        publish = bucket.publish

        def published(group: Gathering) -> None:
            publish(group)
            seen.append(list(ns.list()))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bucket, "publish", published)
            ns.put_many([("a", b"1"), ("large", DATA), ("b", b"2"), ("more", OTHER)])
        assert {len(keys) for keys in seen} == {1, 5}
        assert ns.get_many(["a", "b", "large", "more"]) == [b"1", b"2", DATA, OTHER]
        with pytest.raises(Permanent) as caught:
            ns.put_many([("a", b"3"), ("kept", DATA), ("large", OTHER)])
        assert caught.value.facts["index"] == 1
        assert ns.get_many(["a", "kept", "large"]) == [b"3", b"", OTHER]
        assert alive(store) < 3 * len(DATA) + len(OTHER)  # the second time DATA was given up
        with pytest.raises(LimitExceeded):
            ns.put_many([("a", b"4"), ("large", DATA)] * 5_001)
        assert ns.get_many(["a", "large"]) == [b"3", OTHER]
        assert store.check().problems == ()


@pytest.mark.push
def test_what_is_too_much_for_one_change_is_appended_in_several(
    opened: tuple[Store, ManualClock],
) -> None:
    ns = opened[0].namespace("acme")
    whole = DATA * 7
    assert len(whole) > large.APPEND_BYTES
    assert ns.append("log", whole) == len(whole)
    assert ns.append("log", whole) == 2 * len(whole)
    assert ns.get("log") == whole * 2


@pytest.mark.push
def test_streams_take_constant_memory(tmp_path: Path) -> None:
    size = 96 * MIB
    chunk = Random(4).randbytes(MIB // 2)
    with holdfast.open(tmp_path / "data", sync="never", upkeep=False) as store:
        ns = store.namespace("acme")
        tracemalloc.start()
        with ns.open("large", "wb") as out:
            for _ in range(size // len(chunk)):
                out.write(chunk)
        total = 0
        with ns.open("large", "rb") as file:
            while piece := file.read(len(chunk)):
                assert piece == chunk
                total += len(piece)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == size == ns.stat("large").size
        assert peak < 12 * MIB


def test_reading_byte_by_byte_reads_each_part_once(opened: tuple[Store, ManualClock]) -> None:
    store, _ = opened
    ns = store.namespace("acme")
    ns.put("large", DATA[: 2 * PART + 10])
    file = ns.open("large", "rb")
    file.seek(PART - 2)
    assert b"".join(file.read(1) for _ in range(4)) == DATA[PART - 2 : PART + 2]
    assert file._window[0] == PART  # type: ignore[attr-defined]
    file.seek(-12, io.SEEK_END)
    assert read_on(file, 5) == DATA[2 * PART - 2 : 2 * PART + 10]


def test_a_place_that_is_none_is_refused(opened: tuple[Store, ManualClock]) -> None:
    store, _ = opened
    ns = store.namespace("acme")
    ns.put("a", b"abc")
    file = ns.open("a", "rb")
    for offset, whence in ((0, 9), (0, -1), (-4, io.SEEK_END)):
        with pytest.raises(ValueError, match=r"whence|negative"):
            file.seek(offset, whence)
    assert file.read() == b"abc"


def test_parts_that_nobody_knows_go(opened: tuple[Store, ManualClock]) -> None:
    """No note of the object's bucket names their upload: only a key says that they are parts."""
    store, _ = opened
    key, upload = b"acme\0big", b"u" * 16
    hidden = part_key(key, upload, 0)
    store.corridor.write(Put(hidden, "big", b"part"))
    assert store.placement.directory.find(hidden).peek_entry(hidden) is not None
    store.collect()
    assert store.placement.directory.find(hidden).peek_entry(hidden) is None
