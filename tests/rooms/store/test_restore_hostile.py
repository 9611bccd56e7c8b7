"""A backup that somebody wrote: what its manifest says is no more than a claim."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from crc32c import crc32c

import holdfast
from holdfast.errors import Corrupt, FormatTooNew, HoldfastError, LimitExceeded
from holdfast.limits import MANIFEST_BYTES
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.upkeep import manifest as manifests
from holdfast.upkeep.manifest import NAME, Manifest, encode_manifest

SMALL = 64 * 1024
SEEDS = range(200)
START, STOP, VERSION, TIME, SEGMENTS, BIRTHS, RETIRED = range(7)
NUMBER, ORIGIN, ORIGIN_NUMBER, END, DIGEST = range(5)
NASTY: list[Any] = [
    *(None, True, -1, 0, 1, 87, 88, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
    *(1 << 64, 1 << 100, 1.5, "", "..", "../../etc", "/", "0" * 16, "G" * 16, "0" * 32, "\0"),
    *("/w==", "////", [], {}, [[]], [1, 2, 3]),
]
Told = dict[str, Any]
Lie = Callable[[Told], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of several buckets."""
    folder = tmp_path_factory.mktemp("hostile")
    with holdfast.open(
        folder / "data",
        upkeep=False,
        bucket_bytes=SMALL,
        sync="never",
        clock=ManualClock(),
        entropy=SeededEntropy(1),  # so that the chance below changes the same everywhere
    ) as store:
        for number in range(150):
            store.namespace("acme").put(f"k{number:03d}", bytes([number]) * 1_000)
        store.backup(folder / "backup")
    return folder / "backup"


@pytest.fixture
def backup(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "backup")
    return tmp_path / "backup"


def read(backup: Path) -> Told:
    told: Told = json.loads((backup / NAME).read_text())
    return told


def sealed(told: Told) -> bytes:
    """A manifest with a checksum that fits, where it has the shape of one."""
    try:
        manifest = msgspec.json.decode(json.dumps(told), type=Manifest)
    except msgspec.DecodeError:
        return json.dumps(told).encode()
    crc = crc32c(msgspec.json.encode(msgspec.structs.replace(manifest, crc=0)))
    return json.dumps(told | {"crc": crc}).encode()


def refused(backup: Path, error: type[HoldfastError] = Corrupt) -> None:
    """It is refused with nothing made, not even the folder."""
    with pytest.raises(error):
        holdfast.restore(backup, backup.parent / "again")
    assert not (backup.parent / "again").exists()


def bucket(told: Told, index: int = 0) -> Any:  # noqa: ANN401 - JSON
    return told["buckets"][index]


def segment(told: Told) -> Any:  # noqa: ANN401 - JSON
    return bucket(told)["state"][SEGMENTS][-1]


def set_in(place: Callable[[Told], Any], key: object, value: object) -> Lie:
    return lambda told: place(told).__setitem__(key, value)


def state(told: Told) -> Any:  # noqa: ANN401 - JSON
    return bucket(told)["state"]


def file(told: Told) -> Any:  # noqa: ANN401 - JSON
    return told["files"][0]


def itself(told: Told) -> Told:
    return told


LIES: dict[str, Lie] = {
    "a store id that is none": set_in(itself, "store", "../../../../../../../../../../etc/passwd"),
    "a store id that is short": set_in(itself, "store", "00"),
    "no life": set_in(itself, "incarnation", 0),
    "the last life there can be": set_in(itself, "incarnation", (1 << 64) - 1),
    "more lives than there can be": set_in(itself, "incarnation", 1 << 64),
    "a version below zero": set_in(itself, "version", -1),
    "a version that leaves none": set_in(itself, "version", (1 << 64) - 1),
    "a version below a bucket's": set_in(state, VERSION, 1 << 50),
    "no buckets": set_in(itself, "buckets", []),
    "a bucket twice": lambda told: told["buckets"].append(bucket(told)),
    "a bucket less": lambda told: told["buckets"].pop(),
    "a bucket that is a path": set_in(bucket, "id", "../../../../x/yy"),
    "ranges that overlap": set_in(lambda told: bucket(told, 1)["state"], START, ""),
    "a range that is turned around": set_in(state, STOP, ""),
    "a time below zero": set_in(state, TIME, -1),
    "a time without end": set_in(state, TIME, (1 << 64) - 1),
    "no segments": set_in(state, SEGMENTS, []),
    "a segment twice": lambda told: state(told)[SEGMENTS].append(segment(told)),
    "a last segment of another": set_in(segment, ORIGIN, "0" * 16),
    "a last segment under another number": set_in(segment, ORIGIN_NUMBER, 77),
    "a segment of nobody": set_in(lambda told: state(told)[SEGMENTS][0], ORIGIN, "nobody"),
    "a segment number without room": set_in(segment, NUMBER, 1 << 64),
    "a segment that ends in its head": set_in(segment, END, 1),
    "a segment that ends behind its file": set_in(segment, END, 1 << 40),
    "a digest that is too long": set_in(segment, DIGEST, 1 << 64),
    "a child that is a path": set_in(state, BIRTHS, [["../..", "YQ==", "Yg==", 1, 1, []]]),
    "a child without a range": set_in(state, BIRTHS, [["0" * 16, "YQ==", "YQ==", 1, 1, []]]),
    "a child of the future": set_in(state, BIRTHS, [["0" * 16, "YQ==", "Yg==", 1 << 63, 1, []]]),
    "a loan that is none": set_in(
        state, BIRTHS, [["0" * 16, "YQ==", "Yg==", 1, 1, [[-1, "x", 0, 0, 0]]]]
    ),
    "a bucket that is gone and here": lambda told: set_in(state, RETIRED, [bucket(told, 1)["id"]])(
        told
    ),
    "a bucket gone that is a path": set_in(state, RETIRED, ["../.."]),
    "purses that are none": set_in(bucket, "purses", "////"),
    "a file of no bucket": set_in(file, "bucket", "0" * 16),
    "a file that is a path": set_in(file, "bucket", "../../../../x/yy"),
    "a file twice": lambda told: told["files"].append(file(told)),
    "a file less": lambda told: told["files"].pop(),
    "a file below zero": set_in(file, "number", -1),
    "a file without room": set_in(file, "number", 1 << 32),
    "a file that no bucket names": lambda told: told["files"].append(file(told) | {"number": 99}),
    "a file without a head": set_in(file, "size", 0),
    "a size below zero": set_in(file, "size", -1),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_says_what_cannot_be_is_refused(backup: Path, lie: str) -> None:
    told = read(backup)
    LIES[lie](told)
    (backup / NAME).write_bytes(sealed(told))
    refused(backup)


@pytest.mark.parametrize("terms", [[], [[1, 0, 0, 0, 0, 0]]], ids=["none", "a unit of zero"])
def test_purses_that_could_not_pay_are_refused(backup: Path, terms: list[object]) -> None:
    told = read(backup)
    content = msgspec.msgpack.encode([[b"acme", 1, terms]])
    bucket(told)["purses"] = json.loads(msgspec.json.encode(content))
    (backup / NAME).write_bytes(sealed(told))
    refused(backup)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[" * 100_000, b'{"format":1,"x":' + b"[" * 100_000, b"\0" * 100],
    ids=["empty", "not UTF-8", "deep", "deep inside", "zeros"],
)
def test_bytes_that_are_no_manifest_are_refused(backup: Path, content: bytes) -> None:
    (backup / NAME).write_bytes(content)
    refused(backup)


def test_a_manifest_of_a_later_format_is_told_as_such(backup: Path) -> None:
    for version in (2, 1 << 64):
        (backup / NAME).write_bytes(sealed(read(backup) | {"format": version, "store": 7}))
        refused(backup, FormatTooNew)


def test_a_manifest_without_end_is_not_read(backup: Path) -> None:
    os.truncate(backup / NAME, 1 << 40)
    refused(backup)


def test_no_backup_is_made_that_no_restore_would_take(
    backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = msgspec.json.decode((backup / NAME).read_bytes(), type=Manifest)
    assert len(encode_manifest(manifest)) < MANIFEST_BYTES
    monkeypatch.setattr(manifests, "MANIFEST_BYTES", 100)
    with pytest.raises(LimitExceeded) as caught:
        encode_manifest(manifest)
    assert caught.value.limit == "MANIFEST_BYTES"


def no_files(path: Path) -> Iterator[None]:
    """Make other things of a path, one after the other."""
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    yield
    path.rmdir()
    os.mkfifo(path)
    yield
    path.unlink()
    path.symlink_to(path.name)
    yield
    path.unlink()
    path.symlink_to("/dev/null")
    yield
    path.unlink()
    path.write_bytes(content)


def test_what_is_no_file_is_refused(backup: Path) -> None:
    for path in (backup / NAME, *sorted(backup.glob("*/*.seg"))[:2]):
        for _ in no_files(path):
            with pytest.raises(HoldfastError):
                holdfast.restore(backup, backup.parent / "again")
            assert {left.name for left in backup.parent.glob("again/*")} <= {"LOCK"}
    folder = next(backup.glob("*/*.seg")).parent
    folder.rename(backup / "elsewhere")
    folder.write_bytes(b"a file where the folder of a bucket should be")
    with pytest.raises(Corrupt, match=folder.name):
        holdfast.restore(backup, backup.parent / "again")
    folder.unlink()
    (backup / "elsewhere").rename(folder)
    holdfast.restore(backup, backup.parent / "again")


# -- chance ------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    """The way to every value within one."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(below, (*path, key))


def mutate(chance: random.Random, told: Told) -> None:
    """Change one thing anywhere in a manifest."""
    ways = list(places(told))
    *above, key = chance.choice(ways)
    holder: Any = told
    for step in above:
        holder = holder[step]
    other: Any = told
    for step in chance.choice(ways):
        other = other[step]
    match chance.randrange(5):
        case 0:
            del holder[key]
        case 1:
            holder[key] = copy.deepcopy(other)
        case 2 if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        case 3 if type(holder[key]) is int:
            holder[key] += chance.choice([-256, -1, 1, 256, 1 << 40])
        case _:
            holder[key] = chance.choice(NASTY)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_a_manifest_says_is_restored_or_refused(
    made: Path, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    told = read(made)
    for _ in range(chance.choice([1, 1, 2, 3])):
        mutate(chance, told)
    backup = tmp_path / "backup"
    shutil.copytree(made, backup, copy_function=os.link)
    (backup / NAME).unlink()
    (backup / NAME).write_bytes(sealed(told))
    try:
        holdfast.restore(backup, tmp_path / "again")
    except HoldfastError:
        assert {left.name for left in tmp_path.glob("again/*")} <= {"LOCK"}
        return
    try:
        with holdfast.open(tmp_path / "again", upkeep=False, bucket_bytes=SMALL) as store:
            store.check()
    except HoldfastError:
        pass  # what the segments are said to be may be a lie that only reading them tells
