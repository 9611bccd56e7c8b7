from __future__ import annotations

import pytest

from holdfast.cli.places import scale_of, stretches, total
from holdfast.values import BucketStatus, Status


def store_of(buckets: int) -> Status:
    found = tuple(
        BucketStatus(f"b{at}", ("ns", f"k{at:03d}"), None, "open", at, 10 * at, at, 12 * at, 0)
        for at in range(buckets)
    )
    return Status(found, sum(b.live_bytes for b in found), 0, 0, 0)


@pytest.mark.parametrize("buckets", [0, 1, 7, 8, 9, 63, 64, 200])
def test_every_bucket_lies_in_one_stretch(buckets: int) -> None:
    found = store_of(buckets)
    drawn = stretches(found)
    assert len(drawn) == min(8, buckets)
    assert sum(one.buckets for one in drawn) == buckets
    assert sum(one.live_bytes for one in drawn) == found.live_bytes == total(found).live_bytes
    sizes = {one.buckets for one in drawn}
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_stretches_begin_where_their_first_bucket_does() -> None:
    assert [one.start for one in stretches(store_of(16))][:3] == ["k000", "k002", "k004"]


def test_two_drawings_share_a_scale() -> None:
    assert scale_of(store_of(0)) == 1
    assert scale_of(store_of(2), store_of(4)) == 33
