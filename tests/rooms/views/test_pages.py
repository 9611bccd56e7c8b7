"""Pages over overlays and a view: whatever lies where, each key is told once, or not at all."""

from __future__ import annotations

from random import Random

import pytest

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from tests.growth.growing import in_memory


def walk(bucket: Bucket, limit: int) -> list[bytes]:
    keys = []
    at: bytes | None = b""
    while at is not None:
        page, at = bucket.page(at, b"\xff", limit)
        keys += [key for key, _ in page]
    return keys


@pytest.mark.parametrize("seed", range(20))
def test_a_walk_tells_each_key_once(seed: int) -> None:
    """A page ends where the first of its sources was cut off: behind that nobody has looked."""
    chance = Random(seed)
    with in_memory(bucket_bytes=1 << 20) as (store, _):
        (bucket,) = store.placement.directory
        ns, model = store.namespace("acme"), set()
        for _ in range(60):
            key = f"k{chance.randrange(30):02d}"
            if chance.random() < 0.4:
                ns.delete(key, missing_ok=True)
                model.discard(key)
            else:
                ns.put(key, b"v")
                model.add(key)
            if chance.random() < 0.04:
                checkpoint(bucket)
            if chance.random() < 0.04:
                with bucket.lock:
                    bucket.freeze()
        wanted = [b"acme\0" + key.encode() for key in sorted(model)]
        assert [walk(bucket, limit) for limit in (1, 2, 3, 7)] == [wanted] * 4
