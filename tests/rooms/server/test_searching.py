"""Searching over HTTP and gRPC: the same answers, under the same rights."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import holdfast
from holdfast import Forbidden, IndexRule, InvalidQuery, InvalidValue, LimitExceeded
from holdfast.testing.serving import Serving
from tests.rooms.server.enclaves import dialled

UNCLEAR = (("fox AND (dog", 12), ("fox colour:red", 4), ('fox "open', 4), ("fox OR", 6), (")", 0))
DOORS = pytest.mark.parametrize("door", ["http", "grpc"])


def url_of(serving: Serving, door: str) -> str:
    return serving.url if door == "http" else serving.rpc_url


@DOORS
def test_a_client_searches_as_the_store_does(door: str) -> None:
    with holdfast.open(":memory:") as store, Serving(store, grpc_port=0) as serving:
        ours = store.namespace("acme")
        with holdfast.connect(url_of(serving, door), token=serving.token()) as client:
            acme = client.namespace("acme")
            rules = acme.index_rules([IndexRule("docs/", fields={"title": "t"})], keys=True)
            assert rules == ours.index_rules()
            acme.put("docs/1", b'{"t": "Two quick foxes"}', tags={"kind": "\u6771=x"})
            acme.put("docs/2", b'{"t": "A slow fox"}')
            acme.put("else/3", b"not json", index="a silver fox \u6771\u4eac")
            acme.put_many({"else/4": b"fox"}, index=False)
            for query in ("fox", "title:quick", "\u6771\u4eac", "key:docs/*"):
                assert acme.search(query) == ours.search(query)
            found = acme.search("fox", rank="key", limit=1, highlight=True, facets=["kind"])
            assert (found.total, found.hits[0].key) == (3, "docs/1")
            assert found.facets == {"kind": {"\u6771=x": 1}}
            assert acme.search("fox", rank="key", after=found.next).hits[0].key == "docs/2"
            for query, position in UNCLEAR:
                with pytest.raises(InvalidQuery) as refused:
                    acme.search(query)
                assert refused.value.position == position
            behind = acme.search("fox", fresh=False, max_wait=2)
            assert (behind.total, behind.behind) == (3, 0)
            refusals: list[dict[str, Any]] = [
                {"rank": "best"},
                {"limit": -1},
                {"facets": "kind"},
                {"facets": ["a,b"]},
                {"prefixes": []},
            ]
            for nonsense in refusals:
                with pytest.raises(InvalidValue):
                    acme.search("fox", **nonsense)


@DOORS
def test_who_may_read_below_a_prefix_finds_nothing_else(door: str) -> None:
    with holdfast.open(":memory:") as store, Serving(store, grpc_port=0) as serving:
        store.namespace("acme").put_many({"a/1": b"fox", "b/1": b"fox"}, index=True)
        token = serving.token("acme", ("read",), prefix="a/")
        with holdfast.connect(url_of(serving, door), token=token) as client:
            acme = client.namespace("acme")
            assert acme.search("fox", prefixes=["a/"]).total == 1
            for prefixes in (None, ["b/"], ["a"]):
                with pytest.raises(Forbidden):
                    acme.search("fox", prefixes=prefixes)
            with pytest.raises(Forbidden):
                acme.index_rules()


@DOORS
def test_an_awaited_client_and_every_namespace(door: str) -> None:
    async def main(url: str, token: str) -> None:
        async with holdfast.aconnect(url, token=token) as client:
            found = await client.namespace("acme").search("fox")
            assert found.total == 1

    with holdfast.open(":memory:") as store, Serving(store, grpc_port=0) as serving:
        store.namespace("acme").put("a", b"fox", index=True)
        store.namespace("beta").put("b", b"fox fox", index=True)
        asyncio.run(main(url_of(serving, door), serving.token()))
        every = store.search("fox")
        assert every.total == 2
        assert {hit.namespace for hit in every.hits} == {"acme", "beta"}


@DOORS
def test_every_namespace_is_searched_only_by_who_has_them_all(door: str) -> None:
    with holdfast.open(":memory:") as store, Serving(store, grpc_port=0) as serving:
        for name in ("acme", "beta"):
            store.namespace(name).put("k", b"fox", index=True)
        with holdfast.connect(url_of(serving, door), token=serving.token("acme")) as client:
            assert client.namespace("acme").search("fox").total == 1
            with pytest.raises(Forbidden):
                client.namespace("beta").search("fox")
            with pytest.raises(Forbidden):
                client.search("fox")
        with holdfast.connect(url_of(serving, door), token=serving.token()) as client:
            assert client.search("fox") == store.search("fox")
            assert client.search("fox", limit=1, rank="key") == store.search(
                "fox", limit=1, rank="key"
            )
            for wrong in ({"limit": -1}, {"limit": 1_001}, {"rank": "x"}):
                with pytest.raises((InvalidValue, LimitExceeded)):
                    client.search("fox", **wrong)
        if door == "http":
            for token, status in ((serving.token("acme"), 403), (serving.token(), 200)):
                with dialled(serving) as raw:
                    raw.token = token
                    told = raw.ask("GET", "/v1/search?query=fox")
                    assert told.status == status
                    assert b"beta" not in told.body or status == 200
