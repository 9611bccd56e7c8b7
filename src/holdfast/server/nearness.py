"""Which indexes can be asked without waiting for the disk (rule 12).

LMDB maps its file, and a page of it that is not in memory is waited for by whoever touches it.
So once a second it is seen, on a thread, whether all of a view's file is in memory; where it
is not, what only the view knows is asked for on a thread, and some of the file is read ahead,
so that it is soon. In between the system may let go of a page: then one look waits for it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.engines.cached import fetch, kept

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.placement.directory import Directory

FETCH_BYTES: Final = 64 << 20  # of all indexes that are read ahead at one look


class Nearness:
    """Looks at the views of a store.

    Args:
        directory: of the store.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._looks = 0
        self._left_bytes = 0

    def look(self) -> None:
        """See which buckets are ``cold``, and have some of what they lack read ahead."""
        self._looks += 1
        self._left_bytes = FETCH_BYTES
        for bucket in list(self._directory):
            if not bucket.far:
                with suppress(OSError):  # there is no file yet, or none any more
                    self._look_at(bucket)

    def _look_at(self, bucket: Bucket) -> None:
        path = bucket.state.view.file
        if path is None:
            return
        size, missing = kept(path)
        bucket.cold = missing > 0
        if missing and self._left_bytes > 0:
            windows = -(-size // FETCH_BYTES)  # one after the other, round and round
            fetch(path, self._looks % windows * FETCH_BYTES, FETCH_BYTES)
            self._left_bytes -= missing
