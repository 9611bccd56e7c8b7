"""Ranges of processes: whole buckets, side by side, none twice and none left out."""

from __future__ import annotations

from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.placement.directory import HIGHEST, LOWEST
from holdfast.server.shares import Holding, cut, even_out

weights = st.lists(st.integers(0, 1000), min_size=1, max_size=12)


def held(sizes: list[int]) -> list[Holding]:
    starts = [LOWEST, *(f"k{at:04d}".encode() for at in range(1, len(sizes)))]
    return [Holding(start, size) for start, size in zip(starts, sizes, strict=True)]


def loads_of(holdings: list[Holding], shares: list[tuple[bytes, bytes]]) -> list[list[Holding]]:
    return [[h for h in holdings if start <= h.start < stop] for start, stop in shares]


@given(weights, st.integers(1, 5))
def test_a_cut_covers_everything_once(sizes: list[int], count: int) -> None:
    holdings = held(sizes)
    shares = cut(holdings, count)
    assert len(shares) == count
    assert (shares[0][0], shares[-1][1]) == (LOWEST, HIGHEST)
    assert all(left[1] == right[0] for left, right in pairwise(shares))
    loads = loads_of(holdings, shares)
    assert list(chain.from_iterable(loads)) == holdings
    assert sum(map(bool, loads)) == min(len(sizes), count)


@given(weights, st.integers(1, 5))
def test_moves_come_to_an_end_and_only_make_it_even(sizes: list[int], count: int) -> None:
    loads: list[list[Holding]] = [held(sizes), *([] for _ in range(count - 1))]
    everything = list(loads[0])
    for _ in range(len(sizes) * count * count + 1):
        move = even_out(loads)
        if move is None:
            break
        giver, taker = loads[move.giver], loads[move.taker]
        before = max(sum(h.weight_bytes + 1 for h in load) for load in (giver, taker))
        moved = [h for h in giver if move.start <= h.start < move.stop]
        assert len(moved) == 1
        giver.remove(moved[0])
        taker.insert(0 if move.taker > move.giver else len(taker), moved[0])
        after = max(sum(h.weight_bytes + 1 for h in load) for load in (giver, taker))
        assert after < before
        assert list(chain.from_iterable(loads)) == everything
    else:
        raise AssertionError("it never ends")


def test_new_buckets_spread_to_processes_that_hold_nothing() -> None:
    loads: list[list[Holding]] = [held([0] * 8), [], [], []]
    while (move := even_out(loads)) is not None:
        moved = next(h for h in loads[move.giver] if h.start == move.start)
        loads[move.giver].remove(moved)
        loads[move.taker].insert(0 if move.taker > move.giver else len(loads[move.taker]), moved)
    assert all(loads)
