"""What is taken in together is what would be taken in one by one: words, records, keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.log.group import Group, GroupHead
from holdfast.log.records import Flag, Type, encode
from holdfast.search import vocabulary
from holdfast.search.analysis import analyzer
from holdfast.search.build import Builder, Document
from holdfast.search.changes import LOOK, Change, Changes, Told
from holdfast.search.documents import Maker
from holdfast.search.prints import FACTOR, prints_of
from holdfast.search.run import Run
from holdfast.search.shelf import Shelf
from holdfast.values import IndexRule, SearchRules

ASCII = st.text(st.characters(max_codepoint=127, min_codepoint=1), max_size=40)
LONG = st.text("aB7", min_size=7, max_size=18)
TEXTS = st.lists(st.lists(ASCII | LONG, max_size=6).map(" ".join), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(texts=TEXTS, language=st.sampled_from(["en", "none"]))
@example(texts=["", "x"], language="none")
@example(texts=["abcdefgh abcdefgha abcdefghabcdefgh abcdefghabcdefgha", "ABCDEFGH"], language="en")
def test_words_of_many_texts_are_those_of_each(texts: list[str], language: str) -> None:
    one = analyzer(language)
    for _ in range(2):  # found out, and known
        found = one.vocabulary.numbers([text.encode() for text in texts])
        assert found is not None
        numbers, sizes = found
        terms = [one.vocabulary.terms[number] for number in numbers.tolist()]
        rows = [terms[end - size : end] for size, end in zip(sizes, np.cumsum(sizes), strict=True)]
        assert rows == [one.terms(text) for text in texts]


@pytest.mark.parametrize("texts", [[b"a\x00b"], [b"a", b"caf\xc3\xa9"], [b"\x00"]])
def test_what_is_not_ascii_is_not_taken_in_together(texts: list[bytes]) -> None:
    assert analyzer("en").vocabulary.numbers(texts) is None


def test_words_that_push_each_other_out_keep_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "LEAST_BITS", 1)
    monkeypatch.setattr(vocabulary, "MOST_BITS", 2)
    words = [f"w{number % 37}" for number in range(500)]
    known = vocabulary.Vocabulary(str)
    for start in range(0, 500, 50):
        some = words[start : start + 50]
        found = known.numbers([" ".join(some).encode()])
        assert found is not None
        assert [known.terms[number] for number in found[0].tolist()] == some


SPACES = [b"searched\x00", b"other\x00", b"!own\x00", b"searched\x01"]
RECORDS = st.lists(
    st.tuples(
        st.sampled_from([Type.STORE] * 6 + [Type.DELETE, Type.APPEND]),
        st.sampled_from([0, 0, 0, int(Flag.FRESH), int(Flag.MOVED), int(Flag.LARGE)]),
        st.sampled_from(SPACES),
        st.sampled_from([b"a", b"b", b"c", b"d"]),
        st.sampled_from([0, 0, 0, 77]),
        st.sampled_from([b"", b"", b"", b"{}"]),
    ),
    max_size=6,
)
START, STOP = b"", b"searched\x00d"
Row = tuple[Type, int, bytes, bytes, int, bytes]


@settings(max_examples=150, deadline=None)
@given(groups=st.lists(RECORDS, max_size=4))
@example(
    groups=[[(Type.STORE, 0, SPACES[0], b"a", 77, b""), (Type.STORE, 0, SPACES[0], b"b", 0, b"")]]
)
def test_the_last_record_of_a_key_decides(groups: list[list[Row]]) -> None:
    rules = {b"searched": Maker(SearchRules((IndexRule(),))), b"other": Maker(SearchRules())}
    changes = Changes(rules.get, (START, STOP), ())
    wanted: dict[bytes, Change] = {}
    version = 0
    for rows in groups:
        first = version + 1
        for kind, flags, space, key, expires, attrs in rows:
            version += 1
            told = says(kind, flags, (b"v%d" % version, attrs, expires))
            is_plain = kind == Type.STORE and not flags & ~Flag.FRESH
            counts = space == SPACES[0] or (attrs if is_plain else space == SPACES[1])
            if told != "moved" and space + key < STOP and (counts or space + key in wanted):
                assert not isinstance(told, str)
                wanted[space + key] = told
        changes.read(group_of(rows, first))
        assert changes.version == (version if rows else 0)
    found = {key: told for key, told in changes.pending.items() if key[:1] != b"!"}
    assert found == {key: told for key, told in wanted.items() if key[:1] != b"!"}


def says(kind: Type, flags: int, said: tuple[bytes, bytes, int]) -> Change | str:
    if flags & Flag.MOVED:
        return "moved"
    if kind == Type.DELETE:
        return None
    if kind == Type.APPEND or flags & Flag.LARGE:
        return LOOK
    return Told(*said) if any(said[1:]) else said[0]


def group_of(rows: Sequence[Row], version: int) -> Group:
    body = b"".join(
        bytes(piece)
        for at, (kind, flags, space, key, expires, attrs) in enumerate(rows, version)
        for piece in encode(
            kind, space + key, b"v%d" % at, at, 5, flags=flags, expires_ns=expires, attrs=attrs
        )
    )
    return Group(GroupHead(1, len(rows), 0, 0, 0, 0, 0, 0, len(body)), memoryview(body))


def test_a_newer_run_hides_the_same_keys_and_no_others() -> None:
    first, second = b"12345678", b"87654321"
    alike = bytes(byte ^ 1 for byte in first)
    keys = [b"", first + second, alike + twin_end(first, second, alike), b"z" * 30]
    prints = prints_of(np.cumsum([0, *map(len, keys)]), b"".join(keys))
    assert prints[1] == prints[2]  # what no print tells apart
    for older, newer in ([0, 1, 2, 3], [2, 3]), ([1, 2], [1]), ([1], [2]), ([0, 3], [1, 2]):
        shelf = Shelf(0)
        shelf.add(run_of([keys[at] for at in older]))
        shelf.add(run_of([keys[at] for at in newer]))
        left = [
            run.run.keys[at]
            for run in shelf.parts
            for at in range(run.run.count)
            if at not in run.hidden
        ]
        assert sorted(left) == sorted(keys[at] for at in {*older, *newer})


def twin_end(first: bytes, second: bytes, other: bytes) -> bytes:
    """What makes the print of another beginning that of these two."""
    one, two = (prints_after_first(begin) for begin in (first, other))
    return (int.from_bytes(second, "little") ^ one ^ two).to_bytes(8, "little")


def prints_after_first(begin: bytes) -> int:
    mixed = (16 * int(FACTOR) ^ int.from_bytes(begin, "little")) * int(FACTOR) % 2**64
    return mixed ^ (mixed >> 29)


def run_of(keys: Sequence[bytes]) -> Run:
    builder, plain = Builder(), analyzer("none")
    for key in sorted(keys):
        builder.add(key, Document(["word"]), plain)
    return builder.finish()
