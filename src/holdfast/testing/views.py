"""The suite of the views' port: inherit it and say how to make a view.

Example:
    >>> class TestMine(ViewSuite):
    ...     @pytest.fixture
    ...     def fresh(self):
    ...         return MemoryView
"""

from __future__ import annotations

# ruff: noqa: D102, S101, PLR2004 - tests: told by their names, and they assert what they expect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Barrier, Event, Thread

import pytest
from hypothesis.stateful import run_state_machine_as_test

from holdfast.errors import InvalidKey, LimitExceeded, Moved
from holdfast.limits import MIB, VIEW_KEYS_SHARED
from holdfast.testing.machine.running import machine_settings
from holdfast.testing.view_machine import ALL, GivenUpError, P, ViewMachine
from holdfast.views.port import Table, View

Fresh = Callable[[], View]
Rows = list[tuple[bytes, bytes]]

EVERY_BYTE = [bytes([n]) for n in range(256)]


def commit(view: View, rows: Rows, table: Table = Table.KEYS) -> None:
    """Put ``rows`` in a commit of their own."""
    with view.writer() as writer:
        writer.put(table, rows)


def numbered(count: int, prefix: bytes = b"", length: int = 0) -> Rows:
    """``count`` rows whose keys differ only at their end, ascending."""
    return [((prefix + b"%06d" % n).rjust(length, b"k"), b"%d" % n) for n in range(count)]


@contextmanager
def unnoticed(look: Callable[[], bool], readers: int = 3) -> Iterator[None]:
    """Have threads look at a view all the while; each look is right, and none raises."""
    done = Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.is_set() and not wrong:
            try:
                if not look():
                    wrong.append("a look that is not right")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the failure
                wrong.append(error)

    threads = [Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []


class ViewSuite:
    """What every implementation of ``View`` does alike.

    Inherit it and give a fixture ``fresh``: a function that makes a new empty view
    each time it is called.
    """

    @pytest.fixture
    def fresh(self) -> Fresh:
        raise NotImplementedError("how to make the view under test")

    @pytest.fixture
    def view(self, fresh: Fresh) -> Iterator[View]:
        view = fresh()
        yield view
        view.close()

    # -- reading ---------------------------------------------------------------------

    def test_a_view_that_was_never_written_answers_empty(self, view: View) -> None:
        for table in Table:
            assert view.get(table, b"a") is None
            assert view.get(table, P + b"a") is None
            assert view.get_many(table, [b"a", b"b"]) == {}
            assert view.scan(table, b"", None, 10) == []
            assert view.count(table) == 0
        assert view.disk_bytes() == 0

    def test_what_was_put_is_got(self, view: View) -> None:
        commit(view, [(b"a", b"1"), (b"b", b"")])
        assert view.get(Table.KEYS, b"a") == b"1"
        assert view.get(Table.KEYS, b"b") == b""
        assert view.get(Table.KEYS, b"c") is None
        assert view.get(Table.KEYS, b"") is None

    def test_tables_do_not_know_each_other(self, view: View) -> None:
        for table in Table:
            commit(view, [(b"same", table.name.encode())], table)
        for table in Table:
            assert view.get(table, b"same") == table.name.encode()
            assert view.scan(table, b"", None, 9) == [(b"same", table.name.encode())]
            assert view.count(table) == 1

    def test_many_are_got_at_once(self, view: View) -> None:
        rows = numbered(300)
        commit(view, rows)
        asked = [key for key, _ in rows[::7]]
        absent = [key + b"x" for key in asked]
        assert view.get_many(Table.KEYS, sorted(asked + absent)) == dict(rows[::7])
        assert view.get_many(Table.KEYS, []) == {}

    def test_rows_are_in_byte_order(self, view: View) -> None:
        pairs = [a + b for a in EVERY_BYTE[::17] for b in EVERY_BYTE[::51]]
        keys = sorted({*EVERY_BYTE, *pairs})
        with view.writer() as writer:
            for key in reversed(keys):
                writer.put(Table.KEYS, [(key, key[::-1])])
        assert view.scan(Table.KEYS, b"", None, ALL) == [(key, key[::-1]) for key in keys]

    def test_a_scan_begins_at_start_and_ends_before_stop(self, view: View) -> None:
        rows = numbered(100)
        commit(view, rows)
        for first, last in ((0, 100), (0, 1), (17, 18), (17, 60), (99, 100), (40, 40)):
            stop = rows[last][0] if last < 100 else None
            assert view.scan(Table.KEYS, rows[first][0], stop, ALL) == rows[first:last]

    def test_bounds_need_not_be_rows(self, view: View) -> None:
        commit(view, [(b"b", b"1"), (b"d", b"2"), (b"f", b"3")])
        assert view.scan(Table.KEYS, b"a", b"c", ALL) == [(b"b", b"1")]
        assert view.scan(Table.KEYS, b"bb", b"e", ALL) == [(b"d", b"2")]
        assert view.scan(Table.KEYS, b"e", b"z" * 600, ALL) == [(b"f", b"3")]
        assert view.scan(Table.KEYS, b"g", None, ALL) == []
        assert view.scan(Table.KEYS, b"e", b"a", ALL) == []
        assert view.scan(Table.KEYS, b"", b"", ALL) == []

    def test_an_uncut_scan_tells_keys_and_what_values_begin_with(self, view: View) -> None:
        rows = [(b"key%03d" % n + b"k" * (n * 9), b"value%03d" % n) for n in range(100)]
        commit(view, rows)
        for start, stop, limit in ((b"", None, 1_000), (b"key010", b"key090", 50)):
            cut = view.scan(Table.KEYS, start, stop, limit)
            uncut = view.scan(Table.KEYS, start, stop, limit, uncut=True)
            assert [key for key, _ in uncut] == [key for key, _ in cut]
            pairs = zip(uncut, cut, strict=True)
            assert all(longer.startswith(value) for (_, longer), (_, value) in pairs)

    def test_a_scan_is_limited(self, view: View) -> None:
        rows = numbered(500)
        commit(view, rows)
        for limit in (0, 1, 31, 32, 33, 159, 160, 161, 499, 500, 501):
            assert view.scan(Table.KEYS, b"", None, limit) == rows[:limit]
            assert view.scan(Table.KEYS, b"", b"\xff", limit) == rows[:limit]

    def test_pages_of_a_scan_join(self, view: View) -> None:
        rows = numbered(250) + [(P + b"%03d" % n, b"") for n in range(50)]
        commit(view, rows)
        found: Rows = []
        while page := view.scan(Table.KEYS, found[-1][0] + b"\0" if found else b"", None, 7):
            found += page
        assert found == rows

    def test_large_values_are_whole(self, view: View) -> None:
        rows = [(b"%d" % size, b"v" * size) for size in (4_000, 4_096, 70_000, MIB)]
        commit(view, sorted(rows))
        for key, value in rows:
            assert view.get(Table.KEYS, key) == value

    # -- writing ---------------------------------------------------------------------

    def test_rows_are_replaced_by_shorter_and_longer_ones(self, view: View) -> None:
        for size in (10, 3, 500, 10, 3_000, 0, 2_000):
            commit(view, [(b"%d" % n, bytes([n]) * size) for n in range(10)])
            for n in range(10):
                assert view.get(Table.KEYS, b"%d" % n) == bytes([n]) * size
        assert view.count(Table.KEYS) == 10

    def test_rows_need_not_ascend_and_the_last_of_a_key_wins(self, view: View) -> None:
        commit(view, [(b"b", b"1"), (b"a", b"2"), (b"c", b"3"), (b"b", b"4"), (b"a", b"5")])
        assert view.scan(Table.KEYS, b"", None, 9) == [(b"a", b"5"), (b"b", b"4"), (b"c", b"3")]

    def test_rows_are_put_before_between_and_behind_others(self, view: View) -> None:
        rows = numbered(2_000)
        with view.writer() as writer:
            for part in (rows[1_000::2], rows[:1_000:2], rows[1_001::2], rows[1:1_000:2]):
                writer.put(Table.KEYS, part)
        assert view.scan(Table.KEYS, b"", None, ALL) == rows

    def test_rows_are_deleted_and_absent_ones_passed_over(self, view: View) -> None:
        rows = numbered(100)
        commit(view, rows)
        with view.writer() as writer:
            writer.delete(Table.KEYS, (key for key, _ in rows[::2]))
            writer.delete(Table.KEYS, [b"never", b"", P + b"never", rows[0][0]])
        assert view.scan(Table.KEYS, b"", None, ALL) == rows[1::2]
        assert view.count(Table.KEYS) == 50

    def test_within_a_commit_the_last_word_counts(self, view: View) -> None:
        commit(view, [(b"a", b"old"), (b"b", b"old")])
        with view.writer() as writer:
            writer.delete(Table.KEYS, [b"a"])
            writer.put(Table.KEYS, [(b"a", b"new")])
            writer.put(Table.KEYS, [(b"b", b"new")])
            writer.delete(Table.KEYS, [b"b"])
        assert view.scan(Table.KEYS, b"", None, 9) == [(b"a", b"new")]

    def test_only_rows_that_are_not_there_are_inserted(self, view: View) -> None:
        with view.writer() as writer:
            assert writer.insert(Table.KEYS, [(b"b", b"1"), (b"d", b"1")])
        with view.writer() as writer:
            assert writer.insert(Table.KEYS, [(b"a", b"2"), (b"c", b"2")])
            assert not writer.insert(Table.KEYS, [(b"aa", b"3"), (b"b", b"3")])
            writer.put(Table.KEYS, [(b"aa", b"4"), (b"b", b"4")])
            assert not writer.insert(Table.KEYS, [(b"c", b"5")])
            writer.delete(Table.KEYS, [b"d"])
            assert writer.insert(Table.KEYS, [(b"d", b"6")])
            assert writer.insert(Table.KEYS, [])
        rows = [(b"a", b"2"), (b"aa", b"4"), (b"b", b"4"), (b"c", b"2"), (b"d", b"6")]
        assert view.scan(Table.KEYS, b"", None, 9) == rows

    def test_clear_takes_every_row_of_every_table(self, view: View) -> None:
        for table in Table:
            commit(view, [*numbered(50), (P + b"long", b"")], table)
        with view.writer() as writer:
            writer.put(Table.META, [(b"before", b"")])
            writer.clear()
            writer.put(Table.KEYS, [(b"after", b"1"), (P + b"after", b"2")])
        for table in Table:
            left = [(b"after", b"1"), (P + b"after", b"2")] if table is Table.KEYS else []
            assert view.scan(table, b"", None, ALL) == left
            assert view.count(table) == len(left)

    def test_a_writer_that_gives_up_changes_nothing(self, view: View) -> None:
        rows = [*numbered(50), (P + b"long", b"1")]
        commit(view, rows)

        def give_up() -> None:
            with view.writer() as writer:
                writer.put(Table.KEYS, [(b"new", b""), (P + b"long", b"2"), (P + b"new", b"")])
                writer.delete(Table.KEYS, [rows[0][0]])
                writer.clear()
                writer.put(Table.META, [(b"new", b"")])
                raise GivenUpError

        with pytest.raises(GivenUpError):
            give_up()
        assert view.scan(Table.KEYS, b"", None, ALL) == rows
        assert view.count(Table.KEYS) == 51
        assert view.get(Table.META, b"new") is None
        commit(view, [(b"later", b"")])
        assert view.get(Table.KEYS, b"later") == b""

    def test_readers_see_the_commit_before_until_the_writer_ends(self, view: View) -> None:
        commit(view, [(b"a", b"old")])
        with view.writer() as writer:
            writer.put(Table.KEYS, [(b"a", b"new"), (b"b", b"new")])
            assert view.get(Table.KEYS, b"a") == b"old"
            assert view.scan(Table.KEYS, b"", None, 9) == [(b"a", b"old")]
            assert view.count(Table.KEYS) == 1
        assert view.get(Table.KEYS, b"a") == b"new"
        assert view.count(Table.KEYS) == 2

    def test_an_empty_commit_is_one(self, view: View) -> None:
        with view.writer() as writer:
            writer.put(Table.KEYS, [])
            writer.delete(Table.KEYS, [])
        with view.writer():
            pass
        assert view.scan(Table.KEYS, b"", None, 9) == []

    def test_a_key_without_bytes_is_refused(self, view: View) -> None:
        with pytest.raises(InvalidKey), view.writer() as writer:
            writer.put(Table.KEYS, [(b"a", b""), (b"", b"")])
        assert view.count(Table.KEYS) == 0

    def test_a_second_writer_waits_for_the_first(self, view: View) -> None:
        began = Event()

        def second() -> None:
            began.set()
            commit(view, [(b"a", b"second")])

        thread = Thread(target=second)
        with view.writer() as writer:
            thread.start()
            began.wait()
            writer.put(Table.KEYS, [(b"a", b"first"), (b"b", b"first")])
        thread.join()
        assert view.get_many(Table.KEYS, [b"a", b"b"]) == {b"a": b"second", b"b": b"first"}

    def test_readers_meet_whole_commits_only(self, view: View) -> None:
        """Every commit writes one number everywhere; a reader that sees two saw half of one."""
        keys = [*(b"%04d" % n for n in range(150)), *(P + b"%02d" % n for n in range(20))]
        commit(view, [(key, b"0") for key in keys])
        done = Event()
        seen: list[set[bytes]] = []
        begun = Barrier(5)

        def look() -> None:
            page = view.scan(Table.KEYS, b"", None, ALL)
            seen.append({value for _, value in page})
            seen.append(set(view.get_many(Table.KEYS, keys).values()))
            view.get(Table.KEYS, keys[7])

        def read() -> None:
            begun.wait()
            look()
            while not done.is_set():
                look()

        threads = [Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        begun.wait()
        for number in range(1, 40):
            with view.writer() as writer:
                writer.put(Table.KEYS, [(key, b"%d" % number) for key in keys[:60]])
                writer.put(Table.KEYS, [(key, b"%d" % number) for key in keys[60:]])
            assert view.get(Table.KEYS, keys[0]) == b"%d" % number
        done.set()
        for thread in threads:
            thread.join()
        assert seen
        assert {len(values) for values in seen} == {1}

    # -- long keys ---------------------------------------------------------------------

    def test_a_thousand_keys_of_a_kibibyte_keep_their_order(self, view: View) -> None:
        rows = numbered(1_000, length=1_024)
        commit(view, rows[500:])
        commit(view, rows[499::-1])
        assert view.scan(Table.KEYS, b"", None, ALL) == rows
        assert view.get_many(Table.KEYS, [key for key, _ in rows]) == dict(rows)
        assert view.count(Table.KEYS) == 1_000

    def test_scans_begin_end_and_stop_within_a_run(self, view: View) -> None:
        rows = [(b"a", b""), *numbered(100, P), (b"q", b"")]
        commit(view, rows)
        for first, last in ((0, 50), (1, 2), (50, 51), (30, 90), (99, 102), (101, 102)):
            start = rows[first][0]
            stop = rows[last][0] if last < len(rows) else None
            assert view.scan(Table.KEYS, start, stop, ALL) == rows[first:last]
            for limit in (1, 20, 60):
                assert view.scan(Table.KEYS, start, stop, limit) == rows[first:last][:limit]

    def test_keys_around_the_bound_keep_their_order(self, view: View) -> None:
        """Longer and shorter than 480 bytes, with the bytes that could confuse the two."""
        tails = [b"", b"\0", b"\0\0", b"\1", b"\xff", b"\0" * 40, b"\xff" * 40, b"a", b"aa"]
        heads = [P, P[:-1], P[:-1] + b"\xff", P[:-1] + b"\0", P[:-2], P[:-1] + b"q"]
        keys = sorted({head + tail for head in heads for tail in tails})
        rows = [(key, b"%d" % n) for n, key in enumerate(keys)]
        commit(view, rows[::2])
        commit(view, rows[1::2])
        assert view.scan(Table.KEYS, b"", None, ALL) == rows
        for n, (key, value) in enumerate(rows):
            assert view.get(Table.KEYS, key) == value
            assert view.scan(Table.KEYS, key, None, 3) == rows[n : n + 3]
            assert view.scan(Table.KEYS, b"", key, ALL) == rows[:n]
        assert view.count(Table.KEYS) == len(rows)

    def test_a_short_key_is_never_taken_for_a_run(self, view: View) -> None:
        commit(view, [(P + b"abc", b"1")])
        for absent in (P, P + b"\0", P + b"ab", P + b"abcd", P + b"\0abc"):
            assert view.get(Table.KEYS, absent) is None
            assert view.get_many(Table.KEYS, [absent]) == {}

    def test_long_keys_are_replaced_and_deleted_one_by_one(self, view: View) -> None:
        rows = numbered(60, P)
        commit(view, [*rows, (b"a", b"")])
        with view.writer() as writer:
            writer.put(Table.KEYS, [(rows[5][0], b"longer than before")])
            writer.delete(Table.KEYS, [key for key, _ in rows[10:]])
            writer.put(Table.KEYS, [(rows[30][0], b"back")])
        rows[5] = (rows[5][0], b"longer than before")
        left = [*rows[:10], (rows[30][0], b"back")]
        assert view.scan(Table.KEYS, P, None, ALL) == left
        assert view.count(Table.KEYS) == 12
        with view.writer() as writer:
            writer.delete(Table.KEYS, [key for key, _ in left])
        assert view.scan(Table.KEYS, b"", None, ALL) == [(b"a", b"")]
        assert view.count(Table.KEYS) == 1

    def test_too_many_long_keys_are_refused_and_none_of_them_put(self, view: View) -> None:
        commit(view, numbered(VIEW_KEYS_SHARED, P))
        commit(view, [(numbered(1, P)[0][0], b"replaced")])
        with view.writer() as writer:
            with pytest.raises(LimitExceeded) as told:
                writer.put(Table.KEYS, [(b"short", b""), (P + b"one more", b"")])
            assert told.value.facts["limit"] == "VIEW_KEYS_SHARED"
            writer.put(Table.KEYS, [(b"other", b""), (b"q" * 600, b"another run")])
        assert view.get(Table.KEYS, b"short") is None
        assert view.get(Table.KEYS, P + b"one more") is None
        assert view.count(Table.KEYS) == VIEW_KEYS_SHARED + 2
        with view.writer() as writer:
            writer.delete(Table.KEYS, [P + b"000007"])
            writer.put(Table.KEYS, [(P + b"one more", b"")])
        assert view.count(Table.KEYS) == VIEW_KEYS_SHARED + 2

    def test_one_commit_is_held_to_the_bound_of_long_keys(self, view: View) -> None:
        with view.writer() as writer:
            writer.put(Table.KEYS, numbered(VIEW_KEYS_SHARED, P))
            with pytest.raises(LimitExceeded):
                writer.put(Table.KEYS, [(P + b"one more", b"")])
            writer.clear()
        assert view.count(Table.KEYS) == 0

    # -- closed ---------------------------------------------------------------------------

    def test_what_a_closed_view_held_has_moved(self, fresh: Fresh) -> None:
        view = fresh()
        commit(view, [(b"a", b"1")])
        view.close()
        view.close()
        for call in (
            lambda: view.get(Table.KEYS, b"a"),
            lambda: view.get_many(Table.KEYS, [b"a"]),
            lambda: view.scan(Table.KEYS, b"", None, 9),
            lambda: view.count(Table.KEYS),
            lambda: commit(view, [(b"a", b"2")]),
        ):
            with pytest.raises(Moved):
                call()

    def test_views_do_not_know_each_other(self, fresh: Fresh) -> None:
        with ExitStack() as stack:
            views = [fresh() for _ in range(3)]
            for number, view in enumerate(views):
                stack.callback(view.close)
                commit(view, [(b"a", b"%d" % number)])
            assert [view.get(Table.KEYS, b"a") for view in views] == [b"0", b"1", b"2"]

    # -- against a model -------------------------------------------------------------------

    def test_a_machine_finds_no_difference_from_dicts(self, fresh: Fresh) -> None:
        class Machine(ViewMachine):
            def make(self) -> View:
                return fresh()

        run_state_machine_as_test(Machine, settings=machine_settings(examples=30, steps=20))
