"""A mock of the authority behind Nitro documents: its own root, the same form, any mistake.

There is no security module where tests run. A server believes these documents
only where its setting ``attestation.roots`` names this root, which it logs
loudly: whoever holds the root's key can be any enclave.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import cbor2
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from holdfast.clock import Entropy
from holdfast.identity.attestation.document import PROTECTED
from holdfast.identity.attestation.verification import signed_bytes
from holdfast.limits import SECOND_NS

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
PCR_BYTES: Final = 48
CURVE: Final = ec.SECP384R1()
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LEVELS: Final = (  # as AWS has them: who, valid for how long, how many authorities may follow
    ("aws.nitro-enclaves", 30 * 365 * DAY_S, None),
    ("regional.aws.nitro-enclaves", 20 * DAY_S, 2),
    ("zonal.aws.nitro-enclaves", 6 * DAY_S, 1),
    ("instance.aws.nitro-enclaves", DAY_S, 0),
)


class Certificate(msgspec.Struct, frozen=True):
    """How one certificate is made; each field is a way to make it wrong.

    ``begins_s`` is told from the moment of minting, ``life_s`` from there;
    ``ca``, ``path_length``, ``signs_certificates`` and ``signs`` are what it claims
    to be; ``extra`` is a further critical extension.
    """

    name: str
    life_s: int
    path_length: int | None = None
    begins_s: int = 0
    ca: bool = True
    constraints_critical: bool = True
    usage_critical: bool = True
    signs_certificates: bool = True
    signs: bool = True
    curve: ec.EllipticCurve = CURVE
    digest: hashes.SHA256 | hashes.SHA384 = hashes.SHA384()
    extra: bool = False


LEAF: Final = Certificate(
    "module.aws", 3 * HOUR_S, ca=False, usage_critical=False, signs_certificates=False
)
AUTHORITIES: Final = tuple(
    Certificate(name, life_s, path_length) for name, life_s, path_length in LEVELS
)


def image(number: int) -> dict[int, bytes]:
    """Registers of an image of our own: sixteen, as a real document has, three of them set."""
    registers = {index: bytes(PCR_BYTES) for index in range(16)}
    return registers | {index: bytes((number, index)) * 24 for index in range(3)}


class MockAuthority:
    """Signs any document that a test can think of.

    Args:
        entropy: where its keys and numbers come from; the same seed gives the same root.
        now_ns: when its certificates begin, nanoseconds since 1970.
        authorities: its certificates, root first.
        leaf: the certificate of the key that signs documents.

    Example:
        >>> from holdfast.identity.attestation import verify
        >>> from holdfast.testing import SeededEntropy
        >>> now_ns = 1_700_000_000 * 10**9
        >>> authority = MockAuthority(SeededEntropy(1), now_ns=now_ns)
        >>> document = authority.document(now_ns, pcrs=image(7), nonce=b"once")
        >>> verify(document, now_ns=now_ns, roots=authority.roots).nonce
        b'once'
    """

    def __init__(
        self,
        entropy: Entropy,
        *,
        now_ns: int,
        authorities: tuple[Certificate, ...] = AUTHORITIES,
        leaf: Certificate = LEAF,
    ) -> None:
        self._entropy = entropy
        self._now_ns = now_ns
        self.cabundle: list[bytes] = []
        issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None = None
        for plan in authorities:
            raw, key = self._issue(plan, issuer)
            self.cabundle.append(raw)
            issuer = (_name(plan), key)
        self.certificate, self.key = self._issue(leaf, issuer)

    @property
    def root(self) -> bytes:
        """DER of its root."""
        return self.cabundle[0]

    @property
    def pem(self) -> str:
        """Its root as PEM, for the setting ``attestation.roots``."""
        root = x509.load_der_x509_certificate(self.root)
        return root.public_bytes(Encoding.PEM).decode()

    @property
    def roots(self) -> tuple[bytes, ...]:
        """Its root alone, as ``verify`` takes roots."""
        return (self.root,)

    def document(self, now_ns: int, **fields: object) -> bytes:
        """A document signed at ``now_ns``.

        Args:
            now_ns: the moment it claims, nanoseconds since 1970.
            **fields: of the payload, as the module names them: ``pcrs`` (``image(1)`` if
                none are given), ``nonce``, ``public_key``, ``user_data``; any other in
                place of the right one; one that is ``...`` is left out.
        """
        payload: dict[str, object] = {
            "module_id": "i-00000000000000000-enc0000000000000000",
            "digest": "SHA384",
            "timestamp": now_ns // 1_000_000,
            "pcrs": image(1),
            "certificate": self.certificate,
            "cabundle": self.cabundle,
            "public_key": None,
            "user_data": None,
            "nonce": None,
        }
        payload |= fields
        return self.seal(cbor2.dumps({k: v for k, v in payload.items() if v is not ...}))

    def seal(self, payload: bytes, protected: bytes = PROTECTED) -> bytes:
        """Any payload as a document whose signature is right; ``protected`` goes in its head."""
        digest = hashes.SHA384()
        der = self.key.sign(signed_bytes(payload), ec.ECDSA(digest, deterministic_signing=True))
        r, s = decode_dss_signature(der)
        signature = r.to_bytes(PCR_BYTES, "big") + s.to_bytes(PCR_BYTES, "big")
        return cbor2.dumps([protected, {}, payload, signature])

    def _issue(
        self, plan: Certificate, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None
    ) -> tuple[bytes, ec.EllipticCurvePrivateKey]:
        number = int.from_bytes(self._entropy.bytes(32), "big")
        key = ec.derive_private_key(number, plan.curve)
        above, signer = issuer or (_name(plan), key)
        begins = EPOCH + dt.timedelta(seconds=self._now_ns // SECOND_NS + plan.begins_s)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(plan))
            .issuer_name(above)
            .public_key(key.public_key())
            .serial_number(int.from_bytes(self._entropy.bytes(16), "big") >> 1 | 1)
            .not_valid_before(begins)
            .not_valid_after(begins + dt.timedelta(seconds=plan.life_s))
            .add_extension(
                x509.BasicConstraints(plan.ca, plan.path_length if plan.ca else None),
                critical=plan.constraints_critical,
            )
            .add_extension(_usage(plan), critical=plan.usage_critical)
        )
        if plan.extra:
            builder = builder.add_extension(x509.InhibitAnyPolicy(0), critical=True)
        certificate = builder.sign(signer, plan.digest, ecdsa_deterministic=True)
        return certificate.public_bytes(Encoding.DER), key


def _name(plan: Certificate) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, plan.name)])


def _usage(plan: Certificate) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=plan.signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=plan.signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
