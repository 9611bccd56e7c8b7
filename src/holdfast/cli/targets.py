"""What ``export`` writes: a folder, a zip, or a JSON object of name to text.

A target says of each name whether it can take it, first; then it takes the
values one after the other. What it wrote is there whole at the end, or not at
all: files appear under their name when complete, a folder that could not be
completed is emptied again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO, Literal, Protocol

from holdfast.cli.files import local_file, writing
from holdfast.cli.names import path_refusal, shadowed, zip_refusal
from holdfast.errors import InvalidValue

_NAME_FAULTS = {errno.ENAMETOOLONG, errno.EEXIST, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR}
_ZIP_YEAR = 1980  # a zip knows no time before this
_ZIP_MODE = 0o100644 << 16  # a plain file that its owner may write


Form = Literal["folder", "zip", "json"]
_BY_NAME: dict[str, Form] = {".zip": "zip", ".json": "json"}


class Target(Protocol):
    """Takes values under names."""

    def refusals(self, names: list[str]) -> dict[str, str]:
        """Which names it can not take, and why."""

    def take(self, name: str, modified_ns: int, value: Iterable[bytes]) -> str | None:
        """Write one value; returns why it could not be taken, or None."""


def form_of(path: Path, said: Form | None) -> Form:
    """The form that was asked for, or the one that the file's name tells."""
    return said or _BY_NAME.get(path.suffix.lower(), "folder")


@contextmanager
def target_at(path: Path, form: Form) -> Iterator[Target]:
    """Begin an export; what it wrote stays only if the block ends well.

    Args:
        path: a folder that is new or empty, or a file that is not there yet.
        form: what to write.

    Raises:
        InvalidValue: something is there already, or it could not be written.
    """
    if form == "folder":
        with _new_folder(path):
            yield _Folder(path)
        return
    if os.path.lexists(path):
        raise InvalidValue(argument="TARGET", path=str(path), reason="something is there already")
    with writing(path) as stream:
        if form == "zip":
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
                yield _Zip(archive)
        else:
            document = _Json(stream)
            yield document
            document.end()


@contextmanager
def _new_folder(path: Path) -> Iterator[None]:
    with local_file(path):
        is_new = not path.exists()
        if not is_new and not path.is_dir():
            raise InvalidValue(argument="TARGET", path=str(path), reason="a file is there already")
        path.mkdir(parents=True, exist_ok=True)
        taken = next(path.iterdir(), None) is not None
    if taken:
        raise InvalidValue(argument="TARGET", path=str(path), reason="the folder is not empty")
    try:
        yield
    except BaseException:
        for entry in path.iterdir():  # the folder was empty, so all of it is ours
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if is_new:
            path.rmdir()
        raise


class _Folder:
    """A file for each key, folders where keys have slashes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def refusals(self, names: list[str]) -> dict[str, str]:
        found = {name: reason for name in names if (reason := path_refusal(name))}
        below = shadowed(name for name in names if name not in found)
        return found | dict.fromkeys(below, "other keys lie below it, so it would be a folder too")

    def take(self, name: str, modified_ns: int, value: Iterable[bytes]) -> str | None:
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            target = path.open("xb")
        except OSError as error:
            if error.errno in _NAME_FAULTS:  # too long here, or the same file but for case
                return f"this file system refuses it: {os.strerror(error.errno)}"
            with local_file(path):
                raise
        with local_file(path), target:
            for piece in value:
                target.write(piece)
        os.utime(path, ns=(modified_ns, modified_ns))
        return None


class _Zip:
    """A member for each key, whatever the key is; nobody has to unpack it to a disk."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def refusals(self, names: list[str]) -> dict[str, str]:
        return {name: reason for name in names if (reason := zip_refusal(name))}

    def take(self, name: str, modified_ns: int, value: Iterable[bytes]) -> str | None:
        moment = datetime.fromtimestamp(modified_ns // 1_000_000_000, UTC)
        stamp = moment.timetuple()[:6] if moment.year >= _ZIP_YEAR else (_ZIP_YEAR, 1, 1, 0, 0, 0)
        member = zipfile.ZipInfo(name, stamp)
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = _ZIP_MODE
        with self._archive.open(member, "w", force_zip64=True) as target:
            for piece in value:
                target.write(piece)
        return None


class _Json:
    """One object, a line for each key; values must be text."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream: IO[bytes] = stream
        self._before = b"{\n"

    def refusals(self, names: list[str]) -> dict[str, str]:
        del names  # any text is a name in JSON
        return {}

    def take(self, name: str, modified_ns: int, value: Iterable[bytes]) -> str | None:
        del modified_ns  # a JSON object has no place for it
        try:
            text = b"".join(value).decode()
        except UnicodeDecodeError:
            return "its value is not text; a zip or a folder takes it"
        pair = f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(text, ensure_ascii=False)}"
        self._stream.write(self._before + pair.encode())
        self._before = b",\n"
        return None

    def end(self) -> None:
        """Close the object."""
        self._stream.write(b"\n}\n" if self._before == b",\n" else b"{}\n")
