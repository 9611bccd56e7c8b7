"""Several processes share a store, and any of them searches all of it, as one process would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast import Hits, IndexRule
from holdfast.client.store import RemoteNamespace
from tests.doors.test_workers import serving

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
SMALL = 64 * 1024
WORDS = ["fox", "dog", "lazy", "quick", *(f"word{number}" for number in range(200))]
WEIGHTS = [40, 30, 20, 20, *([1] * 200)]
QUERIES = ["fox", "quick fox", '"quick fox"', "fox OR dog -lazy", "qui*", "NOT fox", "tag:kind=odd"]


def documents() -> Iterator[tuple[str, bytes]]:
    chance = Random(3)
    for number in range(600):
        words = chance.choices(WORDS, WEIGHTS, k=chance.randint(5, 200))
        yield f"doc/{number:04}", " ".join(words).encode()


def fill(space: holdfast.Namespace | RemoteNamespace) -> None:
    every = list(documents())
    for at in range(0, len(every), 100):
        space.put_many(every[at : at + 100], tags={"kind": "odd" if at % 200 else "even"})


def answers(space: holdfast.Namespace | RemoteNamespace) -> list[Hits]:
    told = []
    for query in QUERIES:
        for rank in ("bm25", "key"):
            first = space.search(query, rank=rank, limit=7, facets=["kind"], highlight=True)
            told.append(first)
            told.append(space.search(query, rank=rank, limit=40, after=first.next))
            told.append(space.search(query, rank=rank, limit=7, prefixes=["doc/01"]))
    return told


def test_processes_answer_as_one(tmp_path: Path) -> None:
    with holdfast.open(":memory:") as one:
        acme = one.namespace("acme")
        acme.index_rules([IndexRule()])
        fill(acme)
        wanted = answers(acme)
    folder = tmp_path / "data"
    with holdfast.open(folder, bucket_bytes=SMALL, sync="never") as store:
        fill(store.namespace("acme"))
        assert len(store.status().buckets) > 3
    with serving(folder) as served, holdfast.connect(served.url, token=served.token) as remote:
        shared = remote.namespace("acme")
        owners = {remote.locate("acme", f"doc/{number:04}").address for number in range(0, 600, 20)}
        assert len(owners) == 2
        assert shared.search("fox").total == 0
        shared.index_rules([IndexRule()])
        for address in owners:  # whichever was told the rules
            with holdfast.connect(address, token=served.token) as direct:
                assert answers(direct.namespace("acme")) == wanted
        key = wanted[0].hits[0].key
        shared.delete(key)
        shared.put("doc/0000a", b"fox fox fox")
        for address in owners:
            with holdfast.connect(address, token=served.token) as direct:
                hits = direct.namespace("acme").search("fox", limit=1_000).hits
                assert "doc/0000a" in {hit.key for hit in hits}
                assert key not in {hit.key for hit in hits}
        shared.index_rules([IndexRule("doc/03")])
        for address in owners:
            with holdfast.connect(address, token=served.token) as direct:
                assert direct.namespace("acme").search("*").total == 100 - key.startswith("doc/03")
