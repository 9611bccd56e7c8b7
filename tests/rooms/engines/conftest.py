"""The suites ship with the package; pytest explains their failures where it knows of them."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("holdfast.testing.segments")
