"""A place that the index names is never trusted: the record there confirms it, or it is damage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from xxhash import xxh3_64_intdigest

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint, no_pace
from holdfast.bucket.printing import PRINTS_LEAST, PRINTS_SLICE, grow_prints
from holdfast.bucket.seal import seal_all
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Corrupt
from holdfast.log.entry import ENTRY
from holdfast.store.store import Store
from holdfast.views.prints import ABSENT
from tests.growth.growing import in_memory

ONE, OTHER = b"acme\x00one", b"acme\x00two"


@pytest.fixture
def store() -> Iterator[Store]:
    with in_memory(MemoryDisk(), bucket_bytes=1 << 24) as (store, _):
        store.namespace("acme").put_many([("one", b"11111"), ("two", b"22222")])
        yield store


def only(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def mislead(bucket: Bucket) -> None:
    """Have the index say of one key that its value lies where the other's is."""
    one, other = (ENTRY.unpack(bucket.state.keys[key]) for key in (ONE, OTHER))
    bucket.state.keys[ONE] = ENTRY.pack(*one[:7], *other[7:])


@pytest.mark.parametrize("mapped", [False, True])
def test_an_entry_that_leads_elsewhere_gives_no_other_value(store: Store, *, mapped: bool) -> None:
    bucket = only(store)
    if mapped:
        with bucket.lock:
            bucket.log.switch(bucket.segment_state())
        seal_all(bucket)
        assert bucket.load(ONE) == b"11111"
        assert bucket.log.maps
    mislead(bucket)
    for read in (bucket.load, lambda key: bucket.read_extents(key, bucket.object(key).entry, 0, 5)):
        with pytest.raises(Corrupt):
            read(ONE)
    assert bucket.load(OTHER) == b"22222"


def test_what_must_not_wait_believes_it_no_more(store: Store) -> None:
    bucket = only(store)
    assert bucket.load_now(ONE) == (bucket.row(ONE), b"11111")
    mislead(bucket)
    assert bucket.load_now(ONE) == (bucket.row(ONE), None)
    assert bucket.load_now(OTHER) == (bucket.row(OTHER), b"22222")


def test_a_fingerprint_is_a_guess(store: Store) -> None:
    space = store.namespace("acme")
    pairs = [(f"k{number:05}", b"%05d" % number) for number in range(PRINTS_LEAST)]
    space.put_many(pairs)
    bucket = only(store)
    with bucket.lock:
        bucket.log.switch(bucket.segment_state())
    seal_all(bucket)
    checkpoint(bucket)
    grow_prints(bucket, no_pace)
    prints = bucket.prints
    assert prints is not None
    assert [space.get(key) for key, _ in pairs[:2]] == [b"00000", b"00001"]
    places = [xxh3_64_intdigest(b"acme\x00" + key.encode(), prints.seed) >> 1 for key, _ in pairs]
    assert ABSENT not in map(prints.find, places, [ABSENT] * len(places))
    prints._map[places[0]] = prints.find(places[1], ABSENT)
    assert [space.get(key) for key, _ in pairs[:2]] == [b"00000", b"00001"]


def test_a_close_does_not_wait_for_fingerprints(store: Store) -> None:
    """Of millions of keys they take seconds: who is called leaves the rest, and goes on later."""
    space = store.namespace("acme")
    space.put_many([(f"k{number:05}", b"") for number in range(PRINTS_LEAST)])
    bucket = only(store)
    checkpoint(bucket)
    slices = 0
    while bucket.prints is None:
        slices += 1
        grow_prints(bucket, no_pace, lambda: True)
        assert len(bucket.growing or ()) <= slices * PRINTS_SLICE
    assert len(bucket.prints) == PRINTS_LEAST + 2


def test_what_may_still_be_written_to_is_not_mapped(store: Store) -> None:
    bucket = only(store)
    with bucket.lock:
        bucket.log.switch(bucket.segment_state())
    store.namespace("acme").put("new", b"33333")
    assert [bucket.load(key) for key in (ONE, b"acme\x00new")] == [b"11111", b"33333"]
    assert not bucket.log.maps  # what has ended gets its key block yet
    seal_all(bucket)
    bucket.log.in_place = False
    assert bucket.load(ONE) == b"11111"
    assert not bucket.log.maps
    bucket.log.in_place = True
    assert bucket.load(ONE) == b"11111"
    assert len(bucket.log.maps) == 1


def test_what_must_not_wait_opens_no_file(store: Store) -> None:
    bucket = only(store)
    row, segment = bucket.row(ONE), bucket.log.active
    assert bucket.load_now(ONE) == (row, b"11111")
    segment.park()
    assert bucket.load_now(ONE) == (row, None)
    assert bucket.load(ONE) == b"11111"  # who may wait has it opened
    assert bucket.load_now(ONE) == (row, b"11111")


def test_what_must_not_wait_asks_no_index_that_is_not_in_memory(store: Store) -> None:
    bucket = only(store)
    checkpoint(bucket)
    bucket.cold = True
    assert bucket.load_now(ONE) is None
    store.namespace("acme").put("one", b"33333")
    found = bucket.load_now(ONE)
    assert found is not None
    assert found[1] == b"33333"
