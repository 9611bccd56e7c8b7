"""Sessions: which numbered writes a bucket has applied, and what they came to (rule 9).

A session is only its id. Nothing is written when one begins; the id says when and
in which life of which store that was:

    offset  size  field
    0       8     begun   bucket time, nanoseconds, big-endian
    8       4     chance
    12      4     check   XXH3-64 of store id, incarnation (u64, little-endian) and
                          the 12 bytes before; the lower half, little-endian

A bucket that does not know a session takes it for a new one while it is younger
than 7 days: one that was forgotten here was idle for as long, so it is older.
Numbers are kept by namespace and session. What a tenant does to a session, with
its floors and its numbers, is nothing to another's writes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec
from xxhash import xxh3_64_intdigest

from holdfast.errors import InvalidValue, LimitExceeded, SessionUnknown
from holdfast.limits import (
    SESSION_AHEAD_NS,
    SESSION_IDLE_NS,
    SESSION_NUMBERS,
    SESSION_SPARE_NS,
    SESSIONS,
    SPACE_NUMBERS,
)
from holdfast.log.header import (
    Identity,
    KeptNumbers,
    KeptSession,
    KeptSpace,
    SessionRecord,
)

if TYPE_CHECKING:
    from holdfast.clock import Entropy
    from holdfast.operations import Once

ID_BYTES = 16
HEAD = struct.Struct(">Q4s")
CHECK = struct.Struct("<I")
LIFE = struct.Struct("<Q")
CHANCE_BYTES = 4
LOWER_HALF = 0xFFFFFFFF
NUMBER = struct.Struct(">Q")
SLOT_BYTES = ID_BYTES + NUMBER.size


def new_session(identity: Identity, now_ns: int, entropy: Entropy) -> bytes:
    """The id of a session that begins now.

    Args:
        identity: the store, and which of its lives.
        now_ns: bucket time.
        entropy: gives the part that is chance.
    """
    head = HEAD.pack(now_ns, entropy.bytes(CHANCE_BYTES))
    return head + _check(identity, head)


def begun_ns(identity: Identity, session: bytes) -> int:
    """When a session began, in bucket time; SessionUnknown where it is not one of this life."""
    head = session[: HEAD.size]
    if len(session) != ID_BYTES or session[HEAD.size :] != _check(identity, head):
        raise SessionUnknown(session=session.hex())
    begun: int = HEAD.unpack(head)[0]
    return begun


def _check(identity: Identity, head: bytes) -> bytes:
    told = identity.store + LIFE.pack(identity.incarnation) + head
    return CHECK.pack(xxh3_64_intdigest(told) & LOWER_HALF)


def slot(key: bytes, once: Once) -> bytes:
    """The name of a numbered write in the group that carries it."""
    return key + once.session + NUMBER.pack(once.number)


def cut_slot(name: bytes) -> tuple[bytes, bytes, int]:
    """Composite key, session and number."""
    cut = len(name) - SLOT_BYTES
    return name[:cut], name[cut : cut + ID_BYTES], NUMBER.unpack_from(name, cut + ID_BYTES)[0]


class Known(msgspec.Struct, gc=False):
    """One session in one namespace: what it applied, and what it may yet have.

    ``used_ns`` is never before it began, by whichever clock that was: so what was
    forgotten for being idle is too old to be taken for new.
    """

    floor: int
    used_ns: int
    kept: dict[int, bytes]
    pending: dict[int, bytes]  # of groups that are not published yet

    def numbers(self) -> int:
        """How many it holds."""
        return len(self.kept) + len(self.pending)

    def rise(self, floor: int) -> int:
        """Forget what its client has settled; how many numbers that was."""
        if floor <= self.floor:
            return 0
        self.floor = floor
        settled = [number for number in self.kept if number < floor]
        for number in settled:
            del self.kept[number]
        return len(settled)


class Space(msgspec.Struct):
    """The sessions of one namespace; those begun before ``since_ns`` are all known.

    ``numbers`` counts what they hold together.
    """

    since_ns: int
    sessions: dict[bytes, Known]
    numbers: int = 0

    def end(self, session: bytes) -> None:
        """Forget a session."""
        self.numbers -= self.sessions.pop(session).numbers()

    def add(self, told: KeptSession) -> None:
        """Know of a session what is told of it as well."""
        known = self.sessions.setdefault(told.session, Known(0, 0, {}, {}))
        self.numbers -= known.numbers()
        begun: int = HEAD.unpack_from(told.session)[0]
        known.used_ns = max(known.used_ns, told.used_ns, begun)
        known.kept.update(told.kept)
        floor = max(known.floor, told.floor)
        known.floor = 0
        known.rise(floor)
        self.numbers += known.numbers()


class Sessions:
    """The sessions that a bucket knows.

    Args:
        identity: the store, and which of its lives.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._since_ns = 0
        self._spaces: dict[bytes, Space] = {}

    def admit(self, namespace: bytes, once: Once, now_ns: int) -> Known:
        """The session that a write is numbered in.

        Raises:
            SessionUnknown: it has ended, or never began.
            InvalidValue: the number lies below the floor.
            LimitExceeded: no room for another session.
        """
        space = self._spaces.get(namespace)
        if space is None:
            space = self._spaces[namespace] = Space(self._since_ns, {})
        known = space.sessions.get(once.session)
        if known is None:
            known = self._begin(space, once.session, now_ns)
        elif known.used_ns + SESSION_IDLE_NS < now_ns:
            raise SessionUnknown(session=once.session.hex())
        known.used_ns = max(known.used_ns, now_ns)
        space.numbers -= known.rise(once.floor)
        if once.number < known.floor:
            raise InvalidValue(argument="number", reason="settled", floor=known.floor)
        return known

    def _begin(self, space: Space, session: bytes, now_ns: int) -> Known:
        begun = begun_ns(self._identity, session)
        since = max(space.since_ns, now_ns - SESSION_IDLE_NS)
        if not since <= begun <= now_ns + SESSION_AHEAD_NS:
            raise SessionUnknown(session=session.hex())
        if len(space.sessions) >= SESSIONS:
            self._make_room(space, now_ns)
        known = space.sessions[session] = Known(0, max(now_ns, begun), {}, {})
        return known

    def hold_room(self, namespace: bytes, known: Known, now_ns: int) -> None:
        """Refuse a number that would be one too many: LimitExceeded."""
        if known.numbers() >= SESSION_NUMBERS:
            raise LimitExceeded(limit="SESSION_NUMBERS", most=SESSION_NUMBERS)
        space = self._spaces[namespace]
        if space.numbers >= SPACE_NUMBERS:
            self._make_room(space, now_ns)
            if space.numbers >= SPACE_NUMBERS:
                raise LimitExceeded(limit="SPACE_NUMBERS", most=SPACE_NUMBERS)

    def _make_room(self, space: Space, now_ns: int) -> None:
        """End what is over, and the half of the sessions that was idle the longest.

        What ends before its time is known by its age from then on: whoever is as old,
        and not known here, is refused.
        """
        spare = [
            (known.used_ns, session)
            for session, known in space.sessions.items()
            if known.used_ns + SESSION_SPARE_NS < now_ns and not known.pending
        ]
        for _, session in sorted(spare)[: max(1, len(space.sessions) // 2)]:
            space.end(session)
            space.since_ns = max(space.since_ns, begun_ns(self._identity, session) + 1)
        if len(space.sessions) >= SESSIONS:
            raise LimitExceeded(limit="SESSIONS", most=SESSIONS)

    def stage(self, name: bytes, outcome: bytes) -> None:
        """A number's write was decided."""
        space, known, number = self._find(name)
        space.numbers += 1
        known.pending[number] = outcome

    def settle(self, name: bytes) -> None:
        """A number's write was published."""
        space, known, number = self._find(name)
        outcome = known.pending.pop(number)
        if number < known.floor:
            space.numbers -= 1
        else:
            known.kept[number] = outcome

    def forget(self, name: bytes) -> None:
        """A number's write was taken back."""
        space, known, number = self._find(name)
        del known.pending[number]
        space.numbers -= 1

    def takes(self, namespace: bytes, first: Once, count: int, now_ns: int) -> bool:
        """Whether ``count`` numbers from ``first`` on are new to their session and have room.

        Raises:
            SessionUnknown, InvalidValue, LimitExceeded: as of ``admit``.
        """
        known = self.admit(namespace, first, now_ns)
        if known.numbers() + count > SESSION_NUMBERS:
            return False
        if self._spaces[namespace].numbers + count > SPACE_NUMBERS:
            return False
        numbers = range(first.number, first.number + count)
        return known.kept.keys().isdisjoint(numbers) and known.pending.keys().isdisjoint(numbers)

    def stage_all(self, namespace: bytes, session: bytes, outcomes: dict[int, bytes]) -> None:
        """As ``stage``, of many numbers of one session."""
        space = self._spaces[namespace]
        space.numbers += len(outcomes)
        space.sessions[session].pending.update(outcomes)

    def settle_all(self, namespace: bytes, session: bytes, outcomes: dict[int, bytes]) -> None:
        """As ``settle``."""
        space = self._spaces[namespace]
        known = space.sessions[session]
        for number in outcomes:
            del known.pending[number]
        kept = {number: told for number, told in outcomes.items() if number >= known.floor}
        known.kept.update(kept)
        space.numbers -= len(outcomes) - len(kept)

    def forget_all(self, namespace: bytes, session: bytes, outcomes: dict[int, bytes]) -> None:
        """As ``forget``."""
        space = self._spaces[namespace]
        known = space.sessions[session]
        for number in outcomes:
            del known.pending[number]
        space.numbers -= len(outcomes)

    def _find(self, name: bytes) -> tuple[Space, Known, int]:
        key, session, number = cut_slot(name)
        space = self._spaces[namespace_of(key)]
        return space, space.sessions[session], number

    def floor(self, namespace: bytes, session: bytes) -> int:
        """Below which numbers a session is settled."""
        return self._spaces[namespace].sessions[session].floor

    # -- what the log says ---------------------------------------------------------------

    def told(self, now_ns: int) -> KeptNumbers:
        """What the next segment's state must say; what is over is forgotten with it."""
        ended = now_ns - SESSION_IDLE_NS
        spaces = []
        for namespace, space in list(self._spaces.items()):
            for session in [s for s, known in space.sessions.items() if known.used_ns < ended]:
                space.end(session)
            if space.sessions or space.since_ns > max(self._since_ns, ended):
                spaces.append(_kept_space(namespace, space))
            else:
                del self._spaces[namespace]
        return KeptNumbers(self._since_ns if self._since_ns > ended else 0, tuple(spaces))

    def take_in(self, numbers: KeptNumbers | None, time_ns: int) -> None:
        """Know what a state, or a bucket that was merged in, knew as well.

        Args:
            numbers: what it says; None where it says nothing of sessions.
            time_ns: bucket time of whoever says it: nothing begun before is known then.
        """
        if numbers is None:
            numbers = KeptNumbers(time_ns)
        self._since_ns = max(self._since_ns, numbers.since_ns)
        for space in self._spaces.values():
            space.since_ns = max(space.since_ns, numbers.since_ns)
        for told in numbers.spaces:
            space = self._space(told.namespace)
            space.since_ns = max(space.since_ns, told.since_ns)
            for session in told.sessions:
                space.add(session)

    def replay(self, key: bytes, value: bytes, used_ns: int) -> None:
        """Know what a SESSION record says; any number of times, in any order."""
        record = msgspec.msgpack.decode(value, type=SessionRecord)
        space = self._space(namespace_of(key))
        space.add(KeptSession(record.session, record.floor, used_ns, record.kept))

    def _space(self, namespace: bytes) -> Space:
        return self._spaces.setdefault(namespace, Space(self._since_ns, {}))


def _kept_space(namespace: bytes, space: Space) -> KeptSpace:
    sessions = tuple(
        KeptSession(session, known.floor, known.used_ns, tuple(known.kept.items()))
        for session, known in space.sessions.items()
    )
    return KeptSpace(namespace, space.since_ns, sessions)


def namespace_of(key: bytes) -> bytes:
    """The namespace of a composite key."""
    return key.partition(b"\0")[0]
