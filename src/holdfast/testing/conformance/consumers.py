"""Consumers: a multiset in order, kept apart from the value, that decides what is collected."""
# ruff: noqa: D102, PLR2004, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from holdfast.errors import InvalidValue, LimitExceeded, NotFound
from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance.base import SuiteBase, fill, pass_seconds, patterned
from holdfast.testing.face import ConsumerId, NamespaceFace, StoreFace

MIB = 1 << 20
INVALID_IDS = ["", b"", "x" * 17, b"x" * 17, "\u00e9" * 9, "\ud800", 5, None, ("a",)]


class ConsumerTests(SuiteBase):
    """consumers(key) and the states of an object."""

    def test_an_object_begins_unmanaged(self, ns: NamespaceFace) -> None:
        fill(ns, ["a"])
        assert list(ns.consumers("a").list()) == []
        assert (ns.stat("a").state, ns.stat("a").consumers) == ("unmanaged", 0)

    def test_a_put_may_bring_them(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", consumers=["x", "y"])
        assert list(ns.consumers("a").list()) == ["x", "y"]
        assert (ns.stat("a").state, ns.stat("a").consumers) == ("managed", 2)

    def test_a_put_with_none_of_them_stays_unmanaged(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", consumers=[])
        assert ns.stat("a").state == "unmanaged"

    def test_append_and_set_keep_the_order(self, ns: NamespaceFace) -> None:
        fill(ns, ["a"])
        consumers = ns.consumers("a")
        consumers.append(["c", "a"])
        consumers.append(["b"])
        assert list(consumers.list()) == ["c", "a", "b"]
        consumers.set(["z", "y"])
        assert list(consumers.list()) == ["z", "y"]
        assert ns.stat("a").consumers == 2

    def test_the_list_is_a_multiset(self, ns: NamespaceFace) -> None:
        # sdstor 5.5: one version removed every occurrence, the next one for each mention.
        ns.put("a", b"1", consumers=["x", "y", "x"])
        consumers = ns.consumers("a")
        consumers.append(["x"])
        assert ns.stat("a").consumers == 4
        assert list(consumers.remove(["x"])) == []
        assert sorted(map(str, consumers.list())) == ["x", "x", "y"]
        assert list(consumers.remove(["x", "x", "x"])) == ["x"]
        assert list(consumers.list()) == ["y"]

    def test_remove_keeps_the_order_of_the_rest(self, ns: NamespaceFace) -> None:
        # sdstor 5.5: removing sorted the list as a side effect.
        ns.put("a", b"1", consumers=["z", "m", "a", "q"])
        assert list(ns.consumers("a").remove(["a", "nobody", "m", "none"])) == ["nobody", "none"]
        assert list(ns.consumers("a").list()) == ["z", "q"]

    def test_ids_come_back_as_they_were_given(self, ns: NamespaceFace) -> None:
        given: list[ConsumerId] = ["text", b"bytes", b"\xff\x00\xfe", "\u00e9"]
        ns.put("a", b"1", consumers=given)
        assert list(ns.consumers("a").list()) == given

    def test_the_same_bytes_are_the_same_consumer(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", consumers=[b"x", "y"])
        assert list(ns.consumers("a").remove(["x", b"y"])) == []
        assert list(ns.consumers("a").list()) == []
        missing = ns.consumers("a").remove(["gone", b"gone"])
        assert list(missing) == ["gone", b"gone"]

    def test_ids_of_zeros(self, ns: NamespaceFace) -> None:
        # sdstor 5.5: the first id of all zeros ended the list, and ids were padded with zeros.
        given: list[ConsumerId] = [b"\x00" * 16, b"\x00", "a", b"a\x00"]
        ns.put("a", b"1", consumers=given)
        assert list(ns.consumers("a").list()) == given
        assert list(ns.consumers("a").remove([b"a"])) == []
        assert list(ns.consumers("a").list()) == [b"\x00" * 16, b"\x00", b"a\x00"]

    def test_160_fit(self, ns: NamespaceFace) -> None:
        given = [f"{number:016d}" for number in range(160)]
        ns.put("a", b"1", consumers=given)
        ns.put("b", b"1")
        ns.consumers("b").set(given)
        ns.put("c", b"1")
        ns.consumers("c").append(given[:80])
        ns.consumers("c").append(given[80:])
        for key in "abc":
            assert list(ns.consumers(key).list()) == given

    def test_161_do_not(self, ns: NamespaceFace) -> None:
        # sdstor 5.5: more than 160 in a new object crashed the server.
        many = ["x"] * 161
        ns.put("a", b"1", consumers=["x"] * 160)
        consumers = ns.consumers("a")
        calls: list[Callable[[], object]] = [
            lambda: consumers.append(["y"]),
            lambda: consumers.set(many),
            lambda: ns.put("a", b"2", consumers=many),
            lambda: ns.put("new", b"2", consumers=many),
        ]
        for call in calls:
            with pytest.raises(LimitExceeded) as caught:
                call()
            assert caught.value.facts["limit"] == "CONSUMERS"
        assert list(consumers.list()) == ["x"] * 160
        assert ns.get("a") == b"1"
        assert not ns.exists("new")

    @pytest.mark.parametrize("wrong", INVALID_IDS)
    def test_ids_that_are_none(self, ns: NamespaceFace, wrong: object) -> None:
        # sdstor 5.5: longer ids were cut without a word.
        ns.put("a", b"1", consumers=["x"])
        consumers, ids = ns.consumers("a"), cast("list[ConsumerId]", ["fine", wrong])
        calls: list[Callable[[], object]] = [
            lambda: consumers.append(ids),
            lambda: consumers.set(ids),
            lambda: consumers.remove(ids),
            lambda: ns.put("a", b"2", consumers=ids),
        ]
        for call in calls:
            with pytest.raises(InvalidValue):
                call()
        assert list(consumers.list()) == ["x"]
        assert ns.get("a") == b"1"

    @pytest.mark.parametrize("ids", ["letters", b"letters", 5])
    def test_one_id_is_no_list_of_its_letters(self, ns: NamespaceFace, ids: object) -> None:
        fill(ns, ["a"])
        with pytest.raises(InvalidValue):
            ns.consumers("a").set(cast("list[ConsumerId]", ids))
        with pytest.raises(InvalidValue):
            ns.put("a", b"1", consumers=cast("list[ConsumerId]", ids))
        assert ns.stat("a").state == "unmanaged"

    def test_nothing_given_changes_nothing(self, ns: NamespaceFace) -> None:
        fill(ns, ["a"])
        consumers = ns.consumers("a")
        consumers.set([])
        consumers.append([])
        assert list(consumers.remove([])) == []
        assert list(consumers.remove(["x"])) == ["x"]
        assert ns.stat("a").state == "unmanaged"
        consumers.append(["x"])
        consumers.append([])
        assert list(consumers.list()) == ["x"]

    def test_ids_may_come_from_a_generator(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", consumers=(name for name in "xy"))
        ns.consumers("a").append(name for name in "z")
        assert list(ns.consumers("a").remove(name for name in "yw")) == ["w"]
        assert list(ns.consumers("a").list()) == ["x", "z"]

    @pytest.mark.parametrize("last", ["remove", "set", "put"])
    def test_losing_the_last_marks(self, ns: NamespaceFace, last: str) -> None:
        # sdstor 5.4: no consumers means marked for deletion, but still there.
        ns.put("a", b"1", consumers=["x"])
        if last == "remove":
            ns.consumers("a").remove(["x"])
        elif last == "set":
            ns.consumers("a").set([])
        else:
            ns.put("a", b"1", consumers=[])
        assert (ns.stat("a").state, ns.stat("a").consumers) == ("marked", 0)
        assert ns.get("a") == b"1"
        assert list(ns.list()) == ["a"]
        assert ns.exists("a")

    @pytest.mark.parametrize("mode", ["auto", "copying", "compacting"])
    def test_the_next_collect_removes_what_is_marked(
        self, store: StoreFace, ns: NamespaceFace, mode: str
    ) -> None:
        ns.put("managed", b"1", consumers=["x"])
        ns.put("marked", b"1", consumers=["x"])
        ns.put("unmanaged", b"1")
        ns.consumers("marked").remove(["x"])
        store.collect(mode)
        assert list(ns.list()) == ["managed", "unmanaged"]
        with pytest.raises(NotFound):
            ns.get("marked")
        assert list(ns.consumers("managed").list()) == ["x"]

    def test_a_new_consumer_revives(self, store: StoreFace, ns: NamespaceFace) -> None:
        ns.put("a", b"1", consumers=["x"])
        ns.consumers("a").remove(["x"])
        ns.consumers("a").append(["y"])
        assert ns.stat("a").state == "managed"
        store.collect()
        assert ns.get("a") == b"1"

    def test_a_put_leaves_the_list(self, ns: NamespaceFace) -> None:
        # sdstor 5.5 (#420): overwriting an object lost the references of others.
        ns.put("a", b"1", consumers=["x", "y"])
        ns.put("a", b"2")
        assert list(ns.consumers("a").list()) == ["x", "y"]
        ns.put_many([("a", b"3")])
        assert list(ns.consumers("a").list()) == ["x", "y"]

    def test_a_put_with_a_list_replaces_it(self, ns: NamespaceFace) -> None:
        # sdstor 5.5: a shorter name kept the tail of the one before it.
        ns.put("a", b"1", consumers=["longer-name", "y"])
        ns.put("a", b"2", consumers=["n"])
        assert list(ns.consumers("a").list()) == ["n"]

    def test_what_is_absent_has_no_list(self, ns: NamespaceFace, clock: ManualClock) -> None:
        # sdstor 5.2: appending to the list of what was never stored created one.
        fill(ns, ["dir/x"])
        ns.put("expired", b"1", ttl=1, consumers=["x"])
        pass_seconds(clock, 1)
        for key in ("absent", "dir", "expired"):
            calls: list[Callable[[str], object]] = [
                lambda key: ns.consumers(key).list(),
                lambda key: ns.consumers(key).append(["x"]),
                lambda key: ns.consumers(key).set(["x"]),
                lambda key: ns.consumers(key).set([]),
                lambda key: ns.consumers(key).remove(["x"]),
            ]
            for call in calls:
                with pytest.raises(NotFound):
                    call(key)
            assert not ns.exists(key)

    def test_a_list_goes_with_its_object(self, ns: NamespaceFace) -> None:
        ns.put("a", b"1", consumers=["x"])
        ns.delete("a")
        ns.put("a", b"2")
        assert list(ns.consumers("a").list()) == []

    def test_an_update_leaves_the_object_alone(self, ns: NamespaceFace, clock: ManualClock) -> None:
        # sdstor 5.5: raw bytes of the old list were laid over the new one, and over the value.
        value = patterned(MIB + 5)
        receipt = ns.put("a", value, ttl=100, content_type="text/plain")
        pass_seconds(clock, 1)
        for step in range(20):
            ns.consumers("a").append([f"c{step}"])
            ns.consumers("a").remove([f"c{step - 1}"])
        told = ns.stat("a")
        assert told.expires_ns == receipt.expires_ns
        assert (told.size, told.content_type, told.consumers) == (len(value), "text/plain", 1)
        assert ns.get("a") == value

    def test_lists_of_neighbours_are_their_own(self, store: StoreFace, ns: NamespaceFace) -> None:
        # sdstor 5.5: the list of one namespace was written under the bare key.
        for name in ("a", "a\x00", "aa"):
            ns.put(name, b"1", consumers=[f"of {len(name)}"])
        other = store.namespace("other")
        other.put("a", b"1", consumers=["other"])
        other.consumers("a").append(["more"])
        assert [list(ns.consumers(name).list()) for name in ("a", "a\x00", "aa")] == [
            ["of 1"],
            ["of 2"],
            ["of 2"],
        ]
