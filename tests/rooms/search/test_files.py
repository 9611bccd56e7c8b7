"""Whatever a crash leaves of an index's files, no answer is wrong: they are whole, or made again.

The files are taken from two moments, and every mixture is opened in which one of them is absent,
of the other moment, cut, empty, torn or changed; so any order in which a disk may have kept what
was written, linked, renamed and removed is among them, or worse than it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast import Hits, IndexRule, Namespace

QUERIES = ["fox", "old", "new", "fox -old", '"quick fox"', "NOT fox", "tag:kind=odd"]
Files = dict[str, bytes]


def answers(store: holdfast.Store) -> list[Hits]:
    acme = store.namespace("acme")
    return [
        acme.search(query, rank=rank, limit=500, facets=["kind"])
        for query in QUERIES
        for rank in ("bm25", "key")
    ]


def begin(acme: Namespace) -> None:
    acme.index_rules([IndexRule()])
    acme.put_many({f"k{n:03}": b"the old quick fox" for n in range(0, 300, 2)})
    acme.search("fox")
    acme.put_many({f"k{n:03}": b"an old dog" for n in range(1, 300, 4)}, tags={"kind": "odd"})


def go_on(acme: Namespace) -> None:
    acme.put_many({f"k{n:03}": b"a new fox" for n in range(100, 400)})
    acme.search("fox")
    for number in range(0, 200, 3):
        acme.delete(f"k{number:03}", missing_ok=True)


def files_of(store: Path) -> Files:
    (folder,) = {path.parent for path in store.glob("index/*/search.index")}
    return {path.name: path.read_bytes() for path in folder.glob("search*")}


def damaged(mine: Files, other: Files) -> Iterator[tuple[str, Files]]:
    yield "whole", mine
    yield "nothing", {}
    for name in sorted({*mine, *other}):
        kept = {key: value for key, value in mine.items() if key != name}
        yield f"without {name}", kept
        if name in other:
            yield f"{name} of the other moment", kept | {name: other[name]}
        if name not in mine:
            continue
        data = mine[name]
        half = len(data) // 2
        yield f"{name} cut", kept | {name: data[:half]}
        yield f"{name} empty", kept | {name: b""}
        yield f"{name} torn", kept | {name: data[:half] + bytes(len(data) - half)}
        changed = data[:half] + bytes((data[half] ^ 1,)) + data[half + 1 :]
        yield f"{name} changed", kept | {name: changed}
        yield f"{name} begun", kept | {name + ".new": data[:half]}


@pytest.mark.push
def test_what_a_crash_leaves_of_an_index_makes_no_answer_wrong(tmp_path: Path) -> None:
    moments: list[tuple[Path, Files, list[Hits]]] = []
    folder = tmp_path / "data"
    for act in (begin, go_on):
        with holdfast.open(folder, upkeep=False, sync="never") as store:
            act(store.namespace("acme"))
            wanted = answers(store)
        kept = tmp_path / act.__name__
        shutil.copytree(folder, kept)
        moments.append((kept, files_of(kept), wanted))
    (earlier, old, then), (later, new, now) = moments
    assert new.keys() != old.keys()
    cases = [(later, now, new, old), (later, now, old, new), (earlier, then, new, old)]
    for log, wanted, mine, other in cases:
        for what, files in damaged(mine, other):
            opened = tmp_path / "opened"
            shutil.copytree(log, opened)
            (index,) = (path.parent for path in opened.glob("index/*/search.index"))
            for path in index.glob("search*"):
                path.unlink()
            for name, data in files.items():
                (index / name).write_bytes(data)
            for _ in range(2):  # what is made again is written down, and read once more
                with holdfast.open(opened, upkeep=False, sync="never") as store:
                    assert answers(store) == wanted, what
            shutil.rmtree(opened)
