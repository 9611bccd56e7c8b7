"""What is searched stays whole while buckets split between two searches, again and again."""

from __future__ import annotations

from random import Random

import pytest

from holdfast import IndexRule
from holdfast.engines.memory import MemoryDisk
from tests.growth.growing import in_memory


@pytest.mark.parametrize("seed", range(3))
def test_children_of_children_miss_nothing(seed: int) -> None:
    """A bucket of a bucket that nobody searched yet begins from neither's parent."""
    chance = Random(seed)
    words: dict[str, str] = {}
    with in_memory(MemoryDisk()) as (store, _):
        space = store.namespace("acme")
        space.index_rules([IndexRule("")])
        for turn in (2, 10, 40, 10):
            for _ in range(turn):
                some = {
                    f"k{chance.randrange(3_000):04d}": f"w{chance.randrange(9)}" for _ in range(20)
                }
                space.put_many({key: f"{word} {'x' * 700}".encode() for key, word in some.items()})
                words |= some
            for word in ("w0", "w5"):
                wanted = sum(held == word for held in words.values())
                assert space.search(word).total == wanted
        assert len(store.placement.directory) > 8
