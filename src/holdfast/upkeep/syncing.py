"""Sync beside the writers, where writes are answered before they are durable.

With ``sync="never"`` and ``"interval"`` nobody waits for the disk until a segment
ends: what the next one says of it must be true after a crash, so it is synced
before. A thread that does nothing but call the disk does both, when a writer has
come far enough to ask for it (``bucket/behind.py:sync_on``).
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from holdfast.bucket.behind import sync_on
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.settings import Behind
from holdfast.errors import HoldfastError


class Syncing:
    """One thread that syncs the buckets whose writers ask for it.

    Args:
        behind: where writers of the store ask.
        note: told what failed; the bucket itself knows what that means for it.
    """

    def __init__(self, behind: Behind, note: Callable[[Exception], None]) -> None:
        self._behind = behind
        self._note = note
        self._asked: dict[str, Bucket] = {}
        self._wake = Event()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="holdfast-syncing", daemon=True)

    def start(self) -> None:
        """Take requests from now on."""
        self._thread.start()
        self._behind.soon = self.soon

    def stop(self) -> None:
        """Take none any more; what is under way is finished."""
        self._behind.soon = None
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def soon(self, bucket: Bucket) -> None:
        """Sync a bucket, and end its segment if that is full."""
        self._asked[bucket.id] = bucket
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._asked and not self._stop.is_set():
                _, bucket = self._asked.popitem()
                try:
                    sync_on(bucket)
                except (OSError, HoldfastError) as error:
                    self._note(error)
