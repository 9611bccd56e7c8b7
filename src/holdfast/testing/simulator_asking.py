"""How the simulator's clients ask: predicted first, held against the prediction after.

An answer that was not predicted is a ``Deviation``; a power cut in the middle
leaves the prediction behind as what may have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import or_
from typing import TypeVar

from holdfast.errors import (
    HoldfastError,
    NotFound,
    OutcomeUnknown,
    StorageFailed,
)
from holdfast.store import Namespace
from holdfast.testing.simulator_model import Effect, Name, Object, Step, seen_as
from holdfast.testing.simulator_world import SPACES, Deviation, World

T = TypeVar("T")
Allowed = tuple[type[HoldfastError] | None, ...]  # None: it succeeds
SIZES = ((0, 40), (0, 40), (0, 400), (500, 6_000), (500, 6_000), (8_000, 24_000))
DONE: Allowed = (None,)


class Asking:
    """What every action of a client is made of.

    Args:
        world: the machine they run on.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = world.model
        self.chance = world.chance
        self.count = 0
        self.life = 0  # in which what was open was sent again
        self.names = _names(world.chance.randrange(1 << 30))
        self.life_of: dict[Name, int] = {}

    # -- asking --------------------------------------------------------------------------

    def ask(
        self, told: str, call: Callable[[], T], steps: tuple[Step, ...], allowed: Allowed
    ) -> T | None:
        """Do it; None where it was refused, as it might be."""
        world = self.world
        world.note(f"{self.count} {told}")
        world.in_flight = world.attempted = steps if None in allowed else ()
        try:
            result = call()
        except (StorageFailed, OutcomeUnknown) as error:
            world.in_flight = ()
            self._failed(told, error, steps)
            return None
        except HoldfastError as error:
            world.in_flight = ()
            if type(error) not in allowed:
                raise Deviation(f"{told}: {error!r} instead of {allowed}") from error
            world.note(f"    {error.code}")
            return None
        world.in_flight = ()
        if None not in allowed:
            raise Deviation(f"{told}: succeeded instead of {allowed}")
        return result

    def _failed(self, told: str, error: HoldfastError, steps: tuple[Step, ...]) -> None:
        """A write that the disk refused: not stored, or nobody knows before the next life.

        Of several steps some may have been stored before; what readers see of
        them is so.
        """
        if self.world.faulty is None or not self.world.faulty.failed:
            raise Deviation(f"{told}: {error!r} on a disk that refused nothing") from error
        self.world.note(f"    {error.code}")
        single = len(steps) == 1 and steps[0].together
        if isinstance(error, OutcomeUnknown):
            self.model.doubt(steps)
            if single:
                return  # nothing of it shows before the next life
        self._read_back(steps, partly=not single)

    def _read_back(self, steps: tuple[Step, ...], *, partly: bool) -> None:
        """Go on from what shows of a batch that failed in part; of one write nothing may."""
        now = self.world.now_ns()
        stored = []
        for step in steps:
            found = [Effect(name, self._found(name)) for name, _ in step.effects]
            stayed = [_alike(self.model.live(name, now), after) for name, after in found]
            became = [
                _alike(one.after, two.after) for one, two in zip(step.effects, found, strict=True)
            ]
            whole = all(became) if step.together else all(map(or_, stayed, became))
            if all(stayed):
                continue
            if not (partly and whole) and step.together:
                raise Deviation(f"a write that failed shows, or half of it: {step}: {found}")
            if not whole:
                raise Deviation(f"neither what it was nor what was written: {step}: {found}")
            if step.together:
                stored.append(Step(self.lane(found[0].name), tuple(found)))
            else:
                stored += [self.step(*effect) for effect in found]
        self.acknowledge(stored)

    def _found(self, name: Name) -> Object | None:
        """An object as the store shows it now."""
        space = self.space(name)
        try:
            stat, value = space.stat(name[1]), space.get(name[1])
        except NotFound:
            return None
        if not stat.terminal:
            return None
        held = tuple(map(str, space.consumers(name[1]).list()))
        return seen_as(stat, value, held)

    def attempt(self, told: str, call: Callable[[], object]) -> bool:
        """Upkeep, which may fail with a typed error on a disk that refuses; whether it did not."""
        self.world.note(f"{self.count} {told}")
        try:
            call()
        except (StorageFailed, OutcomeUnknown) as error:
            self._failed(told, error, ())
            return False
        return True

    def acknowledge(self, steps: Iterable[Step]) -> None:
        """The store answered: readers see it, and with ``always`` it is durable."""
        listed = list(steps)
        self.model.apply(listed)
        if self.world.settings.sync == "always":
            self.model.settle()
            if listed:
                self.model.bury(self.world.now_ns())
        else:
            self.model.steps += listed

    def step(self, name: Name, after: Object | None) -> Step:
        """A step of one effect."""
        return Step(self.lane(name), (Effect(name, after),))

    def lane(self, name: Name) -> str:
        """What orders a write among those that a crash may take."""
        return "op" if self.world.settings.sync == "always" else self.world.bucket_of(name)

    def space(self, name: Name) -> Namespace:
        """The namespace of a key."""
        return self.world.store.namespace(name[0])

    def name(self) -> Name:
        """A key, drawn by chance."""
        return self.chance.choice(self.names)

    def value(self) -> bytes:
        """A value that no other write has."""
        low, high = self.chance.choice(SIZES)
        mark = f"{self.count}:{self.chance.randrange(1 << 30):x}:".encode()
        return (mark * (high // len(mark) + 1))[: self.chance.randint(low, high) + len(mark)]

    def tell(self, name: Name, version: int) -> None:
        """A version or fence was told: it must be above all that were told before."""
        before = self.model.highest.get(name, 0)
        if not self.model.tell(name, version):
            raise Deviation(f"{name}: version {version} after {before}")


def _alike(old: Object | None, found: Object | None) -> bool:
    """Whether two are the same, as far as the version is known."""
    if old is None or found is None:
        return old is found
    return with_changes(old, version=0) == with_changes(found, version=0)


def with_changes(old: Object, **changes: object) -> Object:
    """The same object but for these fields."""
    fields = {name: getattr(old, name) for name in Object.__struct_fields__}
    return Object(**{**fields, **changes})


def _names(draw: int) -> list[Name]:
    """The keys of a run: short and long, with and without directories."""
    keys = ["a", "a/b", "a/c/d", "b", "k1", "k2", "k3", "m" * 600, "m" * 600 + "x", "z" * 1024]
    keys += [f"n/{draw % 97:02d}/{number}" for number in range(4)]
    return [(space, key) for space in SPACES for key in keys[: 14 if space == SPACES[0] else 6]]
