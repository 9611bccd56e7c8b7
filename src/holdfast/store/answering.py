"""A search is answered: from every index of this process, and from those of others.

A ranked search asks all of them for their counts first and ranks second (rule 16), so the order
does not depend on where the keys are. Other processes are asked by ``SEARCH`` (below) for the
range that each holds; they answer with a ``Portion``, which is cut and put in order here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec
from pyroaring import BitMap

from holdfast.errors import Changed, InvalidQuery, Moved, NotFound
from holdfast.log.entry import unpack
from holdfast.request import arguments
from holdfast.search import excerpt, matching, ranking
from holdfast.search.analysis import analyzer
from holdfast.search.build import END, MARK
from holdfast.search.changes import VISIBLE
from holdfast.search.documents import Maker
from holdfast.search.index import Index
from holdfast.search.parse import TAG
from holdfast.search.query import Query, Wanted, Words, all_of_several, beginnings, scored
from holdfast.search.ranking import Counts, Found, Scored, Weights
from holdfast.search.shelf import Part
from holdfast.store.cursors import key_cursor, read_cursor, score_cursor
from holdfast.store.question import SEARCH, Question
from holdfast.values import Hit, Hits, planned

if TYPE_CHECKING:
    from holdfast.placement.elsewhere import Elsewhere
    from holdfast.store.searching import Searcher
    from holdfast.store.store import Store

ATTEMPTS: Final = 64  # buckets may split and merge, again and again
SOON: Final = 8  # attempts that follow quickly: a split is done in a moment
SOON_S: Final = 0.001
ON_ITS_WAY_S: Final = 0.05
KNOWN_QUESTIONS: Final = 4_096
KEY_OF: Final = attrgetter("key")


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A question that was understood.

    ``wanted``: where everything is wanted, by key, that has all of several words and nothing
    else is asked. ``weights`` are those of the first page. ``most`` hits are looked for: one
    more than are told. ``begun`` are beginnings of words.
    """

    question: Question
    space: bytes
    maker: Maker
    query: Query
    after: Scored | None
    weights: Weights | None
    words: tuple[Words, ...]
    wanted: Wanted | None
    most: int
    in_order: bool
    begun: tuple[str, ...]


@planned
class Portion(msgspec.Struct, frozen=True, array_like=True):
    """What one process answers: of all its matches how many, the first, its counts of words."""

    total: int
    hits: list[Scored]
    behind: int
    facets: dict[str, dict[str, int]]
    counts: Counts


class Gathered(NamedTuple):
    """Who can answer for a namespace: indexes of this process, ranges of others.

    ``spans`` are the ranges for which the indexes are to answer: those of their buckets.
    """

    indexes: Sequence[Index]
    spans: Sequence[tuple[bytes, bytes]] = ()
    others: Sequence[tuple[Elsewhere, bytes, bytes]] = ()


NOBODY: Final = Gathered(())


class Answering:
    """Answers the searches of a store.

    Args:
        store: the open store.
        searcher: has the indexes.
    """

    def __init__(self, store: Store, searcher: Searcher) -> None:
        self._store = store
        self._searcher = searcher
        self._asked: dict[tuple[str, str, int, str], Asked] = {}

    def again(self, namespace: str, query: str, limit: int, rank: str) -> Hits | None:
        """The answer to a plain question, where it was understood before; else None."""
        asked = self._asked.get((namespace, query, limit, rank))
        if asked is None:
            return None
        if asked.wanted is not None:
            try:
                found = self._at_once(asked.wanted, asked.space)
            except Moved:
                found = None
            if found is not None:
                return found
        return self.answer(asked)

    def forget(self) -> None:
        """Fields and languages have changed: every question is to be understood anew."""
        self._asked = {}

    def understand(self, question: Question) -> Asked:
        """Parse a question; a plain one is known from then on.

        Raises:
            InvalidQuery: it cannot be understood. InvalidValue: nor can what stands beside it.
        """
        rank = question.rank
        maker = self._searcher.maker(arguments.namespace_bytes(question.namespace))
        text = arguments.text(question.query, "query").decode()
        tree = maker.parsed.get(text)
        if tree is None:
            tree = maker.parse(text)
        is_plain = question.is_plain
        words = tuple(scored(tree)) if rank == "bm25" else ()
        after, weights = read_cursor(question.after, rank, len(words))
        by_key = is_plain and rank == "key"
        wanted = all_of_several(tree, question.limit) if by_key else None
        space = question.namespace.encode()
        asked = Asked(
            question,
            space,
            maker,
            tree,
            after,
            weights,
            words,
            wanted,
            question.limit + 1,
            rank == "key",
            tuple(dict.fromkeys(beginnings(tree))),
        )
        if is_plain:
            if len(self._asked) >= KNOWN_QUESTIONS:
                self._asked = {}
            self._asked[question.namespace, question.query, question.limit, rank] = asked
        return asked

    def answer(self, asked: Asked) -> Hits:
        """The answer.

        Raises:
            Changed: ranges changed each time. Unavailable: another process does not answer.
        """
        told = NOBODY
        for attempt in range(ATTEMPTS):
            try:
                told = self._searcher.gathered(asked.space)
                behind = 0
                for index in told.indexes:
                    if not index.is_new():
                        behind += self._bring(index, asked.question)
                if asked.in_order and not told.others:
                    return self._in_order(asked, told, behind)
                return self._ranked(asked, told, behind)
            except Moved:
                self._store.placement.directory.look_again()
                # With others, a range is on its way between two processes.
                self._store.clock.sleep(ON_ITS_WAY_S if told.others else rest_s(attempt))
        raise Changed(what="ranges of buckets")

    def answer_all(self, query: str, limit: int, rank: Literal["bm25", "key"]) -> Hits:
        """The first hits of a search of every namespace."""
        refused: InvalidQuery | None = None
        found: list[tuple[str, Hits]] = []
        for name in self._store.namespaces():
            try:
                asked = self.understand(Question(name, query, limit, rank=rank))
                found.append((name, self.answer(asked)))
            except InvalidQuery as error:
                refused = error
        if refused is not None and not found:
            raise refused
        hits = [
            msgspec.structs.replace(hit, namespace=name)
            for name, answer in found
            for hit in answer.hits
        ]
        if rank == "bm25":
            hits.sort(key=lambda hit: -hit.score)
        return Hits(sum(answer.total for _, answer in found), tuple(hits[:limit]))

    def _bring(self, index: Index, question: Question) -> int:
        """Absorb what is new, as far as was asked; how many records are lacking."""
        self._searcher.hand_over(index)
        if question.fresh and question.max_wait_ns is None:
            index.catch_up()
            return 0
        clock = self._store.clock
        until = clock.monotonic_ns() + (question.max_wait_ns or 0)
        if question.fresh:
            for _ in index.steps():
                if clock.monotonic_ns() >= until:
                    break
        index.hide_removed()
        if index.is_new():
            return 0
        prefixes = question.prefixes
        wanted = (b"",) if prefixes is None else tuple(prefix.encode() for prefix in prefixes)
        return index.lacks(question.namespace.encode(), wanted)

    # -- by key, all in this process -------------------------------------------------------

    def _at_once(self, wanted: Wanted, space: bytes) -> Hits | None:
        """The same as ``_in_order`` of one whole run; None where it is not that simple."""
        told = self._searcher.gathered(space)
        if len(told.indexes) != 1 or told.others:
            return None
        index = told.indexes[0]
        with index.lock:
            shelf = index.shelves.get(space)
            if shelf is None or index.bucket.may_expire or not index.is_new():
                return None
            start, stop = told.spans[0]
            parts = shelf.parts
            if len(parts) != 1 or parts[0].hidden or index.start != start or index.stop != stop:
                return None
            run = parts[0].run
            total, first = matching.first_of_all(wanted, run)
            hits = tuple(map(run.shown.__getitem__, first))
        if total > wanted.most > 0:
            return Hits(total, hits, key_cursor(hits[-1].key))
        return Hits(total, hits)

    def _in_order(self, asked: Asked, told: Gathered, behind: int) -> Hits:
        total = 0
        hits: list[Hit] = []
        facets: dict[str, dict[str, int]] = {}
        wanted, most = asked.wanted, asked.most
        for index, span in zip(told.indexes, told.spans, strict=True):
            with index.lock:
                for part in self._parts(index, span, asked):
                    if wanted is not None and not part.hidden:
                        count, first = matching.first_of_all(wanted, part.run)
                    else:
                        count, first = _first(part, asked, facets)
                    if count:
                        found = list(map(part.run.shown.__getitem__, first))
                        hits = sorted(hits + found, key=KEY_OF)[:most] if total else found
                        total += count
        limit = most - 1
        is_more = (len(hits) if wanted is None else total) > limit > 0
        following = key_cursor(hits[limit - 1].key) if is_more else None
        shown = tuple(hits[:limit])
        if asked.question.highlight:
            shown = tuple(self._with_snippet(asked, hit) for hit in shown)
        for facet in asked.question.facets:
            facets.setdefault(facet, {})
        return Hits(total, shown, following, behind, facets)

    @staticmethod
    def _parts(index: Index, span: tuple[bytes, bytes], asked: Asked) -> Sequence[Part]:
        """What an index has of a namespace, without what has expired; under its lock.

        Moved where it does not stand for the range that it was gathered for.
        """
        if index.span != span and not index.narrow(span) and asked.question.is_complete:
            raise Moved(bucket=index.bucket.id)
        shelf = index.shelves.get(asked.space)
        if shelf is None:
            return ()
        if index.bucket.may_expire:
            shelf.expire(index.bucket.time.now_ns())
        return shelf.parts

    # -- by score, or from several processes ----------------------------------------------

    def _ranked(self, asked: Asked, told: Gathered, behind: int) -> Hits:
        found, sums, facets = self._find(asked, told)
        is_scored = asked.question.rank == "bm25"
        if is_scored and asked.weights is None:
            for other, start, stop in told.others:
                sums.add(_ask(other, asked.question, start, stop, None).counts)
        weights = asked.weights or sums.weights()
        total = sum(len(one.bits) for one in found)
        streams: list[Iterable[Scored]] = [_best(asked, one, weights) for one in found if one.bits]
        for other, start, stop in told.others:
            portion = _ask(other, asked.question, start, stop, weights)
            total += portion.total
            behind += portion.behind
            streams.append(portion.hits)
            _add_facets(facets, portion.facets)
        hits = _nearest(asked.most, streams)
        limit = asked.question.limit
        following = (
            _following(hits[limit - 1], weights if is_scored else None)
            if len(hits) > limit > 0
            else None
        )
        return Hits(total, self._told(asked, hits[:limit]), following, behind, facets)

    def _find(
        self, asked: Asked, told: Gathered
    ) -> tuple[list[Found], Counts, dict[str, dict[str, int]]]:
        """What matches in this process, and what its words count."""
        words = asked.words
        sums = Counts(0, 0, [0] * len(words))
        found: list[Found] = []
        facets: dict[str, dict[str, int]] = {facet: {} for facet in asked.question.facets}
        for index, span in zip(told.indexes, told.spans, strict=True):
            with index.lock:
                for part in self._parts(index, span, asked):
                    allowed = _allowed(part, asked.question.prefixes)
                    bits = _visible(part, asked, allowed)
                    postings = [matching.words_of(word, part.run) for word in words]
                    found.append(Found(part.run, bits, postings))
                    if words:
                        sums.add(ranking.counts_of(part, postings, allowed))
                    _count_facets(asked.question.facets, facets, part, bits)
        return found, sums, facets

    def _told(self, asked: Asked, hits: Sequence[Scored]) -> tuple[Hit, ...]:
        told = [Hit(key.decode(), -score if score else 0.0) for score, key in hits]
        if asked.question.highlight:
            told = [self._with_snippet(asked, hit) for hit in told]
        return tuple(told)

    # -- for another process ----------------------------------------------------------------

    def portion(self, told: bytes, start: bytes, stop: bytes, weighed: bytes) -> bytes:
        """Answer for the buckets of this process that hold a range (``SEARCH``).

        Args:
            told: the ``Question``, msgpack.
            start: of the range of composite keys; ``stop`` is its end, exclusive.
            stop: see ``start``.
            weighed: the ``Weights``; empty where only the counts are asked for.

        Returns:
            A ``Portion``, msgpack.

        Raises:
            Moved: this process does not hold the range.
        """
        asked = self.understand(msgspec.msgpack.decode(told, type=Question))
        gathered = self._searcher.gather(start, stop)
        if gathered.others:
            raise Moved
        behind = 0
        for index in gathered.indexes:
            if not index.is_new():
                behind += self._bring(index, asked.question)
        found, sums, facets = self._find(asked, gathered)
        hits: list[Scored] = []
        if weighed:
            weights = msgspec.msgpack.decode(weighed, type=Weights)
            hits = _nearest(asked.most, [_best(asked, one, weights) for one in found if one.bits])
        total = sum(len(one.bits) for one in found)
        return msgspec.msgpack.encode(Portion(total, hits, behind, facets, sums))

    # -- snippets ---------------------------------------------------------------------------

    def _with_snippet(self, asked: Asked, hit: Hit) -> Hit:
        return Hit(hit.key, hit.score, self._snippet(asked, hit.key))

    def _snippet(self, asked: Asked, key: str) -> str | None:
        """The place in an object's text that says most of what was asked."""
        maker = asked.maker
        composite = arguments.compose(asked.space + VISIBLE, key)
        try:
            row = self._store.corridor.read(composite, lambda bucket: bucket.row(composite))
            if row is None:
                return None
            entry = unpack(row)
            attributes = entry.attributes
            rule = maker.rule(key.encode(), attributes)
            size = min(entry.size, excerpt.MOST_BYTES)
            value = self._searcher.beginning(composite, entry, size)
        except (Changed, NotFound):
            return None
        if rule is None:
            return None
        text = (
            attributes.index
            if isinstance(attributes.index, str)
            else value.decode(errors="replace")
        )
        return excerpt.excerpt(text, asked.query, analyzer(rule.language or maker.rules.language))


def rest_s(attempt: int) -> float:
    """How long to wait before ranges are looked up again that were just changing."""
    return SOON_S if attempt < SOON else ON_ITS_WAY_S


def _first(
    part: Part, asked: Asked, facets: dict[str, dict[str, int]]
) -> tuple[int, Iterable[int]]:
    """How many documents of a part match, and the first of them."""
    bits = _visible(part, asked, _allowed(part, asked.question.prefixes))
    _count_facets(asked.question.facets, facets, part, bits)
    after = None if asked.after is None else asked.after[1]
    return len(bits), ranking.first(part.run, bits, asked.most, after)


def _best(asked: Asked, found: Found, weights: Weights) -> Iterable[Scored]:
    """The best documents of a part, or the first by key."""
    if asked.question.rank == "bm25":
        return found.best(asked.most, weights, asked.after)
    after = None if asked.after is None else asked.after[1]
    documents = ranking.first(found.run, found.bits, asked.most, after)
    return [(0.0, found.run.keys[document]) for document in documents]


def _nearest(most: int, streams: Sequence[Iterable[Scored]]) -> list[Scored]:
    """The first of all, where each stream has its own first in order."""
    if len(streams) == 1:
        return list(streams[0])
    return heapq.nsmallest(most, _all(streams))


def _all(streams: Iterable[Iterable[Scored]]) -> Iterator[Scored]:
    for stream in streams:
        yield from stream


def _ask(  # noqa: PLR0917 - a range, and what is asked of it
    other: Elsewhere, question: Question, start: bytes, stop: bytes, weights: Weights | None
) -> Portion:
    told = msgspec.msgpack.encode(question)
    weighed = b"" if weights is None else msgspec.msgpack.encode(weights)
    found: Any = other.link.ask(SEARCH, told, start, stop, weighed)
    return msgspec.msgpack.decode(found, type=Portion)


def _allowed(part: Part, prefixes: Sequence[str] | None) -> BitMap | None:
    """The documents of a part that are asked about; None: all of them."""
    if prefixes is None:
        return None
    return BitMap.union(BitMap(), *(matching.below(part.run, one.encode()) for one in prefixes))


def _visible(part: Part, asked: Asked, allowed: BitMap | None) -> BitMap:
    """The documents of a part that a query finds, of those that are asked about."""
    if asked.begun:
        matching.bound(asked.begun, part.run)
    bits = part.seen(matching.matches(asked.query, part.run))
    return bits if allowed is None else bits & allowed


def _count_facets(
    asked: Sequence[str], facets: dict[str, dict[str, int]], part: Part, bits: BitMap
) -> None:
    """Count the documents of a part by the values of tags."""
    for facet in asked:
        counts = facets.setdefault(facet, {})
        start = f"{MARK}{TAG}{END}{facet}="
        for term, posting in part.run.terms_from(start, part.run.count + 1):
            count = posting.bits.intersection_cardinality(bits)
            if count:
                value = term[len(start) :]
                counts[value] = counts.get(value, 0) + count


def _add_facets(facets: dict[str, dict[str, int]], others: dict[str, dict[str, int]]) -> None:
    for facet, counts in others.items():
        mine = facets[facet]
        for value, count in counts.items():
            mine[value] = mine.get(value, 0) + count


def _following(last: Scored, weights: Weights | None) -> str:
    """What goes on behind a hit, in the order of scores or, without weights, of keys."""
    return key_cursor(last[1].decode()) if weights is None else score_cursor(last, weights)
