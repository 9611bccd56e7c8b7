"""How a namespace is searched, without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from holdfast.client.asks import Ask, Work
from holdfast.client.line import Line
from holdfast.client.reading import read
from holdfast.errors import InvalidValue
from holdfast.request import arguments
from holdfast.values import Hits, IndexRule, SearchRules
from holdfast.wire.paths import encode_query
from holdfast.wire.values import JSON, encode


class SearchingCalls:
    """What can be asked about searching; a part of ``NamespaceCalls``."""

    _line: Line
    _root: str

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
    ) -> Work[Hits]:
        """The objects that a query finds; arguments and errors are those of the embedded store.

        Raises:
            InvalidValue: ``prefixes`` are not just one: the right to search is decided by it;
                or a name among ``facets`` has a comma.
        """
        if prefixes is not None and len(arguments.texts(prefixes, "prefixes")) != 1:
            raise InvalidValue(argument="prefixes", reason="one at a time over the network")
        if any("," in name for name in arguments.texts(facets, "facets")):
            raise InvalidValue(argument="facets", reason="no comma over the network")
        told = {
            "query": arguments.text(query, "query").decode(),
            "limit": str(arguments.integer(limit, "limit")),
            "after": after,
            "rank": rank,
            "highlight": _word(highlight, "highlight"),
            "fresh": _word(fresh, "fresh"),
            "max_wait": None if max_wait is None else str(arguments.seconds(max_wait, "max_wait")),
            "prefix": prefixes[0] if prefixes else None,
            "facets": ",".join(facets) or None,
        }
        said = {name: value for name, value in told.items() if value is not None}
        answer = yield from self._line.exchange(
            Ask("GET", f"{self._root}/search?{encode_query(said)}", repeatable=True)
        )
        return read(answer, Hits)

    def index_rules(
        self,
        rules: Sequence[IndexRule] | None = None,
        *,
        language: str = "en",
        keys: bool = False,
    ) -> Work[SearchRules]:
        """What of this namespace is searched; with ``rules`` it is said anew, and durable."""
        target = f"{self._root}/index-rules"
        ask = Ask("GET", target, repeatable=True)
        if rules is not None:
            if not isinstance(rules, Sequence):
                raise InvalidValue(argument="rules", reason="not a list of rules")
            told = SearchRules(tuple(rules), language, arguments.flag(keys, "keys"))
            ask = Ask("PUT", target, {"content-type": JSON}, encode(told))
        return read((yield from self._line.exchange(ask)), SearchRules)


def _word(value: object, argument: str) -> str:
    return "true" if arguments.flag(value, argument) else "false"
