"""The roots that attestation documents may end in, as DER.

AWS Nitro Enclaves root G1, valid from 2019 to 2049; the SHA-256 of its DER is
641a0321a3e244efe456463195d60631
7ed7cdcc3c1756e09893f3c68f79bb5b (checked by the tests, and against the documents
that AWS signed). AWS publishes it at
https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from holdfast.errors import InvalidValue

ROOT_G1: Final = base64.b64decode(
    "MIICETCCAZagAwIBAgIRAPkxdWgbkK/hHUbMtOTn+FYwCgYIKoZIzj0EAwMwSTELMAkGA1UEBhMCVVMxDzANBgNVBAoM"
    "BkFtYXpvbjEMMAoGA1UECwwDQVdTMRswGQYDVQQDDBJhd3Mubml0cm8tZW5jbGF2ZXMwHhcNMTkxMDI4MTMyODA1WhcN"
    "NDkxMDI4MTQyODA1WjBJMQswCQYDVQQGEwJVUzEPMA0GA1UECgwGQW1hem9uMQwwCgYDVQQLDANBV1MxGzAZBgNVBAMM"
    "EmF3cy5uaXRyby1lbmNsYXZlczB2MBAGByqGSM49AgEGBSuBBAAiA2IABPwCVOumCMHzaHDimtqQvkY4MpJzbolL//Zy"
    "2YlES1BR5TSksfbb48C8WBoyt7F2Bw7eEtaaP+ohG2bnUs990d0JX28TcPQXCEPZ3BABIeTPYwEoCWZEh8l5YoQwTcU/"
    "9KNCMEAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUkCW1DdkFR+eWw5b6cp3PmanfS5YwDgYDVR0PAQH/BAQDAgGG"
    "MAoGCCqGSM49BAMDA2kAMGYCMQCjfy+Rocm9Xue4YnwWmNJVA44fA0P5W2OpYow9OYCVRaEevL8uO1XYru5xtMPWrfMC"
    "MQCi85sWBbJwKKXdS6BptQFuZbT73o/gBh1qUxl/nNr12UO8Yfwr6wPLb+6NIwLz3/Y="
)

AWS: Final = (ROOT_G1,)

PEM: Final = "-----BEGIN CERTIFICATE-----"


def roots_of(named: str) -> tuple[bytes, ...]:
    """The DER of roots as a setting names them.

    Args:
        named: "aws", the path of a file (PEM, of one or more, or DER), or PEM itself.

    Raises:
        InvalidValue: there is no such file, or no certificate in it.

    Example:
        >>> roots_of("aws") == AWS
        True
    """
    if named == "aws":
        return AWS
    try:
        data = named.encode() if PEM in named else Path(named).read_bytes()
        if PEM.encode() in data:
            found = x509.load_pem_x509_certificates(data)
        else:
            found = [x509.load_der_x509_certificate(data)]
    except (OSError, ValueError) as error:
        raise InvalidValue(
            argument="attestation.roots", reason="no certificate", cause=type(error).__name__
        ) from None
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in found)
