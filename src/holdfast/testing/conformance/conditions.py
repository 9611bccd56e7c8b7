"""Conditions: versions, if_absent, if_version, permanent, and that a refusal changes nothing."""
# ruff: noqa: D102, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from holdfast.errors import (
    Exists,
    FenceTooOld,
    HoldfastError,
    InvalidValue,
    LimitExceeded,
    LockLost,
    NotFound,
    Permanent,
    VersionMismatch,
)
from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance.base import SuiteBase, fill, pass_seconds
from holdfast.testing.face import NamespaceFace, StoreFace


class ConditionTests(SuiteBase):
    """Conditional writes and permanent objects."""

    def test_versions_of_a_key_only_grow(self, ns: NamespaceFace) -> None:
        seen = []
        for step in range(20):
            seen.append(ns.put("a", b"%d" % step).version)
            ns.append("a", b"+")
            seen.append(ns.stat("a").version)
            if step % 5 == 0:
                ns.delete("a")
        assert seen == sorted(set(seen))

    def test_the_receipt_and_stat_tell_the_same_version(self, ns: NamespaceFace) -> None:
        receipt = ns.put("a", b"1")
        ns.put("b", b"1")
        assert ns.stat("a").version == receipt.version

    def test_if_absent(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", if_absent=True)
        with pytest.raises(Exists):
            ns.put("a", b"2", if_absent=True)
        assert ns.get("a") == b"1"

    def test_if_absent_after_a_delete(self, ns: NamespaceFace) -> None:
        fill(ns, ["a"])
        ns.delete("a")
        ns.put("a", b"2", if_absent=True)
        assert ns.get("a") == b"2"

    def test_if_absent_beside_a_directory(self, ns: NamespaceFace) -> None:
        fill(ns, ["dir/x"])
        ns.put("dir", b"1", if_absent=True)
        assert ns.stat("dir").terminal

    def test_if_version(self, ns: NamespaceFace) -> None:
        first = ns.put("a", b"1")
        second = ns.put("a", b"2", if_version=first.version)
        with pytest.raises(VersionMismatch) as caught:
            ns.put("a", b"3", if_version=first.version)
        assert caught.value.facts["expected"] == first.version
        assert caught.value.facts["actual"] == second.version
        assert ns.get("a") == b"2"

    def test_if_version_of_what_is_absent(self, ns: NamespaceFace) -> None:
        with pytest.raises(VersionMismatch) as caught:
            ns.put("a", b"1", if_version=1)
        assert caught.value.facts["actual"] is None
        assert not ns.exists("a")

    def test_a_version_does_not_outlive_its_object(self, ns: NamespaceFace) -> None:
        first = ns.put("a", b"1")
        ns.delete("a")
        ns.put("a", b"1")
        with pytest.raises(VersionMismatch):
            ns.put("a", b"2", if_version=first.version)

    def test_versions_of_other_keys_do_not_count(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1")
        other = ns.put("b", b"1")
        with pytest.raises(VersionMismatch):
            ns.put("a", b"2", if_version=other.version)

    @pytest.mark.parametrize("version", ["1", 1.0, b"1", [1]])
    def test_versions_that_are_none(self, ns: NamespaceFace, version: object) -> None:
        fill(ns, ["a"])
        with pytest.raises(InvalidValue):
            ns.put("a", b"2", if_version=cast("int", version))
        assert ns.get("a") == b"a"

    def test_a_consumer_update_is_no_new_version(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        # sdstor 5.5 (#420): an update of the list and one of the object overwrote each other.
        receipt = ns.put("a", b"1")
        pass_seconds(clock, 5)
        ns.consumers("a").append(["c"])
        told = ns.stat("a")
        assert told.version == receipt.version
        ns.put("a", b"2", if_version=receipt.version)
        assert list(ns.consumers("a").list()) == ["c"]

    def test_a_refused_put_changes_nothing(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", ttl=60, consumers=["c"], content_type="text/plain")
        before = ns.stat("a")
        refusals: list[tuple[type[HoldfastError], Callable[[], object]]] = [
            (Exists, lambda: ns.put("a", b"2", if_absent=True, consumers=["d"])),
            (VersionMismatch, lambda: ns.put("a", b"2", if_version=before.version - 1, ttl=5)),
            (LockLost, lambda: ns.put("a", b"2", fence=before.version, permanent=True)),
            (LimitExceeded, lambda: ns.put("a", b"2", consumers=["x"] * 161)),
            (InvalidValue, lambda: ns.put("a", b"2", consumers=["x" * 17])),
            (HoldfastError, lambda: ns.put("a", b"2", content_type="x" * 256)),
            (InvalidValue, lambda: ns.put("a", b"2", content_type=cast("str", 5))),
            (InvalidValue, lambda: ns.put("a", b"2", fence=cast("int", "1"))),
        ]
        for error, call in refusals:
            with pytest.raises(error):
                call()
            assert ns.stat("a") == before
            assert ns.get("a") == b"1"
            assert list(ns.consumers("a").list()) == ["c"]

    def test_content_types(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", content_type="text/plain; charset=utf-8")
        assert ns.stat("a").content_type == "text/plain; charset=utf-8"
        ns.put("a", b"2")
        assert ns.stat("a").content_type is None
        ns.put("a", b"3", content_type="x" * 255)
        assert ns.stat("a").content_type == "x" * 255

    def test_permanent_objects_refuse_change(self, ns: NamespaceFace) -> None:
        # sdstor 5.4: a reference count of 255 means permanent, and cannot be deleted.
        ns.put("a", b"1", permanent=True)
        assert ns.stat("a").permanent
        calls: list[Callable[[], object]] = [
            lambda: ns.put("a", b"2"),
            lambda: ns.put("a", b"2", permanent=True),
            lambda: ns.append("a", b"2"),
            lambda: ns.delete("a"),
            lambda: ns.delete("a", missing_ok=True),
        ]
        for call in calls:
            with pytest.raises(Permanent):
                call()
        assert ns.get("a") == b"1"

    def test_release_lifts_permanent(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", permanent=True, consumers=["c"], content_type="text/plain")
        ns.release("a")
        told = ns.stat("a")
        assert not told.permanent
        assert (told.consumers, told.content_type) == (1, "text/plain")
        assert ns.get("a") == b"1"
        ns.release("a")
        ns.put("a", b"2")
        ns.delete("a")

    def test_release_of_what_is_absent(self, ns: NamespaceFace) -> None:
        with pytest.raises(NotFound):
            ns.release("a")

    def test_permanent_ends_an_expiry(self, ns: NamespaceFace, clock: ManualClock) -> None:
        ns.put("a", b"1", ttl=10)
        ns.put("a", b"2", permanent=True)
        assert ns.stat("a").expires_ns is None
        pass_seconds(clock, 1e6)
        assert ns.get("a") == b"2"

    def test_a_permanent_object_takes_consumers(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", permanent=True)
        ns.consumers("a").append(["c"])
        assert ns.stat("a").consumers == 1
        assert ns.stat("a").permanent

    def test_permanent_objects_are_never_collected(
        self, store: StoreFace, ns: NamespaceFace
    ) -> None:
        ns.put("a", b"1", permanent=True, consumers=["c"])
        ns.consumers("a").remove(["c"])
        store.collect()
        assert ns.get("a") == b"1"
        ns.release("a")
        store.collect()
        assert not ns.exists("a")

    def test_a_namespace_with_a_permanent_object_is_not_dropped(
        self, store: StoreFace, ns: NamespaceFace
    ) -> None:
        fill(ns, ["a", "c"])
        ns.put("b", b"1", permanent=True)
        with pytest.raises(Permanent):
            store.drop_namespace("acme")
        assert list(ns.list()) == ["a", "b", "c"]
        ns.release("b")
        store.drop_namespace("acme")
        assert list(ns.list()) == []

    def test_errors_have_stable_codes(self, ns: NamespaceFace) -> None:
        # enclave-kv 1.1: every failure was a 500 with an empty body.
        ns.put("a", b"1", permanent=True)
        lock = ns.lock("b")
        ns.put("c", b"1")
        seen = []
        calls: list[Callable[[], object]] = [
            lambda: ns.get("absent"),
            lambda: ns.put("a", b"2"),
            lambda: ns.put("c", b"2", if_absent=True),
            lambda: ns.put("c", b"2", if_version=0),
            lambda: ns.put("b", b"2", fence=lock.fence - 1),
            lambda: ns.put("c", b"2", fence=lock.fence),
            lambda: ns.lock("b"),
            lambda: ns.get(""),
            lambda: ns.put("c", cast("bytes", None)),
            lambda: ns.put("c", b"", ttl=0),
        ]
        for call in calls:
            with pytest.raises(HoldfastError) as caught:
                call()
            assert caught.value.effect == "none"
            seen.append(caught.value.code)
        assert seen[:4] == ["not_found", "permanent", "exists", "version_mismatch"]
        assert seen[4:7] == ["fence_too_old", "lock_lost", "lock_held"]
        assert seen[7:] == ["invalid_key", "invalid_value", "invalid_expiry"]
        assert FenceTooOld.code == "fence_too_old"
