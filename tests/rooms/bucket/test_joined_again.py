"""Appends that are joined twice: the first join is dead and goes, what it replaced may stay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

import holdfast
from holdfast.store.store import Store

SIZE = 9_000  # seven of them end a segment


def derived(store: Store, path: Path) -> Store:
    store.close()
    shutil.rmtree(path / "index")
    return opened(path)


def rebuilt(store: Store, _: Path) -> Store:
    store.rebuild()
    return store


def opened(path: Path) -> Store:
    return holdfast.open(path, bucket_bytes=1 << 20, sync="never", upkeep=False)


@pytest.mark.parametrize("again", [derived, rebuilt])
@pytest.mark.parametrize("mode", ["copying", "compacting"])
def test_a_value_is_the_same_where_a_join_of_its_joins_is_gone(
    tmp_path: Path, mode: Literal["copying", "compacting"], again: Callable[[Store, Path], Store]
) -> None:
    path = tmp_path / "data"
    store = opened(path)
    ns = store.namespace("acme")
    want = bytearray(b"H" * 10_000)

    def append(count: int, piece: str) -> None:
        for number in range(count):
            data = f"{piece}{number:06}".encode() * (1 if piece == "short" else 5)
            want.extend(data)
            ns.append("k", data)

    def fill(name: str, count: int) -> None:
        for number in range(count):
            ns.put(f"{name}{number}", os.urandom(SIZE))

    ns.put("k", bytes(want))
    append(63, "short")
    fill("stays", 6)  # the segment of what is joined next ends, and stays
    append(1, "short")
    fill("goes", 7)  # that of the join ends
    append(200, "long")  # joined again
    fill("more", 7)
    for number in range(7):
        ns.delete(f"goes{number}")
    assert store.collect(mode).segments > 0
    store = again(store, path)
    assert store.namespace("acme").get("k") == want
    store.close()
