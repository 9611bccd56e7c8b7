"""Nonces that prove a document was made for us, now: 32 bytes, good once, for a minute.

    ends   8 bytes, big-endian, monotonic nanoseconds
    chance 8 bytes
    mac    16 bytes, of HMAC-SHA256(key, ends | chance | image id or nothing)

Nothing is kept of a nonce that is out, so strangers who ask for many cost no
memory; what was used is kept until it would have ended. The key is this
process's own, so a nonce of an earlier run is none.
"""

from __future__ import annotations

import hmac
from threading import Lock
from typing import Final

from holdfast.clock import Clock, Entropy
from holdfast.errors import AttestationInvalid, RateLimited
from holdfast.limits import CHALLENGE_S, CHALLENGES_SPENT, SECOND_NS

NONCE_BYTES: Final = 32
ENDS, CHANCE = 8, 8
BODY: Final = ENDS + CHANCE


class Challenges:
    """Hands out nonces and takes each back once.

    Args:
        clock: whose monotonic time they end by.
        entropy: gives the key and the chance in them.
    """

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._key = entropy.bytes(NONCE_BYTES)
        self._spent: dict[bytes, int] = {}  # in the order of use: nonce, when it would have ended
        self._lock = Lock()

    def make(self, image_id: str | None = None) -> bytes:
        """A nonce, for a document of this image alone if one is named."""
        ends_ns = self._clock.monotonic_ns() + CHALLENGE_S * SECOND_NS
        body = ends_ns.to_bytes(ENDS, "big") + self._entropy.bytes(CHANCE)
        return body + self._mac(body, image_id or "")

    def spend(self, nonce: bytes | None, image_id: str) -> None:
        """Take a nonce back, once.

        Args:
            nonce: as a verified document carries it.
            image_id: of that document.

        Raises:
            AttestationInvalid: reason "nonce": none, not ours, ended, used, or another image's.
            RateLimited: too many were used within a minute.
        """
        if nonce is None or len(nonce) != NONCE_BYTES or not self._is_ours(nonce, image_id):
            raise AttestationInvalid(reason="nonce", what="unknown")
        now_ns = self._clock.monotonic_ns()
        ends_ns = int.from_bytes(nonce[:ENDS], "big")
        if now_ns >= ends_ns:
            raise AttestationInvalid(reason="nonce", what="ended")
        with self._lock:
            if nonce in self._spent:
                raise AttestationInvalid(reason="nonce", what="used")
            if len(self._spent) >= CHALLENGES_SPENT:
                self._forget(now_ns)
            self._spent[nonce] = ends_ns

    def _forget(self, now_ns: int) -> None:
        self._spent = {nonce: ends for nonce, ends in self._spent.items() if ends > now_ns}
        if len(self._spent) >= CHALLENGES_SPENT:
            raise RateLimited(retry_after_s=CHALLENGE_S)

    def _is_ours(self, nonce: bytes, image_id: str) -> bool:
        body, mac = nonce[:BODY], nonce[BODY:]
        return any(hmac.compare_digest(mac, self._mac(body, bound)) for bound in ("", image_id))

    def _mac(self, body: bytes, bound: str) -> bytes:
        return hmac.digest(self._key, body + bound.encode(), "sha256")[: NONCE_BYTES - BODY]
