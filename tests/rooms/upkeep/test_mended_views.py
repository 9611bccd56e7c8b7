"""An index whose damage shows only when it is read is derived anew by upkeep (rule 4)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from holdfast.engines.disk import OsDisk
from holdfast.errors import Corrupt
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing import ManualClock
from holdfast.testing.clock import SeededEntropy
from holdfast.views.lmdb_view import LmdbView

KEYS = [f"{number:05d}" for number in range(6_000)]
PAGE = 4096


def opened(folder: Path) -> Store:
    """A store whose index is judged as it is read, however small it is."""
    return open_on(
        OsDisk(),
        str(folder),
        clock=ManualClock(1_700_000_000 * 10**9),
        entropy=SeededEntropy(0),
        open_view=lambda bucket: LmdbView(f"{folder}/index/{bucket}", at_once_bytes=0),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with 6,000 keys in its index, closed; of a leaf in the middle one bit is flipped."""
    with opened(tmp_path) as store:
        store.namespace("acme").put_many([(key, key.encode()) for key in KEYS])
    (data,) = tmp_path.glob("index/*/data.mdb")
    whole = bytearray(data.read_bytes())
    chance = random.Random(4)
    for at in range(len(whole) // PAGE // 2, len(whole) // PAGE, 9):
        whole[at * PAGE + chance.randrange(PAGE)] ^= 1 << chance.randrange(8)
    data.write_bytes(whole)
    return tmp_path


def right(store: Store) -> int:
    """How many keys have their values; of the others Corrupt is told, and nothing else."""
    namespace = store.namespace("acme")
    found = 0
    for key in KEYS:
        try:
            assert namespace.get(key) == key.encode()
            found += 1
        except Corrupt:
            pass
    return found


def test_an_index_that_is_found_damaged_is_derived_anew(folder: Path) -> None:
    with opened(folder) as store:
        assert 0 < right(store) < len(KEYS)
        store.tick()
        assert right(store) == len(KEYS)
        assert list(store.namespace("acme").list()) == KEYS
        assert store.check().ok
        assert store.upkeep.failures == []


def test_an_index_is_opened_whole_where_it_was_not_damaged(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.namespace("acme").put_many([(key, key.encode()) for key in KEYS])
    with opened(tmp_path) as store:
        assert right(store) == len(KEYS)
        assert store.check().ok
