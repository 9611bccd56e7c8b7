"""How long a machine runs, by ring."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

RING: Final = "HOLDFAST_RING"
NIGHTLY: Final = settings(
    max_examples=2_000,
    stateful_step_count=100,
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def is_nightly() -> bool:
    """Asked for by ``--hypothesis-profile=nightly`` or by ``HOLDFAST_RING=nightly``."""
    return "nightly" in {os.environ.get(RING), settings.get_current_profile_name()}


def machine_settings(examples: int, steps: int) -> settings:
    """For a machine that must not fail: ``examples`` runs of ``steps`` rules, more by night.

    By day the runs are the same everywhere; by night they are new each time,
    and a failure prints what runs it again.
    """
    if is_nightly():
        return NIGHTLY
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )


def search_settings(examples: int, steps: int) -> settings:
    """For a machine that must fail: whether it does, and not in how few steps it can."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=False,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
