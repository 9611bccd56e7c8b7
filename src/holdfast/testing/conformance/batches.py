"""Batches and queued puts: every operation has its result, and no failure stays silent."""
# ruff: noqa: D102, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from typing import cast

import pytest

from holdfast.errors import (
    Exists,
    HoldfastError,
    InvalidExpiry,
    InvalidKey,
    InvalidValue,
    LimitExceeded,
    NotFound,
    Permanent,
)
from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance.base import SuiteBase, fill, pass_seconds, patterned
from holdfast.testing.face import NamespaceFace, StoreFace

MIB = 1 << 20


class BatchTests(SuiteBase):
    """put_many, get_many, put_soon and flush."""

    def test_receipts_come_in_order(self, ns: NamespaceFace) -> None:
        receipts = ns.put_many([("b", b"22"), ("a", b"1"), ("c", b"")])
        assert [(receipt.key, receipt.size) for receipt in receipts] == [
            ("b", 2),
            ("a", 1),
            ("c", 0),
        ]
        assert [ns.stat(receipt.key).version for receipt in receipts] == [
            receipt.version for receipt in receipts
        ]

    def test_a_batch_of_nothing(self, ns: NamespaceFace) -> None:
        assert ns.put_many([]) == []
        assert ns.put_many([], atomic=True) == []
        assert ns.get_many([]) == []

    def test_pairs_may_come_from_anywhere(self, ns: NamespaceFace) -> None:
        ns.put_many((f"k{number}", b"v") for number in range(3))
        ns.put_many({"m": b"v"}.items())
        assert list(ns.list()) == ["k0", "k1", "k2", "m"]

    @pytest.mark.parametrize(
        "pairs",
        [None, 5, "ab", b"ab", ["a"], [None], [("a",)], [("a", b"1", 2)], [("a", b"1"), ("b",)]],
    )
    def test_what_are_no_pairs(self, ns: NamespaceFace, pairs: object) -> None:
        with pytest.raises(InvalidValue):
            ns.put_many(cast("list[tuple[str, bytes]]", pairs))
        assert list(ns.list()) == []

    @pytest.mark.parametrize("atomic", [None, 1, "yes"])
    def test_atomic_is_yes_or_no(self, ns: NamespaceFace, atomic: object) -> None:
        with pytest.raises(InvalidValue):
            ns.put_many([("a", b"1")], atomic=cast("bool", atomic))
        assert list(ns.list()) == []

    @pytest.mark.parametrize("keys", [None, 5, "ab", b"ab"])
    def test_what_is_no_list_of_keys(self, ns: NamespaceFace, keys: object) -> None:
        fill(ns, ["a", "b"])
        with pytest.raises(InvalidValue):
            ns.get_many(cast("list[str]", keys))

    def test_options_hold_for_all(self, ns: NamespaceFace, clock: ManualClock) -> None:
        pairs = [("a", b"1"), ("b", b"2")]
        for receipt in ns.put_many(pairs, ttl=5, consumers=["x"], content_type="text/plain"):
            assert receipt.expires_ns == clock.wall_ns() + 5_000_000_000
        for entry in ns.entries():
            assert (entry.consumers, entry.content_type) == (1, "text/plain")
        pass_seconds(clock, 5)
        assert list(ns.list()) == []

    def test_the_last_of_one_key_wins(self, ns: NamespaceFace) -> None:
        receipts = ns.put_many([("a", b"1"), ("b", b"x"), ("a", b"2")])
        assert ns.get("a") == b"2"
        assert receipts[2].version > receipts[0].version
        assert ns.stat("a").version == receipts[2].version

    def test_get_many(self, ns: NamespaceFace) -> None:
        fill(ns, ["a", "b"])
        assert ns.get_many(["b", "absent", "a", "b"]) == [b"b", None, b"a", b"b"]
        assert ns.get_many(key for key in "ba") == [b"b", b"a"]
        with pytest.raises(InvalidKey):
            ns.get_many(["a", ""])

    def test_one_failure_does_not_stop_the_others(self, ns: NamespaceFace) -> None:
        # bigmap 4.1: batch_put_and_fts_index always answered the length of its batch.
        fill(ns, ["b"])
        with pytest.raises(Exists) as caught:
            ns.put_many([("a", b"1"), ("b", b"2"), ("c", b"3")], if_absent=True)
        assert caught.value.facts["index"] == 1
        assert ns.get_many(["a", "b", "c"]) == [b"1", b"b", b"3"]

    def test_the_first_failure_is_told(self, ns: NamespaceFace) -> None:
        ns.put("b", b"kept", permanent=True)
        ns.put("c", b"kept", permanent=True)
        with pytest.raises(Permanent) as caught:
            ns.put_many([("a", b"1"), ("b", b"2"), ("c", b"3")])
        assert (caught.value.facts["index"], caught.value.facts["key"]) == (1, "b")
        assert ns.get_many(["a", "b", "c"]) == [b"1", b"kept", b"kept"]

    def test_keep_ttl_in_a_batch(self, ns: NamespaceFace) -> None:
        before = ns.put("a", b"1", ttl=50)
        with pytest.raises(NotFound):
            ns.put_many([("a", b"2"), ("b", b"2")], keep_ttl=True)
        assert ns.stat("a").expires_ns == before.expires_ns
        assert ns.get_many(["a", "b"]) == [b"2", None]

    def test_atomic_is_all(self, ns: NamespaceFace) -> None:
        receipts = ns.put_many([("a", b"1"), ("b", b"2")], atomic=True)
        assert [receipt.key for receipt in receipts] == ["a", "b"]
        assert ns.get_many(["a", "b"]) == [b"1", b"2"]

    def test_or_nothing(self, ns: NamespaceFace) -> None:
        ns.put("b", b"kept", ttl=50, consumers=["x"])
        before = ns.stat("b")
        with pytest.raises(Exists):
            ns.put_many([("a", b"1"), ("b", b"2"), ("c", b"3")], atomic=True, if_absent=True)
        assert list(ns.list()) == ["b"]
        assert ns.stat("b") == before
        assert list(ns.consumers("b").list()) == ["x"]
        ns.put("d", b"4")  # and nothing of it comes along with what is written next
        assert list(ns.list()) == ["b", "d"]

    def test_a_repeated_key_in_an_atomic_batch(self, ns: NamespaceFace) -> None:
        with pytest.raises(Exists):
            ns.put_many([("a", b"1"), ("a", b"2")], atomic=True, if_absent=True)
        assert not ns.exists("a")
        ns.put_many([("a", b"1"), ("a", b"2")], atomic=True)
        assert ns.get("a") == b"2"

    @pytest.mark.parametrize("atomic", [True, False])
    def test_bad_input_stores_nothing(
        self,
        ns: NamespaceFace,
        atomic: bool,  # noqa: FBT001 - given by name
    ) -> None:
        with pytest.raises(InvalidKey):
            ns.put_many([("a", b"1"), ("", b"2")], atomic=atomic)
        with pytest.raises(InvalidValue):
            ns.put_many([("a", b"1"), ("b", cast("bytes", "2"))], atomic=atomic)
        with pytest.raises(InvalidExpiry):
            ns.put_many([("a", b"1")], atomic=atomic, ttl=0)
        assert list(ns.list()) == []

    def test_a_batch_is_bounded_in_count(self, ns: NamespaceFace) -> None:
        with pytest.raises(LimitExceeded) as caught:
            ns.put_many([(f"k{number}", b"") for number in range(10_001)])
        assert caught.value.facts["limit"] == "BATCH_OPERATIONS"
        assert list(ns.list()) == []

    def test_a_batch_is_bounded_in_bytes(self, ns: NamespaceFace) -> None:
        value = bytes(MIB)
        with pytest.raises(LimitExceeded) as caught:
            ns.put_many([(f"k{number}", value) for number in range(65)])
        assert caught.value.facts["limit"] == "BATCH_BYTES"
        assert list(ns.list()) == []

    def test_a_large_batch(self, ns: NamespaceFace) -> None:
        keys = [f"k{number:04d}" for number in range(3_000)]
        receipts = ns.put_many([(key, key.encode()) for key in keys])
        assert [receipt.key for receipt in receipts] == keys
        assert ns.get_many(keys) == [key.encode() for key in keys]

    def test_large_values_in_a_batch(self, ns: NamespaceFace) -> None:
        # bigmap 4.2 (4): an item over the batch's own bound made an empty batch, "finished".
        values = {f"k{seed}": patterned(MIB + seed, seed) for seed in range(3)}
        ns.put_many(values.items())
        assert ns.get_many(values) == list(values.values())

    def test_put_soon_is_there_after_flush(self, store: StoreFace, ns: NamespaceFace) -> None:
        ns.put_soon("a", b"1")
        ns.put_soon("b", bytearray(b"2"))
        assert list(store.flush()) == []
        assert ns.get_many(["a", "b"]) == [b"1", b"2"]
        assert list(store.dead_letters()) == []

    def test_put_soon_keeps_the_order_of_a_key(self, store: StoreFace, ns: NamespaceFace) -> None:
        for step in range(100):
            ns.put_soon("a", b"%d" % step)
        assert list(store.flush()) == []
        assert ns.get("a") == b"99"

    def test_put_soon_tells_its_failures(self, store: StoreFace, ns: NamespaceFace) -> None:
        # icsp 2.2 (8): the one-step store hid every failure.
        ns.put("a", b"kept", permanent=True)
        ns.put_soon("a", b"lost")
        ns.put_soon("b", b"stored")
        assert len(store.flush()) == 1
        assert ns.get_many(["a", "b"]) == [b"kept", b"stored"]
        letters = store.dead_letters()
        assert [(letter.namespace, letter.key, letter.code) for letter in letters] == [
            ("acme", "a", "permanent")
        ]
        assert store.status().dead_letters == 1
        assert list(store.flush()) == []  # told once

    def test_put_soon_refuses_bad_input_at_once(self, store: StoreFace, ns: NamespaceFace) -> None:
        with pytest.raises(InvalidKey):
            ns.put_soon("", b"1")
        with pytest.raises(InvalidValue):
            ns.put_soon("a", cast("bytes", "1"))
        assert list(store.flush()) == []

    def test_flush_of_nothing(self, store: StoreFace) -> None:
        assert list(store.flush()) == []
        assert list(store.dead_letters()) == []

    def test_failures_of_a_batch_are_typed(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", permanent=True)
        with pytest.raises(HoldfastError) as caught:
            ns.put_many([("a", b"2")])
        assert caught.value.code == "permanent"
