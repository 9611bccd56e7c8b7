"""Search beside SQLite's FTS5 and tantivy, over the same short documents, in one run.

    python -m bench.search [DOCUMENTS] > table.md

FTS5: porter unicode61, detail=full, contentless, optimized. Ours: English, from the log of a store
on disk, merged. Every query has two words, drawn evenly from a range of words by how common they
are; the least of three rounds counts. FTS5 and tantivy are not asked for the total, which ours
always tells. tantivy sees and answers only what was committed, and shares its work over threads.
Seconds are the processor's, of this process.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TypeVar

import tantivy

import holdfast
from holdfast import IndexRule, Namespace, Store

DOCUMENTS = 100_000
BATCH = 1_000
WORDS = 20_000
QUERIES = 300
ROUNDS = 3
RANGES = {"very common": (0, 100), "common": (0, 1_000), "usual": (100, 3_000)}
T = TypeVar("T")
Pairs = Sequence[tuple[str, str]]


def main() -> None:
    """Measure and print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENTS
    chance = Random(1)
    words = [_word(chance) for _ in range(WORDS)]
    weights = list(accumulate(1 / (rank + 10) for rank in range(WORDS)))
    texts = [
        " ".join(chance.choices(words, cum_weights=weights, k=chance.randint(8, 30)))
        for _ in range(count)
    ]
    with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
        for line in _measured(texts, words, Path(folder)):
            sys.stdout.write(f"{line}\n")


def _word(chance: Random) -> str:
    pairs = [chance.choice("bcdfglmnprst") + chance.choice("aeiou") for _ in range(3)]
    return "".join(pairs) + chance.choice("bcdfglmnprstx")


def _measured(texts: Sequence[str], words: Sequence[str], folder: Path) -> Iterator[str]:
    count = len(texts)
    fts, fts_s = _timed(lambda: _fts(texts, folder))
    peer, peer_s = _timed(lambda: _tantivy(texts))
    with holdfast.open(folder / "on", sync="never", upkeep=False) as store:
        ours, off_s, on_s, absorbing_s = _ours(store, texts)
        yield "| what | ours | FTS5 | ratio | target | tantivy |"
        yield "| --- | --- | --- | --- | --- | --- |"
        rates = count / absorbing_s, count / fts_s, count / peer_s
        yield _row("documents/s into the index", rates, 0.5)
        told = f"{count / on_s:,.0f} | | {off_s / on_s:.2f}"
        yield f"| put_many, keys/s, beside off | {told} | 0.8 | |"
        status = ours.search_status()
        bytes_fts = _bytes(fts, count)
        ratio = status.size_bytes / bytes_fts
        yield f"| bytes | {status.size_bytes:,} | {bytes_fts:,} | {ratio:.2f} | at most 1.5 | |"
        chance = Random(2)
        for name, (low, high) in RANGES.items():
            pairs = [
                (words[chance.randrange(low, high)], words[chance.randrange(low, high)])
                for _ in range(QUERIES)
            ]
            yield _row(f"AND/s, first 10, {name} words", _ands(ours, fts, peer, pairs), 4.0)
            yield _row(f"BM25/s, first 20, {name} words", _bests(ours, fts, peer, pairs), 1.0)
    fts.close()


def _row(name: str, rates: tuple[float, float, float], target: float) -> str:
    ours, fts, peer = rates
    return f"| {name} | {ours:,.0f} | {fts:,.0f} | {ours / fts:.2f} | {target} | {peer:,.0f} |"


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
    for first in range(0, len(texts), BATCH):
        batch = texts[first : first + BATCH]
        space.put_many([(f"d{first + at:07}", text.encode()) for at, text in enumerate(batch)])


def _ands(
    ours: Namespace,
    fts: sqlite3.Connection,
    peer: tuple[tantivy.Index, tantivy.Searcher],
    pairs: Pairs,
) -> tuple[float, float, float]:
    asked = "select rowid from t where t match ? order by rowid limit 10"
    index, searcher = peer
    return (
        _rate(lambda a, b: ours.search(f"{a} {b}", limit=10, rank="key"), pairs),
        _rate(lambda a, b: fts.execute(asked, (f"{a} AND {b}",)).fetchall(), pairs),
        _rate(lambda a, b: searcher.search(index.parse_query(f"+{a} +{b}", ["x"]), 10), pairs),
    )


def _bests(
    ours: Namespace,
    fts: sqlite3.Connection,
    peer: tuple[tantivy.Index, tantivy.Searcher],
    pairs: Pairs,
) -> tuple[float, float, float]:
    asked = "select rowid from t where t match ? order by rank limit 20"
    index, searcher = peer
    return (
        _rate(lambda a, b: ours.search(f"{a} {b}"), pairs),
        _rate(lambda a, b: fts.execute(asked, (f"{a} AND {b}",)).fetchall(), pairs),
        _rate(lambda a, b: searcher.search(index.parse_query(f"+{a} +{b}", ["x"]), 20), pairs),
    )


def _rate(ask: Callable[[str, str], object], pairs: Pairs) -> float:
    """Queries a second; every pair was asked once before."""

    def every() -> None:
        for one, other in pairs:
            ask(one, other)

    every()
    return len(pairs) / min(_timed(every)[1] for _ in range(ROUNDS))


if __name__ == "__main__":
    main()
