"""BigMap's conventions, and its ten known mistakes, none of which is made again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

import holdfast
from holdfast import Moved, Store
from holdfast.adapters.bigmap import BigMap, told


@pytest.fixture
def store() -> Iterator[Store]:
    with holdfast.open(":memory:", upkeep=False, bucket_bytes=1 << 16) as opened:
        yield opened


@pytest.fixture
def big(store: Store) -> BigMap:
    return BigMap(store.namespace("big"))


def grown(big: BigMap, count: int = 300) -> dict[bytes, bytes]:
    pairs = {bytes((n % 256, n // 256)) + b"key": bytes((n % 251,)) * 1_000 for n in range(count)}
    assert big.batch_put(pairs.items()) == count
    return pairs


def buckets(big: BigMap) -> int:
    return len(json.loads(big.status())["data_buckets"])


def test_the_conventions(big: BigMap) -> None:
    assert big.put(b"\xff\x00", b"four") == 4
    assert big.put(b"empty", b"") == 0
    assert big.put(b"", b"no key") == 0
    assert big.put(b"k" * 1_025, b"long") == 0
    assert big.get(b"empty") == b""
    assert big.get(b"none") is None
    assert big.append(b"a", b"12") == 2
    assert big.append(b"a", b"345") == 5
    assert big.delete(b"a") == 5
    assert big.delete(b"a") == 0
    assert big.batch_put([(b"x", b"1"), (b"", b"2"), (b"y", b"")]) == 2
    assert big.list() == [b"empty", b"x", b"y", b"\xff\x00"]
    assert big.list(b"\xff") == [b"\xff\x00"]
    assert json.loads(big.maintenance()) == {"status": "Good", "message": "Finished maintenance"}


def test_searching(big: BigMap) -> None:
    assert big.put_and_fts_index(b"doc alpha", "Quick foxes") == 11
    assert big.batch_put_and_fts_index([(b"doc beta", "a quick dog"), (b"", "nothing")]) == 2
    assert big.search("QUICK unheard-of") == (
        2,
        [(b"doc alpha", b"Quick foxes"), (b"doc beta", b"a quick dog")],
    )
    assert big.search("alpha fox")[0] == 1
    assert big.search("the") == (0, [])
    assert big.search("") == (0, [])
    assert big.put_and_fts_index(b"doc beta", "a slow cat") == 10
    assert big.search("dog") == (0, [])  # what was indexed again forgets its old words
    big.remove_from_fts_index(b"doc alpha", "whatever")
    big.remove_from_fts_index(b"nobody")
    assert big.search("fox") == (0, [])
    assert big.get(b"doc alpha") == b"Quick foxes"
    big.put_and_fts_index(b"doc gamma", "fox")  # and nobody takes another's number
    assert big.search("fox") == (1, [(b"doc gamma", b"fox")])
    big.batch_put_and_fts_index([(b"many %d" % n, "bird") for n in range(30)])
    total, pairs = big.search("bird")
    assert (total, len(pairs)) == (30, 20)


def test_1_a_bound_anywhere_loses_no_key(big: BigMap) -> None:
    pairs = grown(big)
    assert buckets(big) > 3
    assert {key: big.get(key) for key in pairs} == pairs
    assert big.list() == sorted(pairs)


def test_2_what_has_not_moved_is_found_while_the_map_grows(big: BigMap) -> None:
    pairs = grown(big, 50)
    for number in range(200):
        big.put(b"new%03d" % number, b"x" * 1_000)
        key = list(pairs)[number % len(pairs)]
        assert big.get(key) == pairs[key]
        assert big.lookup_data_bucket_for_get(key) == big.lookup_data_bucket_for_put(key)
    assert big.lookup_data_bucket_for_get(b"absent") is None


def test_3_moving_brings_nothing_old_back(big: BigMap) -> None:
    pairs = grown(big)
    for key in list(pairs)[::2]:
        big.delete(key)
    for key in list(pairs)[1::2]:
        big.put(key, b"newer")
    big.maintenance()
    assert set(map(big.get, list(pairs)[::2])) == {None}
    assert set(map(big.get, list(pairs)[1::2])) == {b"newer"}


def test_4_an_item_larger_than_a_batch_moves_too(big: BigMap) -> None:
    value = bytes(range(256)) * 8_192
    assert big.put(b"large", value) == 2 << 20
    grown(big)
    big.maintenance()
    assert big.get(b"large") == value


def test_5_keys_at_a_bound_belong_to_one_bucket(big: BigMap, store: Store) -> None:
    grown(big)
    for bucket in store.status().buckets:
        if bucket.start is not None and bucket.start[0] == "big":
            key = bucket.start[1].encode("latin-1")
            assert big.put(key, b"here") == 4
            assert big.lookup_data_bucket_for_get(key) == bucket.id
            assert big.get(key) == b"here"
    assert big.put(b"\xff" * 512, b"last") == 4
    assert big.get(b"\xff" * 512) == b"last"


def test_6_an_append_counts_once(big: BigMap) -> None:
    before = json.loads(big.status())["used_bytes_total"]
    big.append(b"a", b"x" * 10_000)
    big.append(b"a", b"x" * 10_000)
    used = json.loads(big.status())["used_bytes_total"] - before
    assert 20_000 <= used < 20_500


def test_7_bytes_are_not_cut_to_32_bits(store: Store) -> None:
    one = msgspec.structs.replace(store.status().buckets[0], live_bytes=5 << 30)
    assert json.loads(told([one, one]))["used_bytes_total"] == 10 << 30


def test_8_the_first_put_finds_a_bucket(big: BigMap) -> None:
    assert big.put(b"first", b"1") == 1


def test_9_a_bucket_asked_beyond_its_range_says_so(big: BigMap, store: Store) -> None:
    pairs = grown(big)
    first, last = min(pairs), max(pairs)
    place = big.lookup_data_bucket_for_get(first)
    assert place is not None
    assert place != big.lookup_data_bucket_for_get(last)
    with pytest.raises(Moved):
        store.bucket(place).get("big", last.decode("latin-1"))


def test_10_maintenance_from_everywhere_at_once(big: BigMap) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(big.maintenance) for _ in range(8)]
        pairs = grown(big)
    assert {json.loads(one.result())["status"] for one in done} == {"Good"}
    assert {key: big.get(key) for key in pairs} == pairs


def test_what_can_be_no_key_is_not_there(big: BigMap) -> None:
    for key in (b"", b"k" * 1_025, b"\xff" * 600):
        assert big.put(key, b"v") == big.append(key, b"v") == big.delete(key) == 0
        assert big.get(key) is None
        assert big.lookup_data_bucket_for_get(key) is None
        assert big.lookup_data_bucket_for_put(key) is None


def test_keys_that_others_wrote_are_passed_over(big: BigMap, store: Store) -> None:
    big.put(b"\xe6", b"v")
    store.namespace("big").put("\u6771", b"v")
    assert big.list() == [b"\xe6"]
