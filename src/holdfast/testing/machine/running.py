"""How long a machine runs, by ring.

The environment says which ring by ``HOLDFAST_RING``: nothing or ``quick`` (the
same runs everywhere, and the steps of a failure as they were drawn), ``shrink``
(the same runs, and the fewest steps that fail, which can take minutes), or
``nightly`` (new runs each time, many and long).
"""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

RING: Final = "HOLDFAST_RING"
DRAWN: Final = (Phase.explicit, Phase.reuse, Phase.generate)
SHRUNK: Final = (*DRAWN, Phase.shrink)


def nightly_settings(examples: int = 2_000, steps: int = 100) -> settings:
    """New runs each time; a failure is shrunk and prints what runs it again."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=False,
        print_blob=True,
        phases=SHRUNK,
        suppress_health_check=list(HealthCheck),
    )


def machine_settings(examples: int, steps: int) -> settings:
    """For a machine that must not fail: ``examples`` runs of ``steps`` rules, more by night."""
    ring = os.environ.get(RING, "quick")
    if "nightly" in {ring, settings.get_current_profile_name()}:
        return nightly_settings()
    return search_settings(examples, steps, phases=SHRUNK if ring == "shrink" else DRAWN)


def search_settings(
    examples: int, steps: int, *, phases: tuple[Phase, ...] = (Phase.generate,)
) -> settings:
    """For a machine that must fail: whether it does, and not in how few steps it can."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=False,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
