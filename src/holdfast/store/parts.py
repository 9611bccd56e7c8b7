"""What the parts of a store's face share: the way to the store that they are parts of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.store.store import Store


class StorePart:
    """A part of ``Store``, in a file of its own."""

    def _opened(self) -> Store:
        """The store that this is a part of; Closed if it is."""
        raise NotImplementedError
