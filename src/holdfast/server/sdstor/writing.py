"""Writes of 0-stor that go by their bucket's lane, many to a sync, where nothing must be looked at.

What must be looked at first goes to a thread, and does there what ``Shelf`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from holdfast.bucket import rows
from holdfast.errors import HoldfastError, NotFound
from holdfast.operations import Consumers, Store, StoreOptions
from holdfast.server.answers import Answer
from holdfast.server.requests import Request
from holdfast.values import Receipt

if TYPE_CHECKING:
    from holdfast.server.sdstor.shelf import Shelf
    from holdfast.server.site import Site

Tell = Callable[[object], Answer]


class Written(NamedTuple):
    """What is written under a key; ``ids`` is None where a list stays as it is."""

    key: str
    data: bytes
    ids: Sequence[str] | None


def put(site: Site, request: Request, shelf: Shelf, asked: tuple[Written, Tell]) -> None:
    """Create or replace an object, as ``Shelf.put``."""
    (key, data, ids), tell = asked
    if ids is None and not shelf.may_store(key):
        site.work(request, partial(shelf.put, key, data, ids), tell)
        return
    options = None if ids is None else StoreOptions(consumers=rows.encode_ids(ids))
    operation = Store(shelf.compose(key), key, data, options)
    site.commit(request, operation, partial(_paid, tell), len(data))


def _paid(tell: Tell, receipt: object) -> Answer:
    """The answer to a store, with what it cost."""
    answer = tell(receipt)
    if isinstance(receipt, Receipt):
        answer.cost_atto = receipt.cost_atto
    return answer


def change(
    site: Site,
    request: Request,
    shelf: Shelf,
    asked: tuple[Literal["set", "append"], str, Sequence[str], Tell],
) -> None:
    """Set a list or add to it, as ``Shelf.set`` and ``Shelf.append``."""
    action, key, ids, tell = asked
    operation = Consumers(shelf.compose(key), key, action, rows.encode_ids(ids))

    def settled(outcome: object) -> Answer | None:
        if isinstance(outcome, NotFound):  # then the list is to be there without an object
            slowly = shelf.set if action == "set" else shelf.append
            site.work(request, partial(slowly, key, ids), tell)
            return None
        if isinstance(outcome, HoldfastError):
            raise outcome
        return tell(outcome)

    site.commit_all(request, operation, settled, 0)
