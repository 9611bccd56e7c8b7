"""A store in a process that may open few files: it works, or says EMFILE, and keeps its bound."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.engines.disk import OsDisk
from holdfast.engines.files import FileSegments
from holdfast.log.header import Identity
from holdfast.log.log import Log

SMALL = 64 * 1024
LARGE = 4 << 20

# Everything a store does, over more buckets than there are descriptors; what it was refused.
STORY = """
import json, resource, sys
import holdfast

limit, sync, bound, count, size, home = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
count, size = int(count), int(size)
told = []
with holdfast.open(home, bucket_bytes=int(bound), sync=sync) as store:
    ns = store.namespace("acme")
    for number in range(count):
        key = number * 7919 % count
        ns.put(f"k{key:05d}", bytes(size))
    for number in range(0, count, 7):
        assert ns.get(f"k{number:05d}") == bytes(size)
    for work in (store.rebuild, store.collect):
        work()
    told = [problem.what for problem in store.check().problems]
    buckets = len(store.status().buckets)
with holdfast.open(home, bucket_bytes=int(bound), sync=sync) as store:
    assert len(list(store.namespace("acme").list())) == count
print(json.dumps([buckets, told]))
"""

FEWER = """
import resource, sys
import holdfast
import holdfast.views.lmdb_view

resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
try:
    with holdfast.open(sys.argv[2], upkeep=False) as store:
        store.namespace("acme").put("k", b"v")
        store.rebuild()
    print("stored")
except holdfast.StorageFailed as error:
    print(error.errno)
"""


@pytest.mark.parametrize(
    ("limit", "sync", "bound", "count", "size"),
    [
        (40, "never", SMALL, 3_000, 1_000),
        (40, "always", SMALL, 3_000, 1_000),
        (64, "never", LARGE, 12_000, 4_000),
    ],
    ids=["many buckets", "durable", "windows"],
)
def test_it_works_with_few(  # noqa: PLR0917 - a case
    tmp_path: Path, limit: int, sync: str, bound: int, count: int, size: int
) -> None:
    numbers = map(str, (limit, sync, bound, count, size))
    command = [sys.executable, "-c", STORY, *numbers, str(tmp_path / "data")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    buckets, told = json.loads(ran.stdout)
    assert not told
    assert buckets > 10


def test_what_a_splits_child_reads_in_place_is_let_go_of_by_both(tmp_path: Path) -> None:
    """The parent's segment, mapped for the child, stayed mapped for the parent for ever."""
    ground = FileSegments(OsDisk(), [str(tmp_path)], create=True)
    identity = Identity(bytes(16), 1)
    parent, child = Log(ground, "00" * 8, identity), Log(ground, "11" * 8, identity)
    segment = ground.begin(parent.bucket, 1, [b"sealed"])
    parent._open[1] = segment
    child.borrow(parent, [1])
    for log in (parent, child):
        log.sealed.add(1)
        assert bytes(log.read(1, 0, 6)) == b"sealed"
    assert parent.maps
    assert child.maps
    segment.park()
    assert not parent.maps
    assert not child.maps


def test_where_none_is_left_the_error_has_its_name(tmp_path: Path) -> None:
    """However few there are: nothing but a typed error comes out."""
    told = []
    for limit in range(6, 30):
        command = [sys.executable, "-c", FEWER, str(limit), str(tmp_path / str(limit))]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, (limit, ran.stderr)
        told.append(ran.stdout.strip())
    assert set(told) == {"EMFILE", "stored"}
