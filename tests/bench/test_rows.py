from __future__ import annotations

from importlib import import_module

import msgspec
import pytest

from bench.compare import MODULES
from bench.rows import ROWS, STORES, Row
from bench.scale import SCALES


def test_names_are_unique() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_names_what_exists(row: Row) -> None:
    sizes = msgspec.structs.asdict(SCALES["full"])
    assert row.count in sizes
    assert callable(import_module(f"bench.workloads.{row.workload}").measure)
    assert {rival.engine for rival in row.rivals} <= set(MODULES)
    assert set(row.scales) <= set(SCALES)
    assert row.rivals or row.bounds


@pytest.mark.parametrize("base", STORES)
def test_a_store_is_made_by_a_workload_that_prepares(base: str) -> None:
    store = STORES[base]  # type: ignore[index]
    assert callable(import_module(f"bench.workloads.{store.workload}").prepare)
    assert store.count in msgspec.structs.asdict(SCALES["full"])


def test_every_target_of_the_issue_has_a_row() -> None:
    targets = {(row.name, rival.engine): rival.target for row in ROWS for rival in row.rivals} | {
        (row.name, bound.figure): bound.limit for row in ROWS for bound in row.bounds
    }
    said = {
        ("get-checkpointed", "rocksdict"): 1.3,
        ("get-checkpointed", "sqlite3"): 2.5,
        ("put-many", "rocksdict"): 1.7,
        ("put-many-sustained", "rocksdict"): 1.0,
        ("put", "rocksdict"): 1.6,
        ("put-many-durable", "rocksdict"): 1.0,
        ("put-many-durable", "sqlite3"): 2.0,
        ("put-many-durable", "lmdb"): 2.5,
        ("put-durable", "bare"): 0.75,
        ("list-1000", "rocksdict"): 2.0,
        ("put-1mib", "rocksdict"): 2.0,
        ("get-1mib", "rocksdict"): 2.0,
        ("put-latency", "p999_ms"): 10.0,
        ("put-latency", "unexcused_max_ms"): 50.0,
        ("put-durable-busy", "holdfast"): 0.5,
        ("open-killed", "open_and_get_s"): 2.0,
        ("open-closed", "open_and_get_s"): 0.2,
        ("memory", "worst_bytes_per_key"): 40.0,
    }
    assert said.items() <= targets.items()
