"""What is to be done a little later: one thread waits for all of it, by the store's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from holdfast.clock import Clock

PAUSE_S: Final = 0.02


class Pauses:
    """Does things after a pause. Used on the loop.

    Args:
        clock: waits.
        loop: where they are done.
    """

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock = clock
        self._loop = loop
        self._pool = ThreadPoolExecutor(1, "holdfast-pause")
        self._is_waiting = False
        self._due: list[Callable[[], object]] = []

    def add(self, work: Callable[[], object]) -> None:
        """Have something done after the next pause."""
        self._due.append(work)
        if not self._is_waiting:
            self._is_waiting = True
            with suppress(RuntimeError):  # the server is going down, and so are its connections
                self._pool.submit(self._wait)

    def _wait(self) -> None:
        self._clock.sleep(PAUSE_S)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._do)

    def _do(self) -> None:
        self._is_waiting = False
        due, self._due = self._due, []
        for work in due:
            work()

    def close(self) -> None:
        """Let the thread go."""
        self._pool.shutdown(wait=True)
