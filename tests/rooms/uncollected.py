"""No garbage is collected while calls are counted."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep garbage until the end.

    A collection comes at no moment that a test knows of, and what it calls is counted with the
    rest: finalizers of what earlier tests left, and callbacks such as hypothesis has one.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
