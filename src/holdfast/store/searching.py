"""The store's searcher: one index for each bucket, and one answer over all of them.

An index is made when it is first asked for and follows its bucket's log from then on. Its rules
lie in the store under the name that no caller can spell, ``search/<namespace>``. A ranked search
asks every bucket for its counts first and ranks second (rule 16).
"""

from __future__ import annotations

import base64
import heapq
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from pyroaring import BitMap

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace
from holdfast.engines.disk import OsDisk
from holdfast.errors import (
    Changed,
    HoldfastError,
    InvalidQuery,
    InvalidValue,
    Moved,
    NotFound,
    Unavailable,
)
from holdfast.limits import SEARCH_BEHIND
from holdfast.log.entry import Entry, unpack
from holdfast.log.records import Flag
from holdfast.request import arguments, large
from holdfast.search import excerpt, matching, ranking
from holdfast.search.analysis import analyzer
from holdfast.search.build import END, MARK
from holdfast.search.documents import Maker
from holdfast.search.files import NAME, Files
from holdfast.search.index import VISIBLE, Index
from holdfast.search.parse import TAG
from holdfast.search.query import Query, scored
from holdfast.search.ranking import Counts, Found, Scored
from holdfast.search.shelf import Part
from holdfast.store.tenancy import StoreRecords
from holdfast.upkeep.upkeep import nothing
from holdfast.values import Hit, Hits, SearchRules, SearchStatus

if TYPE_CHECKING:
    from holdfast.store.store import Store

FOLDER: Final = "search/"
RANKS: Final = ("bm25", "key")
UNSAVED: Final = 20_000  # documents that are not on disk, before upkeep writes an index
ATTEMPTS: Final = 64  # buckets may split and merge, again and again
SCORE: Final = struct.Struct(">d")
RULES: Final = msgspec.json.Decoder(SearchRules)


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A search, checked."""

    space: bytes
    maker: Maker
    query: Query
    limit: int
    after: Scored | None
    rank: str
    highlight: bool
    fresh: bool
    max_wait_ns: int | None
    prefixes: tuple[str, ...] | None
    facets: tuple[str, ...]


class Searcher:
    """Searches a store. Made by ``store.searcher``; safe for threads.

    Args:
        store: the open store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = StoreRecords(store)
        self._indexes: dict[str, Index] = {}
        self._known: dict[bytes, Maker] = {}
        self._lock = RLock()
        self._folder = _folder_of(store)
        store.upkeep.index = self.follow

    # -- rules -------------------------------------------------------------------------

    def rules(self, namespace: str) -> SearchRules:
        """What is searched of a namespace."""
        return self._maker(arguments.namespace_bytes(namespace)).rules

    def configure(self, namespace: str, rules: SearchRules) -> None:
        """Say what is searched of a namespace; what is there is read again."""
        _check(rules)
        name = arguments.namespace_bytes(namespace)
        start, stop = name + VISIBLE, name + arguments.HIDDEN
        with self._lock:
            for index in self._gather(start, stop):
                with index.lock:
                    index.forget()
            self._records.put(FOLDER + namespace, msgspec.json.encode(rules))
            self._known[name] = Maker(rules)
            for index in self._gather(start, stop):
                index.forget()  # what was absorbed by the old rules meanwhile

    def _maker(self, namespace: bytes) -> Maker:
        known = self._known.get(namespace)
        if known is None:
            found = self._records.get(FOLDER + namespace.decode())
            rules = SearchRules() if found is None else RULES.decode(found[0])
            known = self._known.setdefault(namespace, Maker(rules))
        return known

    # -- indexes ------------------------------------------------------------------------

    def _gather(self, start: bytes, stop: bytes) -> list[Index]:
        """The indexes of the buckets that hold a range of composite keys, in order."""
        directory = self._store.placement.directory
        if directory.shared:
            raise Unavailable(reason="a search of a store that several processes share")
        found = []
        at = start
        while at < stop:
            bucket = directory.find(at)
            found.append(self.index_of(bucket))
            at = bucket.stop
            if not bucket.start < at:
                directory.look_again()
                raise Moved(bucket=bucket.id)
        return found

    def index_of(self, bucket: Bucket) -> Index:
        """A bucket's index; of one that a split just made, its parent's, cut to its range."""
        known = self._indexes.get(bucket.id)
        if known is not None and known.bucket is bucket:
            return known
        with self._lock:
            made = Index(bucket, self._maker, self._beginning)
            if self._folder is not None:
                made.files = Files(self._folder / bucket.id)
                made.load()
            if made.at is None:
                self._adopt(made)
            self._indexes[bucket.id] = made
            return made

    def _adopt(self, child: Index) -> None:
        """Take over what the parent's index holds of a child's range."""
        bucket = child.bucket
        if bucket.forked_at is None:
            return
        for parent in list(self._indexes.values()):
            if parent is not child and parent.at and parent.start <= bucket.start < parent.stop:
                child.adopt(parent)
                return

    def _hand_over(self, index: Index) -> None:
        """Before an index is cut, let who has its upper part now take that over."""
        bucket, stop = index.bucket, index.stop
        at = bucket.stop
        while index.at is not None and bucket.start < at < stop:
            right = self._store.placement.directory.find(at)
            self.index_of(right)
            if right.stop <= at:
                return
            at = right.stop

    def _beginning(self, composite: bytes, entry: Entry, size: int) -> bytes:
        """The first bytes of an object's value."""
        corridor = self._store.corridor
        if entry.flags & Flag.LARGE:
            return b"".join(large.pieces(corridor, composite, "", entry, 0, size))
        return corridor.read(
            composite, lambda bucket: bucket.read_extents(composite, entry, 0, size)
        )

    def follow(self, pace: Pace, is_spent: Callable[[], bool]) -> None:
        """Keep what is searched from falling far behind, in slices (upkeep)."""
        for name, maker in list(self._known.items()):
            if maker.rules.rules:
                self._gather(name + VISIBLE, name + arguments.HIDDEN)
        for index in list(self._indexes.values()):
            try:
                for _ in self._chores(index):
                    pace()
                    if is_spent():
                        return
            except Moved:
                continue  # merged away: whoever has its range is searched in its place

    def _chores(self, index: Index) -> Iterator[None]:
        if index.behind() > SEARCH_BEHIND // 2:
            self._hand_over(index)
            yield from index.steps()
        yield from index.tidy()
        if index.changed >= UNSAVED:
            index.save()
            yield
        self._forget_others()

    def _forget_others(self) -> None:
        """Let go of the indexes of buckets that are no more."""
        ids = {bucket.id for bucket in self._store.placement.directory}
        if not self._indexes.keys() <= ids:
            with self._lock:
                self._indexes = {name: one for name, one in self._indexes.items() if name in ids}

    def close(self) -> None:
        """Write down what is not on disk yet; what cannot be is derived again."""
        self._store.upkeep.index = nothing
        for index in self._indexes.values():
            if index.changed and not index.bucket.closed:
                with suppress(OSError, HoldfastError):
                    index.save()

    def resume(self) -> None:
        """Follow the buckets whose indexes are on disk."""
        folder = self._folder
        for bucket in self._store.placement.directory:
            if folder is not None and (folder / bucket.id / NAME).exists():
                self.index_of(bucket)

    # -- searching ------------------------------------------------------------------------

    def search(
        self,
        namespace: str,
        query: str,
        *,
        limit: int,
        after: str | None,
        rank: str,
        highlight: bool,
        fresh: bool,
        max_wait_ns: int | None,
        prefixes: tuple[str, ...] | None,
        facets: tuple[str, ...],
    ) -> Hits:
        """Answer a search (``Namespace.search``)."""
        space = namespace.encode()
        maker = self._known.get(space) or self._maker(arguments.namespace_bytes(namespace))
        tree = maker.parsed.get(query)
        if tree is None:
            tree = maker.parse(arguments.text(query, "query").decode())
        last = None if after is None and rank in RANKS else read_cursor(after, rank)
        asked = Asked(
            *(space, maker, tree, limit, last, rank),
            *(highlight, fresh, max_wait_ns, prefixes, facets),
        )
        for _ in range(ATTEMPTS):
            try:
                indexes = self._gather(space + VISIBLE, space + arguments.HIDDEN)
                behind = 0
                for index in indexes:
                    if not index.is_new():
                        behind += self._bring(index, asked)
                return self._answer(asked, indexes, behind)
            except Moved:
                self._store.placement.directory.look_again()
        raise Changed(what="ranges of buckets")

    def search_all(self, query: str, *, limit: int, rank: Literal["bm25", "key"]) -> Hits:
        """Answer a search of every namespace: the first hits of all of them."""
        refused: InvalidQuery | None = None
        found: list[tuple[str, Hits]] = []
        for name in self._store.namespaces():
            try:
                answer = self._store.namespace(name).search(query, limit=limit, rank=rank)
            except InvalidQuery as error:
                refused = error
            else:
                found.append((name, answer))
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

    def _bring(self, index: Index, asked: Asked) -> int:
        """Absorb what is new, as far as was asked; how many records are lacking."""
        self._hand_over(index)
        if asked.fresh and asked.max_wait_ns is None:
            index.catch_up()
            return 0
        clock = self._store.clock
        until = clock.monotonic_ns() + (asked.max_wait_ns or 0)
        if asked.fresh:
            for _ in index.steps():
                if clock.monotonic_ns() >= until:
                    break
        index.hide_removed()
        return index.behind()

    def _answer(self, asked: Asked, indexes: Sequence[Index], behind: int) -> Hits:
        words = tuple(scored(asked.query)) if asked.rank == "bm25" else ()
        sums = Counts(0, 0, [0] * len(words))
        found: list[Found] = []
        facets: dict[str, dict[str, int]] = {facet: {} for facet in asked.facets}
        for index in indexes:
            with index.lock:
                shelf = index.shelves.get(asked.space)
                if shelf is None:
                    continue
                if index.bucket.may_expire:
                    shelf.expire(index.bucket.time.now_ns())
                for part in shelf.parts:
                    bits = _visible(part, asked)
                    postings = [matching.words_of(word, part.run) for word in words]
                    found.append(Found(part.run, bits, postings))
                    if words:
                        sums.add(ranking.counts_of(part, postings))
                    _count_facets(facets, part, bits)
        total = sum(len(one.bits) for one in found)
        hits = (
            self._ranked(asked, found, sums)
            if words or asked.rank == "bm25"
            else _first(asked, found)
        )
        following = None
        if len(hits) > asked.limit > 0:
            following = _cursor(hits[asked.limit - 1], asked.rank)
        return Hits(total, self._told(asked, hits[: asked.limit]), following, behind, facets)

    def _ranked(self, asked: Asked, found: Sequence[Found], sums: Counts) -> list[Scored]:
        weights = sums.weights()
        most = asked.limit + 1
        best = [one.best(most, weights, asked.after) for one in found if one.bits]
        return list(best[0]) if len(best) == 1 else heapq.nsmallest(most, _all(best))

    def _told(self, asked: Asked, hits: Sequence[Scored]) -> tuple[Hit, ...]:
        if not asked.highlight:
            return tuple([Hit(key.decode(), -score if score else 0.0) for score, key in hits])
        named = [(key.decode(), -score if score else 0.0) for score, key in hits]
        return tuple([Hit(name, score, self._snippet(asked, name)) for name, score in named])

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
            value = self._beginning(composite, entry, min(entry.size, excerpt.MOST_BYTES))
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

    # -- standing -------------------------------------------------------------------------

    def status(self, namespace: str) -> SearchStatus:
        """How a namespace's index stands; nothing is absorbed for it."""
        name = arguments.namespace_bytes(namespace)
        indexes = self._gather(name + VISIBLE, name + arguments.HIDDEN)
        documents = runs = size = 0
        for index in indexes:
            with index.lock:
                shelf = index.shelves.get(name)
                parts = [] if shelf is None else shelf.parts
                documents += sum(part.count for part in parts)
                runs += len(parts)
                size += sum(len(part.run.data) for part in parts)
        reading = self._maker(name).reading
        behind = sum(index.behind() for index in indexes)
        return SearchStatus(
            documents, behind, runs, size, reading.cut, reading.no_text, reading.replaced
        )


def _folder_of(store: Store) -> Path | None:
    """Where the views of a store's buckets lie; None where they are in memory."""
    return Path(store.path, store.file.index_dir) if isinstance(store.disk, OsDisk) else None


def _all(streams: Iterable[Iterator[Scored]]) -> Iterator[Scored]:
    for stream in streams:
        yield from stream


def _visible(part: Part, asked: Asked) -> BitMap:
    """The documents of a part that a search finds and its asker may see."""
    bits = part.seen(matching.matches(asked.query, part.run))
    if asked.prefixes is None:
        return bits
    seen = BitMap()
    for prefix in asked.prefixes:
        seen |= matching.below(part.run, prefix.encode())
    return bits & seen


def _first(asked: Asked, found: Sequence[Found]) -> list[Scored]:
    """The first in the order of their keys."""
    most = asked.limit + 1
    after = None if asked.after is None else asked.after[1]
    streams = [keys for one in found if (keys := one.first_keys(most, after))]
    if not streams:
        return []
    keys = (
        streams[0] if len(streams) == 1 else sorted(key for keys in streams for key in keys)[:most]
    )
    return [(0.0, key) for key in keys]


def _count_facets(facets: dict[str, dict[str, int]], part: Part, bits: BitMap) -> None:
    """Count the documents of a part by the values of tags."""
    for facet, counts in facets.items():
        start = f"{MARK}{TAG}{END}{facet}="
        for term, posting in part.run.terms_from(start, part.run.count + 1):
            count = posting.bits.intersection_cardinality(bits)
            if count:
                value = term[len(start) :]
                counts[value] = counts.get(value, 0) + count


def _cursor(last: Scored, rank: str) -> str:
    score, key = last
    raw = (SCORE.pack(score) if rank == "bm25" else b"") + key
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(after: object, rank: str) -> Scored | None:
    """Where an earlier page ended; InvalidValue where ``after`` is no cursor of one."""
    if rank not in RANKS:
        raise InvalidValue(argument="rank", reason="bm25 or key")
    if after is None:
        return None
    if isinstance(after, str):
        try:
            raw = base64.urlsafe_b64decode(after + "=" * (-len(after) % 4))
            raw[SCORE.size if rank == "bm25" else 0 :].decode()
            if rank == "bm25":
                return SCORE.unpack_from(raw)[0], raw[SCORE.size :]
        except (ValueError, struct.error):
            pass
        else:
            return 0.0, raw
    raise InvalidValue(argument="after", reason="not the next of an earlier search")


def _check(rules: SearchRules) -> None:
    """Refuse rules that cannot be followed."""
    analyzer(rules.language)
    for rule in rules.rules:
        if rule.language is not None:
            analyzer(rule.language)
        for field in rule.fields:
            if not _is_field(field):
                raise InvalidValue(argument="fields", reason="not a name for a field", field=field)


def _is_field(name: str) -> bool:
    return (
        name.replace("_", "a").isalnum()
        and not name[0].isdigit()
        and name not in {"key", "type", TAG}
    )
