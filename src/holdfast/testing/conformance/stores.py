"""The store as a whole: namespaces, places, buckets, figures, upkeep, closing."""
# ruff: noqa: D102, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from holdfast.errors import (
    Closed,
    InvalidKey,
    InvalidNamespace,
    InvalidValue,
    LockHeld,
    NotFound,
)
from holdfast.testing.conformance.base import Opened, SuiteBase, fill, patterned
from holdfast.testing.face import NamespaceFace, StoreFace

INVALID_NAMES = ["", "x" * 129, "a/b", "a b", "a\n", "\u00e9", "a\x00", "*", None, 5, b"a"]


class StoreTests(SuiteBase):
    """What is asked of the store and not of a namespace."""

    @pytest.mark.parametrize("name", ["a", "A-b_c.9", "-", ".", "..", "x" * 128])
    def test_names_of_namespaces(self, store: StoreFace, name: str) -> None:
        store.namespace(name).put("a", b"1")
        assert list(store.namespaces()) == [name]
        store.drop_namespace(name)
        assert list(store.namespaces()) == []

    @pytest.mark.parametrize("name", INVALID_NAMES)
    def test_namespaces_that_are_none(self, store: StoreFace, name: object) -> None:
        # enclave-kv 1.2: wildcards in a namespace met the keys of others.
        wrong = cast("str", name)
        with pytest.raises(InvalidNamespace):
            store.namespace(wrong)
        with pytest.raises(InvalidNamespace):
            store.drop_namespace(wrong)
        with pytest.raises(InvalidNamespace):
            store.locate(wrong, "a")

    def test_namespaces_are_those_that_hold_something(self, store: StoreFace) -> None:
        for name in ("b", "a", "a.b", "c"):
            store.namespace(name)
        assert list(store.namespaces()) == []
        for name in ("b", "a.b", "a"):
            store.namespace(name).put("k", b"1")
        assert list(store.namespaces()) == ["a", "a.b", "b"]
        store.namespace("a").delete("k")
        assert list(store.namespaces()) == ["a.b", "b"]

    def test_dropping_a_namespace(self, store: StoreFace) -> None:
        for name in ("a", "a-b", "ab", "a.b"):
            fill(store.namespace(name), ["x", "y/z"])
        before = store.namespace("a").stat("x").version
        store.drop_namespace("a")
        assert list(store.namespace("a").list()) == []
        assert list(store.namespaces()) == ["a-b", "a.b", "ab"]
        for name in ("a-b", "ab", "a.b"):
            assert list(store.namespace(name).list()) == ["x", "y/z"]
        assert store.namespace("a").put("x", b"1").version > before
        assert list(store.namespace("a").list()) == ["x"]

    def test_dropping_nothing_is_fine(self, store: StoreFace) -> None:
        store.drop_namespace("never")
        store.drop_namespace("never")

    def test_every_key_has_a_place(self, store: StoreFace, ns: NamespaceFace) -> None:
        receipt = ns.put("a", b"1")
        place = store.locate("acme", "a")
        assert place.bucket == receipt.bucket == ns.stat("a").bucket
        for key in ("a", "absent", "\x00", "\U0010ffff", "k" * 1024):
            place = store.locate("acme", key)
            assert place.start is None or place.start <= ("acme", key)
            assert place.stop is None or ("acme", key) < place.stop
        with pytest.raises(InvalidKey):
            store.locate("acme", "")

    def test_a_bucket_is_asked_directly(self, store: StoreFace, ns: NamespaceFace) -> None:
        ns.put("a", b"1")
        bucket = store.bucket(store.locate("acme", "a").bucket)
        assert bucket.get("acme", "a") == b"1"
        bucket.put("acme", "a", b"2")
        assert ns.get("a") == b"2"
        assert bucket.stat("acme", "a") == ns.stat("a")

    def test_a_bucket_takes_a_large_value_in_parts(
        self, store: StoreFace, ns: NamespaceFace
    ) -> None:
        # A record of the log holds at most 1 MiB, whoever writes it.
        value = patterned((1 << 20) + 9)
        fill(ns, ["a"])
        store.bucket(store.locate("acme", "a").bucket).put("acme", "a", value)
        assert ns.get("a") == value
        assert store.bucket(store.locate("acme", "a").bucket).get("acme", "a") == value
        assert ns.stat("a").size == len(value)

    @pytest.mark.parametrize("wrong", ["no such bucket", "", "\u00e9", None, 5])
    def test_a_bucket_that_is_none(self, store: StoreFace, wrong: object) -> None:
        with pytest.raises(NotFound):
            store.bucket(cast("str", wrong)).get("acme", "a")

    def test_figures(self, store: StoreFace, ns: NamespaceFace) -> None:
        empty = store.status()
        ns.put("a", patterned(10_000))
        status = store.status()
        assert status.live_bytes >= empty.live_bytes + 10_000
        assert status.live_bytes == sum(bucket.live_bytes for bucket in status.buckets)
        assert status.dead_bytes == sum(bucket.dead_bytes for bucket in status.buckets)
        assert status.disk_bytes >= 0
        assert status.dead_letters == 0
        assert store.locate("acme", "a").bucket in {bucket.id for bucket in status.buckets}

    def test_overwriting_does_not_count_twice(self, store: StoreFace, ns: NamespaceFace) -> None:
        # icsp 2.2 (3): the bytes used only ever grew.
        ns.put("a", patterned(10_000))
        once = store.status().live_bytes
        for _ in range(5):
            ns.put("a", patterned(10_000))
        assert store.status().live_bytes <= once + 1_000
        ns.delete("a")
        assert store.status().live_bytes <= once - 9_000

    def test_check_finds_nothing_wrong(self, store: StoreFace, ns: NamespaceFace) -> None:
        fill(ns, ["a", "b", "c"])
        ns.append("a", b"+")
        ns.delete("b")
        ns.lock("c")
        report = store.check()
        assert report.ok
        assert list(report.problems) == []
        assert store.check(repair=True).ok

    @pytest.mark.parametrize("mode", ["auto", "copying", "compacting"])
    def test_collecting_keeps_what_lives(
        self, store: StoreFace, ns: NamespaceFace, mode: str
    ) -> None:
        for step in range(3):
            ns.put_many([(f"k{number:03d}", b"%d" % step * 500) for number in range(100)])
        for number in range(0, 100, 3):
            ns.delete(f"k{number:03d}")
        before = list(ns.entries())
        store.collect(mode)
        after = list(ns.entries())
        assert [entry.key for entry in after] == [entry.key for entry in before]
        assert [entry.version for entry in after] == [entry.version for entry in before]
        assert all(ns.get(entry.key) == b"2" * 500 for entry in after)
        assert store.check().ok

    def test_modes_of_collecting_that_are_none(self, store: StoreFace) -> None:
        with pytest.raises(InvalidValue):
            store.collect("hard")

    def test_rebuilding_changes_nothing(self, store: StoreFace, ns: NamespaceFace) -> None:
        ns.put("a", b"1", ttl=60, consumers=["x"], content_type="text/plain")
        ns.put("b", b"1", permanent=True)
        ns.put("marked", b"1", consumers=["x"])
        ns.consumers("marked").remove(["x"])
        ns.append("c", b"12")
        ns.append("c", b"34")
        ns.put("gone", b"1")
        ns.delete("gone")
        ns.lock("a")
        before = list(ns.entries())
        store.rebuild()
        assert list(ns.entries()) == before
        assert ns.get("c") == b"1234"
        assert list(ns.consumers("a").list()) == ["x"]
        with pytest.raises(LockHeld):
            ns.lock("a")
        assert ns.put("d", b"1").version > max(entry.version for entry in before)

    def test_ticks_change_nothing(self, store: StoreFace, ns: NamespaceFace) -> None:
        fill(ns, ["a", "b"])
        for _ in range(5):
            store.tick()
            store.tick(budget_s=0.001)
        assert list(ns.list()) == ["a", "b"]
        assert ns.get("a") == b"a"

    def test_arguments_of_upkeep_that_are_none(self, store: StoreFace) -> None:
        for budget_s in (-1, float("nan"), float("inf"), "1", None, True):
            with pytest.raises(InvalidValue):
                store.tick(cast("float", budget_s))
        with pytest.raises(InvalidValue):
            store.check(repair=cast("bool", "yes"))

    def test_a_closed_store_answers_nothing(self, opened: Opened) -> None:
        store, _ = opened
        ns = store.namespace("acme")
        ns.put("a", b"1")
        store.close()
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: ns.put("a", b"2"),
            lambda: ns.get("a"),
            lambda: ns.exists("a"),
            lambda: list(ns.list()),
            lambda: ns.lock("a"),
            lambda: ns.delete("a"),
            lambda: ns.open("a", "rb"),
            lambda: ns.open("a", "wb"),
            lambda: ns.append("a", b""),
            lambda: ns.put_many([("a", b"2")]),
            lambda: ns.get_many(["a"]),
            lambda: ns.put_soon("a", b"2"),
            store.flush,
            store.namespaces,
            store.status,
            store.collect,
        ]
        for call in calls:
            with pytest.raises(Closed):
                call()
