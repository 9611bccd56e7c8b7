"""Where the buckets of a store on a disk in memory lie, and their segments."""

from __future__ import annotations

from holdfast.engines.files import FileSegments
from holdfast.engines.memory import MemoryDisk

LOG = "store/log"


def homes(disk: MemoryDisk) -> list[str]:
    """The names of the buckets' folders, in order; other files are passed over."""
    return list(FileSegments(disk, [LOG]).listing())


def segments(disk: MemoryDisk) -> list[str]:
    """The paths of all segments, those of each bucket oldest first."""
    found = FileSegments(disk, [LOG]).listing()
    return [f"{LOG}/{bucket}/{number:016x}.seg" for bucket in found for number in found[bucket]]
