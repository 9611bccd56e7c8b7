r"""Which images hold a namespace, and how an old one hands it to a new one.

    enclave/<namespace>    {"owner": base64 or null, "number": n, "images": [id, ...]}

A namespace belongs to the image whose id is its name, until that image says
otherwise. An image's release has another id, so without a hand-over it would
begin with nothing. Only two can say so: a session of an image that holds the
namespace, or the owner key that such a session has named, with its signature
under

    holdfast hand-over 1 \n store \n namespace \n from \n to \n keep or end \n number

whose number must be above the last one, so that no statement counts twice.
Nobody who merely runs the store is asked. A new image is never moved anywhere
by this: it may ask for the namespace from then on, and does so by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Lock
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from holdfast.access.records import NEW, Records
from holdfast.clock import Clock
from holdfast.errors import (
    Exists,
    Forbidden,
    InvalidNamespace,
    InvalidValue,
    LimitExceeded,
    VersionMismatch,
)
from holdfast.limits import ENCLAVE_IMAGES
from holdfast.values import planned

FOLDER: Final = "enclave/"
LABEL: Final = "holdfast hand-over 1"
IMAGE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
OWNER_BYTES: Final = 32
NUMBER_MOST: Final = (1 << 53) - 1
KNOWN_NS: Final = 1_000_000_000  # another process's change is seen within this
KNOWN: Final = 10_000


@planned
class Holding(msgspec.Struct, frozen=True):
    """Who holds a namespace: image ids, the owner's Ed25519 key, the last statement's number."""

    images: tuple[str, ...]
    owner: bytes | None = None
    number: int = 0


class Statement(msgspec.Struct, frozen=True):
    """What is handed over: ``namespace``, from one image to another, which both may ``keep``.

    ``number`` counts the owner's statements; a session's need none.
    """

    namespace: str
    source: str
    target: str
    keep: bool = False
    number: int = 0

    def signed_bytes(self, store: str) -> bytes:
        """What the owner's key signs, for the store of this id."""
        keep = "keep" if self.keep else "end"
        lines = (LABEL, store, self.namespace, self.source, self.target, keep, str(self.number))
        return "\n".join(lines).encode()


class HandOvers:
    """Knows and changes who holds which namespace.

    Args:
        records: where it is kept.
        clock: tells when to look again.
        store: the store's id; a statement signed for another is none.
    """

    def __init__(self, records: Records, clock: Clock, store: str) -> None:
        self.store = store
        self._records = records
        self._clock = clock
        self._known: dict[str, tuple[Holding, int]] = {}
        self._lock = Lock()

    def require(self, image_id: str, namespace: str) -> None:
        """Return where an image holds a namespace, else Forbidden(reason="image")."""
        if image_id not in self.holding(namespace).images:
            raise Forbidden(reason="image", namespace=namespace, image_id=image_id)

    def knows(self, namespace: str) -> bool:
        """Whether ``holding`` answers from memory."""
        known = self._known.get(namespace)
        return known is not None and self._clock.monotonic_ns() - known[1] < KNOWN_NS

    def forget(self) -> None:
        """Look at every record again: another process has changed one."""
        self._known.clear()

    def holding(self, namespace: str) -> Holding:
        """Who holds a namespace, as it was at most a second ago."""
        now_ns = self._clock.monotonic_ns()
        known = self._known.get(namespace)
        if known is not None and now_ns - known[1] < KNOWN_NS:
            return known[0]
        found, _ = self._read(namespace)
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[namespace] = (found, now_ns)
        return found

    def hand_over(self, image_id: str, statement: Statement) -> Holding:
        """Carry out what a session of a holding image says.

        Args:
            image_id: of the session.
            statement: its source must be that image.

        Raises:
            Forbidden: "image": that image does not hold the namespace, or speaks for another.
            InvalidNamespace, InvalidValue: the statement names no image.
            LimitExceeded: ENCLAVE_IMAGES.
        """
        if statement.source != image_id:
            raise Forbidden(reason="image", image_id=image_id)
        _check(statement)
        return self._change(statement.namespace, image_id, lambda held: _moved(held, statement))

    def hand_over_signed(self, statement: Statement, signature: bytes) -> Holding:
        """Carry out what the owner key of a namespace has signed.

        Raises:
            Forbidden: "owner": no owner is named, or the signature is not theirs;
                "number": not above the last statement's; "image": the source does not hold it.
            InvalidNamespace, InvalidValue, LimitExceeded: as above.
        """
        _check(statement)

        def change(held: Holding) -> Holding:
            _judge(held, statement, signature, self.store)
            moved = _moved(held, statement)
            return msgspec.structs.replace(moved, number=statement.number)

        return self._change(statement.namespace, statement.source, change)

    def name_owner(self, image_id: str, namespace: str, owner: bytes | None) -> Holding:
        """Name the owner key of a namespace, or none; for a session of an image that holds it.

        Raises:
            InvalidValue: it is no Ed25519 public key. Forbidden: "image".
        """
        if owner is not None and len(owner) != OWNER_BYTES:
            raise InvalidValue(argument="public_key", reason="not an Ed25519 public key")
        return self._change(
            namespace, image_id, lambda held: msgspec.structs.replace(held, owner=owner)
        )

    def _change(
        self, namespace: str, image_id: str, change: Callable[[Holding], Holding]
    ) -> Holding:
        """Change a namespace's record, if the image holds it at that very moment."""
        with self._lock:
            while True:
                held, version = self._read(namespace)
                if image_id not in held.images:
                    raise Forbidden(reason="image", namespace=namespace, image_id=image_id)
                wanted = change(held)
                try:
                    self._records.put(FOLDER + namespace, msgspec.json.encode(wanted), version)
                except (Exists, VersionMismatch):
                    continue  # another process was faster
                self._known.pop(namespace, None)
                return wanted

    def _read(self, namespace: str) -> tuple[Holding, int]:
        if not IMAGE.fullmatch(namespace):
            raise InvalidNamespace(namespace=namespace, reason="not an image id")
        found = self._records.get(FOLDER + namespace)
        if found is None:
            return Holding((namespace,)), NEW
        return msgspec.json.decode(found[0], type=Holding), found[1]


def _check(statement: Statement) -> None:
    for name in (statement.source, statement.target):
        if not IMAGE.fullmatch(name):
            raise InvalidValue(argument="image_id", reason="not 64 hex digits")
    if statement.source == statement.target:
        raise InvalidValue(argument="to", reason="the same image")


def _judge(held: Holding, statement: Statement, signature: bytes, store: str) -> None:
    if held.owner is None:
        raise Forbidden(reason="owner")
    try:
        key = Ed25519PublicKey.from_public_bytes(held.owner)
        key.verify(signature, statement.signed_bytes(store))
    except (InvalidSignature, ValueError):
        raise Forbidden(reason="owner") from None
    if not held.number < statement.number <= NUMBER_MOST:
        raise Forbidden(reason="number", number=held.number)


def _moved(held: Holding, statement: Statement) -> Holding:
    """The images that hold it afterwards: the new one, and the old one only if it keeps it."""
    stay = [
        image
        for image in held.images
        if image != statement.target and (statement.keep or image != statement.source)
    ]
    images = (*stay, statement.target)
    if len(images) > ENCLAVE_IMAGES:
        raise LimitExceeded(limit="ENCLAVE_IMAGES", most=ENCLAVE_IMAGES)
    return msgspec.structs.replace(held, images=images)
