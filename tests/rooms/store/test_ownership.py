"""Who has a store's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast


def test_a_disk_without_room_for_the_owners_name_is_opened_all_the_same(tmp_path: Path) -> None:
    there = tmp_path / "data"
    there.mkdir()
    (there / "LOCK").symlink_to("/dev/full")
    with holdfast.open(there) as store:
        store.namespace("acme").put("k", b"v")
        with pytest.raises(holdfast.InUse) as caught:
            holdfast.open(there)
        assert caught.value.pid is None
    with holdfast.open(there) as store:
        store.namespace("acme").delete("k")
