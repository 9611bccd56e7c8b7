"""A numbered write is decided once: the second time its number is asked for, the answer is kept.

The number stands in the same commit group as the write, as one SESSION record for
all that one session applied in one call. So a crash takes both or neither, and a
number that comes again while its write is under way waits for the same group, or
for one that fails with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.bucket import outcomes, plan
from holdfast.bucket.sessions import cut_slot, namespace_of, slot
from holdfast.log.header import SessionRecord
from holdfast.log.records import Type
from holdfast.operations import Lock, Operation
from holdfast.views.port import Table

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.group import Gathering
    from holdfast.operations import Once


def decide(bucket: Bucket, operation: Operation, once: Once, group: Gathering) -> object:
    """Decide a numbered operation, or tell what it came to; refusals are raised.

    A lock's result is its fence and its id: a second try brings another id along.
    """
    namespace = namespace_of(operation.key)
    now = bucket.time.now_ns()
    known = bucket.sessions.admit(namespace, once, now)
    kept = known.pending.get(once.number) or known.kept.get(once.number)
    if kept is not None:
        return outcomes.answer(bucket, operation, kept)
    bucket.sessions.hold_room(namespace, known, now)
    name = slot(operation.key, once)
    try:
        result = plan.PLANNERS[type(operation)](bucket, operation, group)
    except outcomes.DECIDED as error:
        _stage(bucket, group, name, outcomes.encode_refusal(error))
        raise
    _stage(bucket, group, name, outcomes.encode_result(operation, result))
    return (result, operation.lock_id) if isinstance(operation, Lock) else result


def _stage(bucket: Bucket, group: Gathering, name: bytes, outcome: bytes) -> None:
    bucket.sessions.stage(name, outcome)
    group.stage(Table.SESSIONS, name, outcome)


def write_down(bucket: Bucket, group: Gathering, since: int) -> None:
    """Add the records of the numbers that were staged from change ``since`` on."""
    applied: dict[tuple[bytes, bytes], list[tuple[int, bytes]]] = {}
    keys: dict[tuple[bytes, bytes], bytes] = {}
    for table, name, outcome in group.changes[since:]:
        if table is Table.SESSIONS:
            key, session, number = cut_slot(name)
            whose = (namespace_of(key), session)
            keys.setdefault(whose, key)
            applied.setdefault(whose, []).append((number, outcome))
    for whose, kept in applied.items():
        record = SessionRecord(whose[1], bucket.sessions.floor(*whose), tuple(kept))
        value = msgspec.msgpack.encode(record)
        version = bucket.next_version()
        group.add(Type.SESSION, keys[whose], value, version, bucket.time.now_ns())
