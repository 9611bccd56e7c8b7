"""The calls of a namespace, without I/O: each says its request and reads its answer."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from holdfast.bucket.rows import decode_id, encode_ids
from holdfast.client.asks import Answer, Ask, Work
from holdfast.client.finding import SearchingCalls
from holdfast.client.line import BAD, NOT_BEGUN_ERRORS, Line, note_cost, refusal_of
from holdfast.client.money import MeteringCalls
from holdfast.client.numbers import is_about_session, write
from holdfast.client.places import Places, ask_owner
from holdfast.client.proving import ProvingCalls
from holdfast.client.reading import read
from holdfast.client.sharing import SharingCalls
from holdfast.client.walk import Asked, ProvenWalk, Walk
from holdfast.errors import (
    Correctable,
    HoldfastError,
    InvalidValue,
    LimitExceeded,
    LockHeld,
    LockLost,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from holdfast.limits import (
    BATCH_BYTES,
    BATCH_OPERATIONS,
    LOCK_TTL_S,
    LOCK_WAIT_S,
    MIB,
    SESSION_NUMBERS,
    VALUE_RECORD_BYTES,
)
from holdfast.operations import StoreOptions
from holdfast.request import arguments
from holdfast.request.options import known, put_options
from holdfast.values import Receipt, Stat
from holdfast.wire import headers as wire
from holdfast.wire.batch import Batch, Call, arguments_of, decode_results, encode_batch
from holdfast.wire.paths import encode_key
from holdfast.wire.values import (
    JSON,
    MSGPACK,
    Consumers,
    Locked,
    Missing,
    consumer_ids,
    encode,
    told_ids,
)

By = Literal["text", "component"]
Data = bytes | bytearray | memoryview
PIECE_BYTES: Final = 16 * MIB  # of values in one request of a batch that need not be one
FRAME_BYTES: Final = 512  # what an operation takes beside key and value
PARTIAL: Final = 206
READS: Final = frozenset(("load", "exists", "stat"))
# Of a batch of reads: too large for its answer, or not to be had in that moment.
ASKED_ALONE: Final = (LimitExceeded, *NOT_BEGUN_ERRORS)
COVERAGES: Final = frozenset(("text", "component"))


class NamespaceCalls(MeteringCalls, ProvingCalls, SearchingCalls, SharingCalls):
    """What can be asked of one namespace.

    Args:
        line: the client's.
        name: the namespace's.
        places: in direct mode, where its keys lie.
    """

    def __init__(self, line: Line, name: str, places: Places | None) -> None:
        arguments.namespace_bytes(name)
        super().__init__(line, f"/v1/namespaces/{encode_key(name)}")
        self.name = name
        self._places = places

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def _about(self, noun: str, key: str, query: str = "") -> str:
        return f"{self._root}/{noun}/{encode_key(key)}{query}"

    def _owned(self, ask: Ask, key: str) -> Work[Answer]:
        """Ask whoever owns the key, where we go there directly."""
        now_ns = self._line.clock.monotonic_ns()
        if self._places is None or not self._places.are_for(len(ask.body), now_ns):
            return self._line.exchange(ask)
        return ask_owner(self._line, self._places, (self.name, key), ask)

    def _write(self, ask: Ask, count: int = 1) -> Work[Answer]:
        """Ask for a write, under a number of its own."""
        return write(self._line, ask, count=count)

    # -- values ---------------------------------------------------------------------

    def put(
        self,
        key: str,
        data: Data,
        *,
        ttl: float | str | None = None,
        keep_ttl: bool = False,
        if_absent: bool = False,
        if_version: int | None = None,
        fence: int | None = None,
        consumers: Iterable[str | bytes] | None = None,
        permanent: bool = False,
        content_type: str | None = None,
        index: str | bool | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Work[Receipt]:
        """Create or replace an object; arguments and errors are those of the embedded store.

        Raises:
            OutcomeUnknown: it was sent and not answered: perhaps stored.
        """
        options = put_options(
            *(ttl, keep_ttl, if_absent, if_version, fence, consumers, permanent, content_type),
            index=index,
            tags=tags,
        )
        return (yield from self.store(key, arguments.payload(data), options))

    def store(self, key: str, value: bytes | memoryview, options: StoreOptions) -> Work[Receipt]:
        """Put with options that were checked."""
        ask = Ask("PUT", self._about("objects", key), wire.headers_of(options), value)
        answer = yield from write(self._line, ask, go=lambda ask: self._owned(ask, key))
        return read(answer, Receipt, ask)

    def get(self, key: str, *, range: tuple[int, int] | None = None) -> Work[bytes]:  # noqa: A002 - the face
        """An object's value, or the bytes ``(start, stop)`` of it, stop exclusive."""
        if self._line.trust is not None:
            return (yield from self._get_proven(key, range))
        target = self._about("objects", key)
        if range is None:
            return (yield from self._owned(Ask("GET", target, repeatable=True), key)).body
        start, stop = arguments.pair(range)
        if start == stop:
            return (yield from self._nothing_at(key, range))
        headers = {"range": wire.range_text(start, stop)}
        try:
            answer = yield from self._owned(Ask("GET", target, headers, repeatable=True), key)
        except InvalidValue as error:
            if error.facts.get("argument") != "range":
                raise
            return (yield from self._nothing_at(key, range))
        return answer.body if answer.status == PARTIAL else answer.body[start:stop]

    def _nothing_at(self, key: str, span: tuple[int, int]) -> Work[bytes]:
        """What HTTP has no range for: no bytes, at a place that may be the end."""
        told = yield from self.stat(key)
        if not told.terminal:
            raise NotFound(key=key)
        arguments.byte_range(span, told.size)
        return b""

    def get_version(self, key: str, version: int, span: tuple[int, int]) -> Work[bytes]:
        """Bytes of one version of an object; VersionMismatch where it has another by now."""
        if self._line.trust is not None:
            return (yield from self._range_proven(key, span, version))
        start, stop = span
        headers = {wire.IF_MATCH: f'"{version}"'}
        if start < stop:
            headers["range"] = wire.range_text(start, stop)
        ask = Ask("GET", self._about("objects", key), headers, repeatable=True)
        answer = yield from self._owned(ask, key)
        return answer.body if answer.status == PARTIAL else answer.body[start:stop]

    def upload_ask(self, key: str) -> Ask:
        """The put of a value that comes bit by bit."""
        self._line.require_open()
        return self._line.dressed(Ask("PUT", self._about("objects", key)))

    @staticmethod
    def uploaded(answer: Answer, ask: Ask) -> Receipt:
        """What became of it."""
        if answer.status >= BAD:
            raise refusal_of(answer, ask)
        note_cost(answer)
        return read(answer, Receipt, ask)

    def append(self, key: str, data: Data) -> Work[int]:
        """Add bytes to a value, creating it where it is absent; its total size in bytes."""
        value = arguments.payload(data)
        ask = Ask("POST", self._about("append", key), body=value)
        small = len(value) <= VALUE_RECORD_BYTES  # more is several records, which have no number
        answer = yield from self._write(ask) if small else self._line.exchange(ask)
        return read(answer, dict[str, int], ask)["size"]

    def delete(self, key: str, missing_ok: bool = False) -> Work[None]:  # noqa: FBT001, FBT002 - the face
        """Remove an object; NotFound where there is none, unless ``missing_ok``."""
        query = "" if missing_ok else "?strict=true"
        yield from self._write(Ask("DELETE", self._about("objects", key, query)))

    def release(self, key: str) -> Work[None]:
        """Lift ``permanent`` from an object."""
        yield from self._write(Ask("POST", self._about("release", key)))

    # -- looking ----------------------------------------------------------------------

    def exists(self, key: str) -> Work[bool]:
        """Whether there is an object with exactly this key."""
        if self._line.trust is not None:
            return (yield from self._exists_proven(key))
        ask = Ask("GET", self._about("exists", key), repeatable=True)
        answer = yield from self._line.exchange(ask)
        return read(answer, dict[str, bool])["exists"]

    def stat(self, key: str) -> Work[Stat]:
        """What is known of an object, or of a name that only other keys lie below."""
        if self._line.trust is not None:
            return (yield from self._stat_proven(key))
        ask = Ask("GET", self._about("stat", key), repeatable=True)
        try:
            answer = yield from self._owned(ask, key)
        except NotFound:
            if self._places is None:
                raise
            answer = yield from self._line.exchange(ask)  # what lies below may be in other buckets
        return read(answer, Stat)

    def walk(  # noqa: PLR0917 - a list has these five sides
        self,
        prefix: str,
        recursive: bool,  # noqa: FBT001
        by: str,
        limit: int | None,
        after: str | None,
        *,
        details: bool,
    ) -> Walk | ProvenWalk:
        """Begin a list; its arguments are checked here."""
        most = arguments.page_limit(limit)
        if by not in COVERAGES:
            raise InvalidValue(argument="by", reason="text or component")
        arguments.text(prefix, "prefix")
        if after is not None:
            arguments.text(after, "after")
        arguments.flag(recursive, "recursive")
        if self._line.trust is not None:
            return ProvenWalk(self, Asked(prefix, recursive, by, most, after))
        fields = {
            "prefix": prefix,
            "recursive": "true" if recursive else "false",
            "by": by,
            "details": "true" if details else "false",
        }
        return Walk(self._line, f"{self._root}/objects", fields, limit=most, after=after)

    # -- many at once -------------------------------------------------------------------

    def batch(
        self, calls: Sequence[Call], *, atomic: bool = False, numbered: wire.Numbered | None = None
    ) -> Work[builtins.list[object]]:
        """Carry out operations in one request: per operation its result or its error."""
        ask = self._batch_ask(calls, atomic=atomic)
        if numbered is not None:
            told = {wire.SESSION: wire.numbered_text(numbered)}
            ask = msgspec.structs.replace(ask, headers=ask.headers | told, repeatable=True)
        if ask.repeatable:
            return decode_results((yield from self._line.exchange(ask)).body, calls)
        answer = yield from self._write(ask, len(calls))
        results = decode_results(answer.body, calls)
        yield from self._settle_refused(calls, results, doubted=answer.doubted)
        return results

    def _batch_ask(self, calls: Sequence[Call], *, atomic: bool) -> Ask:
        body = encode_batch(Batch(list(calls), atomic))
        headers = {"content-type": MSGPACK, "accept": MSGPACK}
        safe = all(call.verb in READS for call in calls)
        return Ask("POST", f"{self._root}/batch", headers, body, repeatable=safe)

    def _settle_refused(
        self, calls: Sequence[Call], results: builtins.list[object], *, doubted: bool
    ) -> Work[None]:
        """Carry out without numbers what was refused because of them; in doubt say so."""
        refused = [at for at, result in enumerate(results) if is_about_session(result)]
        if not refused:
            return
        if doubted:
            again: builtins.list[object] = [OutcomeUnknown() for _ in refused]
        else:
            self._line.numbers.lose(results[refused[0]])
            left = [calls[at] for at in refused]
            answer = yield from self._line.exchange(self._batch_ask(left, atomic=False))
            again = decode_results(answer.body, left)
        for at, result in zip(refused, again, strict=True):
            results[at] = result

    def get_many(self, keys: Iterable[str]) -> Work[builtins.list[bytes | None]]:
        """The values of many keys, None where there is no object."""
        names = arguments.listed(keys, "keys")
        for name in names:
            arguments.compose(b"", name)
        values: builtins.list[bytes | None] = []
        if self._line.trust is not None:
            for name in names:
                values.append((yield from self._one(name)))  # noqa: PERF401 - it yields
            return values
        for at in builtins.range(0, len(names), BATCH_OPERATIONS):
            part = names[at : at + BATCH_OPERATIONS]
            results = yield from self.batch([Call("load", name) for name in part])
            for name, result in zip(part, results, strict=True):
                values.append((yield from self._value(name, result)))
        return values

    def _one(self, key: str) -> Work[bytes | None]:
        try:
            return (yield from self.get(key))
        except NotFound:
            return None

    def _value(self, key: str, result: object) -> Work[bytes | None]:
        if isinstance(result, bytes):
            return result
        try:
            if isinstance(result, ASKED_ALONE):
                return (yield from self.get(key))
            if isinstance(result, HoldfastError):
                raise result
        except NotFound:
            return None
        raise Unavailable(cause="the answer cannot be read")

    def put_many(
        self,
        pairs: Iterable[tuple[str, Data]] | Mapping[str, Data],
        *,
        atomic: bool = False,
        **options: object,
    ) -> Work[builtins.list[Receipt]]:
        """Store many objects, as the embedded store does: each, or with ``atomic`` all or nothing.

        Raises:
            HoldfastError: the first refusal (``index`` says which), after the others were stored.
            OutcomeUnknown: from ``index`` on some may be stored, some not.
        """
        common = put_options(**known(options))  # type: ignore[arg-type] # checked there
        arguments.flag(atomic, "atomic")
        keys, given = arguments.columns(pairs)
        for key in keys:
            arguments.compose(b"", key)
        values = [arguments.payload(data) for data in given]
        small = max(map(len, values), default=0) <= VALUE_RECORD_BYTES
        if small:
            _bound(values)
        elif atomic:
            arguments.in_one_record(values)
        outcomes: builtins.list[object] = []
        for at, stop in _pieces(values, whole=atomic):
            piece = builtins.list(zip(keys[at:stop], values[at:stop], strict=True))
            try:
                outcomes += yield from self._store_piece(piece, common, atomic=atomic)
            except HoldfastError as error:
                error.facts.setdefault("index", at)
                raise
        return _receipts(outcomes)

    def _store_piece(
        self,
        piece: Sequence[tuple[str, bytes | memoryview]],
        options: StoreOptions,
        *,
        atomic: bool,
    ) -> Work[builtins.list[object]]:
        key, value = piece[0]
        if len(value) > VALUE_RECORD_BYTES:  # a piece of its own
            try:
                return [(yield from self.store(key, value, options))]
            except Correctable as error:
                return [error]
        told = arguments_of(options)
        calls = [Call("store", key, {"value": value} | told) for key, value in piece]
        return (yield from self.batch(calls, atomic=atomic))

    # -- locks and consumers --------------------------------------------------------------

    def lock(self, key: str, *, ttl: float | str = LOCK_TTL_S, wait: float = 0) -> Work[Locked]:
        """Take a lease on a key, waiting at most ``wait`` seconds for it."""
        arguments.duration_ns(ttl)
        left = arguments.seconds(wait, "wait")
        while True:
            part = min(left, LOCK_WAIT_S)
            body = encode({"ttl": ttl, "wait": part})
            target = self._about("locks", key)
            ask = Ask("POST", target, {"content-type": JSON}, body, waits_s=part)
            try:
                return read((yield from self._write(ask)), Locked, ask)
            except LockHeld:
                left -= part
                if left <= 0:
                    raise

    def unlock(self, key: str, lock_id: str) -> Work[None]:
        """Give a lease back by its id; LockLost where this id does not hold the key."""
        yield from self._about_lock("DELETE", key, lock_id)

    def renew(self, key: str, lock_id: str) -> Work[None]:
        """Begin a lease anew; LockLost where it is not held any more."""
        yield from self._about_lock("PUT", key, lock_id, repeatable=True)

    def _about_lock(
        self, method: str, key: str, lock_id: str, *, repeatable: bool = False
    ) -> Work[Answer]:
        target = self._about("locks", key)
        told = arguments.lock_id(lock_id).hex()  # what is no lock's id holds nothing
        body = encode({"lock_id": told})
        ask = Ask(method, target, {"content-type": JSON}, body, repeatable=repeatable)
        try:
            return (yield from self._line.exchange(ask) if repeatable else self._write(ask))
        except InvalidValue:
            raise LockLost(key=key) from None

    def consumers(self, key: str) -> Work[builtins.list[str | bytes]]:
        """The reference list of an object."""
        ask = Ask("GET", self._about("consumers", key), repeatable=True)
        answer = yield from self._line.exchange(ask)
        return consumer_ids(read(answer, Consumers).consumers)

    def change_consumers(
        self, method: str, key: str, ids: Iterable[str | bytes]
    ) -> Work[builtins.list[str | bytes]]:
        """Set (PUT), append (POST) or remove (DELETE) ids; those that were not found."""
        told = told_ids(map(decode_id, encode_ids(ids)))
        body = encode(Consumers(told))
        ask = Ask(method, self._about("consumers", key), {"content-type": JSON}, body)
        answer = yield from self._write(ask)
        return consumer_ids(read(answer, Missing, ask).missing)


def _bound(values: Sequence[bytes | memoryview]) -> None:
    if len(values) > BATCH_OPERATIONS:
        raise LimitExceeded(limit="BATCH_OPERATIONS", most=BATCH_OPERATIONS, asked=len(values))
    size = sum(map(len, values))
    if size > BATCH_BYTES:
        raise LimitExceeded(limit="BATCH_BYTES", most=BATCH_BYTES, asked=size)


def _pieces(values: Sequence[bytes | memoryview], *, whole: bool) -> Iterator[tuple[int, int]]:
    """Which values go into one request each; a large one goes by itself."""
    at, size = 0, 0
    for index, value in enumerate(values):
        large = len(value) > VALUE_RECORD_BYTES
        size += len(value) + FRAME_BYTES
        full = size > PIECE_BYTES or index - at == SESSION_NUMBERS
        if at < index and not whole and (large or full):
            yield at, index
            at, size = index, len(value)
        if large:
            yield at, index + 1
            at, size = index + 1, 0
    if at < len(values):
        yield at, len(values)


def _receipts(outcomes: Sequence[object]) -> list[Receipt]:
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, HoldfastError):
            outcome.facts["index"] = index
            raise outcome
    return outcomes  # type: ignore[return-value] # decode_results saw to it
