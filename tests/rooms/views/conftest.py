"""The suite ships with the package; pytest explains its failures where it knows of it."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("holdfast.testing.views", "holdfast.testing.view_machine")
