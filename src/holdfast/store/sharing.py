"""How a namespace is opened to others: links and what anyone may read.

Whoever only stores and reads does not pay for it: what makes and checks credentials is
loaded when the first is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.values import Right

if TYPE_CHECKING:
    from holdfast.store.store import Store


class Sharing:
    """How a namespace is opened to others; a part of ``Namespace``."""

    name: str
    _store: Store

    def share(
        self,
        key: str,
        *,
        ttl: float | str = "1h",
        rights: Sequence[Right] = ("read",),
        uses: int | None = None,
        base: str | None = None,
    ) -> str:
        """A link to one object, good for whoever has it, until it ends or is revoked.

        Args:
            key: the object's key; it may be stored later.
            ttl: seconds, or text like "30d".
            rights: of read, write and delete.
            uses: how many requests it is good for; None for any number.
            base: where a server of this store answers; the ``base_url`` of
                ``holdfast.open`` if None, else where ``holdfast serve`` usually does.

        Returns:
            The link. The part behind "grant=" is a token: it opens what the link opens.

        Raises:
            InvalidKey, InvalidExpiry, InvalidValue: nothing was made.

        Example:
            >>> import holdfast
            >>> with holdfast.open(":memory:", base_url="https://s.example") as store:
            ...     link = store.namespace("acme").share("invoices/7", ttl="1h")
            ...     link.partition("?")[0]
            'https://s.example/v1/namespaces/acme/objects/invoices/7'
        """
        from holdfast.store import tenancy  # noqa: PLC0415 - takes 50 ms to import

        wanted = tenancy.object_grant(self.name, key, rights, uses)
        where = self._store.base_url if base is None else base
        return tenancy.linked(self._store.tokens, wanted, ttl, base=where)

    def publish(self, prefix: str = "") -> None:
        """Let anyone read what is below a prefix, without a credential, from a server."""
        self._store.access.publish(self.name, prefix)

    def unpublish(self, prefix: str = "") -> None:
        """No longer let anyone read below a prefix; passed over if it was not published."""
        self._store.access.unpublish(self.name, prefix)

    def published(self) -> Sequence[str]:
        """The prefixes that anyone may read."""
        return self._store.access.published(self.name)
