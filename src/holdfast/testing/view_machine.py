"""A view beside one dict for each table: hypothesis commits, scans, parks and compares.

class Mine(ViewMachine):
def make(self):
return MemoryView()

run_state_machine_as_test(Mine)
"""

from __future__ import annotations

# ruff: noqa: D102, S101 - rules are told by their names, and they assert what they expect
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.limits import VIEW_KEY_BYTES
from holdfast.views.port import Table, View

P = b"p" * VIEW_KEY_BYTES  # what long keys share
ALL = 1 << 20


class GivenUpError(Exception):
    """Raised inside a writer to make it give up."""


letters = st.sampled_from([b"\0", b"a", b"b", b"\xff"])
short = st.lists(letters, min_size=1, max_size=3).map(b"".join)
tails = st.lists(letters, min_size=0, max_size=8).map(b"".join)
heads = st.sampled_from([P, P[:-1], P[:-1] + b"q", P[:-3]])
keys = st.one_of(short, st.builds(bytes.__add__, heads, tails))
bounds = st.one_of(st.just(b""), keys)
values = st.one_of(
    st.binary(max_size=8), st.builds(lambda n: b"v" * n, st.sampled_from([1_900, 2_100, 5_000]))
)
tables = st.sampled_from([Table.META, Table.KEYS, Table.LOCKS])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), tables, st.lists(st.tuples(keys, values), max_size=12)),
        st.tuples(st.just("delete"), tables, st.lists(keys, max_size=6)),
        st.tuples(st.just("clear"), tables, st.just([])),
    ),
    max_size=5,
)
Model = dict[Table, dict[bytes, bytes]]
Step = tuple[str, Table, Any]  # rows for put, keys for delete


def follow(model: Model, step: Step) -> None:
    """Do to the model what ``step`` does to a view."""
    verb, table, given = step
    if verb == "put":
        model[table].update(given)
    elif verb == "delete":
        for key in given:
            model[table].pop(key, None)
    else:
        for rows in model.values():
            rows.clear()


class ViewMachine(RuleBasedStateMachine):
    """Drives a view and one dict for each table side by side. Inherit, bring ``make``, run."""

    def __init__(self) -> None:
        super().__init__()
        self.view = self.make()
        self.model: Model = {table: {} for table in Table}

    def make(self) -> View:
        raise NotImplementedError("how to make the view under test")

    def write(self, given: list[Step], *, give_up: bool) -> None:
        with self.view.writer() as writer:
            for verb, table, rows in given:
                getattr(writer, verb)(*((table, rows) if verb != "clear" else ()))
            if give_up:
                raise GivenUpError

    @rule(given=steps)
    def commits(self, given: list[Step]) -> None:
        self.write(given, give_up=False)
        for step in given:
            follow(self.model, step)

    @rule(given=steps)
    def gives_up(self, given: list[Step]) -> None:
        with suppress(GivenUpError):
            self.write(given, give_up=True)

    @rule(table=tables, start=bounds, stop=st.one_of(st.none(), bounds), limit=st.integers(0, 40))
    def scans(self, table: Table, start: bytes, stop: bytes | None, limit: int) -> None:
        rows = sorted(self.model[table].items())
        within = [row for row in rows if row[0] >= start and (stop is None or row[0] < stop)]
        assert self.view.scan(table, start, stop, limit) == within[:limit]

    @rule(table=tables, asked=st.lists(keys, max_size=10))
    def gets(self, table: Table, asked: list[bytes]) -> None:
        rows = self.model[table]
        assert self.view.get_many(table, sorted(asked)) == {k: rows[k] for k in asked if k in rows}
        assert [self.view.get(table, key) for key in asked] == [rows.get(key) for key in asked]

    @rule()
    def shrinks(self) -> None:
        self.view.shrink()

    @invariant()
    def counts_agree(self) -> None:
        assert {table: self.view.count(table) for table in Table} == {
            table: len(rows) for table, rows in self.model.items()
        }

    def teardown(self) -> None:
        for table, rows in self.model.items():
            assert self.view.scan(table, b"", None, ALL) == sorted(rows.items())
        self.view.close()
