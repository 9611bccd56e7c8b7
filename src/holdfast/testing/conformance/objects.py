"""Objects: what is put is what is read, whole and in part, under every key that is allowed."""
# ruff: noqa: D102, PLR2004, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from crc32c import crc32c

from holdfast.errors import InvalidKey, InvalidValue, LimitExceeded, NotFound
from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance.base import SuiteBase, fill, pass_seconds, patterned
from holdfast.testing.face import NamespaceFace, StoreFace

MIB = 1 << 20
STRANGE_KEYS = [
    " ",
    "/",
    "//",
    "..",
    "/leading",
    "trailing/",
    "a//b",
    "\x00",
    "a\x00b",
    "new\nline",
    "*",
    "[ab]?*",
    "%2F",
    "\ufeffbom",
    "\u00e9",
    "e\u0301",
    "\uffff",
    "\U0001f600",
    ".lock/a",
    "k" * 1024,
    "\U0001f600" * 256,
]
INVALID_KEYS = ["", "k" * 1025, "\u00e9" * 513, "\ud800", "a\udfffb", None, 5, b"bytes", ("a",)]
INVALID_DATA = [None, "text", 5, 1.5, ["a"], object()]


class ObjectTests(SuiteBase):
    """put, get, exists, delete and stat of single objects."""

    def test_reads_back_what_was_put(self, ns: NamespaceFace) -> None:
        ns.put("a", b"one")
        assert ns.get("a") == b"one"

    def test_an_empty_value_is_a_value(self, ns: NamespaceFace) -> None:
        # bigmap 4.1: put answered the bytes stored, so an empty value looked like a failure.
        assert ns.put("a", b"").size == 0
        assert ns.get("a") == b""
        assert ns.exists("a")
        assert ns.stat("a").size == 0

    def test_every_byte_survives(self, ns: NamespaceFace) -> None:
        ns.put("a", bytes(range(256)) * 3)
        assert ns.get("a") == bytes(range(256)) * 3

    @pytest.mark.parametrize("size", [1, 999, 1000, 1001, 4096, 65_536, 300_000])
    def test_the_size_told_is_the_size_of_the_value(self, ns: NamespaceFace, size: int) -> None:
        # enclave-kv 1.2: over 1,000 bytes stat told the length of a pointer instead.
        value = patterned(size)
        assert ns.put("a", value).size == size
        assert ns.stat("a").size == size
        assert ns.get("a") == value

    @pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 3 * MIB + 17])
    def test_values_around_and_over_one_part(self, ns: NamespaceFace, size: int) -> None:
        # bigmap 4.2 (4): an item of 1 MiB or more got lost when its data moved.
        value = patterned(size)
        ns.put("large", value)
        assert ns.get("large") == value
        assert ns.stat("large").size == size
        assert ns.stat("large").crc32c == crc32c(value)
        assert list(ns.list()) == ["large"]  # parts are never listed

    def test_takes_any_buffer(self, ns: NamespaceFace) -> None:
        ns.put("array", bytearray(b"abc"))
        ns.put("view", memoryview(b"-abc-")[1:4])
        assert ns.get("array") == ns.get("view") == b"abc"
        assert type(ns.get("array")) is bytes

    def test_keeps_what_a_buffer_held_when_it_was_put(self, ns: NamespaceFace) -> None:
        buffer = bytearray(b"before")
        ns.put("a", buffer)
        buffer[:] = b"after!"
        assert ns.get("a") == b"before"

    def test_the_newest_value_is_read(self, ns: NamespaceFace) -> None:
        # icsp 2.2 (2): an overwritten key could answer its old value.
        for step in range(50):
            ns.put("a", b"%d" % step)
            assert ns.get("a") == b"%d" % step

    def test_overwriting_leaves_nothing_of_the_old_value(self, ns: NamespaceFace) -> None:
        # sdstor 5.5: a shorter list kept the tail of the longer one before it.
        ns.put("a", b"long value")
        ns.put("a", b"short")
        assert ns.get("a") == b"short"
        assert ns.get("a", range=(0, 100)) == b"short"

    @pytest.mark.parametrize("data", INVALID_DATA)
    def test_refuses_what_is_not_bytes(self, ns: NamespaceFace, data: object) -> None:
        ns.put("a", b"kept")
        with pytest.raises(InvalidValue):
            ns.put("a", cast("bytes", data))
        with pytest.raises(InvalidValue):
            ns.append("a", cast("bytes", data))
        assert ns.get("a") == b"kept"

    @pytest.mark.parametrize("key", STRANGE_KEYS)
    def test_strange_keys_are_keys(self, ns: NamespaceFace, key: str) -> None:
        assert ns.put(key, b"v").key == key
        assert ns.get(key) == b"v"
        assert key in ns
        assert ns.stat(key).terminal
        assert list(ns.list()) == [key]
        ns.delete(key)
        assert list(ns.list()) == []

    def test_keys_that_look_alike_are_different(self, ns: NamespaceFace) -> None:
        keys = ["a", "a\x00", "a\x00b", "A", "a ", "\u00e9", "e\u0301", "a/", "a/b"]
        fill(ns, keys)
        assert [ns.get(key) for key in keys] == [key.encode() for key in keys]

    @pytest.mark.parametrize("key", INVALID_KEYS)
    def test_refuses_what_is_no_key(self, ns: NamespaceFace, key: object) -> None:
        wrong = cast("str", key)
        calls: list[Callable[[], object]] = [
            lambda: ns.put(wrong, b""),
            lambda: ns.get(wrong),
            lambda: ns.append(wrong, b""),
            lambda: ns.delete(wrong),
            lambda: ns.delete(wrong, missing_ok=True),
            lambda: ns.exists(wrong),
            lambda: ns.stat(wrong),
            lambda: ns.release(wrong),
            lambda: ns.lock(wrong),
            lambda: ns.unlock(wrong, "id"),
            lambda: ns.consumers(wrong).list(),
        ]
        for call in calls:
            with pytest.raises(InvalidKey):
                call()
        assert list(ns.list()) == []

    def test_long_keys_that_differ_at_their_end(self, ns: NamespaceFace) -> None:
        keys = [f"{'k' * 1_020}{number:04d}" for number in range(40)]
        fill(ns, reversed(keys))
        assert list(ns.list()) == keys
        assert [ns.get(key) for key in keys] == [key.encode() for key in keys]
        for key in keys[::2]:
            ns.delete(key)
        assert list(ns.list("k" * 1_020)) == keys[1::2]

    def test_what_is_absent_is_not_found(self, ns: NamespaceFace) -> None:
        # choices.md: a missing key is an error of its own, not a failure of the server.
        for call in (ns.get, ns.stat, ns.delete, ns.release):
            with pytest.raises(NotFound):
                call("a")
        with pytest.raises(KeyError):
            ns.get("a")
        assert not ns.exists("a")
        assert "a" not in ns

    def test_exists_is_exact(self, ns: NamespaceFace) -> None:
        fill(ns, ["dir/x"])
        assert not ns.exists("dir")
        assert not ns.exists("dir/")
        assert ns.exists("dir/x")

    def test_delete_removes(self, ns: NamespaceFace) -> None:
        fill(ns, ["a", "b"])
        ns.delete("a")
        assert not ns.exists("a")
        assert list(ns.list()) == ["b"]
        with pytest.raises(NotFound):
            ns.delete("a")

    def test_delete_of_what_is_missing_may_be_fine(self, ns: NamespaceFace) -> None:
        ns.delete("a", missing_ok=True)
        fill(ns, ["a"])
        ns.delete("a", missing_ok=True)
        assert not ns.exists("a")

    def test_a_directory_is_nothing_to_delete(self, ns: NamespaceFace) -> None:
        # certmagic#281 in enclave-kv 1.5: what deleting a directory means was never said.
        fill(ns, ["dir/x"])
        with pytest.raises(NotFound):
            ns.delete("dir")
        assert ns.exists("dir/x")

    def test_a_key_put_again_is_a_new_object(self, ns: NamespaceFace) -> None:
        old = ns.put("a", b"old", consumers=["c"], content_type="text/plain", ttl=60)
        ns.delete("a")
        new = ns.put("a", b"new")
        told = ns.stat("a")
        assert new.version > old.version
        assert (told.state, told.consumers) == ("unmanaged", 0)
        assert (told.content_type, told.expires_ns) == (None, None)

    @pytest.mark.parametrize(
        "kind",
        ["a/b\r\nSet-Cookie: c=d", "a/b\n", "a\x00", "a\x7f", " a/b", "a/b ", "\ud800", b"a/b", 1],
    )
    def test_a_content_type_is_what_a_header_can_carry(
        self, ns: NamespaceFace, kind: object
    ) -> None:
        # Stored through one door and told by another, it would begin a header of its own there.
        ns.put("a", b"kept")
        with pytest.raises(InvalidValue):
            ns.put("a", b"", content_type=cast("str", kind))
        with pytest.raises(InvalidValue):
            ns.put_many([("a", b""), ("b", b"")], content_type=cast("str", kind))
        with pytest.raises(LimitExceeded):
            ns.put("a", b"", content_type="x" * 256)
        assert ns.get("a") == b"kept"
        assert list(ns.list()) == ["a"]

    def test_the_receipt_tells_what_was_stored(self, ns: NamespaceFace, clock: ManualClock) -> None:
        receipt = ns.put("a", b"value", ttl=10)
        assert (receipt.key, receipt.size) == ("a", 5)
        assert receipt.expires_ns == clock.wall_ns() + 10_000_000_000
        assert isinstance(receipt.version, int)
        assert isinstance(receipt.bucket, str)
        assert isinstance(receipt.cost_atto, int)

    def test_stat_tells_everything(self, ns: NamespaceFace, clock: ManualClock) -> None:
        pass_seconds(clock, 5)
        receipt = ns.put("a", b"123456789", ttl=60, consumers=["x", "y"], content_type="text/plain")
        told = ns.stat("a")
        assert (told.key, told.size, told.terminal) == ("a", 9, True)
        assert told.modified_ns == clock.wall_ns()
        assert (told.version, told.expires_ns) == (receipt.version, receipt.expires_ns)
        assert (told.consumers, told.state, told.permanent) == (2, "managed", False)
        assert told.content_type == "text/plain"
        assert told.crc32c == 0xE3069283  # the check value of CRC-32C
        assert told.bucket == receipt.bucket

    def test_modified_is_the_time_of_the_last_change(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        fill(ns, ["a"])
        for change in (lambda: ns.put("a", b"again"), lambda: ns.append("a", b"+")):
            pass_seconds(clock, 7)
            change()
            assert ns.stat("a").modified_ns == clock.wall_ns()

    def test_stat_of_a_directory(self, ns: NamespaceFace) -> None:
        # enclave-kv 1.2: "terminal" was read off a trailing slash instead of off the keys.
        fill(ns, ["dir/x", "dir/sub/y", "dirty"])
        for name in ("dir", "dir/sub"):
            told = ns.stat(name)
            assert (told.key, told.terminal, told.size) == (name, False, 0)
        with pytest.raises(NotFound):
            ns.stat("di")
        with pytest.raises(NotFound):
            ns.stat("dirt")

    def test_an_object_with_keys_below_it_is_an_object(self, ns: NamespaceFace) -> None:
        fill(ns, ["dir", "dir/x"])
        assert ns.stat("dir").terminal
        ns.delete("dir")
        assert not ns.stat("dir").terminal

    @pytest.mark.parametrize(
        ("span", "part"),
        [
            ((0, 0), b""),
            ((0, 1), b"0"),
            ((3, 7), b"3456"),
            ((0, 10), b"0123456789"),
            ((9, 10), b"9"),
            ((5, 99), b"56789"),
            ((5, 1 << 62), b"56789"),
            ((5, 1 << 70), b"56789"),
            ((10, 10), b""),
            ((10, 99), b""),
        ],
    )
    def test_ranges(self, ns: NamespaceFace, span: tuple[int, int], part: bytes) -> None:
        ns.put("a", b"0123456789")
        assert ns.get("a", range=span) == part

    @pytest.mark.parametrize(
        "span",
        [
            *[(-1, 5), (0, -1), (-3, -1), (5, 3), (11, 12), (11, 11), (1 << 70, 1 << 71)],
            *[(0,), (1, 2, 3), (0.0, 1.0), 5],
        ],
    )
    def test_ranges_that_are_none(self, ns: NamespaceFace, span: object) -> None:
        # A negative end never wraps around to the end of the value, as a slice would.
        ns.put("a", b"0123456789")
        with pytest.raises(InvalidValue):
            ns.get("a", range=cast("tuple[int, int]", span))

    def test_a_range_of_nothing_is_not_found(self, ns: NamespaceFace) -> None:
        with pytest.raises(NotFound):
            ns.get("a", range=(0, 1))

    def test_ranges_across_the_parts_of_a_large_value(self, ns: NamespaceFace) -> None:
        value = patterned(2 * MIB + 100)
        ns.put("large", value)
        for start, stop in ((MIB - 3, MIB + 3), (0, 5), (2 * MIB, 3 * MIB), (MIB, 2 * MIB)):
            assert ns.get("large", range=(start, stop)) == value[start:stop]
        with pytest.raises(InvalidValue):
            ns.get("large", range=(len(value) + 1, len(value) + 2))

    def test_a_large_value_replaced_by_a_small_one_and_back(self, ns: NamespaceFace) -> None:
        large = patterned(MIB + 5)
        for value in (large, b"small", large[::-1], b""):
            ns.put("a", value)
            assert ns.get("a") == value
            assert ns.stat("a").size == len(value)

    def test_namespaces_do_not_see_each_other(self, store: StoreFace) -> None:
        # enclave-kv 1.2: namespace and key were glued together, so "a" + "b/c" met "a/b" + "c",
        # and the locks of "x" were data of "x.lock".
        names = ["a", "a.b", "ab", "x", "x.lock", "A"]
        for name in names:
            store.namespace(name).put("b/c", name.encode())
            store.namespace(name).put(".lock/k", name.encode())
        for name in names:
            assert store.namespace(name).get("b/c") == name.encode()
            assert list(store.namespace(name).list()) == [".lock/k", "b/c"]
        store.namespace("a").delete("b/c")
        assert store.namespace("a.b").get("b/c") == b"a.b"

    def test_two_handles_of_a_namespace_are_one(self, store: StoreFace) -> None:
        store.namespace("acme").put("a", b"1")
        assert store.namespace("acme").get("a") == b"1"
