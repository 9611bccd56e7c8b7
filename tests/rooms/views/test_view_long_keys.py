"""Runs of long keys, as pure functions against plain dicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import LimitExceeded
from holdfast.limits import KEY_BYTES, VIEW_KEY_BYTES, VIEW_KEYS_SHARED
from holdfast.views.long_keys import between, by_run, changed, find, pack, run_key, unpack

P = b"p" * VIEW_KEY_BYTES

suffixes = st.binary(min_size=1, max_size=6)
runs = st.dictionaries(suffixes, st.binary(max_size=20), min_size=1, max_size=30)
keys = st.binary(min_size=1, max_size=8)


@given(runs)
def test_a_run_holds_what_was_packed(rows: dict[bytes, bytes]) -> None:
    assert unpack(pack(sorted(rows.items()))) == sorted(rows.items())


@given(runs, suffixes)
def test_one_suffix_is_found_without_unpacking(rows: dict[bytes, bytes], asked: bytes) -> None:
    run = pack(sorted(rows.items()))
    for suffix in (*rows, asked):
        assert find(run, suffix) == rows.get(suffix)


@given(runs, runs, st.lists(suffixes))
def test_changes_are_those_of_a_dict(
    rows: dict[bytes, bytes], puts: dict[bytes, bytes], deletes: list[bytes]
) -> None:
    run = pack(sorted(rows.items()))
    expected = {key: value for key, value in rows.items() if key not in deletes} | puts
    assert changed(run, puts, deletes) == sorted(expected.items())
    assert changed(None, puts, deletes) == sorted(puts.items())


@given(runs, st.one_of(st.none(), suffixes), suffixes)
def test_the_rows_between_are_cut_by_whole_keys(
    rows: dict[bytes, bytes], stop: bytes | None, start: bytes
) -> None:
    run = pack(sorted(rows.items()))
    whole = [(P + suffix, content) for suffix, content in sorted(rows.items())]
    end = None if stop is None else P + stop
    expected = [row for row in whole if row[0] >= P + start and (end is None or row[0] < end)]
    assert between(run_key(P), run, P + start, end) == expected
    assert between(run_key(P), run, b"", None) == whole


@given(st.lists(st.binary(min_size=1, max_size=3), unique=True))
def test_stored_keys_sort_like_the_keys_they_stand_for(tails: list[bytes]) -> None:
    """The proof at the head of the module, tried: long keys and short ones side by side."""
    heads = [P, P[:-1], P[:-1] + b"\0", P[:-1] + b"\xff", P[:-2] + b"zz"]
    whole = sorted({head + tail for head in heads for tail in [b"", *tails]})
    stored = [key if len(key) <= VIEW_KEY_BYTES else run_key(key) for key in whole]
    assert stored == sorted(stored)
    assert all(len(key) <= VIEW_KEY_BYTES + 1 <= 511 for key in stored)


def test_a_full_run_of_the_longest_keys_is_packed() -> None:
    longest = 128 + KEY_BYTES + 16 - VIEW_KEY_BYTES
    rows = [(b"%0*d" % (longest, n), b"entry" * 12) for n in range(VIEW_KEYS_SHARED)]
    assert unpack(pack(rows)) == rows


def test_one_key_too_many_is_refused() -> None:
    rows = {b"%d" % n: b"" for n in range(VIEW_KEYS_SHARED)}
    run = pack(changed(None, rows, ()))
    assert changed(run, {b"7": b"again"}, ())
    assert changed(run, {b"new": b""}, [b"7"])
    with pytest.raises(LimitExceeded):
        changed(run, {b"new": b""}, ())


def test_keys_are_gathered_by_their_run() -> None:
    other = b"q" * VIEW_KEY_BYTES
    assert by_run([P + b"1", other + b"1", P + b"2"]) == {
        P + b"\0": [P + b"1", P + b"2"],
        other + b"\0": [other + b"1"],
    }


def test_a_run_that_contradicts_itself_is_noticed() -> None:
    run = pack([(b"a", b"1"), (b"b", b"2")])
    for broken in (run + b"x", run[:-1]):
        with pytest.raises(ValueError, match="length"):
            unpack(broken)
