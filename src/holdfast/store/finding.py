"""How a namespace is searched; what it takes is loaded with the first search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holdfast.bucket.checkpoint import Pace
from holdfast.engines.disk import OsDisk
from holdfast.errors import InvalidValue, LimitExceeded
from holdfast.limits import SEARCH_PAGE
from holdfast.request import arguments
from holdfast.upkeep.upkeep import nothing
from holdfast.values import Hits, IndexRule, SearchRules, SearchStatus

if TYPE_CHECKING:
    from holdfast.store.store import Store

SECOND_NS = 1_000_000_000
DAY_S = 86_400.0  # longer than any search waits


def resume(store: Store, pace: Pace, is_spent: Callable[[], bool]) -> None:
    """The first time that upkeep looks: follow what was searched before the store was opened."""
    store.upkeep.index = nothing
    if isinstance(store.disk, OsDisk) and any(
        Path(store.path, store.file.index_dir).glob("*/search.index")
    ):
        store.searcher.follow(pace, is_spent)


class Searching:
    """How a namespace is searched; a part of ``Namespace``."""

    name: str
    _store: Store

    def search(
        self,
        query: str,
        *,
        limit: int = 20,
        after: str | None = None,
        rank: Literal["bm25", "key"] = "bm25",
        highlight: bool = False,
        fresh: bool = True,
        max_wait: float | None = None,
        prefixes: Sequence[str] | None = None,
        facets: Sequence[str] = (),
    ) -> Hits:
        """The objects that a query finds, of those that a rule or their put made searchable.

        Args:
            query: words (all of them), ``OR``, ``NOT``, ``-word``, ``"a phrase"``,
                ``begin*``, ``field:value``, ``field:[1 TO 5]``, brackets.
            limit: how many hits at most, to 1,000.
            after: the ``next`` of an earlier answer: go on behind it.
            rank: "bm25", the best first, or "key", in byte order of the keys.
            highlight: with a snippet of each hit's text, its words between ``**``.
            fresh: absorb first what was written before the call. False answers from what
                is absorbed, and says how many records that lacks (``behind``).
            max_wait: seconds that absorbing may take; then as with ``fresh=False``.
            prefixes: only keys that begin with one of these.
            facets: names of tags by whose values the matches are counted.

        Raises:
            InvalidQuery: it cannot be understood; ``position`` says where.
            Unavailable: several processes share the store, or holdfast[search] is missing.

        Example:
            >>> import holdfast
            >>> with holdfast.open(":memory:") as store:
            ...     acme = store.namespace("acme")
            ...     receipt = acme.put("a", b"the quick brown fox", index=True)
            ...     found = acme.search("foxes")
            ...     found.total, found.hits[0].key
            (1, 'a')
        """
        return self._store.searcher.search(
            self.name,
            query,
            limit=_limit(limit),
            after=after,
            rank=rank,
            highlight=arguments.flag(highlight, "highlight"),
            fresh=arguments.flag(fresh, "fresh"),
            max_wait_ns=None if max_wait is None else _ns(max_wait),
            prefixes=None if prefixes is None else _texts(prefixes, "prefixes"),
            facets=_texts(facets, "facets") if facets else (),
        )

    def index_rules(
        self,
        rules: Sequence[IndexRule] | None = None,
        *,
        language: str = "en",
        keys: bool = False,
    ) -> SearchRules:
        """What of this namespace is searched; with ``rules`` it is said anew, and durable.

        Args:
            rules: the first that fits an object decides; an empty list leaves only what
                puts ask for themselves (``index=``). None changes nothing.
            language: of texts whose rule names none (ISO 639-1, or "none").
            keys: the words of an object's key count as words of its text.

        Example:
            >>> import holdfast
            >>> with holdfast.open(":memory:") as store:
            ...     acme = store.namespace("acme")
            ...     rules = acme.index_rules([holdfast.IndexRule(fields={"title": "title"})])
            ...     receipt = acme.put("a", b'{"title": "Two foxes", "pages": 3}')
            ...     acme.search("title:fox").total
            1
        """
        searcher = self._store.searcher
        if rules is not None:
            told = SearchRules(tuple(rules), language, arguments.flag(keys, "keys"))
            searcher.configure(self.name, told)
        return searcher.rules(self.name)

    def search_status(self) -> SearchStatus:
        """How many documents are searched, how far the index is behind, how large it is."""
        return self._store.searcher.status(self.name)


class SearchingAll:
    """How a store is searched; a part of ``Store``."""

    def _opened(self) -> Store:
        """The store that this is a part of; Closed if it is."""
        raise NotImplementedError

    def search(self, query: str, *, limit: int = 20, rank: Literal["bm25", "key"] = "bm25") -> Hits:
        """The first objects that a query finds in any namespace, for whoever has them all.

        Scores are those within each namespace; ``Hit.namespace`` says which. A namespace
        without a field that the query names has no matches.

        Raises:
            InvalidQuery: it can be understood in none.
        """
        store = self._opened()
        return store.searcher.search_all(query, limit=_limit(limit), rank=rank)


def _limit(value: object) -> int:
    count = arguments.integer(value, "limit")
    if count < 0:
        raise InvalidValue(argument="limit", reason="negative")
    if count > SEARCH_PAGE:
        raise LimitExceeded(limit="SEARCH_PAGE", most=SEARCH_PAGE, asked=count)
    return count


def _ns(max_wait: object) -> int:
    return round(min(arguments.seconds(max_wait, "max_wait"), DAY_S) * SECOND_NS)


def _texts(values: Sequence[str], argument: str) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidValue(argument=argument, reason="not a list of texts")
    for value in values:
        arguments.text(value, argument)
    return tuple(values)
