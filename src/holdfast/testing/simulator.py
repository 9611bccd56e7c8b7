"""The whole house under one seed: clock, disk, scheduler and crash in one thread (rule 23).

``simulate(seed)`` runs clients against a store whose disk loses power at drawn
points, reopens it on what the platter kept, and holds every answer and every
reopened store against a model. The same seed runs the same story everywhere::

    python -m holdfast.testing.simulator 4711        one seed, told step by step
    python -m holdfast.testing.simulator 0 2000      a range of seeds
"""

from __future__ import annotations

import sys
from random import Random

import msgspec

from holdfast.engines.memory import MemoryDisk
from holdfast.errors import OutcomeUnknown, StorageFailed
from holdfast.testing.disk import PowerCut
from holdfast.testing.simulator_clients import Clients
from holdfast.testing.simulator_world import Deviation, Settings, World

__all__ = ["Deviation", "Report", "Settings", "settings_of", "simulate"]

OPERATIONS = 40  # of one life, about
LIVES = 4
POINTS = 180  # of one life, at most, before the power goes
TOLD = 12  # lines of the story that a failure shows


class Report(msgspec.Struct, frozen=True):
    """What a simulation did: counts of actions, crashes, points of the disk and buckets."""

    seed: int
    settings: Settings
    operations: int
    crashes: int
    points: int
    buckets: int
    story: tuple[str, ...]


def settings_of(seed: int) -> Settings:
    """What a seed runs with where nothing else is asked for."""
    chance = Random(~seed)  # noqa: S311 - repeatable is the point
    return Settings(
        sync=chance.choice(("always", "always", "always", "interval", "never")),
        views=chance.choice(("lost", "kept", "older")),
        steps_back=chance.random() < 0.25,
        faults=chance.random() < 0.25,
    )


def simulate(
    seed: int,
    settings: Settings | None = None,
    *,
    operations: int = OPERATIONS,
    lives: int = LIVES,
) -> Report:
    """Run one story to its end.

    Args:
        seed: of everything that chance decides.
        settings: sync mode, views, bucket bytes; drawn from the seed if None.
        operations: actions of one life, at most.
        lives: openings of the store; the last ends without a crash.

    Returns:
        Counts, and the story line by line.

    Raises:
        Deviation: the store broke a promise; the message says which and how to
            run it again.

    Example:
        >>> simulate(1, lives=2).crashes > 0
        True
    """
    world = World(seed, settings or settings_of(seed))
    clients = Clients(world)
    try:
        _live(world, clients, operations, lives)
    except PowerCut:
        raise
    except Exception as error:
        story = "\n".join(world.log[-TOLD:])
        raise Deviation(
            f"seed {seed}, life {world.life} ({world.settings}): {error!r}\n{story}\n"
            f"again: python -m holdfast.testing.simulator {seed}"
        ) from error
    return Report(
        seed,
        world.settings,
        clients.count,
        world.crashes,
        world.points,
        world.most_buckets,
        tuple(world.log),
    )


def _live(world: World, clients: Clients, operations: int, lives: int) -> None:
    start: MemoryDisk | None = None
    for life in range(lives):
        last = life == lives - 1
        cut_at = None if last else world.chance.randint(1, POINTS)
        try:
            world.open(cut_at, start)
            world.verify()
            world.arm()
            for _ in range(operations):
                world.look_at_time()
                clients.act()
            if world.chance.random() < 0.3:
                world.note("close")
                world.store.close()
                world.model.settle()
        except PowerCut:
            pass
        except (StorageFailed, OutcomeUnknown) as error:
            if world.faulty is None or not world.faulty.failed:
                raise
            world.note(f"    {error.code} while opening or closing")
        start = world.cut()


def main(arguments: list[str]) -> int:
    """Run a seed and tell its story, or a range of seeds and tell those that failed."""
    if not 1 <= len(arguments) <= 2 or not all(a.isdigit() for a in arguments):
        print(__doc__)  # noqa: T201 - a command
        return 2
    first = int(arguments[0])
    if len(arguments) == 1:
        report = simulate(first)
        print(*report.story, sep="\n")  # noqa: T201
        print(report.settings, report.crashes, "crashes", report.buckets, "buckets")  # noqa: T201
        return 0
    failed = 0
    for seed in range(first, int(arguments[1])):
        try:
            simulate(seed)
        except Deviation as deviation:
            failed += 1
            print(deviation)  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
