"""Names that cannot cross between keys and files, and why.

A key is any text of 1 to 1024 UTF-8 bytes; a path is much less. What cannot
cross is refused by name before anything is written; it is never bent into
something else, because a bent name would not come back as the same key.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.limits import KEY_BYTES

_COMPONENT_BYTES = 255  # NAME_MAX of every file system in wide use
_NAMES_TOLD = 100  # an error tells so many names, and how many there are


@dataclass(frozen=True)
class Refusal:
    """A name that cannot be taken, and the reason in words."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name!r}: {self.reason}"


def told(refusals: list[Refusal]) -> dict[str, object]:
    """Refusals as the facts of an error.

    Example:
        >>> told([Refusal("..", "no")])
        {'count': 1, 'refused': [{'name': '..', 'reason': 'no'}]}
    """
    first = [{"name": one.name, "reason": one.reason} for one in refusals[:_NAMES_TOLD]]
    return {"count": len(refusals), "refused": first}


def key_refusal(key: str) -> str | None:
    """Why a text cannot be a key, or None.

    Example:
        >>> key_refusal("../x") is None, key_refusal("")
        (True, 'an empty name')
    """
    if not key:
        return "an empty name"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "not UTF-8"
    return f"{size} bytes, and a key has at most {KEY_BYTES}" if size > KEY_BYTES else None


def path_refusal(name: str) -> str | None:
    """Why a key cannot be a path below a folder, or None.

    Example:
        >>> path_refusal("a/b") is None, path_refusal("../x")
        (True, "'..' leads out of the folder")
    """
    if name.startswith("/"):
        return "an absolute path"
    for component in name.split("/"):
        if reason := _component_refusal(component):
            return reason
    return None


def shadowed(names: Iterable[str]) -> set[str]:
    """The names that others lie below: "a" beside "a/b" cannot be a file and a folder.

    Example:
        >>> shadowed(["a", "a/b", "c"])
        {'a'}
    """
    files = set(names)
    return {folder for name in files for folder in _folders(name) if folder in files}


def zip_refusal(name: str) -> str | None:
    """Why a key cannot be the name of a member of a zip, or None.

    A zip has no other way to say "folder" than a slash at the end, and readers
    cut names at a zero byte.
    """
    if not name:
        return "an empty name"
    if "\0" in name:
        return "a zero byte"
    return "a slash at the end, which means a folder in a zip" if name.endswith("/") else None


def _component_refusal(component: str) -> str | None:
    if not component:
        return "an empty name between slashes"
    if component in {".", ".."}:
        return f"{component!r} leads out of the folder"
    if "\0" in component:
        return "a zero byte"
    if os.name == "nt" and any(sign in component for sign in '\\:*?"<>|'):
        return "a sign that this system gives a meaning of its own"
    size = len(component.encode())
    too_long = size > _COMPONENT_BYTES
    return (
        f"a name of {size} bytes, and a file has at most {_COMPONENT_BYTES}" if too_long else None
    )


def _folders(name: str) -> Iterable[str]:
    end = name.rfind("/")
    while end > 0:
        yield name[:end]
        end = name.rfind("/", 0, end)
