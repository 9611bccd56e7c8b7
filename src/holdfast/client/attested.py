"""A store's key that nobody has to bring: the server's attestation document says which it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from holdfast.client.asks import Ask
from holdfast.errors import AttestationInvalid, InvalidValue

ASK: Final = Ask("GET", "/v1/root", {"accept": "application/msgpack"}, repeatable=True)


class Told(msgspec.Struct):
    """What is read of the server's answer."""

    attestation: bytes | None = None


@dataclass(frozen=True)
class Attested:
    """The enclave images that are trusted to hold the store's key; in place of ``public_key``.

    The document that the server shows beside its signed root is verified before the first read
    that must prove itself, and its key is believed from then on.

    Args:
        images: ids of images, hex; one at least.
        roots: DER of the roots that may vouch for enclaves; Amazon's if None.
        max_age_s: how old the document may be, seconds; None: of any age.

    Example:
        >>> trusted = Attested(images=["1f" * 32])
    """

    images: Collection[str]
    roots: Sequence[bytes] | None = None
    max_age_s: float | None = None

    def __post_init__(self) -> None:
        """InvalidValue where any image would do."""
        if not self.images or isinstance(self.images, str):
            raise InvalidValue(argument="images", reason="ids of images, one at least")

    def key_of(self, document: bytes | None, now_ns: int) -> bytes:
        """The key, as DER, that a document binds to one of the images.

        Raises:
            AttestationInvalid: it does not convince; ``reason`` is "key" where there is none.
        """
        from holdfast.identity.attestation import AWS, key_of  # noqa: PLC0415 - 30 ms

        if document is None:
            raise AttestationInvalid(reason="key")
        bound = key_of(
            document,
            now_ns=now_ns,
            max_age_s=self.max_age_s,
            roots=AWS if self.roots is None else self.roots,
            images=self.images,
        )
        return bound.public_key
