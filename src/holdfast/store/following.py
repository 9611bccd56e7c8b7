"""When upkeep reads on in the logs for the trees of proofs: by the way, or at once.

A write pays nothing for proofs: while a bucket is written, its tree is followed for a tenth of
the time, and only read, not put together. What was not read waits until nobody writes, or until
somebody wants a seal, which reads all there is. So that this is not too long, trees that are
together further behind than ``BEHIND`` are followed like anything else that upkeep does, for
half of the time; and where they are further behind than ``FAR``, every round of upkeep ends
with less. It does not rest then, and writers who fill the memory meanwhile wait for the next
round (rule 10): so what a seal has to read is bounded however long somebody writes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import count
from typing import TYPE_CHECKING, Final

from holdfast.clock import MACHINE
from holdfast.store.absorbing import UNSAVED, UNSAVED_MOST, Absorbing

if TYPE_CHECKING:
    from holdfast.bucket.checkpoint import Pace
    from holdfast.certify.absorb import Absorbed
    from holdfast.log.log import Position
    from holdfast.store.store import Store

BEHIND: Final = 1_000_000  # records: a seal reads them in some seconds
FAR: Final = 1_500_000  # records
RESTS: Final = 9  # times as long as it worked
QUIET_NS: Final = 500_000_000  # without a write; a slow disk keeps a writer waiting that long
SLICES: Final = 50  # of a tree in one round; then it is the turn of what else is due
SLICES_FAR: Final = 500  # the same, where trees are too far behind
FOLLOWED: Final = 2_000  # records that are read while a seal may be waited for

Turn = Callable[[], AbstractContextManager[bool]]


class Following:
    """How far each tree is to be followed now. For upkeep's thread alone.

    Args:
        store: the open store.
        absorbing: its trees.
        turn: keeps whoever wants a seal waiting for a slice; False where one is being made.
    """

    def __init__(self, store: Store, absorbing: Absorbing, turn: Turn) -> None:
        self._store = store
        self._clock = store.clock
        self._absorbing = absorbing
        self._turn = turn
        self._worked = MACHINE.thread_ns
        self._seen: dict[str, tuple[Position, int]] = {}  # where a log ended, and since when
        self._due_ns = 0
        self._lag = 0  # records that all trees together are behind

    def follow(self, pace: Pace, enough: Callable[[], bool]) -> None:
        """Read on for all trees: a bounded part, or all there is where a caller ticks.

        Whoever asks for a seal meanwhile waits for one slice. Trees of which much has changed
        are written down, without anybody waiting. Beside writers it rests most of the time.
        """
        with self._turn() as mine:
            if mine:
                self._absorbing.meet(pace)
        pieces = list(self._absorbing.absorbed.values())
        behind = {piece.id: piece.behind() for piece in pieces}
        self._seen = {name: at for name, at in self._seen.items() if name in behind}
        self._lag = sum(behind.values())
        for piece in sorted(pieces, key=lambda piece: -behind[piece.id]):
            self._follow(piece, pace, enough)

    def _follow(self, piece: Absorbed, pace: Pace, enough: Callable[[], bool]) -> None:
        upkeep = self._store.upkeep
        may_leave = upkeep.may_leave()
        for slices in count():
            rest = may_leave and self._yields(piece)
            if enough() or (rest and self._clock.monotonic_ns() < self._due_ns):
                return
            if may_leave and slices >= (SLICES if self._lag < FAR else SLICES_FAR):
                upkeep.look_soon(at_once=True)
                return
            if not self._take(piece, pace, rest=rest) or rest:
                return
            if self._lag >= FAR:
                upkeep.hurry()

    def _take(self, piece: Absorbed, pace: Pace, *, rest: bool) -> bool:
        """Read a slice, and rest for as long as that demands, where it does; is there more."""
        begun, behind = self._worked(), piece.behind()
        more = self._read(piece, pace, rest=rest)
        self._lag += piece.behind() - behind
        if rest:
            worked = self._worked() - begun
            self._due_ns = self._clock.monotonic_ns() + RESTS * worked
        return more

    def _read(self, piece: Absorbed, pace: Pace, *, rest: bool) -> bool:
        """Read some of what one bucket's log says; whether there is more to read."""
        with self._turn() as mine:
            if not mine:
                return False
            more = piece.follow(FOLLOWED, pace, rest=rest)
            standing = piece.standing(UNSAVED_MOST if rest else UNSAVED)
        self._absorbing.save(piece, standing, pace)
        return more

    def _yields(self, piece: Absorbed) -> bool:
        """Whether a tree has to wait for those who write to its bucket."""
        published, now = piece.bucket.published, self._clock.monotonic_ns()
        seen, since = self._seen.get(piece.id, (None, now))
        if seen != published:
            self._seen[piece.id] = (published, now)
            since = now
        return now - since < QUIET_NS and self._lag < BEHIND
