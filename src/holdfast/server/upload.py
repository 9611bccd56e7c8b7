"""Taking a large value: a part in memory at a time, read no faster than a thread stores it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.limits import VALUE_RECORD_BYTES
from holdfast.operations import StoreOptions
from holdfast.request.arguments import compose
from holdfast.request.large import LargeWriter
from holdfast.server.answers import Answer
from holdfast.server.numbers import corridor_of, numbered
from holdfast.server.objects import store_options, stored

if TYPE_CHECKING:
    from holdfast.server.requests import Request
    from holdfast.server.site import Site

MOST_BYTES = 2 * VALUE_RECORD_BYTES  # received and not stored yet


def upload_of(site: Site, request: Request) -> Upload:
    """The body of a put over HTTP, on its way."""
    return Upload(site, request, store_options(request), partial(stored, request))


class Upload:
    """A body on its way into an object, part by part; the object appears when it is whole.

    Args:
        site: has the threads.
        request: whose body it is.
        options: of the put.
        told: makes the answer of its receipt.
    """

    def __init__(
        self,
        site: Site,
        request: Request,
        options: StoreOptions | None,
        told: Callable[[object], Answer],
    ) -> None:
        tenant = site.tenant_of(request)
        self._site = site
        self._request = request
        self._told = told
        composite = compose(tenant.space, request.key)
        corridor = corridor_of(site.corridor, numbered(request))
        self._writer = LargeWriter(corridor, composite, request.key, options)
        self._waiting = bytearray()
        self._started = self._busy = self._whole = self._over = False

    def take(self, data: bytes) -> bool:
        """Take bytes; False where no more should be read for now."""
        if not self._over:
            self._waiting += data
            self._go_on()
        return len(self._waiting) < MOST_BYTES

    def start(self) -> None:
        """Everything that was asked before is answered."""
        self._started = True
        self._go_on()

    def complete(self) -> None:
        """The body is whole."""
        self._whole = True
        self._go_on()

    def abandon(self) -> None:
        """It will never be: what was stored of it is given up."""
        if not self._over:
            self._over = True
            self._waiting.clear()
            if not self._busy:
                self._give_up()

    def _give_up(self) -> None:
        self._site.write(self._writer.give_up, lambda _: None)

    def _go_on(self) -> None:
        if self._busy or self._over or not self._started:
            return
        if len(self._waiting) >= VALUE_RECORD_BYTES or (self._whole and self._waiting):
            part, self._waiting = bytes(self._waiting), bytearray()
            self._busy = True
            self._site.write(lambda: self._writer.write(part), self._written)
        elif self._whole:
            self._busy = True
            self._site.write(self._writer.finish, self._finished)

    def _written(self, outcome: object) -> None:
        self._busy = False
        if self._over:
            self._give_up()
        elif isinstance(outcome, BaseException):
            self._over = True
            self._refuse(outcome)
        else:
            self._go_on()
            self._request.owner.read_on()

    def _finished(self, outcome: object) -> None:
        self._busy = False
        self._over = True
        if isinstance(outcome, BaseException):
            self._refuse(outcome)
        else:
            self._request.answer(self._told(outcome))

    def _refuse(self, error: BaseException) -> None:
        if isinstance(error, HoldfastError):
            self._request.refuse(error)
        else:
            self._request.answer(self._site.fault(error))
