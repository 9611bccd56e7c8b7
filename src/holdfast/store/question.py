"""A search as it was asked; one process asks it of another as it stands."""

from __future__ import annotations

from typing import Final

import msgspec

from holdfast.values import planned

# What processes of one store ask of each other: to answer for a range, to read a namespace's
# rules anew, how its index stands.
SEARCH: Final = "search"
RENEW: Final = "search.renew"
STATUS: Final = "search.status"


@planned
class Question(msgspec.Struct, frozen=True, gc=False):
    """A search as it was asked (``Namespace.search``); its counts and times are checked."""

    namespace: str
    query: str
    limit: int = 20
    after: str | None = None
    rank: str = "bm25"
    highlight: bool = False
    fresh: bool = True
    max_wait_ns: int | None = None
    prefixes: tuple[str, ...] | None = None
    facets: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether nothing but words, limit and rank was said."""
        return (
            self.fresh
            and self.after is None
            and self.max_wait_ns is None
            and self.prefixes is None
            and not self.highlight
            and not self.facets
        )

    @property
    def is_complete(self) -> bool:
        """Whether nothing that was written before may be missing."""
        return self.fresh and self.max_wait_ns is None
