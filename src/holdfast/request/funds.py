"""Writes that a purse cannot admit alone: help is asked for, then they are decided again.

A bucket decides by its purse (bucket/metered.py). ``BalanceEmpty`` and ``LimitExceeded`` are
answered only after the account, and the purses of other buckets, could not help (rule 14).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.metered import KINDS
from holdfast.bucket.purse import Need, Purse
from holdfast.charges import begun_seconds, operation, storage
from holdfast.errors import BalanceEmpty, HoldfastError, LimitExceeded
from holdfast.operations import Append, Operation, Store
from holdfast.placement.elsewhere import Elsewhere

Help = Callable[[Bucket, bytes, Need], bool]
BOUNDS = frozenset(("bytes_max", "objects_max"))


class Funds:
    """Asks whoever keeps purses full; nobody does until ``help`` is set."""

    def __init__(self) -> None:
        self.help: Help = _nobody

    def helped(self, bucket: Bucket, operation: Operation, error: Exception) -> bool:
        """Whether a refused write may be tried again: there is more, or another bucket has it now.

        Raises:
            BalanceEmpty: there is not so much anywhere.
        """
        if isinstance(bucket, Elsewhere) or not _is_of_purse(error):
            return False
        return self._ask(bucket, (operation,)) or not bucket.start <= operation.key < bucket.stop

    def prepare(self, bucket: Bucket, operations: Sequence[Operation]) -> Prepared:
        """Have what a batch needs brought before it is decided, as far as there is any.

        What is not there each operation is told for itself.
        """
        if isinstance(bucket, Elsewhere) or not bucket.purses:
            return NOTHING
        try:
            return Prepared(self._ask(bucket, operations))
        except BalanceEmpty:
            return NOTHING
        except HoldfastError as error:
            return Prepared(has_come=False, unasked=error)

    def _ask(self, bucket: Bucket, operations: Sequence[Operation]) -> bool:
        """Whether anything came, or nothing is lacking any more."""
        came = [
            self.help(bucket, purse.namespace, need)
            for purse, need in _needs(bucket, operations)
            if purse.over(need.size_bytes, need.objects) is not None or purse.lacks(need.atto)
        ]
        return not came or any(came)


class Prepared(NamedTuple):
    """What a batch is decided with.

    ``has_come``: nothing was lacking a moment before, or something came. ``unasked``: why nobody
    could be asked, if that was so.
    """

    has_come: bool
    unasked: HoldfastError | None = None

    def missed(self, error: object) -> bool:
        """Whether a refusal has to be decided again: what was there went elsewhere meanwhile."""
        return self.has_come and isinstance(error, Exception) and _is_of_purse(error)

    def refusal(self, error: HoldfastError) -> HoldfastError:
        """What a refused write is told: not that a purse is empty where nobody could be asked."""
        return error if self.unasked is None or not _is_of_purse(error) else self.unasked


NOTHING: Final = Prepared(has_come=False)


def _nobody(_bucket: Bucket, _namespace: bytes, _need: Need) -> bool:
    return False


def _is_of_purse(error: Exception) -> bool:
    if isinstance(error, LimitExceeded):
        return error.facts.get("limit") in BOUNDS
    return isinstance(error, BalanceEmpty)


def _needs(bucket: Bucket, operations: Sequence[Operation]) -> list[tuple[Purse, Need]]:
    """What operations take at most, by purse: as if nothing were there before them."""
    needs: dict[bytes, Need] = {}
    for asked in operations:
        purse = bucket.purses.of(asked.key)
        if purse is not None:
            before = needs.get(purse.namespace, Need())
            needs[purse.namespace] = _with(before, purse, bucket, asked)
    return [(bucket.purses[namespace], need) for namespace, need in needs.items()]


def _with(before: Need, purse: Purse, bucket: Bucket, asked: Operation) -> Need:
    atto = before.atto + operation(purse.terms, KINDS.get(type(asked), ""))
    if not isinstance(asked, Store | Append):
        return Need(atto, before.size_bytes, before.objects)
    size = len(asked.key) - purse.cut + len(asked.value)
    terms, seconds = purse.terms, 0
    if isinstance(asked, Append):
        paid, seconds = _left(bucket, asked.key)
        terms = purse.known.get(paid, terms)
        seconds = seconds if paid else 0  # what has paid nothing ahead pays rent
    elif asked.options is not None:
        parts = asked.options.parts
        size += parts.length if parts is not None else 0
        ttl_ns, keeps = asked.options.ttl_ns, asked.options.keep_ttl
        seconds = _left(bucket, asked.key)[1] if keeps else begun_seconds(ttl_ns or 0)
    atto += storage(terms, size, seconds)
    return Need(atto, before.size_bytes + size, before.objects + 1)


def _left(bucket: Bucket, key: bytes) -> tuple[int, int]:
    """The terms that an object was paid by ahead, 0 for none, and the seconds that it has left."""
    entry = bucket.peek_entry(key)
    if entry is None or not entry.expires_ns:
        return 0, 0
    return entry.terms, begun_seconds(entry.expires_ns - bucket.time.now_ns())
