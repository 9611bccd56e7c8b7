"""Many operations in one request: each has its own result, neighbouring writes are one group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from holdfast.access.grants import Ask
from holdfast.bucket import rows
from holdfast.bucket.many import ABSENT, AFAR
from holdfast.errors import (
    HoldfastError,
    InvalidValue,
    LimitExceeded,
    NotFound,
    Unauthenticated,
)
from holdfast.limits import (
    BATCH_BYTES,
    LOCK_ID_BYTES,
    LOCK_TTL_S,
    SECOND_NS,
    VALUE_RECORD_BYTES,
)
from holdfast.operations import (
    Append,
    Consumers,
    Delete,
    Lock,
    Operation,
    Release,
    Renew,
    Store,
    Unlock,
)
from holdfast.request import arguments, large, reading
from holdfast.request.arguments import compose, life_ns
from holdfast.request.reading import Loaded, load_many
from holdfast.server.answers import MEDIA, Answer
from holdfast.server.numbers import corridor_of, numbered, space_of
from holdfast.server.plain_batches import Plain, plain_of
from holdfast.server.requests import Request
from holdfast.wire.batch import Batch, Call, decode_batch, encode_results, options_of
from holdfast.wire.values import consumer_ids, told_ids

if TYPE_CHECKING:
    from holdfast.server.site import Site

Arguments = Mapping[str, Any]  # of kinds that decode_batch has seen to
READS = frozenset(("load", "exists", "stat"))


def batch(site: Site, request: Request) -> Answer | None:
    """Carry out a batch: at once where it may be, else on a thread."""
    if request.principal is None or request.principal.kind == "anonymous":
        raise Unauthenticated(reason="missing")
    asked = decode_batch(bytes(request.body))
    plain = plain_of(site, request, asked)
    reads = len(asked.operations)
    at_once = plain is not None and site.charging.may_read(site.tenant_of(request), reads)
    results = plain.loaded_now() if plain is not None and at_once else None
    if results is not None:
        cost_atto = site.charging.loaded(site.tenant_of(request), sizes_of(results))
        return Answer(200, MEDIA["msgpack"], encode_results(results), cost_atto=cost_atto)
    run = Run(site, request)
    site.work(request, lambda: run.answer(asked, plain), _told)
    return None


def _told(answer: object) -> Answer:
    if not isinstance(answer, Answer):
        raise TypeError(answer)
    return answer


def sizes_of(results: Iterable[object]) -> list[int]:
    """How many bytes the values have that loads brought."""
    return [len(result) for result in results if isinstance(result, bytes)]


class Run:
    """One batch at work.

    Args:
        site: has the store and the door.
        request: whose batch it is.
        value_bytes: the largest value that a load of it may bring.
    """

    def __init__(self, site: Site, request: Request, value_bytes: int = BATCH_BYTES) -> None:
        tenant = site.tenant_of(request)
        self._value_bytes = value_bytes
        self._left_bytes = BATCH_BYTES  # that its loads may bring together
        self._site = site
        self._request = request
        self._tenant = tenant
        self._space = site.store.namespace(tenant.name)

    def answer(self, asked: Batch, plain: Plain | None) -> Answer:
        """The answer to a batch; ``plain`` where it is of one plain verb."""
        results = self._plain_results(asked, plain) or self.results(asked)
        return Answer(200, MEDIA["msgpack"], encode_results(results))

    def _plain_results(self, asked: Batch, plain: Plain | None) -> list[object] | None:
        """What became of a batch of one plain verb; None where that takes the long way."""
        results = plain.results() if plain is not None else None
        if results is None:
            return None
        sizes = sizes_of(results)
        self._left_bytes -= sum(sizes)
        self._site.charging.loaded(self._tenant, sizes, waits=True)
        return [
            self._attempt_alone(index, asked.operations[index]) if result is AFAR else result
            for index, result in enumerate(results)
        ]

    def results(self, asked: Batch) -> Sequence[object]:
        """What became of each operation: a result, or an error."""
        return self._atomic(asked) if asked.atomic else self._each(asked)

    def _each(self, asked: Batch) -> list[object]:
        """Every operation for itself."""
        results: list[object] = []
        for way, calls in groupby(enumerate(asked.operations), lambda one: way_of(one[1])):
            if way == "loads":
                results += self._loads(list(calls))
            elif way == "alone":
                results += [self._attempt_alone(*call) for call in calls]
            else:
                results += self._group(list(calls))
        return results

    def _loads(self, calls: list[tuple[int, Call]]) -> list[object]:
        """Whole values: those that their caller may have are looked for together."""
        allowed = [self._attempt(partial(self._may_load, call)) for _, call in calls]
        keys = [key for key in allowed if isinstance(key, bytes)]
        found = load_many(self._site.corridor, keys, self._left_bytes, waits=True)
        values = iter([AFAR] * len(keys) if found is None else found)
        return [
            self._loaded(call, next(values)) if isinstance(key, bytes) else key
            for (_, call), key in zip(calls, allowed, strict=True)
        ]

    def _may_load(self, call: Call) -> bytes:
        self._allow(call)
        self._site.charging.hold_reads(self._tenant)
        return compose(self._tenant.space, call.key)

    def _loaded(self, call: Call, value: Loaded) -> object:
        """The result of a load that found this among others."""
        if value is ABSENT:
            return NotFound(key=call.key)
        if isinstance(value, HoldfastError):
            return value
        most = min(self._value_bytes, self._left_bytes)
        if not isinstance(value, bytes) or len(value) > most:
            return self._attempt(partial(self._load, call.key, {}))
        self._left_bytes -= len(value)
        self._site.charging.loaded(self._tenant, (len(value),), waits=True)
        return value

    def _atomic(self, asked: Batch) -> list[object]:
        """All, or nothing: the first refusal is raised."""
        operations = []
        for index, call in enumerate(asked.operations):
            try:
                operations.append(self._operation(index, call))
            except HoldfastError as error:
                error.facts.setdefault("index", index)
                raise
        outcomes = self._site.corridor.write_many(operations, atomic=True)
        return list(map(result_of, asked.operations, operations, outcomes))

    def _group(self, calls: list[tuple[int, Call]]) -> list[object]:
        """Writes that may share a commit; those that cannot be begun are left out of it."""
        planned = [self._attempt(partial(self._operation, *call)) for call in calls]
        operations = [one for one in planned if isinstance(one, Operation)]
        outcomes = iter(self._site.corridor.write_many(operations) if operations else ())
        return [
            self._settled(call, one, next(outcomes)) if isinstance(one, Operation) else one
            for (_, call), one in zip(calls, planned, strict=True)
        ]

    def _settled(self, call: Call, operation: Operation, outcome: object) -> object:
        if isinstance(operation, Append) and large.wants_folding(outcome):
            return self._attempt(partial(large.append, self._site.corridor, operation))
        return result_of(call, operation, outcome)

    @staticmethod
    def _attempt(work: Callable[[], object]) -> object:
        try:
            return work()
        except HoldfastError as error:
            return error

    def _attempt_alone(self, index: int, call: Call) -> object:
        try:
            self._allow(call)
            return self.alone(index, call)
        except HoldfastError as error:
            return error

    def _allow(self, call: Call) -> None:
        """Hold one operation against the caller's rights."""
        given, name = call.arguments or {}, right_of(call)
        size = len(given.get("value", b""))
        request = self._request
        if request.principal is None:
            raise Unauthenticated(reason="missing")
        if self._site.door.passes(request.principal, self._tenant.name, name, request.address):
            return
        ask = Ask(self._tenant.name, name, call.key, size, request.address)
        self._site.door.allow(request.principal, ask)

    def _operation(self, index: int, call: Call) -> Operation:
        self._allow(call)
        return self.operation(index, call)

    def operation(self, index: int, call: Call) -> Operation:
        """The operation that a call asks for; one that only reads has no place here."""
        given, plan = call.arguments or {}, PLANS.get(call.verb)
        if plan is None or stands_alone(call):
            raise InvalidValue(argument="operations", reason="not in an atomic batch")
        operation = plan(self, compose(self._tenant.space, call.key), call.key, given)
        operation.once = numbered(self._request, index)
        return operation

    def alone(self, index: int, call: Call) -> object:
        """The result of a call that is no write, or too large for a group."""
        given = call.arguments or {}
        number = numbered(self._request, index)
        key, space = call.key, self._space
        if number is not None:
            space = space_of(self._site, self._tenant.name, number)
        match call.verb:
            case "load":
                return self._load(key, given)
            case "exists":
                return space.exists(key)
            case "stat":
                return space.stat(key)
            case "consumers":
                return told_ids(space.consumers(key).list())
            case "append":
                return space.append(key, given["value"])
        operation = Store(compose(self._tenant.space, key), key, given["value"], options_of(given))
        corridor = corridor_of(self._site.corridor, number)
        return large.store_large(corridor, operation, operation.value)

    def _load(self, key: str, given: Arguments) -> bytes:
        """A value, or a part of it; LimitExceeded where it is not for one answer."""
        corridor, composite = self._site.corridor, compose(self._tenant.space, key)
        self._site.charging.hold_reads(self._tenant)
        found = reading.look(corridor, composite, key)
        whole = (0, found.entry.size)
        span = (given["start"], given["stop"]) if given else whole
        start, stop = arguments.byte_range(span, found.entry.size)
        most = min(self._value_bytes, self._left_bytes)
        if stop - start > most:
            raise LimitExceeded(limit="BATCH_BYTES", most=most, asked=stop - start)
        self._left_bytes -= stop - start
        if found.value is not None:
            value = found.value[start:stop]
        else:
            value = b"".join(reading.pieces(corridor, composite, key, found.entry, start, stop))
        self._site.charging.loaded(self._tenant, (stop - start,))
        return value

    def lock(self, key: bytes, name: str, given: Arguments) -> Lock:
        """A lease under an id that is drawn here."""
        ttl_ns = given.get("ttl_ns", LOCK_TTL_S * SECOND_NS)
        life_ns(ttl_ns, ttl_ns=ttl_ns)
        return Lock(key, name, self._site.store.entropy.bytes(LOCK_ID_BYTES), ttl_ns)


def right_of(call: Call) -> str:
    """What a call is called in the table of rights."""
    if call.verb == "consumers":
        return f"consumers.{(call.arguments or {})['action']}"
    return call.verb


def stands_alone(call: Call) -> bool:
    """Whether a call has no place in a commit group."""
    if call.verb in READS:
        return True
    given = call.arguments or {}
    if call.verb == "consumers":
        return bool(given["action"] == "list")
    value = given.get("value")
    return isinstance(value, bytes) and len(value) > VALUE_RECORD_BYTES


def way_of(call: Call) -> Literal["loads", "alone", "group"]:
    """How a call is carried out together with its neighbours of the same way."""
    if call.verb == "load" and not call.arguments:
        return "loads"
    return "alone" if stands_alone(call) else "group"


Planner = Callable[[Run, bytes, str, Arguments], Operation]
PLANS: dict[str, Planner] = {
    "store": lambda _, key, name, given: Store(key, name, given["value"], options_of(given)),
    "append": lambda _, key, name, given: Append(key, name, given["value"]),
    "delete": lambda _, key, name, _given: Delete(key, name),
    "release": lambda _, key, name, _given: Release(key, name),
    "consumers": lambda _, key, name, given: Consumers(
        key, name, given["action"], rows.encode_ids(consumer_ids(given["ids"]))
    ),
    "lock": Run.lock,
    "renew": lambda _, key, name, given: Renew(key, name, arguments.lock_id(given["lock_id"])),
    "unlock": lambda _, key, name, given: Unlock(key, name, arguments.lock_id(given["lock_id"])),
}


def result_of(call: Call, operation: Operation, outcome: object) -> object:
    """What a write's outcome is called in the answer."""
    if isinstance(outcome, HoldfastError):
        lenient = bool((call.arguments or {}).get("missing_ok"))
        return None if lenient and isinstance(outcome, NotFound) else outcome
    if isinstance(operation, Lock):
        fence, held = outcome if isinstance(outcome, tuple) else (outcome, operation.lock_id)
        return held.hex(), fence
    if isinstance(operation, Consumers):
        return told_ids(map(rows.decode_id, _ids(outcome)))
    return outcome


def _ids(outcome: object) -> Iterator[bytes]:
    """The ids that a removal did not find; what was set for the rest."""
    if isinstance(outcome, tuple | list):
        yield from outcome
