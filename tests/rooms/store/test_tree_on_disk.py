"""The tree of proofs on disk: a restart goes on from it, and what is wrong there is not proved."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from xxhash import xxh3_64_intdigest

import holdfast
from holdfast import Store
from holdfast.certify import pages, trie
from holdfast.certify.absorb import Absorbed
from holdfast.certify.pages import Files, Place
from holdfast.engines import whole
from holdfast.engines.disk import OsDisk
from holdfast.engines.port import Disk
from holdfast.store import following
from tests.rooms.store.test_certifying import (
    SECOND_NS,
    Client,
    Life,
    hold,
    opened,
    tree_kept,
    tree_of,
)

KEYS = 700
VALUES = {f"k{number:04d}": b"value of %d" % number for number in range(KEYS)}


@pytest.fixture(name="scans")
def counted_scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The buckets that were read whole."""
    found: list[str] = []
    scan = Absorbed._begin

    def noted(self: Absorbed, *arguments: Any) -> None:  # noqa: ANN401 - as it is called
        found.append(self.bucket.id)
        scan(self, *arguments)

    monkeypatch.setattr(Absorbed, "_begin", noted)
    return found


def filled(folder: Path) -> None:
    """A store whose tree was written down when it closed."""
    with holdfast.open(folder, upkeep=False) as store:
        store.namespace("acme").put_many(VALUES)
        store.namespace("other").put("k0000", b"theirs")
        store.certifier.seal()


def files_of(folder: Path, pattern: str = "tree*") -> list[Path]:
    return sorted((folder / "index").glob(f"*/{pattern}"))


def proves(store: Store, values: dict[str, bytes] = VALUES) -> None:
    """Everything is proved, from the tree that one makes who reads the bucket whole."""
    hold(Client(store), store.namespace("acme"), values, Random(5))
    assert tree_kept(store) == tree_of(store)


def pages_of(store: Store) -> list[trie.Page]:
    store.certifier.seal()
    absorbed = store.certifier._absorbing.absorbed.values()
    made = [made for piece in absorbed for made in piece.tries.values()]
    return [page for one in made for page in trie.pages(one)]


def test_a_restart_goes_on_from_what_was_written_down(tmp_path: Path, scans: list[str]) -> None:
    filled(tmp_path)
    assert len(scans) == 1
    with holdfast.open(tmp_path, upkeep=False) as store:
        assert {type(page.source) for page in pages_of(store)} == {Place}
        store.namespace("acme").delete("k0003")
        left = {key: value for key, value in VALUES.items() if key != "k0003"}
        hold(Client(store), store.namespace("acme"), left, Random(5))
        assert len(scans) == 1
        proves(store, left)
    scans.clear()
    with holdfast.open(tmp_path, upkeep=False) as store:
        hold(Client(store), store.namespace("acme"), left, Random(6))
        assert not scans


def test_upkeep_writes_the_tree_down_and_little_of_it_twice(tmp_path: Path) -> None:
    with holdfast.open(tmp_path, upkeep=False) as store:
        acme = store.namespace("acme")
        store.certifier.seal()
        for number in range(12):
            acme.put_many({f"{number:02d}/{key}": value for key, value in VALUES.items()})
            store.certifier.seal()
            store.tick(60)
        written = files_of(tmp_path, "tree-*.pages")
        assert 1 <= len(written) <= pages.FILES_MOST
        sealed = store.certifier.last()
        store.certifier.close()
        assert {type(page.source) for page in pages_of(store)} == {Place}
        assert acme.prove("00/k0001", sealed=True).revision >= sealed.root.revision


def test_a_tree_that_was_replaced_is_still_proved_from(tmp_path: Path) -> None:
    """Whoever proves from an older seal reads files that nothing newer rests on."""
    filled(tmp_path)
    with holdfast.open(tmp_path, upkeep=False) as store:
        old = store.certifier.seal()
        before = files_of(tmp_path, "tree-*.pages")
        store.namespace("acme").put_many(dict.fromkeys(VALUES, b"other"))
        store.certifier.seal()
        store.certifier.close()
        kept = [namespace.parts[0].keys for namespace in old.state.namespaces.values()]
        assert sorted(sum(1 for _ in trie.rows_of(one)) for one in kept) == [1, KEYS]
        assert {*before} <= {*files_of(tmp_path, "tree-*.pages")}
        del old, kept
        assert not {*before} & {*files_of(tmp_path, "tree-*.pages")}
        proves(store, dict.fromkeys(VALUES, b"other"))


def test_an_index_of_another_kind_is_not_read(tmp_path: Path, scans: list[str]) -> None:
    filled(tmp_path)
    (path,) = files_of(tmp_path, "tree.index")
    body = msgspec.msgpack.encode([2, "later", {}])
    path.write_bytes(pages.MAGIC + xxh3_64_intdigest(body).to_bytes(8, "little") + body)
    scans.clear()
    with holdfast.open(tmp_path, upkeep=False) as store:
        proves(store)
        assert scans


@pytest.mark.parametrize("name", ["tree.index", "tree-1.pages"])
def test_a_damaged_tree_is_made_again_and_proves_nothing_wrong(
    name: str, tmp_path: Path, scans: list[str]
) -> None:
    filled(tmp_path)
    (path,) = files_of(tmp_path, name)
    whole, chance = path.read_bytes(), Random(3)
    for damage in range(4):
        torn = bytearray(whole)
        torn[chance.randrange(len(torn))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(torn) if damage else whole[: len(whole) // 2])
        scans.clear()
        with holdfast.open(tmp_path, upkeep=False) as store:
            for key in list(VALUES)[:: KEYS // 40]:
                proven = store.namespace("acme").prove(key)
                key_of = store.public_key()
                holdfast.verify("acme", key, VALUES[key], proven.proof, public_key=key_of)
            proves(store)
            for page in pages_of(store):
                page.columns  # noqa: B018 - reads it
        assert scans
        filled_again = files_of(tmp_path, "tree-*.pages")
        assert filled_again
        for other in files_of(tmp_path):
            other.unlink()
        filled(tmp_path)
        path = files_of(tmp_path, name)[0]
        whole = path.read_bytes()


def test_pages_that_are_not_what_was_written_give_no_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scans: list[str]
) -> None:
    """A page that verifies and says something else: the root tells."""
    filled(tmp_path)
    scans.clear()
    read = Place.read

    def other(self: Place) -> trie.Columns:
        labels, digests, bits = read(self)
        return trie.Columns(labels, digests[:-1] + b"?", bits)

    with holdfast.open(tmp_path, upkeep=False) as store:
        store.certifier.seal()
        with monkeypatch.context() as patched:
            patched.setattr(Place, "read", other)
            proven = store.namespace("acme").prove("k0005")
        assert len(scans) == 1
        key = store.public_key()
        holdfast.verify("acme", "k0005", VALUES["k0005"], proven.proof, public_key=key)
        proves(store)


@pytest.mark.parametrize("mend", [Store.rebuild, lambda store: store.check(repair=True)])
def test_who_asks_for_all_to_be_made_again_gets_a_new_tree(
    mend: Callable[[Store], object], tmp_path: Path, scans: list[str]
) -> None:
    filled(tmp_path)
    scans.clear()
    with holdfast.open(tmp_path, upkeep=False) as store:
        mend(store)
        proves(store)
        assert scans
    scans.clear()
    with holdfast.open(tmp_path, upkeep=False) as store:
        hold(Client(store), store.namespace("acme"), VALUES, Random(2))
        assert not scans


def test_an_older_tree_that_came_back_is_caught_up(tmp_path: Path, scans: list[str]) -> None:
    filled(tmp_path)
    kept = {path: path.read_bytes() for path in files_of(tmp_path)}
    values = dict(VALUES)
    with holdfast.open(tmp_path, upkeep=False) as store:
        for number in range(300):
            values[f"k{number:04d}"] = b"newer"
        store.namespace("acme").put_many(values)
        store.certifier.seal()
    for path in files_of(tmp_path):
        path.unlink()
    for path, data in kept.items():
        path.write_bytes(data)
    scans.clear()
    with holdfast.open(tmp_path, upkeep=False) as store:
        hold(Client(store), store.namespace("acme"), values, Random(1))
        assert not scans
        proves(store, values)


def test_a_tree_ahead_of_its_log_is_thrown_away(tmp_path: Path, scans: list[str]) -> None:
    filled(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    values = dict(VALUES)
    with holdfast.open(tmp_path / "a", upkeep=False) as store:
        store.namespace("acme").put("k0001", b"newer")
        store.certifier.seal()
    with holdfast.open(tmp_path / "b", upkeep=False) as store:
        store.namespace("acme").put("k0002", b"another life")
        values["k0002"] = b"another life"
    for path in files_of(tmp_path / "b"):
        path.unlink()
    for path in files_of(tmp_path / "a"):
        shutil.copy(path, tmp_path / "b" / path.relative_to(tmp_path / "a"))
    scans.clear()
    with holdfast.open(tmp_path / "b", upkeep=False) as store:
        hold(Client(store), store.namespace("acme"), values, Random(1))
        assert scans
        proves(store, values)


@pytest.mark.push
def test_a_disk_that_refuses_at_any_point_leaves_a_tree_that_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing down breaks off before each sync and each renaming; then the store is opened."""
    filled(tmp_path / "store")
    for stop in range(6):
        folder = tmp_path / f"stop{stop}"
        shutil.copytree(tmp_path / "store", folder)
        with holdfast.open(folder, upkeep=False) as store:
            store.namespace("acme").put_many(dict.fromkeys(list(VALUES)[:400], b"newer"))
            store.certifier.seal()
            with monkeypatch.context() as patched:
                refuse_after(patched, stop)
                store.certifier.close()
            shutil.copytree(folder, tmp_path / f"killed{stop}")
            proves(store, VALUES | dict.fromkeys(list(VALUES)[:400], b"newer"))
        for left in (folder, tmp_path / f"killed{stop}"):
            with holdfast.open(left, upkeep=False) as store:
                proves(store, VALUES | dict.fromkeys(list(VALUES)[:400], b"newer"))


def refuse_after(patched: pytest.MonkeyPatch, count: int) -> None:
    """Let the disk refuse all that a tree needs of it, but for the first calls."""
    left = [count]

    def wrapped(call: Any) -> Any:  # noqa: ANN401 - any call of the system
        def refusing(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            left[0] -= 1
            if left[0] < 0:
                raise OSError(5, "refused")
            return call(*arguments, **named)

        return refusing

    for name in ("put", "sync_folder", "forget"):
        patched.setattr(whole, name, wrapped(getattr(whole, name)))
    patched.setattr(Files, "_write", wrapped(Files._write))
    patched.setattr(Files, "_remove_others", wrapped(Files._remove_others))


class LifeOnDisk(Life):
    """A life on the machine's own disk; a crash leaves what its files held at that moment."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.folder = folder / "0"
        super().__init__(seed)

    def _open(self, disk: Disk) -> Store:
        del disk
        self._manager = opened(OsDisk(), self.clock, str(self.folder))
        return self._manager.__enter__()

    def crash(self) -> None:
        after = self.folder.with_name(str(int(self.folder.name) + 1))
        shutil.copytree(self.folder, after)
        self.close()
        self.folder = after
        self.store = self._open(OsDisk())

    def step(self) -> None:
        super().step()
        if self.chance.random() < 0.5:
            self.store.tick(1.0)
        times = [bucket.time.now_ns() for bucket in self.store.placement.directory]
        if max(times) > self.clock.wall_ns():  # after a crash: reads go by one, proofs by the other
            self.clock.advance(60 * SECOND_NS)
            for key in list(self.gone):
                self._forget(key)


def live(seed: int, folder: Path) -> None:
    life = LifeOnDisk(seed, folder)
    for _ in range(25):
        life.step()
        hold(life.client, life.store.namespace("acme"), life.values, life.chance)
        assert tree_kept(life.store) == tree_of(life.store)
    life.close()


@pytest.mark.push
@pytest.mark.parametrize("seed", [1])
def test_a_life_is_proved_from_what_lies_on_disk(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "UNSAVED", 1)
    live(seed, tmp_path)


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_lives_are_proved_from_what_lies_on_disk(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "UNSAVED", 1)
    live(seed, tmp_path)


WRITER = """
import sys, holdfast
from holdfast.store import following
following.UNSAVED = 1
with holdfast.open(sys.argv[1], upkeep=False) as store:
    acme = store.namespace("acme")
    for number in range(1_000_000):
        acme.put(f"{number % 500:03d}", b"%d" % number)
        if number % 7 == 0:
            store.certifier.seal()
            store.tick()
            print(number, flush=True)
"""


@pytest.mark.push
def test_a_process_that_is_killed_leaves_a_tree_that_is_right(tmp_path: Path) -> None:
    chance = Random(2)
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "store")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
            assert process.stdout is not None
            for _ in range(chance.randint(3, 40)):
                assert process.stdout.readline()
            process.kill()
        with holdfast.open(tmp_path / "store", upkeep=False) as store:
            acme = store.namespace("acme")
            proves(store, {key: acme.get(key) for key in acme.list()})
