"""The corridor's quick ways do what the slow one does."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.bucket.settings import Sync
from holdfast.errors import Permanent
from holdfast.values import Receipt


@pytest.mark.parametrize("sync", ["always", "never"])
def test_of_stores_together_each_has_its_own_outcome(sync: Sync) -> None:
    with holdfast.open(":memory:", sync=sync, upkeep=False) as store:
        ns = store.namespace("acme")
        ns.put("b", b"kept", permanent=True)
        names = ["a", "b", "c"]
        keys = [b"acme\0" + name.encode() for name in names]
        first, refused, last = store.corridor.store_each((keys, names, [b"new"] * 3))
        assert isinstance(first, Receipt)
        assert isinstance(refused, Permanent)
        assert isinstance(last, Receipt)
        assert [ns.get(name) for name in names] == [b"new", b"kept", b"new"]
        with pytest.raises(Permanent) as told:
            store.corridor.store_many((keys, names, [b"newer"] * 3))
        assert told.value.index == 1
        assert ns.get("c") == b"newer"
