from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.files import local_file
from holdfast.cli.targets import target_at
from holdfast.errors import InvalidValue

Run = Callable[..., Any]

CORPORA = Path(__file__).resolve().parents[4] / "shared/vectors/corpora"

HOSTILE = {
    "../up": b"1",
    "../../etc/passwd": b"2",
    "/absolute": b"3",
    "a/../../b": b"4",
    "./here": b"5",
    "double//slash": b"6",
    "C:\\windows\\x": b"7",
    "a": b"8",
    "a/b": b"9",
    "n" * 300: b"10",
    "new\nline": b"11",
    "caf\u00e9/\u732b": b"12",
}


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder by its name."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def make_tree(root: Path, files: dict[str, bytes]) -> None:
    for name, value in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(value)


def make_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            archive.writestr(zipfile.ZipInfo(name), value)


def keys(run: Run, namespace: str = "acme") -> list[str]:
    return [line["key"] for line in run("ls", "data", namespace, "--json").documents]


FILES = {
    "readme.md": b"# hello\n",
    "src/a.py": b"a = 1\n" * 1000,
    "src/deep/er/b.bin": bytes(range(256)) * 8192,  # 2 MiB: more than one record holds
    "empty": b"",
    ".hidden/x": b"\xff\x00",
    "caf\u00e9 \u732b.txt": b"names in UTF-8",
}


def test_a_folder_makes_the_round_trip(run: Run, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", FILES)
    taken = run("import", "data", "acme", "in", "--json").document
    assert taken == {"imported": 6, "bytes": sum(map(len, FILES.values())), "left_out": []}
    assert run("export", "data", "acme", "out").code == 0
    assert tree(tmp_path / "out") == FILES
    stored = run("stat", "data", "acme", "empty", "--json").document["modified_ns"]
    assert (tmp_path / "out" / "empty").stat().st_mtime_ns == stored


def test_a_zip_makes_the_round_trip(run: Run, tmp_path: Path) -> None:
    make_zip(tmp_path / "in.zip", FILES)
    assert run("import", "data", "acme", "in.zip").code == 0
    assert run("export", "data", "acme", "out.zip").code == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == FILES


def test_a_json_object_makes_the_round_trip(run: Run, tmp_path: Path) -> None:
    texts = {"a": "one", "b/../c": "zwei \u732b", "": "kept with a prefix", "n\n": '"\\\x00'}
    (tmp_path / "in.json").write_text(json.dumps(texts))
    assert run("import", "data", "acme", "in.json", "--prefix", "t/").code == 0
    assert run("export", "data", "acme", "out.json", "--prefix", "t/").code == 0
    assert json.loads((tmp_path / "out.json").read_text()) == texts


@pytest.mark.parametrize("name", ["ic-glossary.json", "movies.json"])
@pytest.mark.parametrize("form", ["json", "zip"])
def test_a_real_corpus_makes_the_round_trip(run: Run, tmp_path: Path, name: str, form: str) -> None:
    corpus = CORPORA / name
    if not corpus.exists():
        pytest.skip(f"{name} is not beside the checkout")
    texts = json.loads(corpus.read_text())
    assert run("import", "data", "acme", str(corpus), "--json").document["imported"] == len(texts)
    assert keys(run) == sorted(texts, key=str.encode)
    assert run("export", "data", "acme", f"out.{form}").code == 0
    assert run("import", "data", "again", f"out.{form}").code == 0
    assert run("export", "data", "again", "again.json").code == 0
    assert json.loads((tmp_path / "again.json").read_text()) == texts


def test_hostile_names_in_a_zip_are_only_keys(run: Run, tmp_path: Path) -> None:
    make_zip(tmp_path / "evil.zip", HOSTILE)
    before = sorted(path.name for path in tmp_path.parent.iterdir())
    assert run("import", "data", "acme", "evil.zip").code == 0
    assert keys(run) == sorted(HOSTILE, key=str.encode)
    for name, value in HOSTILE.items():
        assert run("get", "data", "acme", "--", name).raw == value
    assert sorted(path.name for path in tmp_path.parent.iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "evil.zip"]


def test_keys_that_cannot_be_files_are_refused_by_name(run: Run, tmp_path: Path) -> None:
    make_zip(tmp_path / "evil.zip", HOSTILE)
    run("import", "data", "acme", "evil.zip")
    refused = run("export", "data", "acme", "out", "--json")
    assert refused.code == 3
    names = {one["name"]: one["reason"] for one in refused.error["refused"]}
    assert set(names) == set(HOSTILE) - {"C:\\windows\\x", "a/b", "new\nline", "caf\u00e9/\u732b"}
    assert "below" in names["a"]
    assert tree(tmp_path / "out") == {}
    skipped = run("export", "data", "acme", "out", "--skip", "--json").document
    assert skipped["exported"] == 4
    assert {one["name"] for one in skipped["left_out"]} == set(names)
    assert set(tree(tmp_path / "out")) == set(HOSTILE) - set(names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "evil.zip", "out"]


def test_what_a_folder_refuses_a_zip_and_json_carry(run: Run, tmp_path: Path) -> None:
    make_zip(tmp_path / "evil.zip", HOSTILE)
    run("import", "data", "acme", "evil.zip")
    for name in ("out.zip", "out.json"):
        assert run("export", "data", "acme", name).code == 0
        assert run("import", "data", name, name).code == 0
        assert keys(run, name) == sorted(HOSTILE, key=str.encode)


def test_a_zip_refuses_what_would_not_come_back(run: Run, tmp_path: Path) -> None:
    for key in ("folder/", "cut\0here", "fine"):
        run("put", "data", "acme", key, "--text", "v")
    refused = run("export", "data", "acme", "out.zip", "--json")
    assert {one["name"] for one in refused.error["refused"]} == {"folder/", "cut\0here"}
    assert not (tmp_path / "out.zip").exists()


def test_values_that_are_no_text_are_refused_by_json(run: Run, tmp_path: Path) -> None:
    run("put", "data", "acme", "bytes", stdin=b"\xff")
    run("put", "data", "acme", "text", "--text", "fine")
    refused = run("export", "data", "acme", "out.json", "--json")
    assert (refused.code, refused.error["refused"][0]["name"]) == (3, "bytes")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    assert run("export", "data", "acme", "out.json", "--skip").code == 0
    assert json.loads((tmp_path / "out.json").read_text()) == {"text": "fine"}


def test_an_export_never_replaces(run: Run, tmp_path: Path) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    make_tree(tmp_path, {"full/mine": b"precious", "mine.zip": b"precious"})
    for target in ("full", "mine.zip", "data/inside"):
        assert run("export", "data", "acme", target).code == 3, target
    assert tree(tmp_path / "full") == {"mine": b"precious"}
    assert (tmp_path / "mine.zip").read_bytes() == b"precious"
    assert not (tmp_path / "data/inside").exists()


def half_an_export(to: Path) -> None:
    with target_at(to, "folder") as target, local_file(to):
        target.take("a/b", 0, [b"v"])
        raise OSError(errno.ENOSPC, "")


def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for to in ("empty", "new"):
        with pytest.raises(InvalidValue):
            half_an_export(tmp_path / to)
    assert list(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_an_export_of_nothing(run: Run, tmp_path: Path) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    for target in ("none", "none.zip", "none.json"):
        assert run("export", "data", "nobody", target, "--json").document["exported"] == 0
    assert json.loads((tmp_path / "none.json").read_text()) == {}
    with zipfile.ZipFile(tmp_path / "none.zip") as archive:
        assert archive.namelist() == []


def test_the_form_can_be_said(run: Run, tmp_path: Path) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    assert run("export", "data", "acme", "out.txt", "--as", "json").code == 0
    assert json.loads((tmp_path / "out.txt").read_text()) == {"k": "v"}


def test_prefixes_are_put_on_and_taken_off(run: Run, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", FILES)
    run("put", "data", "acme", "other", "--text", "v")
    run("import", "data", "acme", "in", "--prefix", "docs/", "--ttl", "1h")
    assert run("ls", "data", "acme", "--no-recursive").lines == ["docs/", "other"]
    assert run("stat", "data", "acme", "docs/empty", "--json").document["expires_ns"]
    run("export", "data", "acme", "out", "--prefix", "docs/")
    assert tree(tmp_path / "out") == FILES


def test_names_that_cannot_be_keys_stop_an_import_before_it_begins(
    run: Run, tmp_path: Path
) -> None:
    make_zip(tmp_path / "in.zip", {"fine": b"1", "n" * 1025: b"2"})
    refused = run("import", "data", "acme", "in.zip", "--json")
    assert (refused.code, refused.error["error"]) == (3, "invalid_key")
    assert refused.error["refused"][0]["name"] == "n" * 1025
    assert not (tmp_path / "data").exists()
    done = run("import", "data", "acme", "in.zip", "--skip", "--json").document
    assert (done["imported"], len(done["left_out"])) == (1, 1)
    assert keys(run) == ["fine"]


def test_file_names_that_are_not_utf8_are_refused_by_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"caf\xe9")).write_bytes(b"1")
    refused = run("import", "data", "acme", "in", "--json")
    assert (refused.code, refused.error["refused"][0]["reason"]) == (3, "not UTF-8")


def test_links_are_left_out_and_named(run: Run, tmp_path: Path) -> None:
    make_tree(tmp_path, {"in/a": b"1", "secret/b": b"2"})
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret" / "b")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "in" / "pipe")
    done = run("import", "data", "acme", "in", "--json").document
    assert done["imported"] == 1
    assert [one["name"] for one in done["left_out"]] == ["folder", "link", "pipe"]


def test_the_store_is_left_out_of_its_own_import(run: Run, tmp_path: Path) -> None:
    make_tree(tmp_path, {"a": b"1"})
    run("put", "data", "acme", "k", "--text", "v")
    done = run("import", "data", "acme", ".", "--json").document
    assert (done["imported"], done["left_out"][0]["name"]) == (1, "data")


def test_the_same_name_twice_in_a_zip_is_refused(run: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a", b"2")
    refused = run("import", "data", "acme", "in.zip", "--json")
    assert refused.error["refused"] == [{"name": "a", "reason": "the same name twice"}] * 2


def test_folders_in_a_zip_are_no_keys(run: Run, tmp_path: Path) -> None:
    make_zip(tmp_path / "in.zip", {"dir/": b"", "dir/a": b"1", "odd/": b"bytes all the same"})
    assert run("import", "data", "acme", "in.zip").code == 0
    assert keys(run) == ["dir/a", "odd/"]


def test_a_zip_that_claims_more_than_the_disk_has(run: Run, tmp_path: Path) -> None:
    make_zip(tmp_path / "bomb.zip", {"a": b"small"})
    raw = (tmp_path / "bomb.zip").read_bytes()
    entry = raw.index(b"PK\x01\x02")  # the directory entry tells the size, at 24
    claimed = (0xFFFF_FFF0).to_bytes(4, "little")
    bomb = raw[: entry + 24] + claimed + raw[entry + 28 :]
    (tmp_path / "bomb.zip").write_bytes(bomb)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda _: _Usage(free=1 << 30))
        refused = run("import", "data", "acme", "bomb.zip", "--json")
    assert (refused.code, refused.error["size"]) == (3, 0xFFFF_FFF0)
    assert not (tmp_path / "data").exists()


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_damaged_member_is_named(run: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", b"sound")
        archive.writestr("b", b"this will be damaged")
    raw = (tmp_path / "in.zip").read_bytes()
    (tmp_path / "in.zip").write_bytes(raw.replace(b"will be damaged", b"was all damaged"))
    failed = run("import", "data", "acme", "in.zip", "--json")
    assert (failed.code, failed.error["name"]) == (3, "b")


def test_an_encrypted_member_is_named(run: Run, tmp_path: Path) -> None:
    make_zip(tmp_path / "in.zip", {"a": b"1"})
    raw = bytearray((tmp_path / "in.zip").read_bytes())
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(sign) + place] |= 1
    (tmp_path / "in.zip").write_bytes(raw)
    failed = run("import", "data", "acme", "in.zip", "--json")
    assert (failed.code, failed.error["name"]) == (3, "a")
    assert "password" in failed.error["reason"]


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", '"text"', "nonsense", "[" * 100_000], ids=lambda text: text[:8]
)
def test_what_is_no_source(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "in.json").write_text(text)
    failed = run("import", "data", "acme", "in.json", "--json")
    assert (failed.code, failed.error["error"]) == (3, "invalid_value")
    assert run("import", "data", "acme", "nothing").code == 3
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("value", ["1", "null", '{"b": "c"}', '["b"]', r'"\ud800"'])
def test_values_in_json_must_be_text(run: Run, tmp_path: Path, value: str) -> None:
    (tmp_path / "in.json").write_text(f'{{"fine": "x", "a": {value}}}')
    refused = run("import", "data", "acme", "in.json", "--json")
    assert (refused.code, refused.error["refused"][0]["name"]) == (3, "a")


def test_the_same_name_twice_in_json_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"a": "1", "a": "2"}')
    assert run("import", "data", "acme", "in.json").code == 3


def test_many_small_and_some_large(run: Run, tmp_path: Path) -> None:
    texts = {f"{number:05d}": "x" * (number % 97) for number in range(1500)}
    texts |= {"large": "y" * 600_000, "larger": "z" * 2_500_000}
    (tmp_path / "in.json").write_text(json.dumps(texts))
    assert run("import", "data", "acme", "in.json", "--json").document["imported"] == 1502
    assert run("export", "data", "acme", "out.json").code == 0
    assert json.loads((tmp_path / "out.json").read_text()) == texts


@pytest.mark.parametrize("claimed", [10, 100_000])
def test_what_was_stored_is_told_and_not_what_a_zip_claims(
    run: Run, tmp_path: Path, claimed: int
) -> None:
    make_zip(tmp_path / "in.zip", {"a": b"x" * 10})
    raw = bytearray((tmp_path / "in.zip").read_bytes())
    at = raw.index(b"PK\1\2") + 24  # where the list at the end has a member's size
    raw[at : at + 4] = claimed.to_bytes(4, "little")
    (tmp_path / "in.zip").write_bytes(raw)
    told = run("import", "data", "acme", "in.zip", "--json").document
    assert (told["imported"], told["bytes"]) == (1, 10)
    assert run("stat", "data", "acme", "a", "--json").document["size"] == 10


def test_every_way_of_storing_is_counted(run: Run, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", {"small": b"1", "other": b"22", "large": bytes(3 << 20)})
    size = 3 + (3 << 20)
    assert run("import", "data", "acme", "in", "--json").document["bytes"] == size
    assert run("import", "data", "lent", "in", "--ttl", "1h", "--json").document["bytes"] == size


APART = ("--index-dir", "place/index", "--data-dir", "place/values")


def test_an_import_takes_nothing_of_the_store_itself(run: Run, tmp_path: Path) -> None:
    make_tree(tmp_path / "place", {"mine": b"1", "below/mine": b"2"})
    run(*APART, "put", "place/data", "acme", "k", "--text", "v")
    (tmp_path / "link").symlink_to(tmp_path / "place")
    for source in ("place", "link"):
        told = run("import", "place/data", "acme", source, "--json").document
        assert told["imported"] == 2
        told = run("import", "link/data", "acme", source)
        assert told.out == "imported 2 objects, 2 B\n"
        for own in ("data", "index", "values"):
            assert f"left out '{own}': the store's own files" in told.err
    assert set(keys_of(run, "place/data")) == {"k", "mine", "below/mine"}


def test_nor_where_they_will_lie(run: Run, tmp_path: Path) -> None:
    make_tree(tmp_path / "place", {"mine": b"1", "values/other": b"2"})
    assert "'values'" in run(*APART, "import", "place/data", "acme", "place").err
    assert keys_of(run, "place/data") == ["mine"]


def keys_of(run: Run, store: str) -> list[str]:
    return [line["key"] for line in run("ls", store, "acme", "--json").documents]


@pytest.mark.parametrize("source", ["data", "data/log", "values", "index", "link"])
def test_a_source_within_the_store_is_refused(run: Run, tmp_path: Path, source: str) -> None:
    words = ("--index-dir", "index", "--data-dir", "values")
    run(*words, "put", "data", "acme", "k", "--text", "v")
    (tmp_path / "data" / "log").mkdir(exist_ok=True)
    (tmp_path / "link").symlink_to(tmp_path / "values")
    told = run("import", "data", "acme", source)
    assert (told.code, "it lies in the store" in told.err) == (3, True)
    assert keys(run) == ["k"]


@pytest.mark.parametrize("target", ["data/out", "values/out.zip", "index/out"])
def test_a_target_within_the_store_is_refused(run: Run, target: str, tmp_path: Path) -> None:
    run("--index-dir", "index", "--data-dir", "values", "put", "data", "acme", "k", "--text", "v")
    told = run("export", "data", "acme", target)
    assert (told.code, "it lies in the store" in told.err) == (3, True)
    assert not (tmp_path / target).exists()
