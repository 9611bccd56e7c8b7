"""However the keys are cut into buckets, and whatever happens to them: the same answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Thread

import msgspec
import pytest

import holdfast
from holdfast import Namespace
from holdfast.store.answering import Portion
from holdfast.store.question import Question
from holdfast.testing import ManualClock

QUERIES = ["fox", "quick fox", '"quick fox"', "fox OR dog -lazy", "qui*", "NOT fox", "tag:kind=odd"]
VOCABULARY = ["fox", "dog", "lazy", "quick", "running", *(f"word{n}" for n in range(300))]
WEIGHTS = [40, 30, 20, 20, 10, *([1] * 300)]


def documents(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    chance = Random(seed)
    for number in chance.sample(range(10 * count), count):
        words = chance.choices(VOCABULARY, WEIGHTS, k=chance.randint(5, 60))
        yield f"doc/{number:06}", " ".join(words).encode()


def fill(acme: Namespace, count: int, seed: int) -> None:
    batch = list(documents(count, seed))
    for at in range(0, count, 100):
        acme.put_many(batch[at : at + 100], tags={"kind": "odd" if at % 200 else "even"})


def answers(acme: Namespace) -> list[object]:
    told: list[object] = []
    for query in QUERIES:
        for rank in ("bm25", "key"):
            found = acme.search(query, rank=rank, limit=50, facets=["kind"])
            told.append((query, found.total, [(h.key, h.score) for h in found.hits], found.facets))
    return told


@pytest.mark.parametrize(
    ("count", "buckets"),
    [
        pytest.param(500, 4, marks=pytest.mark.push),
        pytest.param(3_000, 50, marks=pytest.mark.nightly),
    ],
)
def test_many_buckets_answer_like_one(count: int, buckets: int, tmp_path: Path) -> None:
    clock = ManualClock()
    one = holdfast.open(":memory:", upkeep=False, clock=clock)
    many = holdfast.open(
        tmp_path / "many", upkeep=False, clock=clock, bucket_bytes=1 << 16, sync="never"
    )
    for store in (one, many):
        store.namespace("acme").index_rules([holdfast.IndexRule()])
    for seed in range(4):
        for store in (one, many):
            acme = store.namespace("acme")
            fill(acme, count, seed)
            for key, _ in list(documents(count, seed))[::7]:
                acme.delete(key, missing_ok=True)
            acme.put("doc/zz", b"the quick fox", ttl=seed + 1 if seed < 3 else None)
        clock.advance(1_500_000_000)
        assert answers(many.namespace("acme")) == answers(one.namespace("acme"))
        many.tick()
    assert len(many.status().buckets) >= buckets
    wanted = answers(one.namespace("acme"))
    many.collect()
    assert answers(many.namespace("acme")) == wanted
    many.sync()
    shutil.copytree(tmp_path / "many", tmp_path / "killed")
    many.rebuild()
    assert answers(many.namespace("acme")) == wanted
    many.close()
    for index in sorted(tmp_path.glob("many/index/*/search-*.run"))[::3]:
        index.write_bytes(index.read_bytes()[:-1] + b"?")
    for folder in ("many", "killed"):
        with holdfast.open(tmp_path / folder, upkeep=False, clock=clock) as store:
            assert answers(store.namespace("acme")) == wanted
    one.close()


def test_an_index_is_read_back_without_the_documents(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.index_rules([holdfast.IndexRule()])
        acme.put_many({f"k{n}": b"quick fox" for n in range(100)})
        assert acme.search("fox").total == 100
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        acme = store.namespace("acme")
        assert acme.search("fox", fresh=False).total == 100
        acme.delete("k1")
        assert acme.search("fox").total == 99
        acme.index_rules([holdfast.IndexRule(prefix="k2")])
        assert acme.search("fox").total == 11


@pytest.mark.push
def test_an_index_follows_without_being_asked(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", upkeep=False, sync="never") as store:
        acme = store.namespace("acme")
        acme.index_rules([holdfast.IndexRule()])
        for first in range(0, 120_000, 10_000):
            acme.put_many({f"k{n}": b"fox" for n in range(first, first + 10_000)})
        assert acme.search_status().behind > 100_000
        assert store.status().search_behind > 100_000
        store.tick(0.01)
        assert store.status().search_behind == acme.search_status().behind < 100_000
        found = acme.search("fox", fresh=False)
        assert found.total + found.behind >= 120_000


@pytest.mark.push
def test_what_puts_ask_for_is_followed_without_a_search(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", upkeep=False, sync="never") as store:
        acme = store.namespace("acme")
        acme.put("other", b"fox")
        store.tick(0)  # its round goes on later: what is searched does not wait for the next
        assert store.status().search_behind == 0
        for first in range(0, 110_000, 10_000):
            pairs = [(f"k{n:06d}", b"fox") for n in range(first, first + 10_000)]
            acme.put_many(pairs, index=True)
        store.tick(0.01)
        assert store.status().search_behind < 100_000
        found = acme.search("fox", fresh=False)
        assert found.behind < 100_000
        assert found.total + found.behind >= 110_000
        assert acme.search("fox").total == 110_000


@pytest.mark.push
def test_all_that_an_index_lacks_is_told(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", upkeep=False, sync="never") as store:
        acme = store.namespace("acme")
        for first in range(0, 110_000, 10_000):
            pairs = [(f"k{n:06d}", b"fox") for n in range(first, first + 10_000)]
            acme.put_many(pairs, index=True)
        found = acme.search("fox", fresh=False)
        assert (found.total, found.behind) == (0, 110_000)


def test_another_process_is_answered_of_an_index_that_hides_documents(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with holdfast.open(folder, upkeep=False) as store:
        acme = store.namespace("acme")
        acme.put_many({f"k{n:02}": b"fox and dog" for n in range(50)}, index=True)
        acme.search("fox")
        acme.delete("k07")
        acme.search("fox")
    with holdfast.open(folder, upkeep=False) as store:
        question = msgspec.msgpack.encode(Question("acme", "fox", rank="bm25", limit=3))
        portion = store.searcher.answering.portion
        counted = msgspec.msgpack.decode(
            portion(question, b"acme\x00", b"acme\x01", b""), type=Portion
        )
        weighed = msgspec.msgpack.encode(counted.counts.weights())
        told = msgspec.msgpack.decode(
            portion(question, b"acme\x00", b"acme\x01", weighed), type=Portion
        )
        found = store.namespace("acme").search("fox", limit=4)
        assert told.total == found.total == 49
        assert [(key.decode(), -score) for score, key in told.hits] == [
            (hit.key, hit.score) for hit in found.hits
        ]


def test_what_a_closed_store_lacked_is_told_when_it_is_opened(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        store.namespace("acme").put("a", b"fox", index=True)
        store.namespace("acme").search("fox")
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        assert store.status().search_behind <= 1  # opening and closing leave records too
        store.namespace("acme").put_many({f"k{n}": b"fox" for n in range(10)})
        assert 10 <= store.status().search_behind <= 11


def test_an_answer_that_is_not_fresh_shows_nothing_that_is_gone() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.put_many({f"k{n}": b"fox" for n in range(10)}, index=True)
        assert acme.search("fox").total == 10
        acme.delete("k3")
        acme.put("new", b"fox", index=True)
        found = acme.search("fox", fresh=False)
        assert found.total == len(found.hits) == 9
        assert found.behind > 0
        assert "k3" not in [hit.key for hit in found.hits]
        assert acme.search("fox", max_wait=0).total >= 9
        assert acme.search("fox").total == 10


def test_what_a_split_gave_away_is_told_once_before_it_is_absorbed(tmp_path: Path) -> None:
    chance = Random(5)
    with holdfast.open(tmp_path, upkeep=False, bucket_bytes=1 << 16, sync="never") as store:
        acme = store.namespace("acme")
        acme.index_rules([holdfast.IndexRule()])
        for step in range(40):
            keys = [f"d{chance.randrange(10**6):07}" for _ in range(20)]
            acme.put_many([(key, b"quick fox " * 24) for key in keys])
            for rank in ("key", "bm25"):
                found = acme.search("fox", limit=1_000, rank=rank, fresh=False)
                assert found.total == len({hit.key for hit in found.hits})
                assert found.total + found.behind == 20 * (step + 1)
            if step % 3 == 0:
                assert acme.search("fox").total == 20 * (step + 1)
        assert len(store.status().buckets) > 3


@pytest.mark.push
def test_no_write_is_missed_and_none_told_twice_while_buckets_are_split(tmp_path: Path) -> None:
    keys = [f"d{number:05}" for number in range(1_200)]
    Random(6).shuffle(keys)
    written: list[str] = []

    def write(acme: Namespace) -> None:
        for key in keys:
            acme.put(key, b"quick fox " * 90)
            written.append(key)

    with holdfast.open(tmp_path, bucket_bytes=1 << 16, sync="never") as store:
        acme = store.namespace("acme")
        acme.index_rules([holdfast.IndexRule()])
        writer = Thread(target=write, args=(acme,))
        writer.start()
        while writer.is_alive():
            for fresh in (True, False):
                for rank in ("key", "bm25"):
                    before = len(written) if fresh else 0
                    found = acme.search("quick fox", limit=1_000, rank=rank, fresh=fresh)
                    assert len({hit.key for hit in found.hits}) == len(found.hits)
                    assert before <= found.total <= len(written) + 1
        writer.join()
        assert acme.search("fox").total == len(keys)
        assert len(store.status().buckets) > 10
