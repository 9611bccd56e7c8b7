"""What a call begins with: the fields of its header, read (gRPC over HTTP/2, "Requests")."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from holdfast.server.http2 import coding
from holdfast.wire.protobuf.statuses import INVALID_ARGUMENT, UNIMPLEMENTED

if TYPE_CHECKING:
    from holdfast.server.http2.methods import Method, Methods

Pair = tuple[str, str | bytes]
NS: Final = {
    b"H": 3_600_000_000_000,
    b"M": 60_000_000_000,
    b"S": 1_000_000_000,
    b"m": 1_000_000,
    b"u": 1_000,
    b"n": 1,
}
TIMEOUT_DIGITS: Final = 8
TIMEOUT: Final = b"grpc-timeout"
OWN: Final = frozenset((b"te", b"content-type", b"grpc-accept-encoding", b"grpc-encoding", TIMEOUT))
ENCODINGS: Final = frozenset((b"identity", b"gzip", b"deflate"))
NOT_ALLOWED, NOT_GRPC = 405, 415  # statuses of HTTP, for who speaks no gRPC
ASKED: Final = frozenset((b":method", b":scheme", b":path"))
KNOWN: Final = ASKED | {b":authority"}
BINARY: Final = b"-bin"
TRAILERS: Final = b"trailers"
CONNECTION: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)


class Malformed(Exception):
    """A header that HTTP/2 does not allow: its call is ended, and never begun."""


class Opening:
    """A header, read; the same for all calls that begin alike.

    ``metadata`` is what the caller says beside HTTP's and gRPC's own fields, ``kept`` room for what
    whoever answers makes of that. ``refusal`` is why the call is not begun: a status and a text.
    """

    __slots__ = ("encoding", "http_status", "kept", "metadata", "method", "refusal", "timeout_ns")

    def __init__(self, method: Method | None, metadata: tuple[Pair, ...]) -> None:
        self.method = method
        self.metadata = metadata
        self.encoding = b""
        self.http_status = 0
        self.kept: dict[str, str] | None = None
        self.refusal: tuple[int, str] | None = None
        self.timeout_ns: int | None = None


def read(fields: Sequence[coding.Field], methods: Methods) -> Opening:
    """What the fields of a header say.

    Raises:
        Malformed: they are none of a request.
    """
    asked, rest = _split(fields)
    told = dict(rest)
    if not asked.keys() >= ASKED or not asked[b":path"] or told.get(b"te", TRAILERS) != TRAILERS:
        raise Malformed
    opening = Opening(methods.find(asked[b":path"]), ())
    try:
        opening.metadata = tuple(_pair(*one) for one in rest if one[0] not in OWN)
        opening.timeout_ns = _timeout_ns(told.get(TIMEOUT))
    except (ValueError, binascii.Error):
        opening.refusal = (INVALID_ARGUMENT, "metadata that cannot be read")
    opening.encoding = told.get(b"grpc-encoding", b"identity")
    if opening.method is None:
        opening.refusal = (UNIMPLEMENTED, "Method not found!")
    elif opening.encoding not in ENCODINGS:
        opening.refusal = (UNIMPLEMENTED, "that encoding is not known")
    if not told.get(b"content-type", b"").startswith(b"application/grpc"):
        opening.http_status = NOT_GRPC
    if asked[b":method"] != b"POST":
        opening.http_status = NOT_ALLOWED
    if opening.http_status:
        opening.refusal = (UNIMPLEMENTED, "not a call of gRPC")
    return opening


def _split(fields: Iterable[coding.Field]) -> tuple[dict[bytes, bytes], list[coding.Field]]:
    """The fields that begin with a colon, and the others."""
    asked: dict[bytes, bytes] = {}
    rest: list[coding.Field] = []
    for name, value in fields:
        if not name.startswith(b":"):
            if name != name.lower() or name in CONNECTION:
                raise Malformed
            rest.append((name, value))
        elif rest or name in asked or name not in KNOWN:
            raise Malformed
        else:
            asked[name] = value
    return asked, rest


def _pair(name: bytes, value: bytes) -> Pair:
    if name.endswith(BINARY):
        return name.decode("ascii"), b64decode(value + b"=" * (-len(value) % 4), validate=True)
    return name.decode("ascii"), value.decode("ascii")


def _timeout_ns(told: bytes | None) -> int | None:
    if told is None:
        return None
    digits, unit = told[:-1], told[-1:]
    if not digits.isdigit() or len(digits) > TIMEOUT_DIGITS or unit not in NS:
        raise ValueError
    return int(digits) * NS[unit]


# -- what a call ends with ---------------------------------------------------------------------

GRPC: Final = coding.field(b"content-type", b"application/grpc")
BEGUN: Final = coding.OK_STATUS + GRPC
STATUS: Final = [coding.field(b"grpc-status", b"%d" % number) for number in range(17)]
WELL: Final = STATUS[0]


def status_of(number: int) -> bytes:
    """HTTP's status as it is sent; 0 stands for 200."""
    return coding.field(b":status", b"%d" % number) if number else coding.OK_STATUS


def fields_of(pairs: Iterable[Pair]) -> bytes:
    """Metadata as it is sent."""
    return b"".join([_field(name, value) for name, value in pairs])


def _field(name: str, value: str | bytes) -> bytes:
    if isinstance(value, str):
        return coding.field(name.encode(), value.encode())
    return coding.field(name.encode(), b64encode(value).rstrip(b"="))


def refused(number: int, text: str, pairs: Iterable[Pair]) -> bytes:
    """The trailers of a call that did not go well."""
    return STATUS[number] + coding.field(b"grpc-message", quoted(text)) + fields_of(pairs)


def quoted(text: str) -> bytes:
    """A text as ``grpc-message`` has it: visible ASCII, the rest as %XX.

    Example:
        >>> quoted("50 % für")
        b'50 %25 f%C3%BCr'
    """
    if text.isascii() and text.isprintable() and "%" not in text:
        return text.encode()
    told = [b"%c" % one if _plain(one) else b"%%%02X" % one for one in text.encode()]
    return b"".join(told)


def _plain(byte: int) -> bool:
    return byte in range(0x20, 0x7F) and byte != ord("%")
