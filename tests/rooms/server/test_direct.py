"""A bucket that is asked for what it does not hold says where that is: 421."""

from __future__ import annotations

import json
from collections.abc import Callable

import holdfast
from holdfast.testing.serving import Serving
from tests.rooms.server.raw import Raw

Dial = Callable[[Serving], Raw]


def test_a_key_that_moved_is_told_with_its_new_place(connect: Dial) -> None:
    with holdfast.open(":memory:", bucket_bytes=64 << 10, in_place=False) as store:
        acme = store.namespace("acme")
        for number in range(120):
            acme.put(f"k{number:03}", bytes(1_000))
        with Serving(store) as serving:
            raw = connect(serving)

            def place(key: str) -> dict[str, object]:
                told = raw.ask("GET", f"/v1/locate?namespace=acme&key={key}")
                found: dict[str, object] = json.loads(told.body)
                return found

            first, last = place("k000"), place("k119")
            assert first["bucket"] != last["bucket"]
            own = f"/v1/buckets/{first['bucket']}/namespaces/acme/objects/"
            assert raw.ask("GET", own + "k000").body == bytes(1_000)
            for method, body in (("GET", b""), ("PUT", b"new")):
                moved = raw.ask(method, own + "k119", body)
                told = json.loads(moved.body)
                assert (moved.status, told["code"], told["effect"]) == (421, "moved", "none")
                assert told["facts"]["place"] == last
            assert acme.get("k119") == bytes(1_000)
            assert raw.ask("GET", f"/v1/buckets/{'0' * 16}/namespaces/acme/objects/a").status == 404
