"""Where buckets begin and end, in words that a person can read."""

from __future__ import annotations

from pathlib import Path

import msgspec

import holdfast
from holdfast.bucket.hidden import part_key
from holdfast.limits import BUCKET_BYTES_LEAST
from holdfast.upkeep.status import _bound
from holdfast.values import Status

UPLOAD = bytes(range(8, 16))


def test_a_bound_among_parts_names_the_object_and_the_part() -> None:
    key = "acme\0caf\u00e9/film".encode()
    assert _bound(key) == ("acme", "caf\u00e9/film")
    assert _bound(part_key(key, UPLOAD, 6)) == ("acme", "caf\u00e9/film (part 7)")
    assert _bound(part_key(key, UPLOAD, 6) + b"\0") == ("acme", "caf\u00e9/film (part 7)\0")
    assert _bound(key + b"\0") == ("acme", "caf\u00e9/film\0")


def test_every_bound_of_a_store_with_large_objects_can_be_printed(tmp_path: Path) -> None:
    with holdfast.open(tmp_path, bucket_bytes=BUCKET_BYTES_LEAST, sync="never") as store:
        store.namespace("acme").put("film", bytes(6 << 20))
        store.namespace("acme").put("a", b"1")
        found = store.status()
    starts = [bucket.start for bucket in found.buckets if bucket.start]
    told = [key for name, key in starts if name == "acme"]
    assert [key for key in told if key.startswith("film (part ")]
    assert all(key.removesuffix("\0").isprintable() for key in told)
    assert (
        sum(bucket.keys for bucket in found.buckets) == 2 + 5
    )  # parts; the last MiB is with the object


def test_a_status_of_before_or_behind_this_version_is_read() -> None:
    """What was added stands at the end: a client knows less than its server, or more."""
    before = b'{"buckets":[],"live_bytes":1,"dead_bytes":2,"disk_bytes":3,"dead_letters":4}'
    assert msgspec.json.decode(before, type=Status) == Status((), 1, 2, 3, 4)
    behind = before[:-1] + b',"search_behind":5,"problems":[],"later":6}'
    assert msgspec.json.decode(behind, type=Status) == Status((), 1, 2, 3, 4, 5)
