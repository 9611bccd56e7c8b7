"""A document taken apart: a COSE_Sign1 (RFC 9052) whose payload has these fields.

    84 44 a1013822 a0 <payload: bytes> 58 60 <signature: 96 bytes, r and s>

    module_id    text                     certificate  DER of the leaf, 1 to 1024 bytes
    digest       "SHA384"                 cabundle     DER of root ... issuer, each the same
    timestamp    ms since 1970            public_key   1 to 1024 bytes, null or absent
    pcrs         0..31 -> 32, 48, 64 B    user_data, nonce  0 to 1024 bytes, null or absent

The head is compared as it stands: ES384 in the protected header and nothing in
the unprotected one, so no algorithm is ever read from a document. (The
security module's own description says 512 in one place and 1024 in another for
the last two; both are accepted.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec

from holdfast.errors import AttestationInvalid
from holdfast.identity.attestation import cbor

DOCUMENT_BYTES: Final = 16 << 10
HEAD: Final = bytes.fromhex("8444a1013822a0")
PROTECTED: Final = bytes.fromhex("a1013822")
SIGNATURE_BYTES: Final = 96
FIELD_BYTES: Final = 1024
CERTIFICATES: Final = 8
PCR_LENGTHS: Final = frozenset((32, 48, 64))
PCRS: Final = 32
PCR_BYTES: Final = 48
IMAGE_PCRS: Final = (0, 1, 2)
CUSTOM_PCR: Final = 16
NEEDED: Final = frozenset(("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"))
OPTIONAL: Final = frozenset(("public_key", "user_data", "nonce"))


class Document(msgspec.Struct, frozen=True):
    """What a document claims, none of it believed yet; ``payload`` is as received."""

    payload: bytes
    signature: bytes
    module_id: str
    timestamp_ms: int
    pcrs: dict[int, bytes]
    certificate: bytes
    cabundle: list[bytes]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None


def parse(document: object) -> Document:
    """A document's claims; AttestationInvalid(reason="encoding") for any other bytes."""
    if not isinstance(document, bytes) or not document.startswith(HEAD):
        _refuse("envelope")
    if len(document) > DOCUMENT_BYTES:
        _refuse("size")
    try:
        payload, signature = _envelope(document)
        fields = cbor.decode(payload)
    except cbor.Malformed:
        _refuse("cbor")
    if not isinstance(fields, dict):
        _refuse("payload")
    names = set(fields)
    if not NEEDED <= names <= NEEDED | OPTIONAL or fields["digest"] != "SHA384":
        _refuse("fields")
    return Document(
        payload,
        signature,
        _module(fields["module_id"]),
        _timestamp(fields["timestamp"]),
        _pcrs(fields["pcrs"]),
        _octets(fields, "certificate", 1),
        _bundle(fields["cabundle"]),
        _optional(fields, "public_key", 1),
        _optional(fields, "user_data", 0),
        _optional(fields, "nonce", 0),
    )


def _refuse(what: str) -> NoReturn:
    raise AttestationInvalid(reason="encoding", what=what)


def _envelope(document: bytes) -> tuple[bytes, bytes]:
    reader = cbor.Reader(document, len(HEAD))
    payload, signature = reader.item(), reader.item()
    reader.end()
    if not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise cbor.Malformed
    if len(signature) != SIGNATURE_BYTES:
        raise cbor.Malformed
    return payload, signature


def _module(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= FIELD_BYTES:
        _refuse("module_id")
    return value


def _timestamp(value: object) -> int:
    if type(value) is not int or value <= 0:
        _refuse("timestamp")
    return value


def _pcrs(value: object) -> dict[int, bytes]:
    if not isinstance(value, dict) or not 0 < len(value) <= PCRS:
        _refuse("pcrs")
    for index, content in value.items():
        if type(index) is not int or not 0 <= index < PCRS:
            _refuse("pcrs")
        if type(content) is not bytes or len(content) not in PCR_LENGTHS:
            _refuse("pcrs")
    # A register that is not there says nothing, least of all zero.
    if any(len(value.get(index, b"")) != PCR_BYTES for index in IMAGE_PCRS):
        _refuse("pcrs")
    if len(value.get(CUSTOM_PCR, bytes(PCR_BYTES))) != PCR_BYTES:
        _refuse("pcrs")
    return value


def _bundle(value: object) -> list[bytes]:
    if not isinstance(value, list) or not 0 < len(value) <= CERTIFICATES:
        _refuse("cabundle")
    if not all(type(entry) is bytes and 0 < len(entry) <= FIELD_BYTES for entry in value):
        _refuse("cabundle")
    return value


def _octets(fields: Mapping[int | str, cbor.Item], name: str, least: int) -> bytes:
    value = fields[name]
    if type(value) is not bytes or not least <= len(value) <= FIELD_BYTES:
        _refuse(name)
    return value


def _optional(fields: Mapping[int | str, cbor.Item], name: str, least: int) -> bytes | None:
    return None if fields.get(name) is None else _octets(fields, name, least)
