"""The database of the enclave key-value specification: eight calls, each with what it cost.

Keys belong to an enclave by its PCR value; that is the name of a namespace here. Costs are
integers of 10^-18 USD, 0 where the namespace has no tariff. An expiry is nanoseconds, as that
service's interface has it; -1 keeps the one that is there, and there is no "never".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.errors import InvalidExpiry, InvalidValue
from holdfast.limits import LOCK_TTL_S
from holdfast.request import arguments
from holdfast.wire.enclave import children

if TYPE_CHECKING:
    from holdfast.store import Namespace, Store

KEEP: Final = -1


class KeyInfo(msgspec.Struct, frozen=True):
    """What is known of a key; ``is_terminal`` is False where it is only a directory.

    ``size`` is bytes of the value, ``modified_ns`` nanoseconds since 1970.
    """

    key: str
    modified_ns: int
    size: int
    is_terminal: bool


class Database:
    """The specification's database on top of a store. Safe for threads.

    Args:
        store: an open store.

    Example:
        >>> import holdfast
        >>> with holdfast.open(":memory:") as store:
        ...     database = Database(store)
        ...     cost = database.store("7b2e", "certificates/a", b"pem", 3_600_000_000_000)
        ...     database.load("7b2e", "certificates/a")
        (b'pem', 0)
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self, pcr: str, key: str) -> tuple[bytes, int]:
        """The value of a key, and the cost.

        Raises:
            NotFound: there is none.
        """
        space = self._space(pcr)
        with space.bill() as bill:
            value = space.get(key)
        return value, bill.cost_atto

    def store(self, pcr: str, key: str, value: bytes | str, expiry: int) -> int:
        """Store a value for ``expiry`` nanoseconds; the cost.

        Args:
            pcr: whose.
            key: 1 to 1,024 bytes of UTF-8.
            value: bytes, or text as UTF-8.
            expiry: nanoseconds from now; -1 keeps that of the value that is there.

        Raises:
            InvalidExpiry: 0, or below -1. NotFound: -1, and there is no value.
            BalanceEmpty, LimitExceeded: nothing was stored.
        """
        space = self._space(pcr)
        payload = arguments.text(value, "value") if isinstance(value, str) else value
        if expiry == KEEP:
            return space.put(key, payload, keep_ttl=True).cost_atto
        if type(expiry) is not int or expiry <= 0:
            raise InvalidExpiry(expiry=expiry, reason="nanoseconds above 0, or -1 to keep")
        arguments.life_ns(expiry, expiry=expiry)
        return space.put(key, payload, ttl=_ttl(expiry)).cost_atto

    def exists(self, pcr: str, key: str) -> tuple[int, bool]:
        """The cost, and whether there is a value."""
        space = self._space(pcr)
        with space.bill() as bill:
            found = space.exists(key)
        return bill.cost_atto, found

    def list(self, pcr: str, prefix: str, recursive: bool) -> tuple[list[str], int]:  # noqa: FBT001 - the specification
        """The keys below a prefix, and the cost.

        Args:
            pcr: whose.
            prefix: every key that begins with it.
            recursive: all of them; else the children of the directory that the prefix names.
        """
        space = self._space(pcr)
        base, after = prefix, None
        if not recursive and base:
            base += "" if base.endswith("/") else "/"
            after = base  # the directory is not its own child
        with space.bill() as bill:
            names = [*space.list(base, recursive=recursive, after=after)]
        return (names if recursive else children(names)), bill.cost_atto

    def stat(self, pcr: str, key: str) -> tuple[KeyInfo, int]:
        """What is known of a key, and the cost.

        Raises:
            NotFound: there is neither a value nor one below it.
        """
        space = self._space(pcr)
        with space.bill() as bill:
            found = space.stat(key)
        return KeyInfo(key, found.modified_ns, found.size, found.terminal), bill.cost_atto

    def delete(self, pcr: str, key: str) -> int:
        """Remove a value; the cost, below zero where more is given back.

        Raises:
            NotFound: there is none.
        """
        space = self._space(pcr)
        with space.bill() as bill:
            space.delete(key)
        return bill.cost_atto

    def lock(self, pcr: str, key: str) -> tuple[bytes, int]:
        """Take the lock of a key for 30 s: its id, 20 bytes, and the cost.

        Raises:
            LockHeld: somebody else holds it; nobody waits here.
        """
        space = self._space(pcr)
        with space.bill() as bill:
            lock = space.lock(key, ttl=LOCK_TTL_S)
        return bytes.fromhex(lock.id), bill.cost_atto

    def unlock(self, pcr: str, key: str, lock_id: bytes | Iterable[int]) -> int:
        """Give a lock back by its id; the cost.

        Args:
            pcr: whose.
            key: of which key.
            lock_id: 20 bytes, or as many integers.

        Raises:
            LockLost: this id does not hold the key. InvalidValue: it is no lock's id.
        """
        space = self._space(pcr)
        try:
            held = bytes(iter(lock_id))
        except (TypeError, ValueError):
            raise InvalidValue(argument="lock_id", reason="20 bytes") from None
        with space.bill() as bill:
            space.unlock(key, held.hex())
        return bill.cost_atto

    def _space(self, pcr: str) -> Namespace:
        return self._store.namespace(pcr)


def _ttl(expiry_ns: int) -> str:
    """Nanoseconds as a time to live that loses none of them."""
    return f"{expiry_ns}ns"
