"""Search beside SQLite's FTS5 and tantivy, over the same short documents, in one process.

FTS5: porter unicode61, detail=full, contentless, optimized. Ours: English, from the log of a store
on disk, merged. Every query has two words, drawn evenly from a range of words by how common they
are, and was asked once before; ``never_asked`` is that first time, with the parsing, and the lists
of most words still to be decoded. Ours and theirs are asked in turns, and the median of the turns
counts. FTS5 and tantivy are not asked for the total, which ours always tells. tantivy sees and
answers only what was committed, and shares its work over threads. What is timed is the processor's
time of this process: others on the machine do not count in it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple, TypeVar

import tantivy

import holdfast
from bench.spec import Job, Outcome
from holdfast import IndexRule, Namespace, Store

_BATCH = 1_000
_WORDS = 20_000
_QUERIES = 300
_TURNS = 5
_TIMES = 3  # over all queries in one turn
_RANGES = {"very_common": (0, 100), "common": (0, 1_000), "usual": (100, 3_000)}
_AND = "select rowid from t where t match ? order by rowid limit 10"
_BEST = "select rowid from t where t match ? order by rank limit 20"
T = TypeVar("T")
Ask = Callable[[str, str], object]
Pairs = Sequence[tuple[str, str]]


class Contestants(NamedTuple):
    """The same documents in three indexes."""

    ours: Namespace
    fts: sqlite3.Connection
    peer: tantivy.Index
    searcher: tantivy.Searcher

    def ands(self) -> dict[str, Ask]:
        """How each is asked for the first 10 by key that have two words."""
        return {
            "": lambda a, b: self.ours.search(f"{a} {b}", limit=10, rank="key"),
            "fts5_": lambda a, b: self.fts.execute(_AND, (f"{a} AND {b}",)).fetchall(),
            "tantivy_": lambda a, b: self._tantivy(f"+{a} +{b}", 10),
        }

    def bests(self) -> dict[str, Ask]:
        """How each is asked for the best 20 that have two words."""
        return {
            "": lambda a, b: self.ours.search(f"{a} {b}"),
            "fts5_": lambda a, b: self.fts.execute(_BEST, (f"{a} AND {b}",)).fetchall(),
            "tantivy_": lambda a, b: self._tantivy(f"+{a} +{b}", 20),
        }

    def _tantivy(self, query: str, limit: int) -> object:
        return self.searcher.search(self.peer.parse_query(query, ["x"]), limit)


def prepare(job: Job) -> Outcome:
    """Nothing: documents are put and indexed where they are measured."""
    return Outcome(job.operations, 0.0)


def measure(job: Job) -> Outcome:
    """Index ``operations`` documents three times over, then ask."""
    chance = Random(1)
    words = [_word(chance) for _ in range(_WORDS)]
    weights = list(accumulate(1 / (rank + 10) for rank in range(_WORDS)))
    texts = [
        " ".join(chance.choices(words, cum_weights=weights, k=chance.randint(8, 30)))
        for _ in range(job.operations)
    ]
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    fts, fts_s = _timed(lambda: _fts(texts, folder))
    (index, searcher), tantivy_s = _timed(lambda: _tantivy(texts))
    with holdfast.open(folder / "store", sync="never", upkeep=False) as store:
        ours, off_s, on_s, absorbing_s = _ours(store, texts)
        figures = {
            "index_ratio": fts_s / absorbing_s,
            "put_many_ratio": off_s / on_s,
            "bytes_ratio": ours.search_status().size_bytes / _bytes(fts, len(texts)),
            "fts5_index_per_s": len(texts) / fts_s,
            "tantivy_index_per_s": len(texts) / tantivy_s,
        }
        every = Contestants(ours, fts, index, searcher)
        chance = Random(2)
        for name, (low, high) in _RANGES.items():
            pairs = [
                (words[chance.randrange(low, high)], words[chance.randrange(low, high)])
                for _ in range(_QUERIES)
            ]
            figures |= _told(f"and_{name}", every.ands(), pairs)
            figures |= _told(f"best_{name}", every.bests(), pairs)
    fts.close()
    return Outcome(len(texts), absorbing_s, 0.0, None, figures)


def _told(name: str, asks: dict[str, Ask], pairs: Pairs) -> dict[str, float]:
    """How many queries a second each answers, and ours beside FTS5's."""
    took: dict[str, list[float]] = {who: [] for who in asks}
    new = {who: _timed(lambda ask=ask: _once(ask, pairs))[1] for who, ask in asks.items()}  # type: ignore[misc]
    for _ in range(_TURNS):
        for who, ask in asks.items():
            took[who].append(_timed(lambda ask=ask: _every(ask, pairs))[1])  # type: ignore[misc]
    seconds = {who: median(times) for who, times in took.items()}
    rates = {f"{who}{name}_per_s": _TIMES * len(pairs) / one for who, one in seconds.items()}
    return {
        f"{name}_ratio": seconds["fts5_"] / seconds[""],
        f"{name}_never_asked_ratio": new["fts5_"] / new[""],
        **rates,
    }


def _every(ask: Ask, pairs: Pairs) -> None:
    for _ in range(_TIMES):
        _once(ask, pairs)


def _once(ask: Ask, pairs: Pairs) -> None:
    for one, other in pairs:
        ask(one, other)


def _word(chance: Random) -> str:
    pairs = [chance.choice("bcdfglmnprst") + chance.choice("aeiou") for _ in range(3)]
    return "".join(pairs) + chance.choice("bcdfglmnprstx")


def _timed(act: Callable[[], T]) -> tuple[T, float]:
    begun = time.process_time()
    made = act()
    return made, time.process_time() - begun


def _fts(texts: Sequence[str], folder: Path) -> sqlite3.Connection:
    base = sqlite3.connect(folder / "fts5.db")
    made = (
        "create virtual table t using fts5(x, content='', detail=full, tokenize='porter unicode61')"
    )
    base.execute(made)
    base.executemany("insert into t(rowid, x) values (?, ?)", enumerate(texts))
    base.commit()
    return base


def _bytes(base: sqlite3.Connection, count: int) -> int:
    base.execute("insert into t(t) values ('optimize')")
    base.commit()
    (lists,) = base.execute("select sum(length(block)) from t_data").fetchone()
    (sizes,) = base.execute("select sum(length(sz)) from t_docsize").fetchone()
    return int(lists) + int(sizes) + 4 * count


def _tantivy(texts: Sequence[str]) -> tuple[tantivy.Index, tantivy.Searcher]:
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("x", stored=False, tokenizer_name="en_stem")
    index = tantivy.Index(schema.build())
    writer = index.writer(128 << 20, 1)
    for text in texts:
        writer.add_document(tantivy.Document(x=[text]))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    return index, index.searcher()


def _ours(store: Store, texts: Sequence[str]) -> tuple[Namespace, float, float, float]:
    """The namespace, seconds of putting without and with a rule, and of absorbing all of it."""
    plain, ours = store.namespace("off"), store.namespace("on")
    ours.index_rules([IndexRule()])
    ours.search("nothing")
    _, off_s = _timed(lambda: _put(plain, texts))
    _, on_s = _timed(lambda: _put(ours, texts))
    _, absorbing_s = _timed(lambda: ours.search("nothing"))
    store.tick(600)
    return ours, off_s, on_s, absorbing_s


def _put(space: Namespace, texts: Sequence[str]) -> None:
    for first in range(0, len(texts), _BATCH):
        batch = texts[first : first + _BATCH]
        space.put_many([(f"d{first + at:07}", text.encode()) for at, text in enumerate(batch)])
