"""Files of the model: a writer that stores when it is closed, a reader over a copy."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import TracebackType


class ModelWriter(io.BytesIO):
    """Collects bytes; ``close`` stores them, an error inside ``with`` drops them.

    Args:
        store: takes the whole value, once.
    """

    def __init__(self, store: Callable[[bytes], object]) -> None:
        super().__init__()
        self._store = store

    def close(self) -> None:
        """Store what was written; once."""
        if not self.closed:
            written = self.getvalue()
            super().close()
            self._store(written)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            super().close()
        self.close()

    def __del__(self) -> None:
        super().close()
