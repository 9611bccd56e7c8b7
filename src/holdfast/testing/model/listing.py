"""Which names a list shows, said over all keys at once."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.errors import InvalidValue
from holdfast.testing.model import arguments

SEPARATOR = "/"


def names(
    keys: Iterable[str],
    prefix: object,
    *,
    recursive: bool,
    by: object,
    limit: object,
    after: object,
) -> list[str]:
    """The names to show, in byte order; names of deeper levels end in "/".

    Text mode cuts at the first "/" after the prefix as it is written; component
    mode takes the prefix for the name of a directory and shows what lies in it.
    """
    text = arguments.listing_text(prefix, "prefix")
    most = arguments.listing_limit(limit)
    cursor = None if after is None else arguments.listing_text(after, "after")
    if by not in {"text", "component"}:
        raise InvalidValue(argument="by")
    component = by == "component"
    shown = {key for key in keys if _covers(text, key, component=component)}
    if not recursive:
        base = _directory(text) if component else text
        shown = {_one_level(base, key) for key in shown}
    # Python orders strings by code point, which is the byte order of their UTF-8.
    ordered = sorted(name for name in shown if cursor is None or name > cursor)
    return ordered[:most]


def has_below(keys: Iterable[str], name: str) -> bool:
    """Whether any key lies below ``name`` taken as a directory."""
    return any(key.startswith(_directory(name)) for key in keys)


def _directory(name: str) -> str:
    return name if not name or name.endswith(SEPARATOR) else name + SEPARATOR


def _covers(prefix: str, key: str, *, component: bool) -> bool:
    if not component:
        return key.startswith(prefix)
    return key == prefix or key.startswith(_directory(prefix))


def _one_level(base: str, key: str) -> str:
    if not key.startswith(base):
        return key  # the directory's own name, itself a key
    head, separator, _ = key[len(base) :].partition(SEPARATOR)
    return base + head + separator
