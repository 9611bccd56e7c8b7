"""A store over two folders of one disk uses both, and becomes few buckets again."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.testing import ManualClock, SeededEntropy

KEYS = [f"k{number:04}" for number in range(1200)]


def test_what_a_split_shares_is_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large segment is not copied to another disk, and a split that needs that never ends."""
    monkeypatch.setattr("holdfast.engines.files.COPY_BYTES", 0)
    folders = [tmp_path / "one", tmp_path / "two"]
    with holdfast.open(
        tmp_path / "data",
        data_dirs=folders,
        bucket_bytes=64 << 10,
        sync="never",
        upkeep=False,
        clock=ManualClock(),  # a tick has all the time it needs
    ) as store:
        ns = store.namespace("acme")
        for key in Random(1).sample(KEYS, 400):
            ns.put(key, key.encode() * 160)
        store.tick(5)
        buckets = list(store.placement.directory)
        assert len(buckets) > 2
        assert {bucket.doing() for bucket in buckets} == {"open"}
        assert store.check().ok


@pytest.mark.push
def test_buckets_spread_and_merge_over_both(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    store = holdfast.open(
        tmp_path / "data",
        data_dirs=folders,
        bucket_bytes=64 << 10,
        sync="never",
        upkeep=False,
        clock=ManualClock(),
        entropy=SeededEntropy(7),
    )
    ns = store.namespace("acme")
    for at in range(0, len(KEYS), 50):
        ns.put_many([(key, key.encode() * 160) for key in KEYS[at : at + 50]])
    held = [len([name for name in folder.iterdir() if name.is_dir()]) for folder in folders]
    assert min(held) >= sum(held) // 3
    for key in KEYS:
        if key[-2:] != "50":
            ns.delete(key)
    for _ in range(4):
        store.collect()
        store.tick(5)
    status = store.status()
    assert len(status.buckets) <= 2 * max(1, -(-status.live_bytes // (64 << 10)))
    left = list(ns.list())
    assert left == [key for key in KEYS if key[-2:] == "50"]
    store.close()
    shutil.rmtree(tmp_path / "data" / "index")
    with holdfast.open(tmp_path / "data", upkeep=False) as again:
        there = again.namespace("acme")
        assert [there.get(key) for key in there.list()] == [key.encode() * 160 for key in left]
        assert again.check().ok
