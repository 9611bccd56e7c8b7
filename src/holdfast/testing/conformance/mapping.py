"""The mapping of a namespace, by our own tests; CPython's are in ``cpython``."""
# ruff: noqa: D102, PLR2004, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from collections.abc import MutableMapping
from typing import cast

import pytest

from holdfast.errors import InvalidKey, InvalidValue, NotFound, Permanent
from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance.base import SuiteBase, fill, pass_seconds
from holdfast.testing.face import NamespaceFace


class MappingTests(SuiteBase):
    """mapping(): a dict of str to bytes."""

    def test_is_a_mapping(self, ns: NamespaceFace) -> None:
        assert isinstance(ns.mapping(), MutableMapping)

    def test_shows_the_namespace(self, ns: NamespaceFace) -> None:
        mapping = ns.mapping()
        mapping["b"] = b"2"
        ns.put("a", b"1")
        assert ns.get("b") == mapping["b"] == b"2"
        assert list(mapping) == ["a", "b"]
        assert len(mapping) == 2
        assert mapping == {"a": b"1", "b": b"2"}
        del mapping["a"]
        assert not ns.exists("a")

    def test_what_is_absent_is_a_key_error(self, ns: NamespaceFace) -> None:
        mapping = ns.mapping()
        with pytest.raises(KeyError):
            mapping["a"]
        with pytest.raises(KeyError):
            del mapping["a"]
        with pytest.raises(NotFound):
            mapping.pop("a")
        assert mapping.get("a") is None
        assert mapping.pop("a", b"default") == b"default"
        assert "a" not in mapping

    def test_a_directory_is_no_item(self, ns: NamespaceFace) -> None:
        fill(ns, ["dir/x"])
        assert "dir" not in ns.mapping()
        assert list(ns.mapping().items()) == [("dir/x", b"dir/x")]

    def test_takes_bytes_only(self, ns: NamespaceFace) -> None:
        mapping = ns.mapping()
        with pytest.raises(InvalidValue):
            mapping["a"] = cast("bytes", "text")
        with pytest.raises(InvalidKey):
            mapping[""] = b"1"
        with pytest.raises(InvalidKey):
            mapping[cast("str", 1)] = b"1"
        assert len(mapping) == 0

    def test_shows_time_passing(self, ns: NamespaceFace, clock: ManualClock) -> None:
        mapping = ns.mapping()
        ns.put("a", b"1", ttl=1)
        ns.put("b", b"2", ttl=1)
        mapping["b"] = b"3"
        pass_seconds(clock, 1)
        assert mapping == {"b": b"3"}

    def test_verbs_of_a_mapping(self, ns: NamespaceFace) -> None:
        mapping = ns.mapping()
        mapping.update({"a": b"1"}, b=b"2")
        assert mapping.setdefault("a", b"other") == b"1"
        assert mapping.setdefault("c", b"3") == b"3"
        assert mapping.pop("b") == b"2"
        key, value = mapping.popitem()
        assert ns.get_many(["a", "c"]).count(None) == 1
        assert value == {"a": b"1", "c": b"3"}[key]
        mapping.clear()
        assert list(ns.list()) == []
        assert not mapping

    def test_permanent_objects_refuse_here_too(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", permanent=True)
        mapping = ns.mapping()
        with pytest.raises(Permanent):
            mapping["a"] = b"2"
        with pytest.raises(Permanent):
            del mapping["a"]
        assert mapping == {"a": b"1"}
