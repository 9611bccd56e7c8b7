"""The certificates of a document: from a pinned root, in order, down to the key that signed.

The profile is narrow, so it is checked here in full instead of by a general
path builder, which would accept a bundle in any order and tell no reason:
P-384 and SHA-384 throughout; each issuer directly above its subject, a
certificate authority by critical constraints, with the right to sign
certificates and a path length that suffices; the leaf no authority, with the
right to sign; no critical extension beyond those (RFC 5280, section 6.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from holdfast.errors import AttestationInvalid
from holdfast.limits import SECOND_NS

UNDERSTOOD: Final = frozenset((ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE))
# What the parser raises for bytes of strangers.
UNREADABLE: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,  # of a serial number below 1, where warnings are errors
)


class Link:
    """One certificate of the chain, read; chain-invalid where it is none of the profile.

    Args:
        raw: DER.
        position: its place, 0 for the root; errors tell it.
    """

    def __init__(self, raw: bytes, position: int) -> None:
        self.position = position
        try:
            self.certificate = x509.load_der_x509_certificate(raw)
            extensions = self.certificate.extensions
            key = self.certificate.public_key()
            self.begins_ns = int(self.certificate.not_valid_before_utc.timestamp()) * SECOND_NS
            # The last second still counts (RFC 5280, 4.1.2.5).
            self.ends_ns = int(self.certificate.not_valid_after_utc.timestamp() + 1) * SECOND_NS
            self.constraints = extensions.get_extension_for_class(x509.BasicConstraints)
            self.usage = extensions.get_extension_for_class(x509.KeyUsage)
        except (*UNREADABLE, x509.ExtensionNotFound):
            raise self.refused("certificate") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
            raise self.refused("key")
        if self.certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
            raise self.refused("algorithm")
        if any(entry.critical and entry.oid not in UNDERSTOOD for entry in extensions):
            raise self.refused("extension")
        self.key = key

    def refused(self, what: str) -> AttestationInvalid:
        """The error that this certificate gives."""
        return AttestationInvalid(reason="chain", what=what, position=self.position)

    def judge_authority(self, below: int) -> None:
        """Refuse what may not issue certificates with ``below`` authorities under it."""
        constraints = self.constraints.value
        if not self.constraints.critical or not constraints.ca:
            raise self.refused("authority")
        if constraints.path_length is not None and constraints.path_length < below:
            raise self.refused("path length")
        if not self.usage.critical or not self.usage.value.key_cert_sign:
            raise self.refused("usage")

    def judge_leaf(self) -> None:
        """Refuse an authority, and a key that is not for signatures."""
        if not self.constraints.critical or self.constraints.value.ca:
            raise self.refused("authority")
        if not self.usage.value.digital_signature:
            raise self.refused("usage")

    def judge_time(self, at_ns: int, leeway_ns: int) -> None:
        """Refuse what has ended, or begins more than ``leeway_ns`` from now.

        A leaf begins at the very second it is asked for, so a clock that is a little
        slow would refuse honest enclaves; only this end has a leeway.
        """
        if at_ns >= self.ends_ns:
            raise AttestationInvalid(
                reason="expired", position=self.position, ends_ns=self.ends_ns, at_ns=at_ns
            )
        if at_ns + leeway_ns < self.begins_ns:
            raise AttestationInvalid(
                reason="future", position=self.position, begins_ns=self.begins_ns, at_ns=at_ns
            )


class Chain:
    """The whole of it, read; nothing is believed before ``judge``.

    Args:
        cabundle: DER of the root and every authority below it, in order.
        leaf: DER of the certificate whose key signed the document.
        roots: DER of the roots that are trusted; the first of the bundle is only
            compared with them, byte by byte.

    Raises:
        AttestationInvalid: reason root, or chain where a certificate is none of the profile.
    """

    def __init__(self, cabundle: Sequence[bytes], leaf: bytes, roots: Sequence[bytes]) -> None:
        if cabundle[0] not in roots:
            raise AttestationInvalid(reason="root")
        self._links = [Link(raw, i) for i, raw in enumerate((*cabundle, leaf))]

    @property
    def leaf(self) -> Link:
        """The certificate whose key signed the document."""
        return self._links[-1]

    @property
    def ends_ns(self) -> int:
        """From when on the first of them counts no more, nanoseconds since 1970."""
        return min(link.ends_ns for link in self._links)

    def judge(self, at_ns: int, leeway_ns: int) -> None:
        """Refuse unless each follows from the one above (chain) and holds now (expired, future).

        Args:
            at_ns: the time to judge at, nanoseconds since 1970.
            leeway_ns: how much later one may begin.
        """
        authorities = self._links[:-1]
        for link in authorities:
            link.judge_authority(len(authorities) - 1 - link.position)
        self.leaf.judge_leaf()
        for issuer, subject in zip(authorities, self._links[1:], strict=True):
            try:
                subject.certificate.verify_directly_issued_by(issuer.certificate)
            except (InvalidSignature, *UNREADABLE):
                raise subject.refused("issuer") from None
        for link in self._links:
            link.judge_time(at_ns, leeway_ns)
