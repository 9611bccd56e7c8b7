"""Segments as files: ``<folder>/<bucket>/<number:016x>.seg`` on any disk.

A bucket lives in one of the given folders, its home, and stays there: a shared
segment is a hard link. Links do not cross disks: a small segment is copied there.
A new bucket's home is the folder with the most free bytes at that moment; folders
that have about as many take turns. ``<folder>/reserve`` holds the bytes that are set
aside. Other files in the folders are passed over.

The order of every change is: bytes, ``File.sync``, ``sync_folder`` of the
bucket, and of the home where the bucket is new there. What a crash may leave is
a bucket's folder without segments (not a bucket), or a last segment whose head
is not durable (the log drops it).
"""

from __future__ import annotations

# ruff: noqa: D102 - the port tells what each method does
import errno
import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from posixpath import basename, dirname, normpath
from threading import Lock

from holdfast.engines.port import Buffer, Disk, LeftBehind, Segment, Segments
from holdfast.engines.segment import Descriptors, FileSegment
from holdfast.limits import KIB, MIB, OPEN_BUCKETS

RESERVE = "reserve"
CHUNK_BYTES = MIB  # of one write of the reserve
ABOUT = 1 / 16  # of the room there is: two folders of one file system are asked one after the other
COPY_BYTES = 8 * MIB  # the largest segment that is copied where it cannot be linked
SAME_BYTES = 4 * KIB  # compared at either end to tell two files for one

_BUCKET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_SEGMENT = re.compile(r"([0-9a-f]{16})\.seg")


class FileSegments(Segments):
    """The segments of every bucket, as files in one or more folders of a disk.

    Args:
        disk: the disk all folders are on, or the operating system that mounts them.
        folders: where buckets live; each on a disk of its own, if there are many.
        create: make folders that are absent, durably. Without it FileNotFoundError
            names the first absent one, before anything was done.
        open_files: descriptors to keep open at most, files and maps together.
        part: names this process where several share the folders: each sets bytes aside for
            itself. Without one, what such processes left set aside is given back.

    Raises:
        FileExistsError: a bucket has segments in two of the folders.

    Example:
        >>> from holdfast.engines.memory import MemoryDisk
        >>> segments = FileSegments(MemoryDisk(), ["data"], create=True)
        >>> segment = segments.begin("b1", 0, [b"head"])
        >>> segment.append([b"record"])
        >>> segment.read(4, 10), segments.listing()
        (b'record', {'b1': [0]})
    """

    def __init__(
        self,
        disk: Disk,
        folders: Sequence[str],
        *,
        create: bool = False,
        open_files: int = OPEN_BUCKETS,
        part: str = "",
    ) -> None:
        if not folders:
            raise ValueError("at least one folder is needed")
        self._disk = disk
        self._folders = tuple(map(normpath, folders))
        self._descriptors = Descriptors(open_files)
        self._copying = Lock()  # one copy has the name that copies have until they are whole
        self._lock = Lock()  # over the two below; never held during a call to the disk
        self._homes: dict[str, str] = {}
        self._fresh: set[str] = set()  # buckets whose folder's name may not be durable
        for folder in self._folders:
            if create:
                self._make_home(folder)
            else:
                self._require(folder)
        self._reserve_name = f"{RESERVE}-{part}" if part else RESERVE
        for folder in self._folders:
            if not part:
                self._give_back(folder)
            # A killed process may have left names here that no crash was to survive.
            disk.sync_folder(folder)
        self._homes.update((bucket, home) for bucket, (home, _) in self._scan().items())

    # -- the port ------------------------------------------------------------------

    def listing(self) -> dict[str, list[int]]:
        found = self._scan()
        with self._lock:  # another process of the store may have made some of them
            for bucket, (home, _) in found.items():
                self._homes.setdefault(bucket, home)
        return {bucket: numbers for bucket, (_, numbers) in sorted(found.items())}

    def begin(self, bucket: str, number: int, head: Sequence[Buffer], beside: str = "") -> Segment:
        home = self._place(bucket, self._homes.get(beside))
        path = _path(home, bucket, number)
        try:
            self._make_bucket(home, bucket)
            file = self._disk.open(path, create=True)
        except FileExistsError:
            raise
        except BaseException:
            self._unmake(home, bucket)
            raise
        try:
            size = file.write(0, head)
            file.sync()
            self._sync_names(home, bucket)
        except BaseException as error:
            file.close()
            if not self._unmake(home, bucket, path) and isinstance(error, OSError):
                raise LeftBehind(*error.args) from error
            raise
        segment = FileSegment(self._disk, path, self._descriptors, size=size, name_is_durable=True)
        segment.adopt(file)
        return segment

    def open(self, bucket: str, number: int) -> Segment:
        path = _path(self._home(bucket), bucket, number)
        file = self._disk.open(path)
        segment = FileSegment(
            self._disk, path, self._descriptors, size=file.size(), name_is_durable=False
        )
        segment.adopt(file)
        return segment

    def share(self, source: str, number: int, target: str, target_number: int) -> None:
        home = self._home(source)
        there = self._place(target, home)
        old, new = _path(home, source, number), _path(there, target, target_number)
        made = None
        try:
            self._make_bucket(there, target)
            if self._link(old, new) if there == home else self._copy(old, new, there):
                made = new
            self._sync_names(there, target)
        except BaseException:
            self._unmake(there, target, made)
            raise

    def drop(self, bucket: str, number: int) -> None:
        home = self._homes.get(bucket)
        if home is None:
            return
        path = _path(home, bucket, number)
        self._forget(path)
        self._disk.unlink(path)
        # Durably: of two dropped segments the older one must not come back alone.
        with suppress(FileNotFoundError):
            self._disk.sync_folder(f"{home}/{bucket}")

    def retire(self, bucket: str) -> None:
        home = self._homes.get(bucket)
        for folder in self._folders if home is None else (home,):
            path = _folder(folder, bucket)
            self._forget(path)
            last = [_path(folder, bucket, number) for number in self._numbers(path)[-1:]]
            for name in self._disk.list(path):
                if f"{path}/{name}" not in last:
                    self._disk.unlink(f"{path}/{name}")
            for name in last:  # older ones that came back alone would tell what is undone since
                self._disk.sync_folder(path)
                self._disk.unlink(name)
            self._disk.unlink(path)
            self._disk.sync_folder(folder)
        with self._lock:
            self._homes.pop(bucket, None)
            self._fresh.discard(bucket)

    def free_bytes(self, bucket: str) -> int:
        home = self._homes.get(bucket)
        try:
            return max(map(self._disk.free_bytes, self._folders if home is None else (home,)))
        except OSError:
            return 0  # a disk that cannot tell is given nothing it need not take

    def reserve(self, size: int, piece: int = 0) -> bool:
        name = f"{self._reserve_name}.{piece}" if piece else self._reserve_name
        held = [self._reserve(folder, name, size) for folder in self._folders]
        return all(held)

    # -- folders -------------------------------------------------------------------

    def _require(self, folder: str) -> None:
        try:
            self._disk.free_bytes(folder)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "data folder is missing", folder) from None

    def _make_home(self, folder: str) -> None:
        """Make a folder and what lies above it, each name durable."""
        absent = [folder]
        while not self._is_there(above := dirname(absent[-1]) or "."):
            absent.append(above)
        self._disk.make_folder(folder)
        for path in reversed(absent):
            self._disk.sync_folder(dirname(path) or ".")

    def _is_there(self, folder: str) -> bool:
        try:
            self._disk.free_bytes(folder)
        except FileNotFoundError:
            return False
        return True

    def _scan(self) -> dict[str, tuple[str, list[int]]]:
        """Every bucket that has segments: its home and their numbers, ascending."""
        found: dict[str, tuple[str, list[int]]] = {}
        for home in self._folders:
            self._require(home)  # an absent folder lists like an empty one
            for bucket in filter(_is_bucket, self._disk.list(home)):
                numbers = self._numbers(f"{home}/{bucket}")
                if not numbers:
                    continue
                if bucket in found:
                    path = f"{home}/{bucket}"
                    raise FileExistsError(errno.EEXIST, "bucket lives in two data folders", path)
                found[bucket] = (home, numbers)
        return found

    def _numbers(self, path: str) -> list[int]:
        with suppress(NotADirectoryError):
            matches = map(_SEGMENT.fullmatch, self._disk.list(path))
            return [int(match[1], 16) for match in matches if match]
        return []

    # -- buckets -------------------------------------------------------------------

    def _home(self, bucket: str) -> str:
        home = self._homes.get(bucket)
        if home is None:
            raise FileNotFoundError(errno.ENOENT, "no such bucket", bucket)
        return home

    def _place(self, bucket: str, home: str | None = None) -> str:
        """The home of a bucket; a new one gets ``home``, or the folder with most room."""
        known = self._homes.get(bucket)
        if known is not None:
            return known
        if not _is_bucket(bucket):
            raise ValueError("a bucket is named by 1 to 128 of [A-Za-z0-9._-], no dot first")
        chosen = home or self._roomiest()
        with self._lock:
            if bucket not in self._homes:
                self._homes[bucket] = chosen
                self._fresh.add(bucket)
            return self._homes[bucket]

    def _roomiest(self) -> str:
        """The folder with most room; of those with about as much, the one with fewest buckets."""
        room = {folder: self._disk.free_bytes(folder) for folder in self._folders}
        enough = max(room.values()) * (1 - ABOUT)
        homes = Counter(list(self._homes.values()))
        return min((f for f in self._folders if room[f] >= enough), key=homes.__getitem__)

    def _make_bucket(self, home: str, bucket: str) -> None:
        if bucket in self._fresh:
            self._disk.make_folder(f"{home}/{bucket}")

    def _sync_names(self, home: str, bucket: str) -> None:
        self._disk.sync_folder(f"{home}/{bucket}")
        if bucket in self._fresh:
            self._disk.sync_folder(home)
            with self._lock:
                self._fresh.discard(bucket)

    def _unmake(self, home: str, bucket: str, path: str | None = None) -> bool:
        """Take back what a failed ``begin`` or ``share`` made, durably; whether that worked.

        Where that fails too the bucket keeps its home: the leftover may show
        again after a crash, and must not meet a namesake in another folder.
        """
        try:
            if path is not None:
                self._disk.unlink(path)
            if bucket not in self._fresh:
                self._disk.sync_folder(f"{home}/{bucket}")
                return True
            self._disk.unlink(f"{home}/{bucket}")
            self._disk.sync_folder(home)
        except OSError:
            return False
        with self._lock:
            self._fresh.discard(bucket)
            self._homes.pop(bucket, None)
        return True

    def _link(self, old: str, new: str) -> bool:
        """Link; False where an earlier call did. FileExistsError where other bytes are there."""
        try:
            self._disk.link(old, new)
        except FileExistsError:
            if self._ends(old) != self._ends(new):
                raise
            return False
        return True

    def _copy(self, old: str, new: str, home: str) -> bool:
        """Copy a small segment to another disk, whole or not at all; as ``_link``."""
        with self._copying:
            return self._copied(old, new, home)

    def _copied(self, old: str, new: str, home: str) -> bool:
        if basename(new) in self._disk.list(dirname(new)):
            if self._ends(old) != self._ends(new):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
            return False
        source = self._disk.open(old)
        size = source.size()
        if size > COPY_BYTES:  # whoever merges buckets holds up their writers meanwhile
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), old, None, new)
        fresh = f"{home}/{self._reserve_name}-copy"
        try:
            self._disk.unlink(fresh)
            target = self._disk.open(fresh, create=True)
            target.write(0, [source.read(0, size)])
            target.sync()
            target.close()
            self._disk.rename(fresh, new)
        except BaseException:
            with suppress(OSError):
                self._disk.unlink(fresh)
            raise
        return True

    def _ends(self, path: str) -> tuple[int, bytes, bytes]:
        """What tells one segment from another: size, head (it names itself) and tail."""
        file = self._disk.open(path)
        size = file.size()
        tail = file.read(max(0, size - SAME_BYTES), SAME_BYTES)
        return size, file.read(0, SAME_BYTES), tail

    def _forget(self, path: str) -> None:
        """Close what is open at or below a path: a file without a name still takes its space."""
        for segment in self._descriptors.those_of(path):
            segment.forget()

    # -- the reserve ---------------------------------------------------------------

    def _reserve(self, folder: str, name: str, size: int) -> bool:
        """Hold exactly ``size`` bytes in a folder; on failure hold none."""
        path = f"{folder}/{name}"
        try:
            if name in self._disk.list(folder):
                if size and self._disk.open(path).size() == size:
                    return True
                self._disk.unlink(path)
            if size > self._disk.free_bytes(folder):
                return False
            if size:
                self._fill(path, size)
            self._disk.sync_folder(folder)
        except OSError:
            with suppress(OSError):
                self._disk.unlink(path)
            return False
        return True

    def _give_back(self, folder: str) -> None:
        """Remove what processes that shared the store had set aside."""
        for name in self._disk.list(folder):
            if name.startswith(f"{RESERVE}-"):
                self._disk.unlink(f"{folder}/{name}")

    def _fill(self, path: str, size: int) -> None:
        # Not zeros: a file system that compresses would set nothing aside for them.
        chunk = memoryview(hashlib.shake_256(b"holdfast reserve").digest(min(size, CHUNK_BYTES)))
        file = self._disk.open(path, create=True)
        for offset in range(0, size, CHUNK_BYTES):
            file.write(offset, [chunk[: size - offset]])
        file.finish(size)  # else it is not the size that is looked for, and is written each time
        file.sync()
        file.close()


def _is_bucket(name: str) -> bool:
    return re.split("[-.]", name, maxsplit=1)[0] != RESERVE and _BUCKET.fullmatch(name) is not None


def _folder(home: str, bucket: str) -> str:
    if not _is_bucket(bucket):
        raise ValueError("a bucket is named by 1 to 128 of [A-Za-z0-9._-], no dot first")
    return f"{home}/{bucket}"


def _path(home: str, bucket: str, number: int) -> str:
    if not 0 <= number < 1 << 64:
        raise ValueError("a segment's number is 0 to 2^64 - 1")
    return f"{home}/{bucket}/{number:016x}.seg"
