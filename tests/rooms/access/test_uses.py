"""Counted grants: never used more often than granted, whatever happens between."""

from __future__ import annotations

import copy
import threading

from hypothesis import given
from hypothesis import strategies as st

from holdfast.access.uses import AFTER_NS, FOLDER, Uses
from tests.rooms.access.tenancies import DictRecords


def now() -> int:
    return 5


def spent(uses: Uses, counted: str, granted: int, tries: int) -> int:
    return sum(uses.spend(counted, granted, None) for _ in range(tries))


def test_all_are_given_and_then_none() -> None:
    for granted in (1, 2, 31, 32, 100):
        assert spent(Uses(DictRecords(), now), "a", granted, granted + 5) == granted


def test_grants_are_counted_apart() -> None:
    uses = Uses(DictRecords(), now)
    assert spent(uses, "a/0", 2, 9) + spent(uses, "a/1", 3, 9) == 5


def test_a_clean_end_gives_back_and_a_crash_does_not() -> None:
    records = DictRecords()
    first = Uses(records, now)
    assert spent(first, "a", 160, 3) == 3
    first.close()
    assert spent(Uses(records, now), "a", 160, 200) == 157
    records = DictRecords()
    assert spent(Uses(records, now), "a", 160, 3) == 3  # dies: ten were taken
    assert spent(Uses(records, now), "a", 160, 200) == 150


def test_few_writes_for_many_uses() -> None:
    records = DictRecords()
    assert spent(Uses(records, now), "a", 1_600, 1_600) == 1_600
    assert records.writes == 16


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 2), st.sampled_from("skc"))))
def test_never_more_than_granted(granted: int, story: list[tuple[int, str]]) -> None:
    """Three workers on one record: they spend, are killed, end cleanly."""
    records = DictRecords()
    workers = [Uses(records, now) for _ in range(3)]
    given_out = 0
    for worker, step in story:
        if step == "s":
            given_out += workers[worker].spend("a", granted, None)
        else:
            if step == "c":
                workers[worker].close()
            workers[worker] = Uses(records, now)
    given_out += sum(spent(worker, "a", granted, granted) for worker in workers)
    assert given_out <= granted
    assert given_out == granted or any(step == "k" for _, step in story)


def test_threads_share_what_was_granted() -> None:
    uses = Uses(DictRecords(), now)
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(spent(uses, "a", 1_000, 400)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 1_000


def test_more_grants_than_are_held() -> None:
    records = DictRecords()
    uses = Uses(records, now)
    names = [str(number) for number in range(10_050)]
    for name in names:
        assert uses.spend(name, 64, None)
    assert len(uses._left) <= 10_000
    assert spent(uses, "0", 64, 100) == 63  # given back when it had to make room


def test_a_counter_goes_when_its_grant_ended_long_ago() -> None:
    records = DictRecords()
    Uses(records, now).spend("ended", 2, 10)
    Uses(records, now).spend("lasting", 2, None)
    late = copy.copy(records)
    Uses(late, lambda: 10 + AFTER_NS).prune()
    assert len(records.list(FOLDER)) == 2
    Uses(late, lambda: 11 + AFTER_NS).prune()
    assert len(late.list(FOLDER)) == 1
