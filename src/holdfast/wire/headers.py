"""Put options, numbered writes, ranges and deadlines as HTTP headers, and back.

Headers arrive as a mapping of lower-case names to texts, as HTTP/1.1 has them (latin-1).
docs/PROTOCOL.md sections 1 and 2 say what each means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from holdfast.bucket.rows import decode_id, encode_ids
from holdfast.errors import InvalidExpiry, InvalidValue
from holdfast.limits import SECOND_NS
from holdfast.operations import StoreOptions
from holdfast.request.arguments import content_type, duration_ns, index, life_ns, outside, tags
from holdfast.wire.problems import INT_MOST
from holdfast.wire.values import consumer_ids, decode, told_ids

TTL, KEEP_TTL = "holdfast-ttl", "holdfast-keep-ttl"
FENCE, CONSUMERS, PERMANENT = "holdfast-fence", "holdfast-consumers", "holdfast-permanent"
IF_MATCH, IF_NONE_MATCH = "if-match", "if-none-match"
CONTENT_TYPE, CONTENT_RANGE = "content-type", "content-range"
SESSION, TIMEOUT, COST = "holdfast-session", "holdfast-timeout", "holdfast-cost"
INDEX, TAGS = "holdfast-index", "holdfast-tags"
OCTETS: Final = "application/octet-stream"

SECONDS = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?", re.ASCII)
INTEGER = re.compile(r"\d{1,20}", re.ASCII)
ETAG = re.compile(r'"(\d{1,20})"', re.ASCII)
NUMBERED = re.compile(r"([0-9a-f]{32});(\d{1,19});(\d{1,19})", re.ASCII)
RANGE = re.compile(r"bytes=(\d{0,64})-(\d{0,64})", re.ASCII)
FLAGS: Final = {"true": True, "false": False}


class Numbered(msgspec.Struct, frozen=True):
    """Which write of which session a request is; everything below ``floor`` is settled."""

    session: bytes
    number: int
    floor: int


# -- options of a put ------------------------------------------------------------------


def headers_of(options: StoreOptions) -> dict[str, str]:
    """The headers that ask for these options.

    Raises:
        InvalidValue: no header can carry one of them.

    Example:
        >>> headers_of(StoreOptions(ttl_ns=1_500_000_000, if_version=7))
        {'holdfast-ttl': '1.5', 'if-match': '"7"'}
    """
    version, fence = travelling(options)
    asked = {
        TTL: None if options.ttl_ns is None else seconds_text(options.ttl_ns),
        KEEP_TTL: "true" if options.keep_ttl else None,
        IF_NONE_MATCH: "*" if options.if_absent else None,
        IF_MATCH: None if version is None else f'"{version}"',
        FENCE: None if fence is None else str(fence),
        CONSUMERS: None if options.consumers is None else _list_of(options.consumers),
        PERMANENT: "true" if options.permanent else None,
        CONTENT_TYPE: _header_text(options.content_type),
        INDEX: None if options.index is None else json_text(options.index),
        TAGS: None if options.tags is None else json_text(options.tags),
    }
    return {name: text for name, text in asked.items() if text is not None}


def options_of(headers: Mapping[str, str]) -> StoreOptions | None:
    """The options that headers ask for; None where they ask for none.

    Raises:
        InvalidExpiry: of ``Holdfast-TTL``. InvalidValue: of any other (``argument`` names it).
    """
    ttl = headers.get(TTL)
    consumers = headers.get(CONSUMERS)
    options = StoreOptions(
        None if ttl is None else ttl_ns(ttl),
        _flag(headers, KEEP_TTL),
        _if_absent(headers),
        version_of(headers, IF_MATCH),
        _integer(headers, FENCE),
        None if consumers is None else _consumers_of(consumers),
        _flag(headers, PERMANENT),
        content_type(_plain_text(headers.get(CONTENT_TYPE))),
        index=index(json_of(headers, INDEX)),
        tags=tags(json_of(headers, TAGS)),
    )
    if options.ttl_ns is not None and (options.keep_ttl or options.permanent):
        raise InvalidExpiry(ttl=ttl, reason="excluded by keep_ttl or permanent")
    return None if options == NONE_ASKED else options


NONE_ASKED: Final = StoreOptions()


def _if_absent(headers: Mapping[str, str]) -> bool:
    asked = headers.get(IF_NONE_MATCH)
    if asked not in {None, "*"}:
        raise InvalidValue(argument=IF_NONE_MATCH, reason='a put takes only "*"')
    return asked is not None


def _consumers_of(text: str) -> tuple[bytes, ...]:
    try:
        told = decode(text.encode("latin-1"), list[str | dict[str, str]])
    except (InvalidValue, UnicodeEncodeError):
        raise InvalidValue(argument=CONSUMERS, reason="not a JSON list of ids") from None
    return encode_ids(consumer_ids(told))


def _list_of(encoded: tuple[bytes, ...]) -> str:
    """Ids as a JSON list of ASCII: a header has no other letters for certain."""
    return json_text(told_ids(map(decode_id, encoded)))


def json_text(value: object) -> str:
    """A value as JSON of ASCII."""
    told = msgspec.json.encode(value).decode()
    return "".join([c if c.isascii() else _escaped(c) for c in told])


def json_of(headers: Mapping[str, str], name: str) -> object:
    """What a header, or an argument, says as JSON; None where it is not there."""
    asked = headers.get(name)
    if asked is None:
        return None
    try:
        return msgspec.json.decode(asked.encode("latin-1"))
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise InvalidValue(argument=name, reason="not JSON") from None


def _escaped(char: str) -> str:
    r"""A letter as JSON escapes it: ``\uXXXX``, in surrogates beyond the first plane."""
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _header_text(text: str | None) -> str | None:
    """A text as a header may carry it: UTF-8, read as latin-1.

    Raises:
        InvalidValue: it has control characters, or blanks at an end, which HTTP takes away.
    """
    if text is None:
        return None
    return (content_type(text) or "").encode().decode("latin-1")


def _plain_text(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        raise InvalidValue(argument=CONTENT_TYPE, reason="not UTF-8") from None


# -- times -----------------------------------------------------------------------------


def seconds_text(ns: int) -> str:
    """Nanoseconds as seconds, exactly.

    Example:
        >>> seconds_text(30_000_000_000), seconds_text(1)
        ('30', '0.000000001')
    """
    whole, part = divmod(ns, SECOND_NS)
    return f"{whole}.{part:09d}".rstrip("0") if part else str(whole)


def ttl_ns(text: str) -> int:
    """Nanoseconds of a time to live: seconds ("30", "0.5"), or text like "30d"."""
    found = SECONDS.fullmatch(text)
    if found is None:
        return duration_ns(text)
    return life_ns(_ns(found), ttl=text)


def timeout_ns(headers: Mapping[str, str]) -> int | None:
    """Nanoseconds that the caller will wait, from ``Holdfast-Timeout``; None if it says none."""
    text = headers.get(TIMEOUT)
    if text is None:
        return None
    found = SECONDS.fullmatch(text)
    if found is None:
        raise InvalidValue(argument=TIMEOUT, reason="not seconds")
    return _ns(found)


def _ns(found: re.Match[str]) -> int:
    return int(found[1]) * SECOND_NS + int((found[2] or "").ljust(9, "0"))


# -- versions, ranges, numbers -------------------------------------------------------------


def version_of(headers: Mapping[str, str], name: str) -> int | None:
    """The version that a header with one entity tag names, None where it is absent."""
    text = headers.get(name)
    if text is None:
        return None
    found = ETAG.fullmatch(text)
    if found is None:
        raise InvalidValue(argument=name, reason='not a version in quotes, as "7"')
    return _in_64_bits(found[1], name)


def _in_64_bits(digits: str, name: str) -> int:
    """What digits say: no version and no fence has more, and a refusal could not be kept."""
    number = int(digits)
    if number > INT_MOST:
        raise outside(name)
    return number


def travelling(options: StoreOptions) -> tuple[int | None, int | None]:
    """The version and the fence that a put asks for, as they travel: 0 to 2^64 - 1, or None.

    Raises:
        InvalidValue: one is no such number; none was ever given.
    """
    numbers = (options.if_version, options.fence)
    for name, number in zip(("if_version", "fence"), numbers, strict=True):
        if number is not None and not 0 <= number <= INT_MOST:
            raise outside(name)
    return numbers


def range_text(start: int, stop: int) -> str:
    """The ``Range`` header for bytes ``start`` to ``stop``, exclusive, of at least one byte."""
    return f"bytes={start}-{stop - 1}"


def range_of(text: str) -> tuple[int | None, int | None]:
    """The first and the last byte (inclusive) that a ``Range`` header names.

    ``(n, None)`` is everything from n, ``(None, n)`` the last n bytes.

    Raises:
        InvalidValue: it names no range of bytes, or several.
    """
    found = RANGE.fullmatch(text)
    first, last = (found[1], found[2]) if found else ("", "")
    if not (first or last) or (first and last and int(last) < int(first)):
        raise InvalidValue(argument="range", reason="not one range of bytes")
    return (int(first) if first else None), (int(last) if last else None)


def numbered_text(numbered: Numbered) -> str:
    """The ``Holdfast-Session`` header of a numbered write.

    Example:
        >>> numbered_text(Numbered(bytes(16), 7, 3))
        '00000000000000000000000000000000;7;3'
    """
    return f"{numbered.session.hex()};{numbered.number};{numbered.floor}"


def numbered_of(headers: Mapping[str, str]) -> Numbered | None:
    """Which write of which session this is; None where it is not numbered."""
    text = headers.get(SESSION)
    if text is None:
        return None
    found = NUMBERED.fullmatch(text)
    if found is None:
        raise InvalidValue(argument=SESSION, reason="not <32 hex digits>;<number>;<floor>")
    return Numbered(bytes.fromhex(found[1]), int(found[2]), int(found[3]))


def _integer(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    if not INTEGER.fullmatch(text):
        raise InvalidValue(argument=name, reason="not an integer")
    return _in_64_bits(text, name)


def _flag(headers: Mapping[str, str], name: str) -> bool:
    text = headers.get(name)
    if text is None:
        return False
    if text not in FLAGS:
        raise InvalidValue(argument=name, reason="true or false")
    return FLAGS[text]
