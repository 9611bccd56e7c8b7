"""Who may read a part of a store finds what is in it, and learns nothing of the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import holdfast
from holdfast import Forbidden, Hits, IndexRule, Namespace
from holdfast.client.store import RemoteNamespace
from holdfast.identity.enclaves import AttestationSettings
from holdfast.testing import ManualClock
from holdfast.testing.authority import image
from holdfast.testing.clock import SeededEntropy
from holdfast.testing.enclave import MockEnclave
from holdfast.testing.serving import Serving
from tests.rooms.server.enclaves import AUTHORITY, Caller, dialled

DOORS = pytest.mark.parametrize("door", ["http", "grpc"])
QUERIES = ("fox", "fox OR dog", "fox -dog", "secret", "wo*", "NOT fox", "tag:kind=odd", '"dog fox"')


def mine(number: int) -> tuple[str, bytes]:
    return f"a/{number}", b"fox dog " * (number % 3 + 1) + b"word" * (number % 2)


def fill(space: Namespace) -> None:
    space.index_rules([IndexRule()])
    space.put_many([mine(number) for number in range(40)], tags={"kind": "even"})


def fill_the_rest(space: Namespace, other: Namespace) -> None:
    for one in (space, other):
        one.index_rules([IndexRule()])
        for tag in ("even", "odd", "secret"):
            texts = {f"b/{tag}{n}": b"secret fox wording " * n for n in range(1, 20)}
            one.put_many(texts, tags={"kind": tag})


def answers(space: Namespace | RemoteNamespace, *, fresh: bool) -> Iterator[Hits]:
    for query in QUERIES:
        for rank in ("bm25", "key"):
            found = space.search(
                query,
                rank=rank,
                limit=7,
                prefixes=["a/"],
                facets=["kind"],
                highlight=True,
                fresh=fresh,
            )
            yield found
            if found.next is not None:
                yield space.search(query, rank=rank, prefixes=["a/"], after=found.next, fresh=fresh)


@DOORS
def test_an_answer_below_a_prefix_is_that_of_a_store_with_nothing_else(door: str) -> None:
    with (
        holdfast.open(":memory:", upkeep=False) as alone,
        holdfast.open(":memory:", upkeep=False) as store,
        Serving(store, grpc_port=0) as serving,
    ):
        twin, acme, beta = alone.namespace("acme"), store.namespace("acme"), store.namespace("beta")
        fill(twin)
        fill(acme)
        fill_the_rest(acme, beta)
        token = serving.token("acme", ("read",), prefix="a/")
        url = serving.url if door == "http" else serving.rpc_url
        with holdfast.connect(url, token=token) as client:
            seen = client.namespace("acme")
            # First nothing is absorbed, then all of it, then all but what came last.
            for fresh in (False, True, False):
                assert list(answers(seen, fresh=fresh)) == list(answers(twin, fresh=fresh))
                beta.put("b/new", b"fox")
                acme.put("b/new", b"fox secret")
            for one in (twin, acme):
                one.put("a/new", b"fox")
                one.delete("a/3")
            acme.delete("b/odd3")
            found = list(answers(seen, fresh=False))
            assert found == list(answers(twin, fresh=False))
            assert {one.behind for one in found} == {2}
            with pytest.raises(Forbidden):
                client.namespace("beta").search("fox", prefixes=["a/"])


def test_an_enclave_searches_what_is_its_own() -> None:
    clock = ManualClock()
    with holdfast.open(":memory:", in_place=False, clock=clock, upkeep=False) as store:
        settings = AttestationSettings(roots=(AUTHORITY.pem,))
        with Serving(store, attestation=settings) as serving, dialled(serving) as raw:
            one = Caller(raw, MockEnclave(AUTHORITY, clock, SeededEntropy(5), image(1)))
            two = Caller(raw, MockEnclave(AUTHORITY, clock, SeededEntropy(6), image(2)))
            for caller, text in ((one, b"a fox"), (two, b"a fox and another fox")):
                assert caller.begin().status == 200
                store.namespace(caller.image_id).put("a", text, index=True)
            path = f"/v1/namespaces/{one.image_id}/search?query=fox"
            mine = raw.ask("GET", path, Holdfast_Enclave=one.enclave.mark("GET", path, b""))
            assert json.loads(mine.body)["total"] == 1
            for refused in (path, "/v1/search?query=fox"):
                mark = two.enclave.mark("GET", refused, b"")
                assert raw.ask("GET", refused, Holdfast_Enclave=mark).status == 403
            raw.token = serving.token(two.image_id)
            assert raw.ask("GET", path).status == 403
