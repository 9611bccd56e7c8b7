"""What the simulator knows: what was promised, and what may have happened besides.

``durable`` is what a reopened store must show; ``steps`` are what was written
since without a promise, in order. A crash may keep any beginning of each lane
(a bucket's log, or the one operation that was in flight) and nothing else, and
it keeps a step whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from holdfast.values import Stat

Name = tuple[str, str]  # namespace, key
LONG = re.compile(r"(.)\1{9,}")  # a key of many equal letters


class Object(msgspec.Struct, frozen=True):
    """An object as it must read. ``version`` 0 is one that nobody was told."""

    value: bytes
    version: int = 0
    expires_ns: int | None = None
    consumers: tuple[str, ...] | None = None
    permanent: bool = False
    content_type: str | None = None

    @property
    def state(self) -> str:
        """unmanaged, managed or marked."""
        if self.consumers is None:
            return "unmanaged"
        return "managed" if self.consumers else "marked"

    def alive(self, now_ns: int) -> bool:
        """Whether its time has not come."""
        return self.expires_ns is None or self.expires_ns > now_ns


class Seen(NamedTuple):
    """An object as a reopened store shows it."""

    stat: Stat
    value: bytes
    consumers: tuple[str, ...]


class Effect(NamedTuple):
    """What a write makes of one object: None is gone."""

    name: Name
    after: Object | None


class Step(msgspec.Struct, frozen=True):
    """Effects that a crash keeps together, in the order of ``lane``.

    With ``together`` False they stand together only as long as their keys lie in
    one bucket; where a split came between, each is a step of the bucket that it is in now.
    """

    lane: str
    effects: tuple[Effect, ...]
    together: bool = True


class Lease(msgspec.Struct):
    """A lock that was taken: monotonic ends, and whether a crash or a move blurred them.

    ``held`` is None where the lock itself, or its release, was in flight.
    """

    lock_id: str
    fence: int
    ttl_ns: int
    ends_ns: int
    blurred_ns: int = 0  # it may be held until then, because a split began its time anew
    held: bool | None = True
    durable: bool = False


class Sent(msgspec.Struct, frozen=True):
    """A numbered append: the same bytes again are the same write."""

    session: str
    number: int
    floor: int
    name: Name
    value: bytes

    def told(self) -> str:
        """The write in words."""
        return f"append number {self.number} to {self.name} {len(self.value)} bytes"


class Numbers(msgspec.Struct):
    """What one client knows of its numbered writes: the one without an answer, and the answers."""

    session: str = ""
    number: int = 0
    floor: int = 0
    open: Sent | None = None
    answered: dict[int, tuple[Sent, int]] = msgspec.field(default_factory=dict)

    def begin(self, session: str) -> None:
        """Go on in another session."""
        self.session = session
        self.answered.clear()

    def rise(self, floor: int) -> None:
        """Settle what lies below a floor."""
        self.floor = max(self.floor, floor)
        self.answered = {n: told for n, told in self.answered.items() if n >= self.floor}

    def settle(self, sent: Sent, size: int) -> None:
        """The open one was answered."""
        self.open = None
        if sent.session == self.session:
            self.answered[sent.number] = (sent, size)


def same(expected: Object | None, seen: Seen | None, now_ns: int) -> bool:
    """Whether what is seen is what was expected."""
    if expected is not None and not expected.alive(now_ns):
        expected = None
    if expected is None or seen is None:
        return expected is None and seen is None
    stat = seen.stat
    return (
        seen.value == expected.value
        and stat.size == len(expected.value)
        and stat.crc32c == crc32c(expected.value)
        and stat.version == (expected.version or stat.version)
        and stat.expires_ns == expected.expires_ns
        and stat.permanent == expected.permanent
        and stat.content_type == expected.content_type
        and stat.state == expected.state
        and seen.consumers == (expected.consumers or ())
    )


class Model:
    """What was promised, and what may be.

    ``now`` is what a reader sees before any crash.
    """

    def __init__(self) -> None:
        self.durable: dict[Name, Object] = {}
        self.now: dict[Name, Object] = {}
        self.steps: list[Step] = []
        self.doubtful: list[Step] = []  # whose outcome nobody knows before the next life
        self.leases: dict[Name, Lease] = {}
        self.numbers = Numbers()
        self.highest: dict[Name, int] = {}  # the last version or fence that was told
        self._told: dict[Name, int] = {}  # of it, what a crash cannot take back

    def live(self, name: Name, now_ns: int) -> Object | None:
        """The object that a reader sees now, or None."""
        found = self.now.get(name)
        return found if found is not None and found.alive(now_ns) else None

    def apply(self, steps: Iterable[Step]) -> None:
        """Take in what was acknowledged: readers see it now."""
        for step in steps:
            for name, after in step.effects:
                _put(self.now, name, after)

    def settle(self) -> None:
        """Everything that readers see is durable from here on."""
        self.durable = dict(self.now)
        self.steps = []
        self._told = dict(self.highest)
        for lease in self.leases.values():
            lease.durable = True

    def tell(self, name: Name, version: int) -> bool:
        """Note a version or fence that a caller was told; False where it does not grow."""
        grows = version > self.highest.get(name, 0)
        self.highest[name] = version
        return grows

    def doubt(self, steps: Iterable[Step]) -> None:
        """Take note of writes that are stored or not: each is a lane of its own."""
        for step in steps:
            parts = [step.effects] if step.together else [(effect,) for effect in step.effects]
            for effects in parts:
                self.doubtful.append(Step(f"doubt {len(self.doubtful)}", effects))

    def bury(self, now_ns: int) -> None:
        """What has expired by now must never be seen again, whatever time it is later."""
        for objects in (self.durable, self.now):
            dead = [name for name, found in objects.items() if not found.alive(now_ns)]
            for name in dead:
                del objects[name]
        self.steps = [_buried(step, now_ns) for step in self.steps]
        self.doubtful = [_buried(step, now_ns) for step in self.doubtful]

    def adopt(self, seen: Mapping[Name, Seen]) -> None:
        """Go on from what a reopened store shows, after it was explained."""
        self.now = {name: _object(found) for name, found in seen.items()}
        self.highest = dict(self._told)
        self.doubtful = []
        for name, found in seen.items():
            self.highest[name] = max(self.highest.get(name, 0), found.stat.version)
        for lease in self.leases.values():
            if not lease.durable:
                lease.held = None
        self.settle()

    def reopened(self, monotonic_ns: int) -> None:
        """Locks that the log holds run their full time again."""
        for lease in self.leases.values():
            if lease.held and lease.ends_ns > monotonic_ns:
                lease.ends_ns = monotonic_ns + lease.ttl_ns
            lease.blurred_ns = monotonic_ns + lease.ttl_ns

    def moved(self, monotonic_ns: int) -> None:
        """Ranges changed: a lock may run its full time again."""
        for lease in self.leases.values():
            lease.blurred_ns = max(lease.blurred_ns, monotonic_ns + lease.ttl_ns)

    def lock_state(self, name: Name, monotonic_ns: int) -> bool | None:
        """Whether a key is locked: yes, no, or nobody can tell."""
        lease = self.leases.get(name)
        if lease is None or lease.held is False:
            return False
        if lease.held and monotonic_ns < lease.ends_ns:
            return True
        return None if monotonic_ns < max(lease.ends_ns, lease.blurred_ns) else False


def seen_as(stat: Stat, value: bytes, consumers: tuple[str, ...]) -> Object:
    """An object from what the store tells of it."""
    held = None if stat.state == "unmanaged" else consumers
    return Object(value, stat.version, stat.expires_ns, held, stat.permanent, stat.content_type)


def _object(seen: Seen) -> Object:
    return seen_as(*seen)


def _buried(step: Step, now_ns: int) -> Step:
    """A step without the objects whose time has come."""
    if all(after is None or after.alive(now_ns) for _, after in step.effects):
        return step
    effects = tuple(
        Effect(name, after if after is not None and after.alive(now_ns) else None)
        for name, after in step.effects
    )
    return Step(step.lane, effects, step.together)


def _put(objects: dict[Name, Object], name: Name, after: Object | None) -> None:
    if after is None:
        objects.pop(name, None)
    else:
        objects[name] = after


def unexplained(
    model: Model,
    seen: Mapping[Name, Seen],
    now_ns: int,
    buckets: Mapping[Name, str],
) -> list[str]:
    """Why what is seen cannot follow from what was promised; empty where it can.

    Args:
        model: what was promised.
        seen: what the reopened store shows.
        now_ns: its bucket time.
        buckets: where each key lies now.
    """
    possible = [*model.steps, *model.doubtful]
    steps = [piece for step in possible for piece in _pieces(step, buckets)]
    lanes: dict[str, list[Step]] = {}
    touched: dict[Name, set[str]] = {}
    for step in steps:
        lanes.setdefault(step.lane, []).append(step)
        for name, _ in step.effects:
            touched.setdefault(name, set()).add(step.lane)
    problems = [
        _told(name, [model.durable.get(name)], seen.get(name))
        for name in sorted(model.durable.keys() | seen.keys())
        if name not in touched and not same(model.durable.get(name), seen.get(name), now_ns)
    ]
    for lane, listed in lanes.items():
        own = [name for name, where in touched.items() if where == {lane}]
        wrong = _fewest_wrong(model, listed, own, (seen, now_ns))
        problems += [f"lane {lane}: {told}" for told in wrong]
    shared = [name for name, where in touched.items() if len(where) > 1]
    return problems + _none_of_its_states(model, steps, shared, (seen, now_ns))


def _none_of_its_states(
    model: Model,
    steps: list[Step],
    names: list[Name],
    shown: tuple[Mapping[Name, Seen], int],
) -> list[str]:
    """Objects of several lanes that show what no step of any lane left."""
    seen, now_ns = shown
    problems = []
    for name in names:
        states = [model.durable.get(name)]
        states += [e.after for step in steps for e in step.effects if e.name == name]
        if not any(same(state, seen.get(name), now_ns) for state in states):
            problems.append(_told(name, states, seen.get(name)))
    return problems


def _pieces(step: Step, buckets: Mapping[Name, str]) -> list[Step]:
    """A batch that a split may have come into: what went to one bucket is a step of that."""
    places = {buckets[name] for name, _ in step.effects}
    if step.together:
        return [step]
    if len(places) == 1:
        return [Step(places.pop(), step.effects)]
    return [Step(buckets[effect.name], (effect,)) for effect in step.effects]


def _fewest_wrong(
    model: Model,
    steps: list[Step],
    own: list[Name],
    shown: tuple[Mapping[Name, Seen], int],
) -> list[str]:
    """What the best number of a lane's first steps leaves unexplained of keys only it touched."""
    seen, now_ns = shown
    state: dict[Name, Object | None] = {name: model.durable.get(name) for name in own}
    fewest: list[str] | None = None
    for count in range(len(steps) + 1):
        if count:
            state.update({n: after for n, after in steps[count - 1].effects if n in state})
        wrong = [n for n in own if not same(state[n], seen.get(n), now_ns)]
        if not wrong:
            return []
        if fewest is None or len(wrong) < len(fewest):
            fewest = [
                f"{count} of {len(steps)} steps: {_told(n, [state[n]], seen.get(n))}" for n in wrong
            ]
    return fewest or []


def _told(name: Name, states: list[Object | None], seen: Seen | None) -> str:
    expected = " or ".join(map(_short, states))
    return f"{brief(name)}: expected {expected}, seen {_short(_object(seen) if seen else None)}"


def brief(name: object) -> str:
    """A text in which a letter that is repeated many times stands once."""
    return LONG.sub(r"\1~", str(name))


def _short(found: Object | None) -> str:
    if found is None:
        return "nothing"
    value = found.value[:24] + (b"..." if len(found.value) > 24 else b"")
    return (
        f"[{len(found.value)} bytes {value!r} v{found.version} expires {found.expires_ns} "
        f"{found.consumers} {'permanent' if found.permanent else ''} {found.content_type or ''}]"
    )
