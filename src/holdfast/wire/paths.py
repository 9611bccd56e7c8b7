r"""Keys in paths and texts in queries: percent-encoded once, never normalised.

A key is everything behind its place in the path. What libraries and proxies like to tidy up is
encoded: "." and ".." as parts, and every slash at either end or beside another one.

    key             "a/b c"      "../x//y/"
    in the path     a/b%20c      %2E%2E/x%2F%2Fy%2F

Anybody may send a slash or a dot as it is: decoding gives the same key.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from holdfast.errors import InvalidKey
from holdfast.limits import KEY_BYTES
from holdfast.request.arguments import compose
from holdfast.wire.problems import unreadable

PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
ENCODED: Final = [chr(byte) if byte in PLAIN else f"%{byte:02X}" for byte in range(256)]
UNCHANGED: Final = bytes(PLAIN | {ord("/")})  # what decoding leaves as it is
ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")
QUERY_FIELDS: Final = 64


def encode_key(key: str) -> str:
    """A key as the end of a path; InvalidKey where it is none.

    Example:
        >>> encode_key("../a b//c")
        '%2E%2E/a%20b%2F%2Fc'
    """
    parts = compose(b"", key).split(b"/")
    pieces = [_part(parts[0])]
    for before, part in pairwise(parts):
        pieces.append("/" if before and part else "%2F")
        pieces.append(_part(part))
    return "".join(pieces)


def _part(part: bytes) -> str:
    if part in {b".", b".."}:
        return "%2E" * len(part)
    return "".join([ENCODED[byte] for byte in part])


def decode_key(raw: bytes) -> str:
    """The key that the end of a path names.

    Raises:
        InvalidKey: it is empty, over 1,024 bytes, not UTF-8, or a "%" begins no escape.
    """
    if len(raw) > 3 * KEY_BYTES:
        raise InvalidKey(reason="1 to 1024 bytes", length=len(raw))
    if b"%" in raw:
        if BROKEN.search(raw):
            raise InvalidKey(reason="broken percent-encoding")
        raw = _unescape(raw)
    try:
        key = raw.decode()
    except UnicodeDecodeError:
        raise InvalidKey(reason="not UTF-8") from None
    if not 0 < len(raw) <= KEY_BYTES:
        raise InvalidKey(reason="1 to 1024 bytes", length=len(raw))
    return key


def _unescape(raw: bytes) -> bytes:
    return ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), raw)


def encode_text(text: str) -> str:
    """A text as the value of a query field."""
    return "".join([ENCODED[byte] for byte in text.encode()])


def encode_query(fields: dict[str, str]) -> str:
    """Fields as a query, without the question mark; "" where there are none.

    Example:
        >>> encode_query({"prefix": "a/b", "limit": "10"})
        'prefix=a%2Fb&limit=10'
    """
    return "&".join(f"{encode_text(name)}={encode_text(value)}" for name, value in fields.items())


def decode_query(raw: bytes) -> dict[str, str]:
    """The fields of a query; "+" is a space, as forms have it. Given twice, the last one counts.

    Raises:
        InvalidValue: not UTF-8, a "%" that begins no escape, or over 64 fields.
    """
    fields: dict[str, str] = {}
    parts = raw.split(b"&", QUERY_FIELDS)
    if len(parts) > QUERY_FIELDS:
        raise unreadable("too many fields in the query")
    if BROKEN.search(raw):
        raise unreadable("broken percent-encoding in the query")
    for part in filter(None, parts):
        name, _, value = part.replace(b"+", b" ").partition(b"=")
        try:
            fields[_unescape(name).decode()] = _unescape(value).decode()
        except UnicodeDecodeError:
            raise unreadable("the query is not UTF-8") from None
    return fields
