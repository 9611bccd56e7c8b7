"""What can be asked and what cannot, and what nobody is shown."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from typing import Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast import IndexRule, InvalidQuery, InvalidValue, LimitExceeded, Namespace, Store
from holdfast.search.parse import Schema, parse
from holdfast.testing import ManualClock

SECOND_NS = 1_000_000_000


@pytest.fixture(name="clock")
def made_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(name="store")
def opened_store(clock: ManualClock) -> Iterator[Store]:
    with holdfast.open(":memory:", upkeep=False, clock=clock) as store:
        yield store


@pytest.fixture(name="acme")
def filled_namespace(store: Store) -> Namespace:
    acme = store.namespace("acme")
    fields = {"balance": "balance", "day": "day", "note": "note"}
    acme.index_rules([IndexRule("j/", fields=fields), IndexRule()])
    acme.put("j/low", b'{"balance": -5, "day": "2024-05-01", "note": "a fox"}')
    acme.put("j/high", b'{"balance": 7.5, "day": "2024-05-01T12:00:00+02:00", "note": "a dog"}')
    acme.put("text", b"fox balance dog")
    return acme


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("balance:-5", ["j/low"]),
        ("balance:-5.0 OR balance:7.5", ["j/high", "j/low"]),
        ("-balance:-5 note:dog", ["j/high"]),
        ("balance:[-6 TO -1]", ["j/low"]),
        ("balance:>-6", ["j/high", "j/low"]),
        ("day:{2024-05-01 TO 2024-05-02]", ["j/high"]),
        ("day:<=2024-05-01T10:00:00Z", ["j/high", "j/low"]),
        ("note:(fox OR dog)", ["j/high", "j/low"]),
        ("fox -key:j/*", ["text"]),
        ("cat: fox", []),
        ("--fox", ["j/low", "text"]),
        ("NOT fox", ["j/high"]),
        ("NOT (fox OR dog)", []),
        ("(" * 30 + "fox" + ")" * 30, ["j/low", "text"]),
        ("the", []),
        ('""', []),
    ],
)
def test_what_is_found(acme: Namespace, query: str, keys: list[str]) -> None:
    assert [hit.key for hit in acme.search(query, rank="key").hits] == keys


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ("", 0),
        ("NOT", 3),
        ("fox AND", 7),
        ("fox OR OR dog", 7),
        ("fox (dog", 8),
        ("fox)", 3),
        ("()", 1),
        ("*", None),
        ("**", 0),
        ("fox -*)", 6),
        ('a "fox', 2),
        ("balance:", 0),
        ("balance: 5", 0),
        ("balance:-x", 0),
        ("balance:<", 8),
        ("balance:[1 TO", 8),
        ("balance:[x TO 2]", 8),
        ("fox day:>2024-13-01", 8),
        ("[1 TO 2]", 0),
        ("key:>3", 4),
        ("colour:red", 0),
        ("http://x", 0),
        ("(" * 10_000, 4_096),
        ("x" * (1 << 20), 4_096),
        ("fox " * 300, 1_024),
        ("(" * 40 + "fox" + ")" * 40, 33),
    ],
)
def test_what_cannot_be_understood_says_where(
    acme: Namespace, query: str, position: int | None
) -> None:
    if position is None:
        assert acme.search(query).total == 3
        return
    with pytest.raises(InvalidQuery) as refused:
        acme.search(query)
    assert refused.value.position == position


@pytest.mark.parametrize("query", [None, 5, b"fox", ["fox"], "fox \ud800"])
def test_what_is_no_text_is_refused(acme: Namespace, query: object) -> None:
    with pytest.raises(InvalidValue, match="query"):
        acme.search(cast("str", query))


def test_a_limit_is_a_number_also_for_who_asked_before(acme: Namespace) -> None:
    assert len(acme.search("fox", limit=1).hits) == 1
    for wrong in (True, 1.0, "1"):
        with pytest.raises(InvalidValue, match="limit"):
            acme.search("fox", limit=cast("int", wrong))


def test_who_sees_part_of_a_namespace_counts_that_part(acme: Namespace) -> None:
    acme.put("a/1", b"fox here", tags={"kind": "seen"})
    acme.put("b/1", b"fox there", tags={"kind": "secret"})
    for rank in ("bm25", "key"):
        found = acme.search("fox", rank=rank, prefixes=["a/"], facets=["kind"], highlight=True)
        assert (found.total, found.facets) == (1, {"kind": {"seen": 1}})
        assert [(hit.key, hit.snippet) for hit in found.hits] == [("a/1", "**fox** here")]
        assert acme.search("fox", rank=rank, prefixes=["a/"], limit=1).next is None


@pytest.mark.parametrize("fresh", [True, False])
def test_what_has_expired_is_not_found_from_that_moment_on(
    acme: Namespace, clock: ManualClock, *, fresh: bool
) -> None:
    acme.put("short", b"fox", ttl=10)
    assert acme.search("fox").total == 3
    acme.put("text", b"fox again", ttl=5)  # the index of who is not fresh knows the older one
    assert acme.search("fox", fresh=fresh).total == (3 if fresh else 2)
    clock.advance(6 * SECOND_NS)
    assert {hit.key for hit in acme.search("fox", fresh=fresh).hits} == {"j/low", "short"}
    clock.advance(4 * SECOND_NS)
    for rank in ("bm25", "key"):
        found = acme.search("fox", fresh=fresh, rank=rank)
        assert (found.total, [hit.key for hit in found.hits]) == (1, ["j/low"])


def test_a_cursor_goes_on_behind_its_hit_whatever_is_written(store: Store) -> None:
    acme = store.namespace("other")
    acme.index_rules([IndexRule()])
    acme.put_many({f"k{number:03}": b"fox" for number in range(100)})
    first = acme.search("fox", rank="key", limit=50)
    acme.put_many({f"k{number:03}a": b"fox" for number in range(0, 100, 10)})
    for number in range(45, 55):
        acme.delete(f"k{number:03}")
    rest = acme.search("fox", rank="key", limit=100, after=first.next)
    wanted = [f"k{number:03}" for number in range(55, 100)]
    added = [f"k{number:03}a" for number in range(50, 100, 10)]
    assert [hit.key for hit in rest.hits] == sorted(wanted + added)


def test_common_words_are_counted_and_listed_as_others_are(store: Store) -> None:
    acme = store.namespace("many")
    acme.index_rules([IndexRule()], language="none")
    texts = {
        f"k{n:05}": " ".join(f"w{m}" for m in (2, 3, 5, 7, 50, 400) if n % m == 0).encode()
        for n in range(17_000)
    }
    acme.put_many(list(texts.items())[:10_000])
    acme.search("nothing")
    acme.put_many(list(texts.items())[10_000:])
    for _ in range(3):  # of several runs, of one, and once more
        for pair in ((2, 3), (2, 2), (3, 50), (50, 400), (7, 400), (2, 999)):
            wanted = [f"k{n:05}" for n in range(17_000) if n % pair[0] == n % pair[1] == 0]
            wanted = [] if 999 in pair else wanted
            for limit in (0, 10, len(wanted), 1_000):
                found = acme.search(f"w{pair[0]} w{pair[1]}", rank="key", limit=min(limit, 1_000))
                assert found.total == len(wanted)
                assert [hit.key for hit in found.hits] == wanted[:limit][:1_000]
                assert (found.next is not None) == (len(wanted) > min(limit, 1_000) > 0)
        store.tick()


@given(words=st.lists(st.sampled_from(["cats", "the", "running", "9", "x1", "of"]), min_size=1))
@pytest.mark.parametrize("languages", [("en",), ("none",), ("en", "de"), ("en", "none")])
def test_nothing_but_words_is_understood_as_anything_else(
    languages: tuple[str, ...], words: list[str]
) -> None:
    schema = Schema(languages)
    assert parse(" ".join(words), schema) == parse("  ".join(words) + " ", schema)


@pytest.mark.parametrize("rank", ["bm25", "key"])
@pytest.mark.parametrize("query", ["fox", "fox OR dog", "fo*", "fox -cat"])
def test_pages_tell_what_stays_once_however_much_is_written(
    query: str, rank: Literal["bm25", "key"]
) -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.index_rules([IndexRule()])
        texts = {f"k{n:03}": b"fox dog " * (n % 7 + 1) + b"word " * (n % 11) for n in range(90)}
        acme.put_many(texts)
        told: list[str] = []
        after: str | None = None
        for page in range(100):
            found = acme.search(query, rank=rank, limit=8, after=after)
            told += [hit.key for hit in found.hits if hit.key.startswith("k")]
            after = found.next
            if after is None:
                break
            if page < 6:
                texts = {f"new{page}/{n}": b"fox " * (n % 9) + b"bird " * 20 for n in range(40)}
                acme.put_many(texts)
                acme.put_many({f"cat{page}/{n}": b"a cat" for n in range(20)})
        assert sorted(told) == [f"k{n:03}" for n in range(90)]


def test_cursors_that_no_search_gave_are_refused() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.put_many({f"k{n}": b"fox dog" for n in range(9)}, index=True)
        cursor = acme.search("fox dog", limit=3).next
        assert cursor is not None
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        bad = [raw[:16], raw[:-2] + b"\xff\xff", raw[:8] + bytes(8) + raw[16:]]
        bad += [struct.pack(">d", value) + raw[8:] for value in (math.nan, math.inf, -1e300)]
        for forged in bad:
            with pytest.raises(InvalidValue):
                acme.search("fox dog", after=base64.urlsafe_b64encode(forged).decode())


def test_words_that_begin_alike_are_bounded_together() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.index_rules([IndexRule()])
        for first in range(0, 10_002, 834):
            words = " ".join(f"w{number:05}" for number in range(first, min(first + 834, 10_002)))
            acme.put(f"doc/{first}", words.encode())
        assert acme.search("w0*").total == 12
        assert acme.search("w0* " * 200).total == 12
        for query in ("w*", "w00* w01* OR w*", "NOT w*"):
            with pytest.raises(LimitExceeded):
                acme.search(query)
            with pytest.raises(LimitExceeded):
                acme.search(query, rank="key")


def test_facets_are_counted_once_each_and_bounded() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.put("a", b"fox", index=True, tags={"kind": "odd"})
        assert acme.search("fox", facets=["kind"] * 500).facets == {"kind": {"odd": 1}}
        with pytest.raises(LimitExceeded):
            acme.search("fox", facets=[f"kind{number}" for number in range(65)])


@pytest.mark.parametrize(
    ("language", "text", "query"),
    [
        ("hi", "\u0915\u093f\u0924\u093e\u092c\u0947\u0902", "\u0915\u093f\u0924\u093e\u092c"),
        ("ta", "\u0ba4\u0bae\u0bbf\u0bb4\u0bcd", "\u0ba4\u0bae\u0bbf\u0bb4\u0bcd"),
        ("none", "\u09ac\u09be\u0982\u09b2\u09be", "\u09ac\u09be\u0982\u09b2\u09be"),
        ("none", "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
        ("none", "\u0130stanbul", "istanbul"),
        ("ar", "\u0643\u0650\u062a\u064e\u0627\u0628\u064c", "\u0643\u062a\u0627\u0628"),
    ],
)
def test_signs_belong_to_their_words(language: str, text: str, query: str) -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.index_rules([IndexRule()], language=language)
        acme.put("a", f"one {text} two".encode())
        found = acme.search(query, highlight=True)
        assert found.hits[0].snippet == f"one **{text}** two"
        assert acme.search(query[0]).total == 0


@pytest.mark.parametrize(
    "rules",
    [
        5,
        ["notes/"],
        [IndexRule(cast("str", 5))],
        [IndexRule(prefix="\ud800")],
        [IndexRule(fields=cast("dict[str, str]", {"day": 5}))],
        [IndexRule(content_type=cast("str", b"text/plain"))],
    ],
)
def test_what_are_no_rules_is_refused_and_those_before_stay(
    acme: Namespace, rules: list[IndexRule]
) -> None:
    """They were kept once, and whoever read them next could not."""
    before = acme.index_rules()
    with pytest.raises(InvalidValue) as refused:
        acme.index_rules(rules)
    assert refused.value.facts["argument"] == "rules"
    assert acme.index_rules() == before
    assert acme.search("fox").total == 2
