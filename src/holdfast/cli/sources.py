"""What ``import`` reads: a folder, a zip, or a JSON object of name to text.

Each is first made into a plan, all names and their reasons, before a byte is
stored. A name is only ever a key: ``../x`` in a zip is the key ``../x``.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from holdfast.cli.files import Readable, is_folder, local_file
from holdfast.cli.names import Refusal, key_refusal
from holdfast.errors import InvalidValue

NO_TEXT = "its value is not a text in UTF-8"


@dataclass(frozen=True)
class Item:
    """One thing to store: its name, its size in bytes as its source claims, its bytes."""

    name: str
    size: int
    opened: Callable[[], AbstractContextManager[Readable]]


@dataclass(frozen=True)
class Plan:
    """What will be stored, what cannot be (``refused``) and what is left out (``passed``)."""

    items: list[Item]
    refused: list[Refusal]
    passed: list[Refusal]

    @property
    def size(self) -> int:
        """Bytes of all items together."""
        return sum(item.size for item in self.items)


@contextmanager
def planned(source: Path, *, prefix: str, apart: Collection[str]) -> Iterator[Plan]:
    """Look at a source and say what would be stored, without storing.

    Args:
        source: a folder, a zip or a JSON file.
        prefix: put before every name.
        apart: the store's own folders, which are left out where they lie in the source.

    Raises:
        InvalidValue: it cannot be read, or is none of the three.
    """
    if is_folder(source):
        yield _judged(_folder(source, apart), prefix)
        return
    with local_file(source):
        is_zip = zipfile.is_zipfile(source)
    if not is_zip:
        yield _judged(_json(source), prefix)
        return
    with _zip_faults(source.name):
        archive = zipfile.ZipFile(source)
    with archive:
        yield _judged(_zip(archive), prefix)


def _judged(found: Plan, prefix: str) -> Plan:
    """Put the prefix before the names and take out those that cannot be keys."""
    times = Counter(item.name for item in found.items)
    items, refused = [], list(found.refused)
    for item in found.items:
        key = prefix + item.name
        reason = key_refusal(key) or ("the same name twice" if times[item.name] > 1 else None)
        if reason:
            refused.append(Refusal(item.name, reason))
        else:
            items.append(replace(item, name=key))
    return Plan(items, refused, found.passed)


# -- a folder ------------------------------------------------------------------


def _folder(root: Path, apart: Collection[str]) -> Plan:
    """Every regular file below ``root``; links are left out, they may lead anywhere."""
    items: list[Item] = []
    passed: list[Refusal] = []
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with local_file(folder):
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        for entry in entries:
            name = Path(entry.path).relative_to(root).as_posix()
            if entry.is_dir(follow_symlinks=False):
                if os.path.realpath(entry.path) in apart:
                    passed.append(Refusal(name, "the store's own files"))
                else:
                    waiting.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                size = entry.stat(follow_symlinks=False).st_size
                items.append(Item(name, size, partial(_open_file, Path(entry.path))))
            else:
                passed.append(Refusal(name, "a link or a special file"))
    items.sort(key=lambda item: item.name)
    return Plan(items, [], passed)


@contextmanager
def _open_file(path: Path) -> Iterator[Readable]:
    with local_file(path):
        source = path.open("rb")  # only its opening is the file's own fault
    with source:
        yield source


# -- a zip ---------------------------------------------------------------------


def _zip(archive: zipfile.ZipFile) -> Plan:
    items: list[Item] = []
    refused: list[Refusal] = []
    for member in archive.infolist():
        if member.orig_filename != member.filename:
            refused.append(Refusal(member.orig_filename, "a zero byte"))
        elif not (member.is_dir() and member.file_size == 0):
            items.append(
                Item(member.filename, member.file_size, partial(_open_member, archive, member))
            )
    return Plan(items, refused, [])


class _Member:
    """The bytes of one member; what is wrong with them names it."""

    def __init__(self, source: IO[bytes], name: str) -> None:
        self._source = source
        self._name = name

    def read(self, size: int, /) -> bytes:
        with _zip_faults(self._name):
            return self._source.read(size)


@contextmanager
def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[Readable]:
    with _zip_faults(member.filename):
        source = archive.open(member)
    with source:
        yield _Member(source, member.filename)


# What a damaged member makes the standard library raise, by how it is packed.
ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


@contextmanager
def _zip_faults(name: str) -> Iterator[None]:
    """Name the member in what is wrong with it: damaged, encrypted, packed in an unknown way."""
    try:
        yield
    except ZIP_FAULTS as error:
        raise InvalidValue(argument="SOURCE", name=name, reason=str(error)) from error


# -- a JSON object -------------------------------------------------------------


def _json(source: Path) -> Plan:
    with local_file(source):
        raw = source.read_bytes()
    try:
        pairs = json.loads(raw, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        reason = "neither a folder, nor a zip, nor JSON"
        raise InvalidValue(argument="SOURCE", path=str(source), reason=reason) from error
    if not isinstance(pairs, tuple):
        raise InvalidValue(argument="SOURCE", path=str(source), reason="JSON, but not an object")
    items: list[Item] = []
    refused: list[Refusal] = []
    for name, text in pairs:
        value = _encoded(text)
        if value is None:
            refused.append(Refusal(name, NO_TEXT))
        else:
            items.append(Item(name, len(value), partial(_open_bytes, value)))
    return Plan(items, refused, [])


def _encoded(text: object) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None


@contextmanager
def _open_bytes(value: bytes) -> Iterator[Readable]:
    yield io.BytesIO(value)
