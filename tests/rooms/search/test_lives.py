"""What a search shows after its objects' lives have gone on: dropped, told anew, expired."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

import holdfast
from holdfast import IndexRule, Store
from holdfast.testing import ManualClock
from holdfast.values import SearchRules

SECOND_NS = 1_000_000_000
RANKS: tuple[Literal["bm25", "key"], ...] = ("bm25", "key")


@pytest.fixture(name="clock")
def made_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(name="store")
def opened_store(clock: ManualClock, tmp_path: Path) -> Iterator[Store]:
    with holdfast.open(tmp_path / "data", upkeep=False, clock=clock) as store:
        yield store


@pytest.mark.parametrize("between", ["nothing", "tick", "search", "reopen"])
def test_who_has_a_name_next_finds_nothing_of_before(
    between: str, clock: ManualClock, tmp_path: Path
) -> None:
    store = holdfast.open(tmp_path / "here", upkeep=False, clock=clock)
    acme = store.namespace("acme")
    acme.index_rules([IndexRule(fields={"salary": "salary"})], language="de")
    acme.put_many({f"k{n}": b'{"salary": %d, "note": "Katzen"}' % n for n in range(50)})
    assert acme.search("salary:>10").total == 39
    store.tick()
    store.drop_namespace("acme")
    if between == "tick":
        store.tick()
    elif between == "search":
        assert acme.search("katze").total == 0
    elif between == "reopen":
        store.close()
        store = holdfast.open(tmp_path / "here", upkeep=False, clock=clock)
        acme = store.namespace("acme")
    assert acme.index_rules() == SearchRules()
    assert acme.search_status().documents == 0
    acme.put("k7", b"cats and dogs")
    acme.put("k8", b"Katzen", index=True)
    for fresh in (False, True):
        found = acme.search("katze OR salary OR cat", fresh=fresh)
        assert found.total == 0
    found = acme.search("katzen")
    assert [hit.key for hit in found.hits] == ["k8"]
    acme.index_rules([IndexRule()])
    assert [hit.key for hit in acme.search("cat").hits] == ["k7"]
    store.close()


def test_what_is_told_anew_in_another_language_is_found_by_that_one(store: Store) -> None:
    acme = store.namespace("acme")
    acme.index_rules(
        [IndexRule(content_type="text/german", language="de"), IndexRule(language="en")]
    )
    for _ in range(2):
        acme.put("k", b"die Katzen liefen", content_type="text/german")
        assert acme.search("katze").total == acme.search("katzen").total == 1
        acme.put("k", b"the cats were running")
        assert acme.search("katze").total == acme.search("katzen").total == 0
        assert acme.search("run cat").total == acme.search("running").total == 1
        store.tick()
    acme.put("k", b"the cats were running", content_type="text/german")
    assert acme.search('"cats were"').total == 1
    assert acme.search_status().documents == 1


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("fresh", [True, False])
def test_what_expires_between_two_pages_is_on_neither_and_counts_no_more(
    rank: Literal["bm25", "key"], store: Store, clock: ManualClock, *, fresh: bool
) -> None:
    acme = store.namespace("acme")
    acme.index_rules([IndexRule()])
    for number in range(30):
        acme.put(f"k{number:02}", b"fox", ttl=5 if number % 3 == 0 else None)
    first = acme.search("fox", rank=rank, limit=10)
    assert first.total == 30
    assert [hit.key for hit in first.hits] == [f"k{number:02}" for number in range(10)]
    clock.advance(5 * SECOND_NS)
    rest = acme.search("fox", rank=rank, limit=30, after=first.next, fresh=fresh)
    assert rest.total == 20
    assert [hit.key for hit in rest.hits] == [f"k{n}" for n in range(10, 30) if n % 3]
    assert rest.next is None
    assert acme.search("fox", rank=rank, after=first.next, prefixes=["k1", "k2"]).total == 14


def test_what_lost_its_last_consumer_is_found_until_it_is_removed(store: Store) -> None:
    acme = store.namespace("acme")
    acme.index_rules([IndexRule()])
    acme.put("kept", b"fox", consumers=["one", "two"])
    acme.put("lost", b"fox", consumers=["one"])
    acme.consumers("kept").remove(["one"])
    acme.consumers("lost").remove(["one"])
    listed = list(acme.list())
    assert [hit.key for hit in acme.search("fox", rank="key").hits] == listed
    store.collect()
    assert list(acme.list()) == ["kept"]
    for fresh in (False, True):
        assert [hit.key for hit in acme.search("fox", fresh=fresh).hits] == ["kept"]
