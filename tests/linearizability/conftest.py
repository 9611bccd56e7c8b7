"""The namespaces that threads are set upon."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.linearizability.driving import Namespace, OneAtATime


@pytest.fixture(params=["model", "memory", "disk", "small buckets"])
def namespace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Namespace]:
    if request.param == "model":
        yield OneAtATime()
        return
    holdfast = importlib.import_module("holdfast")
    where = ":memory:" if request.param == "memory" else tmp_path / "data"
    options = {"bucket_bytes": 64 * 1024} if request.param == "small buckets" else {}
    with holdfast.open(where, **options) as store:
        yield store.namespace("acme")
