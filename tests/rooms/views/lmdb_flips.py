"""Flip bits of a view's file, each trial in a child of its own, and say what came of it.

``python -m tests.rooms.views.lmdb_flips FOLDER TRIALS WHERE SUMS`` prints counts by
outcome as JSON. SUMS: "sums", all pages are compared with theirs before any is used;
"asked", each as it is used; "walk", there are none. Outcomes: "same" (every answer as if
nothing had happened), "refused" (Corrupt before LMDB saw the file), "corrupt" (Corrupt
where the damage is, everything else right), "missing" (a row not found, which check()
finds), "WRONG" (another answer), "DEATH".
A program of its own, because a trial may take its process along.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

from holdfast.errors import Corrupt
from holdfast.limits import MIB
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table
from tests.rooms.views.lmdb_places import (
    BRANCH,
    LEAF,
    META,
    PAGE,
    Model,
    copy,
    flip,
    pages_by_kind,
    with_a_past,
)

# Bytes of a page that hold structure: the header and the slots, or a meta's record.
HEAD_BYTES = {META: 152, LEAF: 80, BRANCH: PAGE}
OUTCOMES = ["DEATH", "WRONG", "missing", "corrupt", "refused", "same"]  # the worst first


def place(where: str, kinds: dict[int, list[int]], chance: random.Random) -> int:
    """An offset: anywhere, or where structure is."""
    if where == "anywhere":
        return chance.randrange(sum(map(len, kinds.values())) * PAGE)
    kind = {"meta": META, "leaf": LEAF, "branch": BRANCH}[where]
    return chance.choice(kinds[kind]) * PAGE + chance.randrange(HEAD_BYTES[kind])


def read_all(view: LmdbView, model: Model, said: set[str]) -> None:
    """Ask for everything in every way."""
    for table, rows in model.items():
        for key, value in rows.items():
            try:
                found = view.get(table, key)
            except Corrupt:
                said.add("corrupt")
                continue
            if found != value:
                said.add("missing" if found is None else "WRONG")
        try:
            seen = view.get_many(table, sorted(rows))
            listed = view.scan(table, b"", None, 2 * len(rows) + 9)
        except Corrupt:
            said.add("corrupt")
            continue
        if seen != rows or listed != sorted(rows.items()) or view.count(table) != len(rows):
            right = seen.items() <= rows.items() and set(listed) <= rows.items()
            said.add("missing" if right and len(listed) <= len(rows) else "WRONG")


def write_some(view: LmdbView, model: Model, said: set[str]) -> None:
    """Commits on a damaged file: they may be refused, they may not kill."""
    chance = random.Random(7)
    try:
        for _ in range(3):
            with view.writer() as writer:
                for table, rows in model.items():
                    keys = chance.sample(sorted(rows), len(rows) // 8)
                    writer.put(table, [(key, chance.randbytes(70)) for key in sorted(keys)])
                    writer.delete(table, chance.sample(sorted(rows), len(rows) // 20))
    except Corrupt:
        said.add("corrupt")


def trial(view: LmdbView, model: Model) -> str:
    said = {"same"}
    try:
        view.get(Table.KEYS, b"a")
        if view.damage is not None:  # a page that this key did not need
            said.add("corrupt")
    except Corrupt:
        return "refused"
    read_all(view, model, said)
    write_some(view, model, said)
    return next(outcome for outcome in OUTCOMES if outcome in said)


def in_a_child(view: LmdbView, model: Model) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(90)  # a loop that does not end is a death too
        os.write(writing, trial(view, model).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        outcome = told.read()
    _, status = os.waitpid(child, 0)
    return outcome if status == 0 else f"DEATH {status}"


def main(folder: str, trials: str, where: str, sums: str) -> None:
    home = Path(folder)
    model = with_a_past(home / "view", keys=800)
    kinds = pages_by_kind(home / "view" / "data.mdb")
    chance = random.Random(f"{where} {sums}")
    outcomes: Counter[str] = Counter()
    for _ in range(int(trials)):
        at_once = 0 if sums == "asked" else MIB
        view = copy(home / "view", home / "copy", sums=sums != "walk", at_once_bytes=at_once)
        flip(home / "copy" / "data.mdb", place(where, kinds, chance), chance.randrange(8))
        outcomes[in_a_child(view, model)] += 1
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
