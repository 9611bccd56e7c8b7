"""Reading from a server that is not trusted: every value comes with its proof, and is checked.

A client that was given the store's public key takes a value, or that there is none, only with
a proof that holds, of a root that is not old, and never of an earlier revision than it has seen.
"""

from __future__ import annotations

from threading import Lock
from typing import Final

from holdfast.certify.cose import public_key as read_key
from holdfast.certify.verify import verify
from holdfast.clock import Clock
from holdfast.values import Proven

MAX_AGE_S: Final = 300.0


class Trust:
    """A store's public key, and the newest revision that was seen of it.

    Args:
        key: the public key, PEM or as ``holdfast.verify`` takes it.
        clock: what the age of roots is measured with.
    """

    def __init__(self, key: object, clock: Clock) -> None:
        self.revision = 0
        self._key = read_key(key)
        self._clock = clock
        self._lock = Lock()

    def check(self, of: tuple[str, str], proven: Proven, least: int) -> bytes | None:
        """The value, or None where there is no object, once the proof holds; ProofInvalid.

        Args:
            of: namespace and key.
            proven: what the server says.
            least: the newest revision that was seen before it was asked; others may have seen
                newer ones since.
        """
        namespace, key = of
        said = verify(
            namespace,
            key,
            proven.value,
            proven.proof,
            public_key=self._key,
            max_age_s=MAX_AGE_S,
            min_revision=least,
            clock=self._clock,
        )
        with self._lock:
            self.revision = max(self.revision, said.revision)
        return proven.value
