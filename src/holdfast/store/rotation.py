"""Replacing a store's signing key: the chain of hand-overs, and what a crash left of one.

A hand-over is signed by the old key and names the new one; it is history, and lies in the
store as ``handovers/<number>``, where signed roots lie. The key's file decides
(``identity/keys.py``): once the new key stands there the old one is good for one thing, to
sign its hand-over, and whoever opens the store does that before anything else is signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.access.records import NEW
from holdfast.certify import roots
from holdfast.certify.cose import key_bytes, public_key
from holdfast.identity.keys import (
    SigningKey,
    forget_old_key,
    old_key,
    replace_key,
    signing_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.store.store import Store
    from holdfast.store.tenancy import StoreRecords

PREFIX: Final = "handovers/"
DIGITS: Final = 20


class Keys:
    """The key that a store signs with, and the hand-overs that led to it.

    Args:
        store: the open store.
        records: where hand-overs lie.
        revision: the first that nothing is signed for yet.
    """

    def __init__(self, store: Store, records: StoreRecords, revision: Callable[[], int]) -> None:
        self._store = store
        self._records = records
        self._revision = revision
        self.current = signing_key(store.disk, store.path, store.entropy)
        self._settle()
        self.handovers = self._chain()

    def rotate(self) -> None:
        """Sign with a new key from the next revision on.

        Raises:
            StorageFailed: the disk refused. Where the new key stands by then, the next
                opening finishes it.
        """
        self._settle()
        self.current = replace_key(self._store.disk, self._store.path, self._store.entropy)
        self._settle()
        self.handovers = self._chain()

    def _settle(self) -> None:
        """Have an old key sign its hand-over and forget it; again where a crash came between."""
        disk, folder = self._store.disk, self._store.path
        old = old_key(disk, folder)
        if old is None:
            return
        if old.id != self.current.id and not self._chain():
            self._hand_over(old)
        forget_old_key(disk, folder)

    def _chain(self) -> list[bytes]:
        """The hand-overs that end at the key in force; none where it was brought in anew."""
        found = [message for _, message in self._records.list(PREFIX)]
        mine = key_bytes(public_key(self.current.public_pem()))
        if not found or roots.named_key(found[-1]) != mine:
            return []
        return found[-roots.HANDOVERS_MOST :]

    def _hand_over(self, old: SigningKey) -> None:
        number = len(self._records.list(PREFIX))
        message = roots.hand_over(
            bytes.fromhex(self._store.file.store),
            self._revision(),
            public_key(self.current.public_pem()),
            old.private,
        )
        self._records.put(f"{PREFIX}{number:0{DIGITS}}", message, NEW)
