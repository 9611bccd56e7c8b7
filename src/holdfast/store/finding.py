"""How a namespace is searched; what it takes is loaded with the first search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holdfast.bucket.checkpoint import Pace
from holdfast.engines.disk import OsDisk
from holdfast.errors import InvalidValue, LimitExceeded, Unavailable
from holdfast.limits import SEARCH_FACETS, SEARCH_PAGE, SECOND_NS
from holdfast.request import arguments
from holdfast.store.parts import StorePart
from holdfast.store.question import Question
from holdfast.store.tenancy import StoreRecords
from holdfast.upkeep.upkeep import nothing
from holdfast.values import Hits, IndexRule, SearchRules, SearchStatus

if TYPE_CHECKING:
    from threading import Lock

    from holdfast.bucket.bucket import Bucket
    from holdfast.store.searching import Searcher
    from holdfast.store.store import Store

FOLDER = "search/"  # where the rules of each namespace stand among the store's records
DAY_S = 86_400.0  # longer than any search waits


def resume(store: Store, pace: Pace, is_spent: Callable[[], bool]) -> None:
    """The first time that upkeep looks: follow what was searched before the store was opened."""
    store.upkeep.index = partial(begin, store)
    if _was_searched(store):
        store.searcher.follow(pace, is_spent)
    else:
        begin(store, pace, is_spent)


def begin(store: Store, pace: Pace, is_spent: Callable[[], bool]) -> None:
    """Until somebody searches: follow as soon as puts asked for it."""
    if any(wanting(store)):
        try:
            store.searcher.follow(pace, is_spent)
        except Unavailable:  # without holdfast[search] nothing follows
            store.upkeep.index = nothing


def wanting(store: Store) -> Iterator[Bucket]:
    """The buckets of which puts asked since they were opened that their texts be searched."""
    return (bucket for bucket in store.placement.directory if bucket.searched)


def _was_searched(store: Store) -> bool:
    """Whether an index of a bucket is on the disk."""
    folder = Path(store.path, store.file.index_dir)
    return isinstance(store.disk, OsDisk) and any(folder.glob("*/search.index"))


class Searching:
    """How a namespace is searched; a part of ``Namespace``."""

    name: str
    _store: Store

    if TYPE_CHECKING:

        def _found(self, hits: Hits) -> Hits:
            """Count what a search found; of the namespace that this is a part of."""

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
            after: the ``next`` of an earlier answer.
            rank: "bm25", best first, or "key", in byte order.
            highlight: with a snippet of each hit's text, its words between ``**``.
            fresh: absorb first what was written before. False: answer from what is
                absorbed, and say how many records that lacks (``behind``).
            max_wait: seconds that absorbing may take; then as with ``fresh=False``.
            prefixes: only keys that begin with one of these; the answer tells of no others.
            facets: names of tags by whose values the matches are counted.

        Raises:
            InvalidQuery: it cannot be understood; ``position`` says where.
            Unavailable: holdfast[search] is missing, or another process of the store is away.

        Example:
            >>> import holdfast
            >>> with holdfast.open(":memory:") as store:
            ...     acme = store.namespace("acme")
            ...     receipt = acme.put("a", b"the quick brown fox", index=True)
            ...     acme.search("foxes").hits[0].key
            'a'
        """
        answering = self._store.searcher.answering
        is_plain = fresh is True and highlight is False and not facets
        is_first = after is None and max_wait is None and prefixes is None
        if is_plain and is_first and type(query) is str and type(limit) is int:
            found = answering.again(self.name, query, limit, rank)
            if found is not None:
                return self._found(found)
        question = Question(
            self.name,
            query,
            _limit(limit),
            after,
            rank,
            highlight=arguments.flag(highlight, "highlight"),
            fresh=arguments.flag(fresh, "fresh"),
            max_wait_ns=None if max_wait is None else _ns(max_wait),
            prefixes=None if prefixes is None else arguments.texts(prefixes, "prefixes"),
            facets=_facets(facets) if facets else (),
        )
        return self._found(answering.answer(answering.understand(question)))

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
            if not isinstance(rules, Sequence):
                raise InvalidValue(argument="rules", reason="not a list of rules")
            told = SearchRules(tuple(rules), language, arguments.flag(keys, "keys"))
            searcher.configure(self.name, told)
        return searcher.rules(self.name)

    def search_status(self) -> SearchStatus:
        """How many documents are searched, how far the index is behind, how large it is."""
        return self._store.searcher.status(self.name)


class SearchingAll(StorePart):
    """How a store is searched; a part of ``Store``."""

    _searcher: Searcher | None
    _tenancy: Lock
    wings: list[Callable[[], None]]

    def search(self, query: str, *, limit: int = 20, rank: Literal["bm25", "key"] = "bm25") -> Hits:
        """The first objects that a query finds in any namespace, for whoever has them all.

        Scores are those within each namespace; ``Hit.namespace`` says which. A namespace
        without a field that the query names has no matches.

        Raises:
            InvalidQuery: it can be understood in none.
        """
        store = self._opened()
        return store.searcher.answering.answer_all(query, _limit(limit), rank)

    @property
    def searcher(self) -> Searcher:
        """Searches what is stored; made when first used."""
        if self._searcher is not None:
            return self._searcher
        with self._tenancy:
            if self._searcher is None:
                store = self._opened()
                try:
                    from holdfast.store.searching import Searcher  # noqa: PLC0415 - 150 ms
                except ModuleNotFoundError as error:
                    raise Unavailable(reason="needs holdfast[search]") from error
                self._searcher = Searcher(store)
                self.wings.append(self._searcher.close)
                self._searcher.resume()
            return self._searcher

    def forget_rules(self, namespace: str) -> None:
        """Forget what was said of searching a namespace that is dropped."""
        store = self._opened()
        records = StoreRecords(store)
        if records.get(FOLDER + namespace) is None:
            return
        try:
            store.searcher.unsay(namespace)
        except Unavailable:
            if self._searcher is not None:  # another process does not answer
                raise
            records.delete(FOLDER + namespace)

    def search_behind(self) -> dict[str, int]:
        """By bucket: how many records its index lacks, where there is one."""
        store = self._opened()
        if self._searcher is None and not _was_searched(store):
            return {}
        try:
            return store.searcher.behind()
        except Unavailable:  # without holdfast[search] nothing follows
            return {}

    def save_search(self, start: bytes, stop: bytes) -> None:
        """Write down what is searched of a range that another process will hold."""
        if self._searcher is not None:
            self._searcher.leave(start, stop)


def _limit(value: object) -> int:
    count = arguments.integer(value, "limit")
    if count < 0:
        raise InvalidValue(argument="limit", reason="negative")
    if count > SEARCH_PAGE:
        raise LimitExceeded(limit="SEARCH_PAGE", most=SEARCH_PAGE, asked=count)
    return count


def _ns(max_wait: object) -> int:
    return round(min(arguments.seconds(max_wait, "max_wait"), DAY_S) * SECOND_NS)


def _facets(names: Sequence[str]) -> tuple[str, ...]:
    facets = tuple(dict.fromkeys(arguments.texts(names, "facets")))
    if len(facets) > SEARCH_FACETS:
        raise LimitExceeded(limit="SEARCH_FACETS", most=SEARCH_FACETS, asked=len(facets))
    return facets
