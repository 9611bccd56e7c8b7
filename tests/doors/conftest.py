"""A server with both ports, for clients that are programs of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.testing.serving import Serving


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    with (
        holdfast.open(tmp_path / "data", in_place=False) as store,
        Serving(store, grpc_port=0) as running,
    ):
        yield running
