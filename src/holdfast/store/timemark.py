"""The store's own time mark: how far its time may get, written down before it does.

``TIME`` lies beside the store file, in two places that are written in turn, so that a
torn write leaves the one before. Of the two the later one counts, by its number.

    offset  size  field
    0       8     magic "HFSTTIME"
    8       8     number, one more with each write
    16      8     bucket time, nanoseconds
    24      4     CRC-32C of the 24 bytes before
    28      4     pad, zero
    4096    32    the other place, drawn alike

The time marks in the logs move with their buckets. This one is for what they cannot cover:
the first look at a store just opened, and whatever keeps upkeep from its next mark
(docs/adr/0042). It needs no room on a full disk.
"""

from __future__ import annotations

import logging
import struct
from typing import Final

from crc32c import crc32c

from holdfast.engines.port import Disk, File

NAME: Final = "TIME"
MAGIC: Final = b"HFSTTIME"
SLOT: Final = struct.Struct("<8sQQI4x")
PLACES: Final = (0, 4096)  # no two of them in one sector of any disk
CRC_AT: Final = 24
log = logging.getLogger("holdfast.time")


class TimeMark:
    """The time mark of one process that has the store, or a part of it.

    Args:
        disk: where the store's folder is.
        root: that folder.
        part: of the store that is this process's; empty if it has it all.
    """

    def __init__(self, disk: Disk, root: str, part: str = "") -> None:
        self._disk = disk
        self._root = root
        self._name = f"{NAME}-{part}" if part else NAME
        self._number, _ = self._read(self._name)
        self._is_whole = self._number > 0

    def adopt(self) -> int:
        """The latest that was written down before, 0 where none was; from now on this one's too.

        Whoever has a part passes over the marks of the others: they may be alive, and theirs
        run ahead of their time.
        """
        listed = self._disk.list(self._root)
        all_parts = [name for name in listed if name.split("-")[0] == NAME]
        names = all_parts if self._name == NAME else [NAME, self._name]
        latest = max(self._read(name)[1] for name in [NAME, *names])
        if latest > self._read(self._name)[1]:
            self.write(latest)
        return latest

    def write(self, time_ns: int) -> bool:
        """Write a time down, durably; False where the disk refuses."""
        number = self._number + 1
        slot = SLOT.pack(MAGIC, number, time_ns, 0)[:CRC_AT]
        slot = SLOT.pack(MAGIC, number, time_ns, crc32c(slot))
        try:
            if self._is_whole:
                self._overwrite(PLACES[number % 2], slot)
            else:
                self._begin(slot)
        except OSError as error:
            log.warning("a time mark could not be written: %s", error)
            return False
        self._number = number  # only now: a write that failed is tried again at the same place
        return True

    def _overwrite(self, place: int, slot: bytes) -> None:
        file = self._disk.open(f"{self._root}/{self._name}")
        try:
            file.write(place, (slot,))
            file.sync()
        finally:
            file.close()

    def _begin(self, slot: bytes) -> None:
        fresh = f"{self._root}/{self._name}.new"
        self._disk.unlink(fresh)
        file = self._disk.open(fresh, create=True)
        try:
            file.write(0, (slot, bytes(PLACES[1] - len(slot)), slot))
            file.sync()
        finally:
            file.close()
        self._disk.rename(fresh, f"{self._root}/{self._name}")
        self._disk.sync_folder(self._root)
        self._is_whole = True

    def _read(self, name: str) -> tuple[int, int]:
        """The number and the time that count; zeros where nothing can be read."""
        try:
            file = self._disk.open(f"{self._root}/{name}")
        except OSError:
            return 0, 0
        try:
            return max(_told(file, place) for place in PLACES)
        except OSError:
            return 0, 0
        finally:
            file.close()


def _told(file: File, place: int) -> tuple[int, int]:
    """What one of the places says; zeros where it does not verify."""
    slot = file.read(place, SLOT.size)
    if len(slot) < SLOT.size:
        return 0, 0
    magic, number, time_ns, told = SLOT.unpack(slot)
    is_whole = magic == MAGIC and crc32c(slot[:CRC_AT]) == told
    return (number, time_ns) if is_whole else (0, 0)
