"""A process is killed at every call that touches an index's files: no answer is wrong afterwards.

What a killed process leaves is what its files hold at that moment: it is copied before each of
those calls, and after the last. What the machine itself may lose when its power is cut is in
``tests/rooms/search/test_files.py``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from types import FrameType

import pytest

import holdfast
from holdfast import Hits, IndexRule, Namespace, Store
from tests.crash.searcher import BUCKET_BYTES
from tests.crash.test_kill import killed_after

TOUCHING = frozenset(
    ("open", "write", "flush", "fsync", "close", "replace", "rename", "unlink", "link", "mkdir")
)
QUERIES = ("fox", "old", "new", "fox -old", '"quick fox"', "NOT fox", "tag:kind=odd", "th*")
WRITER = Path(__file__).with_name("searcher.py")
KILLS = 4


def answers(store: Store) -> list[Hits]:
    acme = store.namespace("acme")
    return [
        acme.search(query, rank=rank, limit=500, facets=["kind"])
        for query in QUERIES
        for rank in ("bm25", "key")
    ]


def begin(acme: Namespace) -> None:
    acme.index_rules([IndexRule()])
    acme.put_many({f"k{n:03}": b"the old quick fox" for n in range(0, 300, 2)})


def go_on(acme: Namespace) -> None:
    acme.put_many({f"k{n:03}": b"an old thing" for n in range(1, 300, 4)}, tags={"kind": "odd"})
    for number in range(0, 200, 3):
        acme.delete(f"k{number:03}", missing_ok=True)


def replace_all(acme: Namespace) -> None:
    acme.put_many({f"k{n:03}": b"a new fox" for n in range(50, 400)})


def change_rules(acme: Namespace) -> None:
    acme.index_rules([IndexRule("k1")], language="none")


class Copies:
    """A store's folder as it was before each call that touches an index's files.

    Args:
        folder: the store's.
        into: where the copies go; one that is like the last is not kept.
    """

    def __init__(self, folder: Path, into: Path) -> None:
        self.calls = 0
        self.kept: list[Path] = []
        self._folder = folder
        self._into = into
        self._last = b""

    def around(self, act: Callable[[], None]) -> None:
        sys.setprofile(self._seen)
        try:
            act()
        finally:
            sys.setprofile(None)
        self._copy()

    def _seen(self, frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and getattr(called, "__name__", "") in TOUCHING:
            where = frame.f_code.co_filename
            if where.endswith(("engines/whole.py", "search/files.py", "pathlib.py")):
                self.calls += 1
                self._copy()

    def _copy(self) -> None:
        files = sorted(path for path in self._folder.glob("index/*/search*") if path.is_file())
        now = sha256(repr([(str(path), path.read_bytes()) for path in files]).encode()).digest()
        if now == self._last:
            return
        self._last = now
        copy = self._into / str(len(self.kept))
        shutil.copytree(self._folder, copy)
        self.kept.append(copy)


@pytest.mark.push
@pytest.mark.parametrize("then", [go_on, replace_all, change_rules])
def test_killed_at_every_call(then: Callable[[Namespace], None], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with holdfast.open(folder, upkeep=False, sync="never") as store:
        acme = store.namespace("acme")
        begin(acme)
        store.search("fox")
        first, second = Copies(folder, tmp_path / "first"), Copies(folder, tmp_path / "second")
        (index,) = store.searcher.gathered(b"acme").indexes
        before = answers(store)
        first.around(index.save)
        after: list[Hits] = []

        def go_further() -> None:
            then(acme)
            after.extend(answers(store))
            index.save()

        second.around(go_further)
    assert min(first.calls, second.calls) >= 5
    for copies, wanted in ((first, before), (second, after)):
        assert len(copies.kept) >= 3
        allowed = [before, wanted] if then is change_rules else [wanted]
        for copy in copies.kept:
            with holdfast.open(copy, upkeep=False, sync="never") as store:
                assert answers(store) in allowed, copy


@pytest.mark.push
def test_a_searching_writer_is_killed_again_and_again(tmp_path: Path) -> None:
    chance = Random(2)
    folder = tmp_path / "data"
    for number in range(KILLS):
        killed_after(folder, number, chance.randint(50, 250), writer=WRITER)
        with holdfast.open(folder, bucket_bytes=BUCKET_BYTES, upkeep=False) as store:
            space = store.namespace("n")
            texts = {key: (space.get(key) or b"").split() for key in space.list()}
            for word in (b"fox", f"round{number}".encode(), b"round0", b"change3"):
                wanted = sorted(key for key, words in texts.items() if word in words)
                found = space.search(word.decode(), rank="key", limit=1_000)
                assert [hit.key for hit in found.hits] == wanted
                assert found.total == len(wanted)
