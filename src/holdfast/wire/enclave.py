"""The enclave API's JSON: what its two forms ask, and the same answers in the form of the question.

    flat              {"key": k}                              {"value": v}
    under "data"      {"data": k}                             {"data": v}

docs/PROTOCOL.md section 5 has the table of all.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal

import msgspec

from holdfast.errors import InvalidExpiry, InvalidValue
from holdfast.limits import SECOND_NS
from holdfast.request.arguments import life_ns
from holdfast.values import Stat
from holdfast.wire.problems import unreadable
from holdfast.wire.values import decode, encode

Shape = Literal["flat", "data"]
Encoding = Literal["utf-8", "base64"]
KEEP: Final = -1
MILLISECOND_NS: Final = 1_000_000
UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
NESTED: Final = frozenset(("store", "list"))  # these have an object under "data", the rest a key


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field that nobody knows may change what is meant: it is refused."""


class Keyed(_Asked, frozen=True):
    """What load asks; exists, stat, delete and lock ask the same."""

    key: str
    encoding: Encoding = "utf-8"


class Stored(_Asked, frozen=True):
    """What store asks; ``expiry`` is nanoseconds, -1 keeps."""

    key: str
    value: str
    expiry: int | None = None
    encoding: Encoding = "utf-8"

    @property
    def ttl_ns(self) -> int | None:
        """Nanoseconds to live, None to keep what is there; InvalidExpiry."""
        expiry = self.expiry
        if expiry == KEEP:
            return None
        if expiry is None or expiry <= 0:
            raise InvalidExpiry(expiry=expiry, reason="nanoseconds above 0, or -1 to keep")
        return life_ns(expiry, expiry=expiry)

    @property
    def payload(self) -> bytes:
        """The value's bytes; InvalidValue where it is not in its encoding."""
        try:
            if self.encoding == "base64":
                return base64.b64decode(self.value, validate=True)
            return self.value.encode()
        except (binascii.Error, ValueError):
            raise InvalidValue(argument="value", reason=f"not {self.encoding}") from None


class Listed(_Asked, frozen=True):
    """What list asks; ``limit`` and ``after`` page."""

    prefix: str = ""
    is_recursive: bool = False
    limit: int | None = None
    after: str | None = None


class Unlocked(_Asked, frozen=True):
    """What unlock asks; ``lock_id`` is a list of 20 numbers below 256."""

    key: str
    lock_id: Sequence[int]

    @property
    def id(self) -> bytes:
        """The lock's id as bytes; one that can be none holds nothing."""
        try:
            return bytes(self.lock_id)
        except ValueError:
            raise InvalidValue(argument="lock_id", reason="not a list of bytes") from None


Asked = Keyed | Stored | Listed | Unlocked
KINDS: Final[dict[str, type[Asked]]] = {
    "load": Keyed,
    "store": Stored,
    "exists": Keyed,
    "list": Listed,
    "stat": Keyed,
    "delete": Keyed,
    "lock": Keyed,
    "unlock": Unlocked,
}


def asked(route: str, body: bytes) -> tuple[Asked, Shape]:
    """What a request of the enclave API asks, and in which form.

    Args:
        route: of ``KINDS``.
        body: JSON.

    Raises:
        InvalidValue: it cannot be read (status 400).

    Example:
        >>> asked("load", b'{"data": "a"}')
        (Keyed(key='a', encoding='utf-8'), 'data')
    """
    kind = KINDS[route]
    with suppress(*UNREADABLE):  # most ask so; what has a field too many is no such thing
        return msgspec.json.decode(body, type=kind), "flat"
    top = decode(body, dict[str, msgspec.Raw])
    if "data" not in top:
        return decode(body, kind), "flat"
    data = top.pop("data")
    if route in NESTED:
        if top:
            raise unreadable("more than data")
        return decode(bytes(data), kind), "data"
    if "key" in top:
        raise unreadable("both forms at once")
    return decode(msgspec.json.encode({"key": data, **top}), kind), "data"


# -- answers --------------------------------------------------------------------------


def told_value(value: bytes, shape: Shape, encoding: Encoding) -> bytes:
    """The answer to load; InvalidValue where the value is no text and none was asked for."""
    name = "value" if shape == "flat" else "data"
    if encoding == "base64":
        return encode({name: base64.b64encode(value).decode(), "encoding": encoding})
    try:
        return encode({name: value.decode()})
    except UnicodeDecodeError:
        raise InvalidValue(argument="encoding", reason="the value is no text") from None


def told_exists(found: bool, shape: Shape) -> bytes:  # noqa: FBT001 - it is the answer
    """The answer to exists."""
    return encode({"value" if shape == "flat" else "data": found})


def told_keys(keys: Sequence[str], shape: Shape) -> bytes:
    """The answer to list."""
    return encode({"keys_list" if shape == "flat" else "data": keys})


def told_stat(stat: Stat, shape: Shape) -> bytes:
    """The answer to stat."""
    told = {
        "key": stat.key,
        "modified": rfc3339(stat.modified_ns) if stat.terminal else None,
        "modified_ms": stat.modified_ns // MILLISECOND_NS if stat.terminal else None,
        "size": stat.size,
        "terminal": stat.terminal,
        "is_terminal": stat.terminal,
    }
    return encode(told if shape == "flat" else {"data": told})


def told_lock(lock_id: bytes) -> bytes:
    """The answer to lock, the same in both forms."""
    return encode({"lock_id": list(lock_id)})


def rfc3339(at_ns: int) -> str:
    """Nanoseconds since 1970 as a date and time.

    Example:
        >>> rfc3339(1_700_000_000_000_000_001)
        '2023-11-14T22:13:20.000000001Z'
    """
    seconds, rest = divmod(at_ns, SECOND_NS)
    day = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return f"{day:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def children(names: Sequence[str]) -> list[str]:
    """Names of one level, as the enclave API tells them: directories without their slash.

    Args:
        names: of a one-level list, where a deeper level is a name that ends in "/".

    Example:
        >>> children(["dir/a", "dir/b", "dir/b/"])
        ['dir/a', 'dir/b']
    """
    return sorted({name.removesuffix("/") or name for name in names}, key=str.encode)
