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

No crash leaves a file in which neither place verifies: it gets its name once both are durable,
and one is written only while the other is. So such a file is damage, and a file that cannot
be read is not one that is missing: whoever began at wall time could bring back what expired.
"""

from __future__ import annotations

import logging
import struct
from typing import Final

from crc32c import crc32c

from holdfast.engines.port import Disk, File
from holdfast.errors import Corrupt

NAME: Final = "TIME"
FRESH: Final = ".new"
NONE: Final = 0, 0  # no number, no time
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

    Raises:
        Corrupt: a mark that counts does not verify. OSError: it cannot be read.
    """

    def __init__(self, disk: Disk, root: str, part: str = "") -> None:
        self._disk = disk
        self._root = root
        self._name = f"{NAME}-{part}" if part else NAME
        self._number, self._own_ns = self._read(self._name)
        self._is_whole = self._number > 0
        self._is_durable = False  # a life that was ended may have left it in memory alone
        self._latest_ns = max(self._read(name)[1] for name in (NAME, *self._names()))

    def adopt(self) -> int:
        """The latest that was written down before, 0 where none was; from now on this one's too.

        Whoever has a part passes over the marks of the others: they may be alive, and theirs
        run ahead of their time.
        """
        if self._latest_ns > self._own_ns:
            self.write(self._latest_ns)
        return self._latest_ns

    def _names(self) -> list[str]:
        """The files whose marks count; one that a crash kept from its name was told to nobody."""
        if self._name != NAME:
            return [self._name]
        listed = self._disk.list(self._root)
        return [n for n in listed if n.split("-")[0] == NAME and not n.endswith(FRESH)]

    def write(self, time_ns: int) -> bool:
        """Write a time down, durably; False where the disk refuses."""
        number = self._number + 1
        try:
            if self._is_whole:
                self._settle()
                self._overwrite(PLACES[number % 2], _slot(number, time_ns))
            else:
                self._begin(_slot(number, time_ns))
        except OSError as error:
            log.warning("a time mark could not be written: %s", error)
            return False
        self._number = number  # only now: a write that failed is tried again at the same place
        return True

    def _settle(self) -> None:
        """Make durable what was found, before the other place is touched."""
        if not self._is_durable:
            self._overwrite()
            self._disk.sync_folder(self._root)
            self._is_durable = True

    def _overwrite(self, place: int = 0, slot: bytes = b"") -> None:
        file = self._disk.open(f"{self._root}/{self._name}")
        try:
            if slot:
                file.write(place, (slot,))
            file.sync()
        finally:
            file.close()

    def _begin(self, slot: bytes) -> None:
        fresh = f"{self._root}/{self._name}{FRESH}"
        self._disk.unlink(fresh)
        file = self._disk.open(fresh, create=True)
        try:
            file.write(0, (slot, bytes(PLACES[1] - len(slot)), slot))
            file.sync()
        finally:
            file.close()
        self._disk.rename(fresh, f"{self._root}/{self._name}")
        self._disk.sync_folder(self._root)
        self._is_whole = self._is_durable = True

    def _read(self, name: str) -> tuple[int, int]:
        """The number and the time that count; zeros where there is no such file."""
        path = f"{self._root}/{name}"
        try:
            file = self._disk.open(path)
        except FileNotFoundError:
            return NONE
        try:
            found = max(_told(file, place) for place in PLACES)
        finally:
            file.close()
        if found == NONE:
            raise Corrupt(path=path, position=PLACES[0], what="neither time mark verifies")
        return found


def _slot(number: int, time_ns: int) -> bytes:
    told = SLOT.pack(MAGIC, number, time_ns, 0)[:CRC_AT]
    return SLOT.pack(MAGIC, number, time_ns, crc32c(told))


def _told(file: File, place: int) -> tuple[int, int]:
    """What one of the places says; zeros where it does not verify."""
    slot = file.read(place, SLOT.size)
    if len(slot) < SLOT.size:
        return NONE
    magic, number, time_ns, told = SLOT.unpack(slot)
    is_whole = magic == MAGIC and crc32c(slot[:CRC_AT]) == told
    return (number, time_ns) if is_whole else NONE
