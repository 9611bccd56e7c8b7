from __future__ import annotations

from pathlib import Path

import pytest

from bench import results

holdfast = pytest.importorskip("holdfast.store")

CHANGED = (
    "what operations ask of the disk has changed: if that is meant, run "
    "`python -m bench.counts --write` and say in CHANGELOG.md what changed and why"
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    from bench import counts  # noqa: PLC0415 - imports the store

    return counts.take(tmp_path_factory.mktemp("counts"))


def test_counts_are_those_on_record(found: dict[str, dict[str, float]]) -> None:
    recorded = results.read(Path(results.__file__).with_name("results.json")).counts
    changed = {
        what: (recorded.get(what), found.get(what))
        for what in recorded | found
        if recorded.get(what) != found.get(what)
    }
    assert not changed, CHANGED


def test_counts_are_the_same_twice(found: dict[str, dict[str, float]], tmp_path: Path) -> None:
    from bench import counts  # noqa: PLC0415

    assert counts.take(tmp_path) == found


def test_a_durable_write_is_one_write_and_one_sync(found: dict[str, dict[str, float]]) -> None:
    for what in ("durable put, 1 KiB", "durable put_many of 100, 1 KiB"):
        assert found[what]["writes"] == found[what]["syncs"] == 1


def test_an_update_of_consumers_does_not_depend_on_the_size(
    found: dict[str, dict[str, float]],
) -> None:
    small, large = (found[f"consumer set on a {size} value"] for size in ("1 KiB", "1 MiB"))
    assert small == large


def test_an_append_writes_what_it_appends(found: dict[str, dict[str, float]]) -> None:
    assert found["append of 1 KiB"]["bytes written / user byte"] < 1.5
