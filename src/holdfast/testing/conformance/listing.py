"""Lists: byte order, prefixes as text and by component, one level, pages, changes meanwhile."""
# ruff: noqa: D102, PLR2004, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from typing import cast

import pytest

from holdfast.errors import HoldfastError, InvalidValue
from holdfast.testing.conformance.base import SuiteBase, fill
from holdfast.testing.face import Coverage, NamespaceFace, StoreFace

TREE = ["a", "a-b", "a/1", "a/2", "a/x/1", "a/x/2", "a/x/y/1", "a/z/1", "a0", "ab", "ab/1", "b"]


class ListTests(SuiteBase):
    """list and entries."""

    def test_an_empty_namespace_lists_nothing(self, ns: NamespaceFace) -> None:
        assert list(ns.list()) == []
        assert list(ns.list("a", recursive=False)) == []

    def test_names_come_in_byte_order(self, ns: NamespaceFace) -> None:
        # Order of UTF-8, in which U+FFFF stands before U+1F600; UTF-16 has it the other way.
        keys = ["\x00", " ", "A", "Z", "a", "a\x00", "a ", "aa", "z", "\u00e9", "\uffff"]
        keys += ["\U0001f600"]
        fill(ns, reversed(keys))
        assert list(ns.list()) == sorted(keys, key=str.encode)
        assert list(ns.list()) == keys

    def test_a_prefix_is_text(self, ns: NamespaceFace) -> None:
        fill(ns, TREE)
        assert list(ns.list("a")) == TREE[:-1]
        assert list(ns.list("a/")) == ["a/1", "a/2", "a/x/1", "a/x/2", "a/x/y/1", "a/z/1"]
        assert list(ns.list("ab")) == ["ab", "ab/1"]
        assert list(ns.list("a/x/y/1")) == ["a/x/y/1"]
        assert list(ns.list("a/x/y/12")) == []

    def test_by_component_covers_whole_names(self, ns: NamespaceFace) -> None:
        # certmagic#242 in enclave-kv 1.5: "foo" matched "foobar".
        fill(ns, TREE)
        below = ["a/1", "a/2", "a/x/1", "a/x/2", "a/x/y/1", "a/z/1"]
        assert list(ns.list("a", by="component")) == ["a", *below]
        assert list(ns.list("a/x", by="component")) == ["a/x/1", "a/x/2", "a/x/y/1"]
        assert list(ns.list("a/", by="component")) == below
        assert list(ns.list("", by="component")) == TREE
        assert list(ns.list("a/x/", by="component", limit=1)) == ["a/x/1"]

    def test_one_level(self, ns: NamespaceFace) -> None:
        fill(ns, TREE)
        assert list(ns.list("a/", recursive=False)) == ["a/1", "a/2", "a/x/", "a/z/"]
        assert list(ns.list("a/x/", recursive=False)) == ["a/x/1", "a/x/2", "a/x/y/"]
        top = ["a", "a-b", "a/", "a0", "ab", "ab/", "b"]
        assert list(ns.list("", recursive=False)) == top

    def test_one_level_below_a_text(self, ns: NamespaceFace) -> None:
        # enclave-kv 1.2: one level below "dir" answered ["dir"].
        fill(ns, TREE)
        assert list(ns.list("a", recursive=False)) == ["a", "a-b", "a/", "a0", "ab", "ab/"]
        assert list(ns.list("a/x", recursive=False)) == ["a/x/"]
        fill(ns, ["dir/a"])
        assert list(ns.list("dir", recursive=False)) == ["dir/"]
        assert list(ns.list("di", recursive=False)) == ["dir/"]

    def test_one_level_by_component(self, ns: NamespaceFace) -> None:
        # enclave-kv 1.2: its ancestors answered the children, which is certmagic's contract.
        fill(ns, ["dir/a", "dir/b/c", "dir/b/d", "dirty", "other"])
        assert list(ns.list("dir", recursive=False, by="component")) == ["dir/a", "dir/b/"]
        assert list(ns.list("", recursive=False, by="component")) == ["dir/", "dirty", "other"]

    def test_one_level_shows_a_large_directory_once(self, ns: NamespaceFace) -> None:
        # enclave-kv 1.2: a scan could answer the same name more than once.
        fill(ns, [f"{top}/{number:04d}" for top in "abc" for number in range(400)])
        assert list(ns.list(recursive=False)) == ["a/", "b/", "c/"]
        assert list(ns.list(recursive=False, limit=2)) == ["a/", "b/"]
        assert list(ns.list(recursive=False, after="a/")) == ["b/", "c/"]

    @pytest.mark.parametrize("prefix", ["*", "?", "[ab]", "a*", " ", "\\", "%", "_", "a/*", ".*"])
    def test_a_prefix_has_no_wildcards(self, ns: NamespaceFace, prefix: str) -> None:
        # enclave-kv 1.2: "*" and blanks listed everything, [ab] and ? were live.
        fill(ns, [*TREE, f"{prefix}1"])
        assert list(ns.list(prefix)) == [f"{prefix}1"]

    def test_prefixes_at_the_end_of_the_order(self, ns: NamespaceFace) -> None:
        keys = ["a", "a\U0010ffff", "a\U0010ffff\U0010ffff", "b", "\U0010ffff", "\U0010ffff1"]
        fill(ns, keys)
        assert list(ns.list("a")) == keys[:3]
        assert list(ns.list("a\U0010ffff")) == keys[1:3]
        assert list(ns.list("\U0010ffff")) == ["\U0010ffff1", "\U0010ffff"][::-1]

    @pytest.mark.parametrize("limit", [1, 2, 5, 11, 12, 13, 1_000, 5_000])
    @pytest.mark.parametrize("recursive", [True, False])
    def test_pages_make_up_the_whole(
        self,
        ns: NamespaceFace,
        limit: int,
        recursive: bool,  # noqa: FBT001 - given by name
    ) -> None:
        fill(ns, TREE)
        pages: list[str] = []
        after = None
        while page := list(ns.list("a", recursive=recursive, limit=limit, after=after)):
            assert len(page) <= limit
            pages += page
            after = page[-1]
        assert pages == list(ns.list("a", recursive=recursive))

    def test_after_is_exclusive(self, ns: NamespaceFace) -> None:
        fill(ns, TREE)
        assert list(ns.list(after="ab")) == ["ab/1", "b"]
        assert list(ns.list(after="a/x/y")) == ["a/x/y/1", "a/z/1", "a0", "ab", "ab/1", "b"]
        assert list(ns.list("a/x", after="a")) == ["a/x/1", "a/x/2", "a/x/y/1"]
        assert list(ns.list("a/x", after="b")) == []
        assert list(ns.list(after="\U0010ffff")) == []

    def test_after_need_not_exist(self, ns: NamespaceFace) -> None:
        fill(ns, ["a", "b", "c", "d"])
        ns.delete("b")
        assert list(ns.list(after="b")) == ["c", "d"]

    @pytest.mark.parametrize("limit", [-1, 1.5, "1"])
    def test_limits_that_are_none(self, ns: NamespaceFace, limit: object) -> None:
        fill(ns, TREE)
        with pytest.raises(InvalidValue):
            list(ns.list(limit=cast("int", limit)))
        with pytest.raises(InvalidValue):
            list(ns.entries(limit=cast("int", limit)))

    def test_options_that_are_none(self, ns: NamespaceFace) -> None:
        fill(ns, TREE)
        with pytest.raises(InvalidValue):
            list(ns.list("a", by=cast("Coverage", "glob")))
        with pytest.raises(HoldfastError):
            list(ns.list(cast("str", 5)))
        with pytest.raises(HoldfastError):
            list(ns.list(after=cast("str", b"a")))

    def test_entries_tell_what_stat_tells(self, ns: NamespaceFace) -> None:
        fill(ns, TREE)
        ns.put("a/1", b"other", ttl=60, consumers=["c"], content_type="text/plain")
        entries = list(ns.entries())
        assert [entry.key for entry in entries] == list(ns.list())
        assert entries == [ns.stat(key) for key in TREE]

    def test_entries_of_one_level(self, ns: NamespaceFace) -> None:
        fill(ns, TREE)
        entries = list(ns.entries("a/", recursive=False))
        assert [(entry.key, entry.terminal) for entry in entries] == [
            ("a/1", True),
            ("a/2", True),
            ("a/x/", False),
            ("a/z/", False),
        ]
        assert entries[0] == ns.stat("a/1")
        assert entries[2].size == 0

    def test_entries_take_what_list_takes(self, ns: NamespaceFace) -> None:
        fill(ns, TREE)
        page = ns.entries("a", by="component", limit=2, after="a/1")
        assert [entry.key for entry in page] == ["a/2", "a/x/1"]

    def test_a_long_list_is_whole(self, ns: NamespaceFace) -> None:
        # bigmap 4.1: a list stopped after 10,000 without a word; a page is 1,000 here.
        keys = [f"k{number:05d}" for number in range(2_500)]
        fill(ns, reversed(keys))
        assert list(ns.list()) == keys
        assert list(ns.list(limit=1_500)) == keys[:1_500]
        assert list(ns.list(after=keys[1_999])) == keys[2_000:]
        assert sum(1 for _ in ns.entries("k01")) == 1_000

    def test_a_list_is_taken_bit_by_bit(self, ns: NamespaceFace) -> None:
        fill(ns, [f"k{number:04d}" for number in range(2_100)])
        names = ns.list()
        assert [next(names), next(names)] == ["k0000", "k0001"]

    def test_deleting_while_listing(self, ns: NamespaceFace) -> None:
        # Rule 10: a key present throughout is listed once, one absent throughout is not.
        keys = [f"k{number:04d}" for number in range(2_200)]
        fill(ns, keys)
        seen = []
        for name in ns.list():
            seen.append(name)
            number = int(name[1:])
            if number % 2:
                ns.delete(name)
        assert [name for name in seen if not int(name[1:]) % 2] == keys[::2]
        assert seen == sorted(set(seen))
        assert list(ns.list()) == keys[::2]

    def test_putting_while_listing(self, ns: NamespaceFace) -> None:
        keys = [f"k{number:04d}" for number in range(1_500)]
        fill(ns, keys)
        seen = []
        for name in ns.list():
            seen.append(name)
            if not name.endswith("x"):
                ns.put(f"{name}x", b"new")
            if len(seen) > 3_000:
                break
        assert [name for name in seen if not name.endswith("x")] == keys
        assert seen == sorted(set(seen))

    def test_lists_stay_in_their_namespace(self, store: StoreFace) -> None:
        # sdstor 5.5: a prefix without its end counted the objects of ns10 for ns1.
        for name in ("ns1", "ns10", "ns"):
            fill(store.namespace(name), [f"{name}-a", f"{name}-b"])
        assert list(store.namespace("ns1").list()) == ["ns1-a", "ns1-b"]
        assert list(store.namespace("ns").list("ns")) == ["ns-a", "ns-b"]
        assert [entry.key for entry in store.namespace("ns10").entries()] == ["ns10-a", "ns10-b"]

    def test_a_key_is_listed_once_however_often_it_was_written(self, ns: NamespaceFace) -> None:
        # icsp 2.2 (2): a key written before and after growth lived in two indexes.
        for _ in range(5):
            fill(ns, ["a", "b"])
            ns.delete("a")
            fill(ns, ["a"])
            ns.append("b", b"+")
        assert list(ns.list()) == ["a", "b"]
        assert [entry.size for entry in ns.entries()] == [1, 2]
