"""Files that are there whole or not at all, and can tell: what lazy views keep of themselves.

offset  size  field
0       8     magic: which kind of file it is
8       8     XXH3-64 of everything behind these 16 bytes
16            the content
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from xxhash import xxh3_64_intdigest

from holdfast.engines.port import Buffer

MAGIC_BYTES: Final = 8
HEAD_BYTES: Final = 16


def framed(magic: bytes, content: bytes) -> bytes:
    """The bytes of a file that can tell whether it is whole.

    Example:
        >>> content_of(b"HFEXAMPL", framed(b"HFEXAMPL", b"pages"))
        b'pages'
        >>> content_of(b"HFEXAMPL", framed(b"HFEXAMPL", b"pages")[:-1]) is None
        True
    """
    return magic + xxh3_64_intdigest(content).to_bytes(8, "little") + content


def content_of(magic: bytes, data: bytes) -> bytes | None:
    """What was framed; None where it is damaged, or of another kind."""
    content = data[HEAD_BYTES:]
    digest = int.from_bytes(data[MAGIC_BYTES:HEAD_BYTES], "little")
    return content if data[:MAGIC_BYTES] == magic and xxh3_64_intdigest(content) == digest else None


def put(path: Path, data: Buffer) -> None:
    """Write a file under its name, durably; OSError where the disk refuses, and then not at all."""
    begun = path.with_name(f"{path.name}.new")
    with begun.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    begun.replace(path)
    sync_folder(path.parent)


def forget(path: Path) -> None:
    """Remove a file, durably, if it is there."""
    with suppress(FileNotFoundError):
        path.unlink()
        sync_folder(path.parent)


def sync_folder(folder: Path | str) -> None:
    """Make durable which names a folder holds."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
