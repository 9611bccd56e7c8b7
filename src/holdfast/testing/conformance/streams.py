"""Streams: a value written bit by bit is there when it is closed, whole, or not at all."""
# ruff: noqa: D102, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

import pytest
from crc32c import crc32c

from holdfast.errors import Changed, HoldfastError, InvalidKey, InvalidValue, NotFound, Permanent
from holdfast.testing.conformance.base import SuiteBase, patterned
from holdfast.testing.face import NamespaceFace

MIB = 1 << 20


class GiveUpError(Exception):
    """What a caller raises in the middle of writing."""


def give_up_writing(ns: NamespaceFace, key: str) -> None:
    """Write more than a part, then fail."""
    with ns.open(key, "wb") as file:
        file.write(patterned(MIB + 1))
        raise GiveUpError


class StreamTests(SuiteBase):
    """open(key, "wb") and open(key, "rb")."""

    def test_written_and_read(self, ns: NamespaceFace) -> None:
        with ns.open("a", "wb") as file:
            file.write(b"one ")
            file.write(b"two")
        assert ns.get("a") == b"one two"
        with ns.open("a", "rb") as file:
            assert file.read() == b"one two"

    def test_read_in_pieces(self, ns: NamespaceFace) -> None:
        ns.put("a", b"0123456789")
        with ns.open("a", "rb") as file:
            assert [file.read(4), file.read(4), file.read(4), file.read(4)] == [
                b"0123",
                b"4567",
                b"89",
                b"",
            ]

    def test_a_value_of_many_parts(self, ns: NamespaceFace) -> None:
        # icsp A.9: a chunk of a wrong size left a hole of zeros in the file.
        value = patterned(2 * MIB + 12_345)
        with ns.open("large", "wb") as file:
            for start in range(0, len(value), 100_003):
                file.write(value[start : start + 100_003])
        assert ns.get("large") == value
        told = ns.stat("large")
        assert (told.size, told.crc32c) == (len(value), crc32c(value))
        assert list(ns.list()) == ["large"]
        with ns.open("large", "rb") as file:
            pieces = iter(lambda: file.read(77_777), b"")
            assert b"".join(pieces) == value

    @pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 2 * MIB])
    def test_sizes_around_a_part(self, ns: NamespaceFace, size: int) -> None:
        value = patterned(size)
        with ns.open("a", "wb") as file:
            file.write(value)
        assert ns.get("a") == value

    def test_nothing_written_is_an_empty_object(self, ns: NamespaceFace) -> None:
        # icsp A.9: a total size of 0 underflowed the count of chunks.
        with ns.open("a", "wb"):
            pass
        assert ns.get("a") == b""

    def test_nothing_shows_before_it_is_closed(self, ns: NamespaceFace) -> None:
        ns.put("a", b"old")
        with ns.open("a", "wb") as file, ns.open("b", "wb") as other:
            file.write(patterned(MIB + 1))
            other.write(patterned(MIB + 1))
            assert ns.get("a") == b"old"
            assert not ns.exists("b")
            assert list(ns.list()) == ["a"]
        assert ns.stat("a").size == ns.stat("b").size == MIB + 1

    def test_an_error_inside_stores_nothing(self, ns: NamespaceFace) -> None:
        ns.put("a", b"old")
        for key in ("a", "b"):
            with pytest.raises(GiveUpError):
                give_up_writing(ns, key)
        assert ns.get("a") == b"old"
        assert list(ns.list()) == ["a"]

    def test_writing_is_a_put(self, ns: NamespaceFace) -> None:
        before = ns.put("a", b"old", ttl=60, consumers=["x"], content_type="text/plain")
        with ns.open("a", "wb") as file:
            file.write(b"new")
        told = ns.stat("a")
        assert told.version > before.version
        assert (told.expires_ns, told.content_type) == (None, None)
        assert list(ns.consumers("a").list()) == ["x"]

    def test_what_is_absent_is_not_read(self, ns: NamespaceFace) -> None:
        with pytest.raises(NotFound), ns.open("a", "rb") as file:
            file.read()
        assert not ns.exists("a")

    @pytest.mark.parametrize("mode", ["", "r", "w", "ab", "r+b", "xb", "rt"])
    def test_modes_of_a_file_that_are_none(self, ns: NamespaceFace, mode: str) -> None:
        ns.put("a", b"1")
        with pytest.raises(InvalidValue), ns.open("a", mode):
            pass
        assert ns.get("a") == b"1"

    def test_keys_that_are_none(self, ns: NamespaceFace) -> None:
        for mode in ("rb", "wb"):
            with pytest.raises(InvalidKey), ns.open("", mode):
                pass

    def test_a_permanent_object_is_not_written(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", permanent=True)
        with pytest.raises(Permanent), ns.open("a", "wb") as file:
            file.write(b"2")
        assert ns.get("a") == b"1"

    def test_a_reader_never_sees_a_mixture(self, ns: NamespaceFace) -> None:
        # Rule 8: the old object to its end, or Changed.
        old, new = patterned(3 * MIB, 1), patterned(3 * MIB, 2)
        ns.put("a", old)
        with ns.open("a", "rb") as file:
            begun = file.read(1_000)
            ns.put("a", new)
            try:
                rest = file.read()
            except Changed:
                rest = old[1_000:]
            assert begun + rest == old
        assert ns.get("a") == new

    def test_two_writers_of_one_key(self, ns: NamespaceFace) -> None:
        first, second = patterned(MIB + 7, 1), patterned(MIB + 9, 2)
        with ns.open("a", "wb") as one:
            one.write(first[: MIB // 2])
            with ns.open("a", "wb") as other:
                other.write(second)
            assert ns.get("a") == second
            one.write(first[MIB // 2 :])
        assert ns.get("a") == first

    def test_a_closed_file_takes_nothing(self, ns: NamespaceFace) -> None:
        with ns.open("a", "wb") as file:
            file.write(b"1")
        with pytest.raises((ValueError, HoldfastError)):
            file.write(b"2")
        file.close()
        assert ns.get("a") == b"1"
