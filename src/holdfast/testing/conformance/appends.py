"""Appends: bytes are added, and nothing else about the object changes."""
# ruff: noqa: D102, PLR2004, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

import pytest
from crc32c import crc32c

from holdfast.errors import Permanent, VersionMismatch
from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance.base import SuiteBase, pass_seconds, patterned
from holdfast.testing.face import NamespaceFace

MIB = 1 << 20


class AppendTests(SuiteBase):
    """append."""

    def test_append_creates(self, ns: NamespaceFace) -> None:
        # bigmap 4.2 (8): put and append differed in whether they made what was missing.
        assert ns.append("a", b"one") == 3
        assert ns.get("a") == b"one"
        assert ns.stat("a").state == "unmanaged"

    def test_append_adds_and_tells_the_total(self, ns: NamespaceFace) -> None:
        # bigmap 4.2 (6): append counted the bytes twice.
        ns.put("a", b"one")
        assert ns.append("a", b"two") == 6
        assert ns.append("a", b"") == 6
        assert ns.get("a") == b"onetwo"
        assert ns.stat("a").size == 6
        assert ns.stat("a").crc32c == crc32c(b"onetwo")

    def test_append_of_nothing_creates_an_empty_object(self, ns: NamespaceFace) -> None:
        assert ns.append("a", b"") == 0
        assert ns.exists("a")

    def test_many_appends(self, ns: NamespaceFace) -> None:
        # More than one index entry has room for (64 extents).
        pieces = [b"%d," % number for number in range(200)]
        total = 0
        for piece in pieces:
            total += len(piece)
            assert ns.append("a", piece) == total
        assert ns.get("a") == b"".join(pieces)
        assert ns.get("a", range=(100, 120)) == b"".join(pieces)[100:120]
        assert ns.stat("a").crc32c == crc32c(b"".join(pieces))

    def test_append_across_the_bound_of_a_part(self, ns: NamespaceFace) -> None:
        first, second = patterned(MIB - 10), patterned(100, seed=2)
        ns.put("a", first)
        assert ns.append("a", second) == len(first) + len(second)
        assert ns.get("a") == first + second
        assert ns.append("a", b"!") == MIB + 91
        assert ns.get("a", range=(MIB - 20, MIB + 91)) == (first + second + b"!")[MIB - 20 :]

    def test_append_to_a_large_value(self, ns: NamespaceFace) -> None:
        large = patterned(2 * MIB + 3)
        ns.put("a", large)
        assert ns.append("a", large) == 2 * len(large)
        assert ns.get("a") == large + large

    def test_append_keeps_expiry_consumers_and_type(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        before = ns.put("a", b"1", ttl=10, consumers=["c", "d"], content_type="text/plain")
        pass_seconds(clock, 5)
        ns.append("a", b"2")
        told = ns.stat("a")
        assert told.expires_ns == before.expires_ns
        assert (told.content_type, told.consumers) == ("text/plain", 2)
        assert list(ns.consumers("a").list()) == ["c", "d"]
        pass_seconds(clock, 5)
        assert not ns.exists("a")

    def test_append_makes_a_new_version(self, ns: NamespaceFace) -> None:
        before = ns.put("a", b"1")
        ns.append("a", b"2")
        assert ns.stat("a").version > before.version
        with pytest.raises(VersionMismatch):
            ns.put("a", b"3", if_version=before.version)

    def test_append_to_what_expired_begins_anew(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.put("a", b"old", ttl=1, consumers=["c"], content_type="text/plain")
        pass_seconds(clock, 1)
        assert ns.append("a", b"new") == 3
        assert ns.get("a") == b"new"
        told = ns.stat("a")
        assert (told.state, told.expires_ns, told.content_type) == ("unmanaged", None, None)

    def test_append_to_a_permanent_object(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", permanent=True)
        with pytest.raises(Permanent):
            ns.append("a", b"2")
        assert ns.get("a") == b"1"

    def test_a_put_after_appends_replaces_them_all(self, ns: NamespaceFace) -> None:
        for _ in range(70):
            ns.append("a", b"xyz")
        ns.put("a", b"1")
        assert ns.get("a") == b"1"
        assert ns.append("a", b"2") == 2
        assert ns.get("a") == b"12"
