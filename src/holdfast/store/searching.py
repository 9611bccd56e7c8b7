"""The store's searcher: one index for each bucket, and one answer over all of them.

An index is made when it is first asked for and follows its bucket's log from then on. Its rules
lie in the store under the name that no caller can spell, ``search/<namespace>``. A ranked search
asks every bucket for its counts first and ranks second (rule 16).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace
from holdfast.errors import HoldfastError, InvalidValue, Moved
from holdfast.limits import SEARCH_BEHIND
from holdfast.log.entry import Entry
from holdfast.log.records import Flag
from holdfast.placement.elsewhere import Elsewhere
from holdfast.request import arguments, large
from holdfast.search.analysis import analyzer
from holdfast.search.changes import VISIBLE
from holdfast.search.documents import Maker
from holdfast.search.files import NAME, Files
from holdfast.search.index import Index
from holdfast.search.parse import TAG
from holdfast.store.absorbing import index_folder
from holdfast.store.answering import ATTEMPTS, Answering, Gathered, rest_s
from holdfast.store.finding import FOLDER, wanting
from holdfast.store.question import RENEW, STATUS
from holdfast.store.tenancy import StoreRecords
from holdfast.upkeep.upkeep import nothing
from holdfast.values import SearchRules, SearchStatus

if TYPE_CHECKING:
    from holdfast.store.store import Store

UNSAVED: Final = 20_000  # documents that are not on disk, before upkeep writes an index
SLICE_NS: Final = 20_000_000  # that an index far behind is worked at before a rest
TURN_NS: Final = 250_000_000  # before upkeep looks after the rest
TURN_MOST_NS: Final = 2_000_000_000  # where the rest takes so long
KNOWN_SPACES: Final = 4_096
RULES: Final = msgspec.json.Decoder(SearchRules)


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
        self._renewed = 0  # how often rules were, anyone's
        self._gathered: dict[bytes, tuple[int, Gathered]] = {}
        self._lock = RLock()
        self._left_ns = store.clock.monotonic_ns()  # when upkeep looked after the rest
        self.answering = Answering(store, self)
        self._folder = index_folder(store)
        store.upkeep.index = self.follow

    # -- rules -------------------------------------------------------------------------

    def rules(self, namespace: str) -> SearchRules:
        """What is searched of a namespace."""
        return self.maker(arguments.namespace_bytes(namespace)).rules

    def configure(self, namespace: str, rules: SearchRules) -> None:
        """Say what is searched of a namespace; what is there is read again, in every process.

        Raises:
            Unavailable: another process does not answer; whoever repeats it is safe.
            InvalidValue: they are none, or cannot be followed.
        """
        encoded = _encoded(rules)
        arguments.namespace_bytes(namespace)
        self._change(namespace, lambda: self._records.put(FOLDER + namespace, encoded))

    def unsay(self, namespace: str) -> None:
        """Forget what was said of a namespace: whoever has the name next says it anew.

        Raises:
            Unavailable: as ``configure``.
        """
        self._change(namespace, lambda: self._records.delete(FOLDER + namespace))

    def _change(self, namespace: str, write: Callable[[], object]) -> None:
        self._tell(namespace)
        with self._lock:  # no index of this process begins between the two
            self.renew(namespace)
            write()
            self.renew(namespace)
        self._tell(namespace)

    def _tell(self, namespace: str) -> None:
        for partner in self._store.partners:
            partner.ask(RENEW, namespace)

    def renew(self, namespace: str) -> None:
        """Forget what was read of a namespace, and by which rules (``RENEW``)."""
        name = arguments.namespace_bytes(namespace)
        self._renewed += 1
        self._known.pop(name, None)
        self.answering.forget()
        for index in self.gather(name + VISIBLE, name + arguments.HIDDEN).indexes:
            index.forget()
        self._known.pop(name, None)  # what was read by the old ones meanwhile
        self.answering.forget()

    def maker(self, namespace: bytes) -> Maker:
        """What makes documents of a namespace's objects, by its rules."""
        known = self._known.get(namespace)
        if known is None:
            renewed = self._renewed
            found = self._records.get(FOLDER + namespace.decode())
            rules = SearchRules() if found is None else RULES.decode(found[0])
            known = Maker(rules)
            if renewed == self._renewed:
                known = self._known.setdefault(namespace, known)
        return known

    # -- indexes ------------------------------------------------------------------------

    def gathered(self, space: bytes) -> Gathered:
        """Who answers for a namespace. Kept until ranges change."""
        version = self._store.placement.directory.version
        known = self._gathered.get(space)
        if known is not None and known[0] == version:
            return known[1]
        found = self.gather(space + VISIBLE, space + arguments.HIDDEN)
        if len(self._gathered) >= KNOWN_SPACES:
            self._gathered = {}
        self._gathered[space] = version, found
        return found

    def gather(self, start: bytes, stop: bytes) -> Gathered:
        """Who answers for a range of composite keys, in order.

        Raises:
            Moved: some of it changes hands, and did so for long.
        """
        directory = self._store.placement.directory
        for attempt in range(ATTEMPTS):
            found = self._walk(start, stop)
            if found is not None:
                return found
            directory.look_again()
            self._store.clock.sleep(rest_s(attempt))
        raise Moved

    def _walk(self, start: bytes, stop: bytes) -> Gathered | None:
        """The same; None where a bucket gave up a part that is nobody's yet."""
        directory = self._store.placement.directory
        found: list[Index] = []
        spans: list[tuple[bytes, bytes]] = []
        others: list[tuple[Elsewhere, bytes, bytes]] = []
        at = start
        while at < stop:
            bucket = directory.find(at)
            begin, end = bucket.start, bucket.stop
            if not begin <= at < end:
                return None
            if isinstance(bucket, Elsewhere):
                others.append((bucket, at, min(end, stop)))
            else:
                found.append(self.index_of(bucket))
                spans.append((begin, end))
            at = end
        return Gathered(found, spans, others)

    def index_of(self, bucket: Bucket) -> Index:
        """A bucket's index; of one that a split just made, its parent's, cut to its range."""
        known = self._indexes.get(bucket.id)
        if known is not None and known.bucket is bucket:
            return known
        with self._lock:
            made = Index(bucket, self.maker, self.beginning)
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
        parent = self._indexes.get(bucket.forked_from)
        if parent is not None and parent.at and parent.start <= bucket.start < parent.stop:
            child.adopt(parent)

    def hand_over(self, index: Index) -> None:
        """Before an index is cut, let who has its upper part now take that over."""
        bucket, stop = index.bucket, index.stop
        at = bucket.stop
        while index.at is not None and bucket.start < at < stop:
            right = self._store.placement.directory.find(at)
            if isinstance(right, Elsewhere):
                return
            self.index_of(right)
            if right.stop <= at:
                return
            at = right.stop

    def beginning(self, composite: bytes, entry: Entry, size: int) -> bytes:
        """The first bytes of an object's value."""
        corridor = self._store.corridor
        if entry.flags & Flag.LARGE:
            return b"".join(large.pieces(corridor, composite, "", entry, 0, size))
        return corridor.read(
            composite, lambda bucket: bucket.read_extents(composite, entry, 0, size)
        )

    def follow(self, pace: Pace, is_spent: Callable[[], bool]) -> None:
        """Keep what is searched from falling far behind, in slices (upkeep).

        The thread of upkeep does so for a turn at a time: writers may need its other chores.
        Who is far behind has turns as long as those chores take.
        A tick goes on until all indexes together lack fewer than SEARCH_BEHIND records.
        """
        self._meet()
        lag = sum(self.behind().values())
        clock = self._store.clock
        begun = since = clock.monotonic_ns()
        for index in sorted(self._indexes.values(), key=Index.behind, reverse=True):
            before = index.behind()
            try:
                for _ in self._chores(index, is_far=lag > SEARCH_BEHIND // 2):
                    lacking = lag - before + index.behind()
                    since = self._pause(pace, lacking, since)
                    if self._is_over(is_spent, lacking, begun):
                        self._store.upkeep.look_soon(at_once=lacking > SEARCH_BEHIND // 2)
                        self._left_ns = clock.monotonic_ns()
                        return
            except Moved:
                continue  # merged away: whoever has its range is searched in its place
            lag += index.behind() - before
        self._forget_others()
        self._left_ns = clock.monotonic_ns()

    def _meet(self) -> None:
        """Begin an index wherever rules, or puts, want something searched."""
        for name, maker in list(self._known.items()):
            if maker.rules.rules:
                self.gather(name + VISIBLE, name + arguments.HIDDEN)
        for bucket in wanting(self._store):
            self.index_of(bucket)

    def _pause(self, pace: Pace, lag: int, since: int) -> int:
        """Rest, once a slice has taken its time; when the next slice began.

        Waking takes up to 5 ms beside a busy thread, so who is far behind works for longer.
        """
        share = max(0, lag - SEARCH_BEHIND // 2) / SEARCH_BEHIND
        clock = self._store.clock
        if clock.monotonic_ns() - since < min(share, 1.0) * SLICE_NS:
            return since
        pace()
        return clock.monotonic_ns()

    def _is_over(self, is_spent: Callable[[], bool], lag: int, begun: int) -> bool:
        """Whether this turn of following ends here."""
        upkeep = self._store.upkeep
        if upkeep.may_leave():
            rest = begun - self._left_ns if lag > SEARCH_BEHIND // 2 else 0
            turn = min(max(rest, TURN_NS), TURN_MOST_NS)
            return is_spent() or self._store.clock.monotonic_ns() - begun > turn
        return lag < SEARCH_BEHIND and is_spent()

    def _chores(self, index: Index, *, is_far: bool) -> Iterator[None]:
        if index.bucket.closed:
            return  # another process holds it, or it was merged away
        if is_far:
            self.hand_over(index)
            yield from index.steps()
        yield from index.tidy()
        if index.changed >= UNSAVED:
            index.save()
            yield

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

    # -- standing -------------------------------------------------------------------------

    def status(self, namespace: str) -> SearchStatus:
        """How a namespace's index stands, in every process; nothing is absorbed for it."""
        standing = self.standing(namespace)
        for partner in self._store.partners:
            standing = _sum(
                standing, msgspec.msgpack.decode(partner.ask(STATUS, namespace), type=SearchStatus)
            )
        return standing

    def standing(self, namespace: str) -> SearchStatus:
        """The same of this process alone."""
        name = arguments.namespace_bytes(namespace)
        indexes = self.gathered(name).indexes
        documents = runs = size = 0
        for index in indexes:
            with index.lock:
                shelf = index.shelves.get(name)
                parts = [] if shelf is None else shelf.parts
                documents += sum(part.count for part in parts)
                runs += len(parts)
                size += sum(len(part.run.data) for part in parts)
        reading = self.maker(name).reading
        behind = sum(index.behind() for index in indexes)
        return SearchStatus(
            documents, behind, runs, size, reading.cut, reading.no_text, reading.replaced
        )

    def behind(self) -> dict[str, int]:
        """By bucket: how many records its index lacks, of those that are searched."""
        return {
            index.bucket.id: index.behind()
            for index in list(self._indexes.values())
            if not index.bucket.closed
        }

    def leave(self, start: bytes, stop: bytes) -> None:
        """Write down the indexes of a range, which another process will hold."""
        for index in list(self._indexes.values()):
            if start <= index.bucket.start < stop:
                with suppress(OSError, HoldfastError):
                    index.save()


def _sum(one: SearchStatus, other: SearchStatus) -> SearchStatus:
    return SearchStatus(
        *map(sum, zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True))
    )


def _encoded(rules: SearchRules) -> bytes:
    """Rules as they are kept; refused where they cannot be followed, or not be read again."""
    try:
        encoded = msgspec.json.encode(rules)
        same = msgspec.json.decode(encoded, type=SearchRules) == rules
    except (msgspec.MsgspecError, TypeError, UnicodeEncodeError):
        same, encoded = False, b""
    if not same:
        raise InvalidValue(argument="rules", reason="not rules of what is searched")
    _check(rules)
    return encoded


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
