"""SQLite's FTS5 and tantivy, fed with our terms, find the same; and what languages need."""

from __future__ import annotations

import json
import sqlite3
import sysconfig
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.search.analysis import analyzer

SOURCES = "the standard library"
CORPORA = Path(__file__).resolve().parents[4] / "shared/vectors/corpora"


def read(name: str) -> dict[str, str]:
    if name == SOURCES:
        folder = Path(sysconfig.get_path("stdlib"))
        return {path.name: path.read_text(errors="replace") for path in folder.glob("*.py")}
    path = CORPORA / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the checkout")
    told: dict[str, str] = json.loads(path.read_text())
    return told


@pytest.mark.parametrize(
    "name", ["ic-glossary.json", "movies.json", pytest.param(SOURCES, marks=pytest.mark.push)]
)
def test_fts5_finds_the_same(name: str) -> None:
    texts = read(name)
    keys = sorted(texts, key=str.encode)
    one = analyzer("en")
    rows = [" ".join(term for term in one.terms(texts[key]) if term) for key in keys]
    rival = sqlite3.connect(":memory:")
    rival.execute(
        "create virtual table t using fts5(x, tokenize = 'unicode61 remove_diacritics 0')"
    )
    rival.executemany("insert into t(rowid, x) values (?, ?)", enumerate(rows))
    chance = Random(7)
    terms = sorted({term for row in rows for term in row.split() if term.isascii()})
    filled = [row for row in rows if row]
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.index_rules([holdfast.IndexRule()], language="none")
        acme.put_many({key: row.encode() for key, row in zip(keys, rows, strict=True)})
        for _ in range(200):
            two, three = chance.sample(terms, 2), chance.choice(filled).split()[:2]
            for ours, theirs in (
                (" ".join(two), " AND ".join(f'"{term}"' for term in two)),
                (" OR ".join(two), " OR ".join(f'"{term}"' for term in two)),
                (f'"{" ".join(three)}"', f'"{" ".join(three)}"'),
                (f"{three[0]} -{two[0]}", f'"{three[0]}" NOT "{two[0]}"'),
            ):
                found = acme.search(ours, rank="key", limit=1_000)
                asked = "select rowid from t where t match ? order by rowid"
                wanted = [keys[row] for (row,) in rival.execute(asked, (theirs,))]
                assert [hit.key for hit in found.hits] == wanted, ours
    rival.close()


@pytest.mark.parametrize(
    "name", ["ic-glossary.json", "movies.json", pytest.param(SOURCES, marks=pytest.mark.push)]
)
def test_tantivy_finds_the_same(name: str) -> None:
    tantivy = pytest.importorskip("tantivy")
    texts = read(name)
    keys = sorted(texts, key=str.encode)
    one = analyzer("en")
    rows = [" ".join(term for term in one.terms(texts[key]) if term) for key in keys]
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("x", stored=False, tokenizer_name="whitespace")
    schema.add_integer_field("n", stored=True)
    rival = tantivy.Index(schema.build())
    writer = rival.writer(15_000_000, 1)
    for number, row in enumerate(rows):
        writer.add_document(tantivy.Document(x=[row], n=[number]))
    writer.commit()
    writer.wait_merging_threads()
    rival.reload()
    searcher = rival.searcher()
    chance = Random(7)
    terms = sorted({term for row in rows for term in row.split() if term.isalnum()})
    filled = [row for row in rows if row]
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.index_rules([holdfast.IndexRule()], language="none")
        acme.put_many({key: row.encode() for key, row in zip(keys, rows, strict=True)})
        for _ in range(200):
            query = f"+{chance.choice(terms)} +{chance.choice(chance.choice(filled).split())}"
            found = searcher.search(rival.parse_query(query, ["x"]), 2_000).hits
            wanted = sorted(keys[searcher.doc(place)["n"][0]] for _, place in found)
            ours = acme.search(query.replace("+", ""), rank="key", limit=1_000)
            assert sorted(hit.key for hit in ours.hits) == wanted, query


@pytest.mark.parametrize(
    ("language", "text", "found", "missing"),
    [
        ("en", "The children were running quickly", ["run child*", "runs"], ["walk"]),
        ("de", "Die Häuser der großen Städte", ["Haus", "STÄDTE", "groß"], ["Hausboot"]),
        ("zh", "全文检索系统支持中文", ["检索", "中文", "系统支持", "文"], ["文中", "英文"]),
        ("ja", "東京都の図書館でｶﾀｶﾅを読む", ["図書館", "カタカナ", "京都", "読"], ["大阪"]),
        ("ar", "الكِتَابُ الجديد في المكتبة", ["كتاب", "الكتاب", "مكتبة"], ["مدرسة"]),
        ("none", "Straße co-operate don't", ["straße", "co-operate", "don't"], ["strasse dont"]),
    ],
)
def test_languages(language: str, text: str, found: list[str], missing: list[str]) -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.index_rules([holdfast.IndexRule(language=language)], language=language)
        acme.put("a", text.encode())
        assert [query for query in found if not acme.search(query).total] == []
        assert [query for query in missing if acme.search(query).total] == []


def test_what_is_no_text_is_bounded_and_told() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.index_rules([holdfast.IndexRule("j/", fields={"a": "a"}), holdfast.IndexRule()])
        acme.put("binary", bytes(range(256)) * 10)
        acme.put("broken", b"fox \xff\xfe dog")
        acme.put("long", b"word " * 600_000)
        acme.put("nested", b"j/" + b"[" * 50_000)
        acme.put("j/deep", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
        acme.put("words", ("x" * 100_000 + " fox").encode())
        assert {hit.key for hit in acme.search("fox").hits} == {"broken", "words"}
        assert acme.search("word").total == 1
        told = acme.search_status()
        assert (told.cut, told.no_text, told.replaced) == (1, 2, 1)
        assert told.documents == 6
