"""What is told when a name is wrong, and what things call themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import InUse, NotFound


def test_a_bucket_that_is_not_there_is_called_a_bucket() -> None:
    with holdfast.open(":memory:") as store, pytest.raises(NotFound) as told:
        store.bucket("nope")
    assert str(told.value) == "no bucket has this id (bucket='nope')"


def test_a_store_that_this_process_holds_is_not_called_another_ones(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data"), pytest.raises(InUse) as told:
        holdfast.open(tmp_path / "data")
    assert told.value.pid == os.getpid()
    assert "another" not in str(told.value)


def test_handles_say_what_they_are() -> None:
    with holdfast.open(":memory:") as store:
        ns = store.namespace("acme")
        with ns.open("a", "wb") as file:
            assert repr(file) == "ObjectWriter(key='a', closed=False)"
            file.write(b"12")
        with ns.open("a", "rb") as file:
            assert repr(file) == "ObjectReader(key='a', size=2, closed=False)"
        place = store.locate("acme", "a")
        assert repr(store.bucket(place.bucket)) == f"DirectBucket({place.bucket!r})"
