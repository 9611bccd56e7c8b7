"""Edges of calls: where a place ends, files that were closed, numbers that are too long."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.errors import Closed, InvalidExpiry, InvalidValue

LONG = 10**400


def test_a_place_holds_its_key_where_a_bucket_ends_among_parts() -> None:
    """Parts of large objects are hidden: no place of a key tells one of them as its end."""
    with holdfast.open(":memory:", bucket_bytes=1 << 16, upkeep=False) as store:
        ns = store.namespace("acme")
        keys = [f"k{number:03}" for number in range(20)]
        ns.put_many([(key, bytes(1_000)) for key in keys])
        ns.put("large", bytes(8 << 20))
        for _ in range(50):
            store.tick(60)
        assert len(store.status().buckets) > 4
        for key in [*keys, "large", "absent"]:
            place, at = store.locate("acme", key), ("acme", key)
            assert place.start is None or place.start <= at
            assert place.stop is None or at < place.stop


def test_a_file_that_was_closed_is_not_read() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        ns = store.namespace("acme")
        ns.put("k", b"12345")
        file = ns.open("k", "rb")
        assert file.read(2) == b"12"
        file.close()
        for call in (lambda: file.read(1), lambda: file.seek(0), file.tell):
            with pytest.raises(Closed):
                call()


def test_numbers_too_long_to_be_read_are_refused() -> None:
    digits = "9" * 5_000
    with holdfast.open(":memory:", upkeep=False) as store:
        ns = store.namespace("acme")
        with pytest.raises(InvalidExpiry):
            ns.put("k", b"", ttl=digits + "d")
        with pytest.raises(InvalidExpiry):
            ns.lock("k", ttl=digits + "s")
        with pytest.raises(InvalidValue):
            ns.lock("k", wait=LONG)
        with pytest.raises(InvalidValue):
            store.tick(LONG)
        assert not ns.exists("k")
