"""What ``put_soon`` queued, by number: the state that outbox.py keeps in a file as well."""

from __future__ import annotations

from collections import deque

import msgspec

from holdfast.limits import DEAD_LETTERS
from holdfast.values import DeadLetter


class Queued(msgspec.Struct, frozen=True):
    """A store that waits: its number, where it goes, and what it stores."""

    number: int
    namespace: str
    key: str
    value: bytes


class Box:
    """Writes that are not settled, sessions, dead letters; in memory, lost with the process.

    ``sessions`` has first number and id of each session; a number belongs to the last one that
    begins at or before it. ``died`` counts the dead, those included whose letters are gone.
    """

    durable = False

    def __init__(self) -> None:
        self.pending: dict[int, Queued] = {}
        self.letters: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS)
        self.died = 0
        self.sessions: list[tuple[int, bytes]] = []
        self.next = 1

    def session_of(self, number: int) -> bytes | None:
        """The session that a number belongs to; None where none was begun for it."""
        for first, session in reversed(self.sessions):
            if first <= number:
                return session
        return None

    def begin(self, session: bytes, first: int) -> None:
        """Note a session whose first number is ``first``."""
        self.sessions.append((first, session))

    def write(self, namespace: str, key: str, value: bytes) -> Queued:
        """Add a store."""
        queued = Queued(self.next, namespace, key, value)
        self.next += 1
        self.pending[queued.number] = queued
        return queued

    def settle(self, numbers: list[int], letters: list[DeadLetter]) -> None:
        """Note what needs no sending any more, and what of it was refused for good."""
        self.letters += letters
        self.died += len(letters)
        for number in numbers:
            self.pending.pop(number, None)

    def sync(self) -> None:
        """Make durable what was added, where there is something durable."""

    def close(self) -> None:
        """Let go of it."""
