"""Growth: a store of small buckets cuts itself up, and nobody who reads or writes can tell."""
# ruff: noqa: D102, PLR2004, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from itertools import pairwise

import pytest

from holdfast.errors import Closed, CrossBucket, LockHeld, Moved, Permanent
from holdfast.testing.conformance.base import SuiteBase, fill, patterned
from holdfast.testing.face import NamespaceFace, StoreFace
from holdfast.values import Place

KEYS = [f"k/{number:04d}" for number in range(600)]


def value_of(key: str, round_: int = 0) -> bytes:
    """1 KiB that belongs to this key and this round."""
    return f"{key}#{round_};".encode().ljust(1_024, b"v")


def load(ns: NamespaceFace, round_: int = 0) -> None:
    """600 keys of 1 KiB: ten buckets of 64 KiB."""
    for start in range(0, len(KEYS), 50):
        ns.put_many([(key, value_of(key, round_)) for key in KEYS[start : start + 50]])


class GrowthTests(SuiteBase):
    """What holds across buckets; some of it only where there are many (``grows``)."""

    def require_growth(self) -> None:
        """Skip where everything lives in one bucket."""
        if not self.grows:
            pytest.skip("this store keeps everything in one bucket")

    def test_the_buckets_make_up_the_whole(self, store: StoreFace, ns: NamespaceFace) -> None:
        load(ns)
        buckets = store.status().buckets
        assert len(buckets) > 5 or not self.grows
        assert len({bucket.id for bucket in buckets}) == len(buckets)
        held = [bucket for bucket in buckets if bucket.state != "spare"]
        held.sort(key=lambda bucket: (bucket.start is not None, bucket.start or ("", "")))
        assert held[0].start is None
        assert held[-1].stop is None
        for left, right in pairwise(held):
            assert left.stop == right.start

    def test_every_key_is_in_exactly_one_bucket(self, store: StoreFace, ns: NamespaceFace) -> None:
        load(ns)
        for key in KEYS[::7]:
            place = store.locate("acme", key)
            assert store.bucket(place.bucket).get("acme", key) == value_of(key)
            assert ns.stat(key).bucket == place.bucket

    def test_a_full_store_that_is_closed_takes_nothing(
        self, store: StoreFace, ns: NamespaceFace
    ) -> None:
        load(ns)
        store.close()
        for key in (KEYS[0], KEYS[-1], "z"):
            with pytest.raises(Closed):
                ns.put(key, b"")
            with pytest.raises(Closed):
                ns.put_many([(key, b"")])

    def test_everything_is_listed_once_and_in_order(self, ns: NamespaceFace) -> None:
        load(ns)
        assert list(ns.list()) == KEYS
        assert [entry.key for entry in ns.entries("k/03")] == KEYS[300:400]
        assert list(ns.list(after=KEYS[299], limit=3)) == KEYS[300:303]

    def test_one_level_across_buckets(self, ns: NamespaceFace) -> None:
        # Rule 10: one-level lists seek past each "directory", across buckets too.
        load(ns)
        fill(ns, ["a", "z/1"])
        assert list(ns.list(recursive=False)) == ["a", "k/", "z/"]
        assert not ns.stat("k").terminal

    def test_overwriting_reads_the_newest(self, ns: NamespaceFace) -> None:
        # icsp 2.2 (2): a key written before and after growth answered its old value;
        # bigmap 4.2 (3): moving laid an old value over a newer one.
        for round_ in range(3):
            load(ns, round_)
        assert ns.get_many(KEYS) == [value_of(key, 2) for key in KEYS]
        assert list(ns.list()) == KEYS

    def test_what_was_just_put_is_read(self, ns: NamespaceFace) -> None:
        # icsp 2.2 (1): a write during growth was indexed under the wrong bucket;
        # bigmap 4.2 (2): keys not yet moved read as missing meanwhile.
        for number, key in enumerate(reversed(KEYS)):
            ns.put(key, value_of(key))
            assert ns.get(key) == value_of(key)
            assert ns.get(KEYS[-1 - number // 2]) == value_of(KEYS[-1 - number // 2])

    def test_deletes_stay_deleted(self, store: StoreFace, ns: NamespaceFace) -> None:
        # bigmap 4.2 (3): moving brought deleted keys back.
        load(ns)
        for key in KEYS[::2]:
            ns.delete(key)
        fill(ns, [f"m/{number:04d}" for number in range(300)])
        for work in (store.tick, store.collect, store.rebuild):
            work()
            assert list(ns.list("k/")) == KEYS[1::2]

    def test_versions_and_fences_grow_through_it(self, store: StoreFace, ns: NamespaceFace) -> None:
        keys = KEYS[::60]
        fill(ns, keys)
        fences = {key: ns.lock(key, ttl=1_000).fence for key in keys}
        load(ns)
        store.tick()
        for key in keys:
            assert ns.stat(key).version > fences[key]
            with pytest.raises(LockHeld):
                ns.lock(key)
            ns.put(key, b"fenced", fence=fences[key])

    def test_attributes_survive_it(self, store: StoreFace, ns: NamespaceFace) -> None:
        for number, key in enumerate(KEYS[::40]):
            ns.put(key, b"1", consumers=[f"c{number}"], content_type=f"type/{number}", ttl=10_000)
        ns.put("k/0001p", b"1", permanent=True)
        ns.append("k/0002a", b"1")
        ns.append("k/0002a", b"2")
        others = [key for key in KEYS if key not in KEYS[::40]]
        ns.put_many([(key, value_of(key)) for key in others])
        store.collect()
        for number, key in enumerate(KEYS[::40]):
            told = ns.stat(key)
            assert (told.consumers, told.content_type) == (1, f"type/{number}")
            assert told.expires_ns is not None
            assert list(ns.consumers(key).list()) == [f"c{number}"]
        with pytest.raises(Permanent):
            ns.delete("k/0001p")
        assert ns.get("k/0002a") == b"12"

    def test_dropping_a_namespace_of_many_buckets(self, store: StoreFace) -> None:
        for name in ("a", "b", "c"):
            load(store.namespace(name))
        store.drop_namespace("b")
        assert list(store.namespaces()) == ["a", "c"]
        assert list(store.namespace("b").list()) == []
        assert list(store.namespace("c").list()) == KEYS

    def test_a_value_larger_than_a_bucket(self, ns: NamespaceFace) -> None:
        # Rule 6: a bucket with one key is not split.
        value = patterned(300_000)
        for key in ("b", "a", "c"):
            ns.put(key, value)
        assert [ns.get(key) == value for key in "abc"] == [True] * 3

    def test_emptying_and_filling_again(self, store: StoreFace, ns: NamespaceFace) -> None:
        for round_ in range(2):
            load(ns, round_)
            for key in KEYS:
                ns.delete(key)
            store.collect()
            store.tick()
            assert list(ns.list()) == []
        load(ns, 2)
        assert ns.get_many(KEYS) == [value_of(key, 2) for key in KEYS]
        assert store.check().ok

    def test_atomic_across_buckets_is_refused(self, store: StoreFace, ns: NamespaceFace) -> None:
        self.require_growth()
        load(ns)
        assert store.locate("acme", KEYS[0]).bucket != store.locate("acme", KEYS[-1]).bucket
        with pytest.raises(CrossBucket):
            ns.put_many([(KEYS[0], b"new"), (KEYS[-1], b"new")], atomic=True)
        assert ns.get_many([KEYS[0], KEYS[-1]]) == [value_of(KEYS[0]), value_of(KEYS[-1])]

    def test_the_wrong_bucket_says_where(self, store: StoreFace, ns: NamespaceFace) -> None:
        # bigmap 4.2 (9): a bucket answered for keys outside its range.
        self.require_growth()
        load(ns)
        wrong = store.bucket(store.locate("acme", KEYS[0]).bucket)
        with pytest.raises(Moved) as caught:
            wrong.get("acme", KEYS[-1])
        place = caught.value.facts["place"]
        assert isinstance(place, Place)
        assert store.bucket(place.bucket).get("acme", KEYS[-1]) == value_of(KEYS[-1])
        with pytest.raises(Moved):
            wrong.put("acme", KEYS[-1], b"new")
        with pytest.raises(Moved):
            wrong.stat("acme", KEYS[-1])
        assert ns.get(KEYS[-1]) == value_of(KEYS[-1])

    def test_small_neighbours_become_one(self, store: StoreFace, ns: NamespaceFace) -> None:
        self.require_growth()
        load(ns)
        many = len(store.status().buckets)
        for key in KEYS[20:]:
            ns.delete(key)
        for _ in range(200):
            store.tick()
        store.collect()
        for _ in range(200):
            store.tick()
        assert len(store.status().buckets) < many / 2
        assert list(ns.list()) == KEYS[:20]
        assert ns.get_many(KEYS[:20]) == [value_of(key) for key in KEYS[:20]]
        assert store.check().ok
