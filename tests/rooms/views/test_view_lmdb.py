"""The view in LMDB passes the suite of the port; what only LMDB can do wrong stands below."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from holdfast.testing.views import Fresh, ViewSuite
from holdfast.views.lmdb_view import LmdbView


class TestLmdbView(ViewSuite):
    @pytest.fixture
    def fresh(self, tmp_path: Path) -> Fresh:
        numbers = count()
        return lambda: LmdbView(str(tmp_path / f"{next(numbers)}"))
