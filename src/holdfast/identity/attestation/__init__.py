"""Attestation: whether a document of a Nitro enclave says the truth about who asks.

In: the bytes of a document, the time, the roots to trust; from the sessions of
enclaves, from the server, from whoever holds a document as evidence.
Out: an ``Attestation``, the key that it binds, or ``AttestationInvalid`` with its reason.
Keeps: nothing; roots are constants.
Must never know: namespaces, rights, sessions, the store, where the bytes came from.
Invariants: no document is believed in part; the root is pinned and never taken
from the document; the signature is checked over the bytes as received; time is
an argument. An attestation says who asks, not that this store is honest: an
enclave must verify what it reads.

Format: https://github.com/aws/aws-nitro-enclaves-nsm-api/blob/main/docs/attestation_process.md
"""

from __future__ import annotations

from holdfast.identity.attestation.binding import BoundKey, binds, key_of
from holdfast.identity.attestation.roots import AWS, roots_of
from holdfast.identity.attestation.verification import FUTURE_S, Attestation, verify

__all__ = [
    "AWS",
    "FUTURE_S",
    "Attestation",
    "BoundKey",
    "binds",
    "key_of",
    "roots_of",
    "verify",
]
