"""What an earlier version stored must open, check and read back, for ever.

``stores`` holds one archive for each version that was released. Its stores are
opened by the product, with their views and without, and read by the second
reader; what all of them find is what the version that wrote it saw.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import LockHeld
from holdfast.testing import ManualClock
from tests.golden.old import (
    ARCHIVE,
    EXPECTED,
    KINDS,
    LATER,
    PROJECT,
    STORES,
    Told,
    digest_of,
    open_store,
    told,
)
from tests.golden.reader import (
    KEY_BLOCK,
    MANAGED,
    MARKED,
    PERMANENT,
    Known,
    Record,
    StoreReader,
    groups,
    records,
)

VERSIONS = sorted(path.name for path in STORES.iterdir())
BYTES_MOST = 100_000  # of an archive: these stay in the history for ever
TYPES = {*range(1, 12), *range(32, 41)}
FLAGS = {1, 2, 4, 8, 16, 128}


@pytest.fixture(scope="module", params=VERSIONS)
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive's contents; tests that open a store copy it first."""
    folder = tmp_path_factory.mktemp(request.param)
    with tarfile.open(STORES / request.param / ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def expected(old: Path) -> Told:
    found: Told = json.loads((old / EXPECTED).read_text())
    return found


@pytest.fixture(params=[kind for kind in KINDS if kind != "backup"])
def folder(request: pytest.FixtureRequest, old: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(old / request.param, tmp_path / request.param))


@pytest.mark.parametrize("views", ["as they are", "gone"])
def test_it_opens_checks_and_reads_back(folder: Path, expected: Told, views: str) -> None:
    if views == "gone":
        shutil.rmtree(folder / "index")
    with open_store(folder, ManualClock(LATER)) as store:
        assert told(store) == expected
        report = store.check()
        assert (report.ok, report.problems) == (True, ())
        assert told(store) == expected


def test_it_goes_on(folder: Path, expected: Told) -> None:
    clock = ManualClock(LATER)
    with open_store(folder, clock) as store:
        ns = store.namespace("acme")
        with pytest.raises(LockHeld):
            ns.lock("locked")
        assert ns.append("appended", b"!") == expected["acme"]["appended"]["size"] + 1
        assert ns.lock("fenced").fence > expected["acme"]["fenced"]["version"]
        store.collect()
        assert store.check().ok
    with open_store(folder, clock) as store:
        seen = told(store)
    same = expected["acme"].keys() - {"unreferenced", "appended"}
    assert seen["acme"].keys() == same | {"appended"}
    assert {key: seen["acme"][key] for key in same} == {key: expected["acme"][key] for key in same}


def test_a_backup_is_restored(old: Path, expected: Told, tmp_path: Path) -> None:
    holdfast.restore(old / "backup", tmp_path / "again")
    with open_store(tmp_path / "again", ManualClock(LATER)) as store:
        assert told(store) == expected
        assert store.check().ok


def test_the_second_reader_sees_the_same(folder: Path, expected: Told) -> None:
    found: Told = {}
    for (namespace, key), (known, value) in StoreReader(folder).values().items():
        if not known.expires_ns or known.expires_ns > LATER:
            found.setdefault(namespace, {})[key] = _as_told(known, value)
    wanted = {
        namespace: {key: _comparable(one) for key, one in objects.items()}
        for namespace, objects in expected.items()
    }
    assert found == wanted


def _as_told(known: Known, value: bytes) -> dict[str, object]:
    state = "marked" if known.flags & MARKED else "managed"
    return {
        "size": known.size,
        "version": known.version,
        "modified_ns": known.modified_ns,
        "expires_ns": known.expires_ns or None,
        "permanent": bool(known.flags & PERMANENT),
        "state": state if known.flags & MANAGED else "unmanaged",
        "content_type": known.attributes[0],
        "crc32c": known.crc,
        "digest": digest_of(value),
        "consumers": len(known.consumers),
    }


def _comparable(one: dict[str, object]) -> dict[str, object]:
    listed = one["consumers"]
    assert isinstance(listed, list)
    return {k: v for k, v in one.items() if k != "terminal"} | {"consumers": len(listed)}


def test_the_archives_have_in_them_what_they_are_for(old: Path) -> None:
    every = [record for kind in KINDS for record in _every_record(old / kind)]
    assert {record.type for record in every} == TYPES
    assert {1 << bit for bit in range(8) for r in every if r.flags & 1 << bit} == FLAGS
    assert any(bucket.births for bucket in StoreReader(old / "killed").buckets)
    assert any(bucket.retired for bucket in StoreReader(old / "merging").buckets)
    assert list(old.glob("closed/index/*/data.mdb"))


def _every_record(folder: Path) -> Iterator[Record]:
    for path in folder.glob("**/*.seg"):
        for group in groups(path.read_bytes()):
            if group.kind != KEY_BLOCK:
                yield from records(group)


def test_this_version_is_among_them() -> None:
    assert f'version = "{VERSIONS[-1]}"' in PROJECT.read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_archive_is_small(version: str) -> None:
    assert sum(path.stat().st_size for path in (STORES / version).iterdir()) < BYTES_MOST
