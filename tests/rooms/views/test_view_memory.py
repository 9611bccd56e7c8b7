"""The view in memory passes the suite of the port."""

from __future__ import annotations

import pytest

from holdfast.testing.views import Fresh, ViewSuite
from holdfast.views.memory_view import MemoryView


class TestMemoryView(ViewSuite):
    @pytest.fixture
    def fresh(self) -> Fresh:
        return MemoryView
