"""Expiry: an object is there to its last nanosecond and absent, everywhere, from then on."""
# ruff: noqa: D102, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from typing import cast

import pytest

from holdfast.errors import InvalidExpiry, NotFound, VersionMismatch
from holdfast.limits import SECOND_NS
from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance.base import SuiteBase, fill, pass_seconds
from holdfast.testing.face import NamespaceFace, StoreFace

INVALID_TTLS: list[object] = [
    *(0, 0.0, -1, -0.5, float("nan"), float("inf"), float("-inf"), True, False, 1 << 63),
    *("", "d", "0s", "-5m", "10 parsecs", "1y", "nan", "forever", b"30d", [30]),
]


class ExpiryTests(SuiteBase):
    """ttl, keep_ttl, and what expired objects are: absent."""

    def test_there_to_the_last_nanosecond(self, ns: NamespaceFace, clock: ManualClock) -> None:
        # icsp 2.4: alive at 999 ms, gone at 1,000.
        ns.put("a", b"1", ttl=1)
        clock.advance(SECOND_NS - 1)
        assert ns.get("a") == b"1"
        clock.advance(1)
        assert not ns.exists("a")

    def test_the_shortest_life(self, ns: NamespaceFace, clock: ManualClock) -> None:
        # enclave-kv 1.2: below its unit an expiry must become neither nothing nor for ever.
        assert ns.put("a", b"1", ttl=1e-9).expires_ns == clock.wall_ns() + 1
        assert ns.exists("a")
        clock.advance(1)
        assert not ns.exists("a")

    def test_less_than_a_nanosecond_is_not_for_ever(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        assert ns.put("a", b"1", ttl=1e-12).expires_ns == clock.wall_ns() + 1

    @pytest.mark.parametrize(
        ("ttl", "life_ns"),
        [
            (1, SECOND_NS),
            (0.5, SECOND_NS // 2),
            (30.25, 30_250_000_000),
            ("250ms", 250_000_000),
            ("45s", 45 * SECOND_NS),
            ("10m", 600 * SECOND_NS),
            ("2h", 7_200 * SECOND_NS),
            ("30d", 2_592_000 * SECOND_NS),
            ("2w", 1_209_600 * SECOND_NS),
            (10 * 365 * 86_400, 315_360_000 * SECOND_NS),
        ],
    )
    def test_forms_of_a_life(
        self, ns: NamespaceFace, clock: ManualClock, ttl: float | str, life_ns: int
    ) -> None:
        # enclave-kv 1.2: nanoseconds in the text, milliseconds in the code, seconds in the bill.
        receipt = ns.put("a", b"1", ttl=ttl)
        assert receipt.expires_ns == clock.wall_ns() + life_ns
        assert ns.stat("a").expires_ns == receipt.expires_ns
        clock.advance(life_ns - 1)
        assert ns.exists("a")
        clock.advance(1)
        assert not ns.exists("a")

    @pytest.mark.parametrize("ttl", INVALID_TTLS)
    def test_lives_that_are_none(self, ns: NamespaceFace, ttl: object) -> None:
        # enclave-kv 1.6: a huge product wrapped around to a negative one.
        ns.put("a", b"kept")
        with pytest.raises(InvalidExpiry):
            ns.put("a", b"new", ttl=cast("float", ttl))
        with pytest.raises(InvalidExpiry):
            ns.put("b", b"new", ttl=cast("float", ttl))
        assert ns.get("a") == b"kept"
        assert ns.stat("a").expires_ns is None
        assert not ns.exists("b")

    def test_a_put_without_ttl_clears_the_expiry(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.put("a", b"1", ttl=1)
        assert ns.put("a", b"2").expires_ns is None
        pass_seconds(clock, 2)
        assert ns.get("a") == b"2"

    def test_a_put_with_ttl_sets_it_anew(self, ns: NamespaceFace, clock: ManualClock) -> None:
        ns.put("a", b"1", ttl=10)
        pass_seconds(clock, 9)
        ns.put("a", b"2", ttl=10)
        pass_seconds(clock, 9)
        assert ns.get("a") == b"2"
        pass_seconds(clock, 1)
        assert not ns.exists("a")

    def test_keep_ttl_keeps_it_to_the_nanosecond(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        before = ns.put("a", b"1", ttl=10)
        pass_seconds(clock, 4)
        assert ns.put("a", b"2", keep_ttl=True).expires_ns == before.expires_ns
        clock.advance(6 * SECOND_NS - 1)
        assert ns.get("a") == b"2"
        clock.advance(1)
        assert not ns.exists("a")

    def test_keep_ttl_of_what_never_expires(self, ns: NamespaceFace, clock: ManualClock) -> None:
        fill(ns, ["a"])
        assert ns.put("a", b"2", keep_ttl=True).expires_ns is None
        pass_seconds(clock, 1e6)
        assert ns.get("a") == b"2"

    def test_keep_ttl_of_what_is_absent_creates_nothing(self, ns: NamespaceFace) -> None:
        # enclave-kv 1.2: KEEPTTL on a missing key is an error and creates nothing.
        with pytest.raises(NotFound):
            ns.put("a", b"1", keep_ttl=True)
        assert not ns.exists("a")

    def test_keep_ttl_of_what_expired_creates_nothing(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.put("a", b"1", ttl=1)
        pass_seconds(clock, 1)
        with pytest.raises(NotFound):
            ns.put("a", b"2", keep_ttl=True)
        assert not ns.exists("a")

    def test_keep_ttl_and_ttl_exclude_each_other(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", ttl=5)
        with pytest.raises(InvalidExpiry):
            ns.put("a", b"2", ttl=10, keep_ttl=True)
        assert ns.get("a") == b"1"

    def test_permanent_and_ttl_exclude_each_other(self, ns: NamespaceFace) -> None:
        with pytest.raises(InvalidExpiry):
            ns.put("a", b"1", ttl=10, permanent=True)
        ns.put("b", b"1", ttl=10)
        with pytest.raises(InvalidExpiry):  # it would be permanent, and expire
            ns.put("b", b"2", keep_ttl=True, permanent=True)
        assert not ns.stat("b").permanent
        assert ns.get("b") == b"1"
        assert not ns.exists("a")

    def test_expired_is_absent_everywhere(
        self, store: StoreFace, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.put("dir/a", b"1", ttl=1, consumers=["c"])
        pass_seconds(clock, 1)
        for call in (ns.get, ns.stat, ns.delete, ns.release):
            with pytest.raises(NotFound):
                call("dir/a")
        with pytest.raises(NotFound):
            ns.consumers("dir/a").list()
        with pytest.raises(NotFound):
            ns.open("dir/a", "rb").__enter__()
        with pytest.raises(NotFound):
            ns.stat("dir")
        assert "dir/a" not in ns
        assert ns.get_many(["dir/a"]) == [None]
        assert [*ns.list(), *ns.entries(), *ns.list(recursive=False)] == []
        assert len(ns.mapping()) == 0
        assert list(store.namespaces()) == []

    def test_a_put_on_what_expired_is_a_new_object(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        old = ns.put("a", b"1", ttl=1, consumers=["c"], content_type="text/plain")
        pass_seconds(clock, 1)
        new = ns.put("a", b"2")
        told = ns.stat("a")
        assert new.version > old.version
        assert (told.state, told.consumers, told.content_type) == ("unmanaged", 0, None)

    def test_conditions_see_what_expired_as_absent(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        old = ns.put("a", b"1", ttl=1)
        ns.put("b", b"1", ttl=1)
        pass_seconds(clock, 1)
        with pytest.raises(VersionMismatch):
            ns.put("a", b"2", if_version=old.version)
        assert not ns.exists("a")
        ns.put("b", b"2", if_absent=True)
        assert ns.get("b") == b"2"

    def test_nothing_brings_the_expired_back(
        self, store: StoreFace, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.put("a", b"1", ttl=1)
        ns.put("b", b"1")
        pass_seconds(clock, 1)
        for work in (store.tick, store.collect, store.rebuild, store.check):
            work()
            assert list(ns.list()) == ["b"]

    def test_upkeep_keeps_what_has_not_expired(
        self, store: StoreFace, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        before = ns.put("a", b"1", ttl=100)
        for work in (store.tick, store.collect, store.rebuild):
            pass_seconds(clock, 20)
            work()
            assert ns.stat("a").expires_ns == before.expires_ns
        clock.advance(40 * SECOND_NS - 1)
        assert ns.get("a") == b"1"
        clock.advance(1)
        assert not ns.exists("a")

    def test_wall_time_set_forward_ends_no_life(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.put("a", b"1", ttl=60)
        clock.step_wall(3_600 * SECOND_NS)
        assert ns.get("a") == b"1"

    def test_wall_time_set_back_revives_nothing(
        self, store: StoreFace, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.put("a", b"1", ttl=60)
        pass_seconds(clock, 60)
        clock.step_wall(-3_600 * SECOND_NS)
        assert not ns.exists("a")
        store.tick()
        assert not ns.exists("a")
        ns.put("b", b"1", ttl=60)
        pass_seconds(clock, 70)
        assert not ns.exists("b")

    def test_many_lives_end_each_in_its_own_time(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        for number in range(100):
            ns.put(f"k{number:03d}", b"v", ttl=number + 1)
        for number in range(100):
            assert next(iter(ns.list())) == f"k{number:03d}"
            pass_seconds(clock, 1)
        assert list(ns.list()) == []
