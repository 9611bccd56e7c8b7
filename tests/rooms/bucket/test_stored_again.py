"""Plain stores of one key behind one another, in a batch and in a group: the last one counts."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast.bucket.settings import Sync

BATCHES = st.lists(
    st.lists(st.tuples(st.sampled_from("abcd"), st.binary(max_size=9)), min_size=1, max_size=7),
    min_size=1,
    max_size=4,
)


def live_bytes(store: holdfast.Store) -> dict[int, int]:
    (bucket,) = store.placement.directory
    return {number: size for number, size in bucket.tally().live.items() if size}


@given(BATCHES, st.sampled_from(["always", "never"]))
def test_what_lives_is_counted_once(batches: list[list[tuple[str, bytes]]], sync: Sync) -> None:
    with holdfast.open(":memory:", sync=sync) as store:
        space = store.namespace("n")
        prefix = b"n\0"
        expected: dict[str, bytes] = {}
        for batch in batches:
            names, values = [name for name, _ in batch], [value for _, value in batch]
            keys = [prefix + name.encode() for name in names]
            outcomes = store.corridor.store_each((keys, names, values))
            versions = [getattr(outcome, "version", 0) for outcome in outcomes]
            assert versions == sorted(set(versions))
            expected.update(batch)
        assert {key: space.get(key) for key in expected} == expected
        told = live_bytes(store)
        for name, value in expected.items():
            space.put(name, value)
        again = live_bytes(store)
        assert sum(told.values()) == sum(again.values())


def test_a_group_takes_one_key_from_many_writers(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for turn in range(20):
            told = [b"%d.%d.%d" % (number, turn, n) for n in range(3)]
            outcomes.extend(store.corridor.store_each(([b"n\0k"] * 3, ["k"] * 3, told)))

    outcomes: list[object] = []
    with holdfast.open(tmp_path) as store:
        threads = [Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        stat = store.namespace("n").stat("k")
        versions = [getattr(outcome, "version", 0) for outcome in outcomes]
        assert stat.version == max(versions)
        assert len(set(versions)) == 4 * 20 * 3
        value, told = store.namespace("n").get("k"), live_bytes(store)
    with holdfast.open(tmp_path) as store:
        assert store.namespace("n").get("k") == value
        assert sum(live_bytes(store).values()) == sum(told.values())
        assert store.check().problems == ()
