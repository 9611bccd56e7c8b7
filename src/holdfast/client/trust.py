"""Reading from a server that is not trusted: what it says comes with a proof, and is checked.

A client that was given the store's public key takes a value, or that there is none, only with
a proof that holds, of a root that is not old, never of an earlier revision than it has seen,
and that goes on from the newest root that it has seen: the answer brings what leads there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar

from holdfast.certify import roots, watch
from holdfast.certify.cose import public_key as read_key
from holdfast.certify.parts import Parts
from holdfast.certify.verify import (
    Verified,
    signed_root_of,
    verify,
    verify_list,
    verify_parts,
)
from holdfast.client.attested import Attested
from holdfast.clock import Clock
from holdfast.errors import InvalidValue, ProofInvalid
from holdfast.wire.proofs import Answered

MAX_AGE_S: Final = 300.0
DECLARED: Final = "restore"
T = TypeVar("T")
Of = tuple[str, str]
Before = watch.Seen | None


class Trust:
    """A store's public key, and the newest root that was seen of it.

    Args:
        key: the public key, PEM or as ``holdfast.verify`` takes it; or who may hold it.
        clock: what the age of roots is measured with.
        path: a file that keeps the newest root from one client to the next; in memory if None.

    Raises:
        ProofInvalid: the file is not one of these. InvalidValue: it is a folder.
    """

    def __init__(self, key: object, clock: Clock, path: Path | None = None) -> None:
        self._attested = key if isinstance(key, Attested) else None
        self._key = None if isinstance(key, Attested) else read_key(key)
        self._clock = clock
        self._lock = Lock()
        self._path = path
        self.seen: watch.Seen | None = None
        if path is not None:
            if path.is_dir():
                raise InvalidValue(argument="seen", reason="a folder, not a file", path=str(path))
            with suppress(FileNotFoundError):
                self.seen = watch.decode(path.read_bytes())

    @property
    def wants_key(self) -> bool:
        """Whether the server must be asked for its document before anything is believed."""
        return self._key is None

    def learn(self, document: bytes | None) -> None:
        """Believe the key that the server's document binds.

        Raises:
            AttestationInvalid: it does not convince, or there is none.
        """
        if self._attested is not None:
            self._key = read_key(self._attested.key_of(document, self._clock.wall_ns()))

    def whole(self, of: Of, answered: Answered, before: Before) -> Verified:
        """What is proved of a key, and that this is its whole value, or that there is none.

        Args:
            of: namespace and key.
            answered: what the server says.
            before: the newest root that was seen when it was asked.

        Raises:
            ProofInvalid: it does not convince. ``reason`` is "rollback", "fork" or "store" where
                the root does not go on from the one that was seen.
        """
        return self._believe(answered, before, partial(verify, *of, answered.value))

    def object(self, of: Of, answered: Answered, before: Before) -> Verified:
        """What is proved of a key; its value is not looked at."""
        return self._believe(answered, before, partial(verify_parts, *of, None))

    def parts(self, of: Of, answered: Answered, before: Before) -> tuple[Verified, Parts | None]:
        """What is proved of a key, and the parts of its value that came with it."""
        held = None
        if answered.value is not None:
            held = Parts(answered.first, answered.value, answered.paths)
        return self._believe(answered, before, partial(verify_parts, *of, held)), held

    def page(
        self, of: Of, after: str | None, answered: Answered, before: Before
    ) -> dict[str, Verified]:
        """Every object of a page of a list; ``of`` are namespace and prefix."""
        until = answered.next
        if until is not None and not (until.startswith(of[1]) and until > (after or "")):
            raise ProofInvalid(reason="structure")

        def check(proof: bytes, **terms: Any) -> dict[str, Verified]:  # noqa: ANN401 - verify_list's
            return verify_list(*of, proof, after=after, until=until, **terms)

        return self._believe(answered, before, check)

    def _believe(self, answered: Answered, before: Before, check: Callable[..., T]) -> T:
        """What the check says, once the root goes on from the one that was seen."""
        said = check(
            answered.proof,
            public_key=self._key,
            max_age_s=MAX_AGE_S,
            min_revision=None if before is None else before.revision,
            clock=self._clock,
        )
        message = signed_root_of(answered.proof)
        now = watch.seen_of(message, roots.decode(message))
        if before is not None:
            history = watch.History(answered.consistency, answered.inclusion)
            found = watch.compare(before, now, history)
            if found and found != [DECLARED]:
                raise ProofInvalid(reason=found[0])
        self._remember(now)
        return said

    def _remember(self, now: watch.Seen) -> None:
        with self._lock:
            if self.seen is not None and self.seen.revision >= now.revision:
                return
            self.seen = now
            if self._path is not None:
                beside = self._path.with_name(f"{self._path.name}.new")
                beside.write_bytes(now.encode())
                beside.replace(self._path)
