"""What every test gets: its ring by folder, hypothesis profiles, children that find the source."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Folders whose tests all cost seconds; elsewhere a test says so itself.
PUSH_FOLDERS = ("crash", "doors")

settings.register_profile(
    "house",
    deadline=None,  # a shared machine stalls for reasons that are not ours
    derandomize=True,  # the rings on commit and on push say the same thing everywhere
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "nightly",
    deadline=None,
    max_examples=2_000,
    stateful_step_count=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders of the push ring into it before ``-m`` chooses."""
    tests = ROOT / "tests"
    for item in items:
        if item.path.relative_to(tests).parts[0] in PUSH_FOLDERS:
            item.add_marker(pytest.mark.push)


def pytest_configure() -> None:
    """Let processes that tests start find the source where it is not installed."""
    places = [str(ROOT / "src"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, places)))
