"""A disk that holds one call back until a test has looked at that moment."""

from __future__ import annotations

import errno
import os
from threading import Event

from holdfast.engines.port import Disk
from holdfast.testing.around import Around, Kind


class Gate(Around):
    """Holds the next call of one kind back from when it is shut, and lets all others pass.

    ``entered`` is set when that call has come, ``go`` lets it go on.

    Args:
        inner: the disk that does the work.
        kind: of the call.
        refuses: whether that call fails then.
    """

    def __init__(self, inner: Disk, kind: Kind, *, refuses: bool = False) -> None:
        super().__init__(inner)
        self.shut = False
        self.entered = Event()
        self.go = Event()
        self._kind = kind
        self._refuses = refuses

    def before(self, kind: Kind) -> None:
        if kind != self._kind or not self.shut:
            return
        self.shut = False
        self.entered.set()
        assert self.go.wait(30)
        if self._refuses:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
