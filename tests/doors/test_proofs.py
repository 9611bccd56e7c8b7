"""Proofs over HTTP: what a server answers, and a client that believes nothing without one."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, Literal, get_args
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

import holdfast
from holdfast import InvalidValue, NotFound, ProofInvalid, Proven, Store
from holdfast.certify import roots, watch
from holdfast.certify.parts import Parts
from holdfast.certify.verify import verify_parts
from holdfast.client.store import RemoteStore
from holdfast.testing.serving import Serving
from holdfast.values import ProvenParts


@pytest.fixture
def serving() -> Iterator[Serving]:
    with holdfast.open(":memory:") as store, Serving(store, grpc_port=0) as served:
        yield served


Door = Literal["http", "grpc"]
BOTH = pytest.mark.parametrize("door", get_args(Door))


def url_of(serving: Serving, door: Door) -> str:
    return serving.url if door == "http" else serving.rpc_url


def ask(serving: Serving, path: str) -> tuple[bytes, str | None]:
    """The body of an answer, and the proof in its header."""
    headers = {"Authorization": f"Bearer {serving.token()}"}
    with urlopen(Request(serving.url + path, headers=headers)) as answer:  # noqa: S310 - our own
        return answer.read(), answer.headers["Holdfast-Proof"]


def test_a_value_comes_with_its_proof(serving: Serving) -> None:
    serving.store.namespace("acme").put("a/b", b"value")
    value, proof = ask(serving, "/v1/namespaces/acme/objects/a/b?proof=1")
    assert proof is not None
    key = serving.store.public_key()
    said = holdfast.verify("acme", "a/b", value, b64decode(proof), public_key=key, max_age_s=60)
    assert said.size == 5
    again, sealed = ask(serving, "/v1/namespaces/acme/objects/a/b?proof=sealed")
    assert (again, sealed) == (value, proof)


@pytest.mark.parametrize("path", ["/certified/acme/a", "/v1/namespaces/acme/objects/a?proof=1"])
def test_a_proven_value_is_told_like_any_other(serving: Serving, path: str) -> None:
    acme = serving.store.namespace("acme")
    acme.put("a", b"<p>", content_type="text/html", ttl=3_600)
    headers = {"Authorization": f"Bearer {serving.token()}"}
    told = []
    for asked in (path, "/v1/namespaces/acme/objects/a"):
        with urlopen(Request(serving.url + asked, headers=headers)) as answer:  # noqa: S310 - our own
            told.append(dict(answer.headers))
    kept = ("Content-Type", "ETag", "Holdfast-Version", "Holdfast-Modified", "Holdfast-Expires")
    assert [told[0][name] for name in kept] == [told[1][name] for name in kept]
    assert (told[0]["Content-Type"], "Accept-Ranges" in told[0]) == ("text/html", False)
    acme.put("a", b"plain")
    with urlopen(Request(serving.url + path, headers=headers)) as answer:  # noqa: S310 - our own
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert "Holdfast-Expires" not in answer.headers


def test_what_was_published_is_certified_for_anyone(serving: Serving) -> None:
    acme, key = serving.store.namespace("acme"), serving.store.public_key()
    acme.put("site/a b", b"<p>")
    acme.publish("site/")
    with urlopen(f"{serving.url}/certified/acme/site/a%20b") as answer:  # noqa: S310 - our own
        value, proof = answer.read(), answer.headers["Holdfast-Proof"]
    assert holdfast.verify("acme", "site/a b", value, b64decode(proof), public_key=key).size == 3
    code, proof = refusal(f"{serving.url}/certified/acme/site/none")
    assert (code, proof is None) == (404, False)
    none = holdfast.verify("acme", "site/none", None, b64decode(proof or ""), public_key=key)
    assert none.size is None
    assert refusal(f"{serving.url}/certified/acme/other") == (401, None)
    assert refusal(f"{serving.url}/certified/acme")[0] == 422
    assert refusal(f"{serving.url}/certified/acme/site/a%20b?proof=later")[0] == 422


def refusal(url: str) -> tuple[int, str | None]:
    """The status of an answer that is a refusal, and the proof in its header."""
    with pytest.raises(HTTPError) as refused:
        urlopen(url)  # noqa: S310 - our own
    with refused.value as answer:
        return answer.code, answer.headers["Holdfast-Proof"]


def test_the_newest_root_goes_on_from_an_older_one(serving: Serving) -> None:
    key = serving.store.public_key()
    seen: list[watch.Seen] = []
    histories = []
    for number in range(3):
        serving.store.namespace("acme").put("a", b"%d" % number)
        size = seen[-1].log_size if seen else None
        body, _ = ask(serving, "/v1/root" + ("" if size is None else f"?size={size}"))
        told = json.loads(body)
        message = b64decode(told["root"])
        seen.append(watch.seen_of(message, roots.verify(message, key)))
        proofs = ([b64decode(one) for one in told[name]] for name in ("consistency", "inclusion"))
        histories.append(watch.History(*map(tuple, proofs)))
    for before, now, history in zip(seen, seen[1:], histories[1:], strict=False):
        assert watch.judge(before, now, history, wall_ns=now.time_ns) == []


def connect(serving: Serving, door: Door, store: Store | None = None) -> RemoteStore:
    key = (store or serving.store).public_key()
    return holdfast.connect(url_of(serving, door), token=serving.token(), public_key=key)


@BOTH
def test_a_client_with_the_key_reads_proved_values(serving: Serving, door: Door) -> None:
    with connect(serving, door) as remote:
        acme = remote.namespace("acme")
        acme.put("a", b"0123456789")
        assert acme.get("a") == b"0123456789"
        assert acme.get("a", range=(2, 5)) == b"234"
        assert acme.get_many(["a", "b"]) == [b"0123456789", None]
        assert (acme.exists("a"), acme.exists("b")) == (True, False)
        with pytest.raises(NotFound) as absent:
            acme.get("b")
        assert isinstance(absent.value.proof, bytes)
        one, none = acme.prove("a"), acme.prove("b", sealed=True)
        assert (one.value, none.value) == (b"0123456789", None)
        key = serving.store.public_key()
        assert holdfast.verify("acme", "a", one.value, one.proof, public_key=key).size == 10
        acme.put("large", bytes(3 << 20))
        assert acme.get("large") == bytes(3 << 20)
        assert acme.get("large", range=((1 << 20) - 1, (1 << 20) + 1)) == bytes(2)
        assert sorted(acme.list()) == ["a", "large"]
        assert acme.stat("large").size == 3 << 20
        listed = acme.prove_list("l")
        assert list(holdfast.verify_list("acme", "l", listed.proof, public_key=key)) == ["large"]


@BOTH
def test_a_client_with_another_key_believes_nothing(serving: Serving, door: Door) -> None:
    with holdfast.open(":memory:") as other, connect(serving, door, other) as remote:
        serving.store.namespace("acme").put("a", b"1")
        for key in ("a", "b"):
            with pytest.raises(ProofInvalid, match="signature"):
                remote.namespace("acme").get(key)


@BOTH
def test_a_client_without_a_key_may_ask_for_proofs(serving: Serving, door: Door) -> None:
    serving.store.namespace("acme").put("a", b"1")
    with holdfast.connect(url_of(serving, door), token=serving.token()) as remote:
        proven, listed = remote.namespace("acme").prove("a"), remote.namespace("acme").prove_list()
    key = serving.store.public_key()
    assert holdfast.verify("acme", "a", b"1", proven.proof, public_key=key).size == 1
    assert list(holdfast.verify_list("acme", "", listed.proof, public_key=key)) == ["a"]


def test_a_key_that_is_none_is_refused(serving: Serving) -> None:
    with pytest.raises(InvalidValue, match="public_key"):
        holdfast.connect(serving.url, public_key=b"no key")


@BOTH
def test_the_asynchronous_client_too(serving: Serving, door: Door) -> None:
    async def read() -> bytes:
        url, key = url_of(serving, door), serving.store.public_key()
        async with holdfast.aconnect(url, token=serving.token(), public_key=key) as remote:
            acme = remote.namespace("acme")
            await acme.put("a", b"1")
            assert (await acme.prove("a")).value == b"1"
            return await acme.get("a")

    assert asyncio.run(read()) == b"1"


def test_the_asynchronous_twin_proves() -> None:
    async def prove() -> None:
        async with holdfast.aopen(":memory:") as store:
            acme, key = store.namespace("acme"), await store.public_key()
            await acme.put("a", b"1")
            one, listed = await acme.prove("a"), await acme.prove_list()
            assert holdfast.verify("acme", "a", b"1", one.proof, public_key=key).size == 1
            assert list(holdfast.verify_list("acme", "", listed.proof, public_key=key)) == ["a"]

    asyncio.run(prove())


def held_in(proven: Any, key: bytes) -> bytes:  # noqa: ANN401 - parts, from any face
    """The parts that were proved, checked without a store."""
    parts = Parts(proven.first, proven.value, proven.paths)
    said = verify_parts("acme", "large", parts, proven.proof, public_key=key)
    assert said.size == 3 << 20
    return parts.data


@pytest.mark.parametrize("checks", ["checking", "believing"])
@BOTH
def test_a_get_through_a_client_brings_its_proof(serving: Serving, door: Door, checks: str) -> None:
    key = serving.store.public_key()
    url, token = url_of(serving, door), serving.token()
    given = key if checks == "checking" else None
    middle = ((1 << 20) + 3, (1 << 20) + 5)
    with holdfast.connect(url, token=token, public_key=given) as remote:
        acme = remote.namespace("acme")
        acme.put("large", bytes(3 << 20))
        for prove in (True, "sealed"):
            whole = acme.get("large", prove=prove)
            said = holdfast.verify("acme", "large", whole.value, whole.proof, public_key=key)
            assert (said.size, said.revision) == (3 << 20, whole.revision)
            some = acme.get("large", range=middle, prove=prove)
            assert (some.first, held_in(some, key)) == (1, bytes(1 << 20))
        with pytest.raises(NotFound) as absent:
            acme.get("none", prove=True)
        assert isinstance(absent.value.proof, bytes)
        holdfast.verify("acme", "none", None, absent.value.proof, public_key=key)
        with pytest.raises(InvalidValue, match="prove"):
            acme.get("large", prove="maybe")  # type: ignore[call-overload]

    async def awaited() -> tuple[Proven, ProvenParts]:
        async with holdfast.aconnect(url, token=token, public_key=given) as remote:
            acme = remote.namespace("acme")
            return await acme.get("large", prove=True), await acme.get(
                "large", range=middle, prove="sealed"
            )

    whole, some = asyncio.run(awaited())
    assert (whole.value, held_in(some, key)) == (bytes(3 << 20), bytes(1 << 20))
