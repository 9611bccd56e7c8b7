"""Whether a concurrent history could have happened one operation at a time.

The checker is that of Wing and Gong (1993) as Lowe (2017) and Porcupine do it:
try to put each operation that may come first, undo where that leads nowhere,
and remember pairs of (operations placed, state) so that no dead end is entered
twice. It is exponential at worst; histories are checked per key, since a map is
linearizable exactly when each of its keys is (Herlihy and Wing, locality).

A history is a list of operations: what was called and answered, and when each
began and ended, in any unit that only grows. An operation whose outcome is not
known never ended: it may take effect at any time after it began, or never.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

from holdfast.errors import HoldfastError, NotFound, VersionMismatch
from holdfast.testing.face import NamespaceFace

UNKNOWN: Final = "unknown"
NEVER: Final = float("inf")

State = TypeVar("State", bound=Hashable)


class Operation(NamedTuple):
    """One call of one process.

    ``call`` is the verb and its arguments, ``answer`` what came back (UNKNOWN
    where nothing did); ``began`` and ``ended`` are stamps, ``ended`` NEVER where
    the outcome is not known.
    """

    process: int
    call: tuple[object, ...]
    answer: object
    began: float
    ended: float


class Model(Protocol[State]):
    """What one object does when asked one thing at a time."""

    def first(self) -> State:
        """The state before anything happened."""

    def step(self, state: State, operation: Operation) -> State | None:
        """The state after the operation, or None where its answer cannot be."""


class Verdict(NamedTuple):
    """What the checker found.

    ``placed`` is the longest order it could make: all operations where
    ``linearizable``, else how far it got before nothing fitted.
    """

    linearizable: bool
    placed: tuple[Operation, ...]


# -- the checker ---------------------------------------------------------------


class _Timeline:
    """Begins and ends of operations in order of time, from which pairs are taken out and put back.

    A doubly linked list in two arrays: entry ``2 * n`` is the begin and
    ``2 * n + 1`` the end of operation ``n``; the last entry is the head.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.head = 2 * len(operations)
        moments = [
            (stamp, entry)
            for number, operation in enumerate(operations)
            for entry, stamp in ((2 * number, operation.began), (2 * number + 1, operation.ended))
        ]
        # At the same stamp begins come before ends: then the two overlap, which allows more.
        order = [entry for _, entry in sorted(moments, key=lambda at: (at[0], at[1] % 2))]
        self.after = [0] * (self.head + 1)
        self.before = [0] * (self.head + 1)
        for left, right in itertools.pairwise([self.head, *order, self.head]):
            self.after[left] = right
            self.before[right] = left

    def first(self) -> int:
        """The earliest entry; the head itself where nothing is left."""
        return self.after[self.head]

    def take(self, number: int) -> None:
        """Take both entries of an operation out."""
        for entry in (2 * number, 2 * number + 1):
            self.after[self.before[entry]] = self.after[entry]
            self.before[self.after[entry]] = self.before[entry]

    def put_back(self, number: int) -> None:
        """Undo the latest ``take``."""
        for entry in (2 * number + 1, 2 * number):
            self.after[self.before[entry]] = entry
            self.before[self.after[entry]] = entry


def check_history(operations: Iterable[Operation], model: Model[State]) -> Verdict:
    """Judge the history of one object.

    Args:
        operations: in any order.
        model: what the object does one operation at a time.

    Returns:
        Whether there is an order that respects time and that the model allows.

    Example:
        >>> done = [Operation(0, ("put", b"1"), 1, 0, 1), Operation(1, ("get",), None, 2, 3)]
        >>> check_history(done, KeyModel()).linearizable
        False
    """
    history = sorted(operations, key=lambda operation: operation.began)
    timeline = _Timeline(history)
    placed: list[tuple[int, State]] = []  # operation and the state before it
    longest: list[int] = []
    seen: set[tuple[int, State]] = set()
    state, done = model.first(), 0
    entry = timeline.first()
    while entry != timeline.head:
        number, is_end = divmod(entry, 2)
        if is_end:  # this operation had to be placed before it ended: go back
            if not placed:
                return Verdict(linearizable=False, placed=tuple(history[at] for at in longest))
            number, state = placed.pop()
            done ^= 1 << number
            timeline.put_back(number)
            entry = timeline.after[2 * number]
            continue
        after = model.step(state, history[number])
        if after is None or (done | 1 << number, after) in seen:
            entry = timeline.after[entry]
            continue
        done |= 1 << number
        seen.add((done, after))
        placed.append((number, state))
        if len(placed) > len(longest):
            longest = [at for at, _ in placed]
        timeline.take(number)
        state, entry = after, timeline.first()
    return Verdict(linearizable=True, placed=tuple(history[at] for at, _ in placed))


# -- models --------------------------------------------------------------------


class RegisterModel:
    """A register of integers with compare-and-set, as Jepsen's etcd test has it.

    Calls: ``("read",)`` answers the value or None, ``("write", value)``,
    ``("cas", expected, value)`` answers whether it did.
    """

    def first(self) -> int | Literal["nil"]:
        """Nothing was written yet."""
        return "nil"

    def step(
        self, state: int | Literal["nil"], operation: Operation
    ) -> int | Literal["nil"] | None:
        """See Model."""
        verb, *arguments = operation.call
        known = operation.answer is not UNKNOWN
        if verb == "read":
            shown = None if state == "nil" else state
            return None if known and operation.answer != shown else state
        if verb == "write":
            return _number(arguments[0])
        fits = state == arguments[0]
        if known and operation.answer != fits:
            return None
        return _number(arguments[1]) if fits else state


def _number(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101 - calls are made by the parser above or by a test
    return value


class KeyState(NamedTuple):
    """One key: its value and version (None where absent or not known), and the highest version."""

    value: bytes | None
    version: int | None
    floor: int


class KeyModel:
    """One key of a store.

    Calls: ``("get",)`` answers the value or None; ``("put", value)`` answers
    the version; ``("cas", version, value)`` the new version or None where the
    version was another; ``("delete",)`` whether there was something.
    """

    def first(self) -> KeyState:
        """The key is absent."""
        return KeyState(None, None, -1)

    def step(self, state: KeyState, operation: Operation) -> KeyState | None:
        """See Model."""
        verb = operation.call[0]
        if verb == "get":
            return state if operation.answer in {UNKNOWN, state.value} else None
        if verb == "delete":
            there = state.value is not None
            fits = operation.answer is UNKNOWN or operation.answer == there
            return KeyState(None, None, state.floor) if fits else None
        if verb == "cas":
            return self._compare_and_set(state, operation)
        return self._put(state, operation)

    def _put(self, state: KeyState, operation: Operation) -> KeyState | None:
        value, version = operation.call[-1], operation.answer
        assert isinstance(value, bytes)  # noqa: S101 - calls are made by the recorder or by a test
        if not isinstance(version, int):
            return KeyState(value, None, state.floor)
        return KeyState(value, version, version) if version > state.floor else None

    def _compare_and_set(self, state: KeyState, operation: Operation) -> KeyState | None:
        expected = operation.call[1]
        # A put whose outcome is not known leaves a value whose version nobody can tell.
        open_version = state.value is not None and state.version is None
        fits = state.value is not None and state.version == expected
        if operation.answer is None:
            return state if open_version or not fits else None
        if operation.answer is UNKNOWN and not fits and not open_version:
            return state
        return self._put(state, operation) if fits or open_version else None


# -- recording -----------------------------------------------------------------


class Pending:
    """An operation that has begun; ended once, by one of its methods."""

    def __init__(self, recorder: HistoryRecorder, key: str, operation: Operation) -> None:
        self._recorder = recorder
        self._key = key
        self._operation = operation

    def ok(self, answer: object) -> None:
        """It answered."""
        self._recorder.end(self._key, self._operation, answer)

    def fail(self) -> None:
        """It surely had no effect (an error with effect "none"): it leaves the history."""

    def unknown(self) -> None:
        """Nobody knows whether it had an effect."""
        self._recorder.keep(self._key, self._operation)


class HistoryRecorder:
    """Takes down what threads call and what they are answered, per key.

    Stamps come from one counter: an operation that ended before another began
    has the smaller stamps, whatever the clocks say.

    Example:
        >>> recorder = HistoryRecorder()
        >>> pending = recorder.begin(0, "a", ("get",))
        >>> pending.ok(None)
        >>> check_history(recorder.histories()["a"], KeyModel()).linearizable
        True
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._stamps = itertools.count()
        self._histories: dict[str, list[Operation]] = {}

    def begin(self, process: int, key: str, call: tuple[object, ...]) -> Pending:
        """Stamp the begin of a call, before it is made."""
        return Pending(self, key, Operation(process, call, UNKNOWN, self._stamp(), NEVER))

    def end(self, key: str, operation: Operation, answer: object) -> None:
        """Stamp the end of a call, after it was made."""
        self.keep(key, operation._replace(answer=answer, ended=self._stamp()))

    def keep(self, key: str, operation: Operation) -> None:
        """Add an operation to the history of its key."""
        with self._guard:
            self._histories.setdefault(key, []).append(operation)

    def histories(self) -> dict[str, list[Operation]]:
        """What was taken down, by key."""
        with self._guard:
            return {key: list(history) for key, history in self._histories.items()}

    def _stamp(self) -> int:
        with self._guard:
            return next(self._stamps)


class RecordedNamespace:
    """The verbs of KeyModel over a namespace, each taken down for one process.

    Args:
        namespace: what is driven.
        recorder: shared by all processes.
        process: who calls; one at a time.
    """

    def __init__(self, namespace: NamespaceFace, recorder: HistoryRecorder, process: int) -> None:
        self._namespace = namespace
        self._recorder = recorder
        self._process = process

    def get(self, key: str) -> None:
        """Read, absent or not."""
        self._record(key, ("get",), lambda: self._namespace.get(key), {NotFound: None})

    def put(self, key: str, value: bytes) -> None:
        """Write whatever is there."""
        self._record(key, ("put", value), lambda: self._namespace.put(key, value).version, {})

    def delete(self, key: str) -> None:
        """Remove, and tell whether there was something."""

        def found() -> bool:
            self._namespace.delete(key)
            return True

        self._record(key, ("delete",), found, {NotFound: False})

    def compare_and_set(self, key: str, version: int, value: bytes) -> None:
        """Write if the version is still this one."""
        self._record(
            key,
            ("cas", version, value),
            lambda: self._namespace.put(key, value, if_version=version).version,
            {VersionMismatch: None},
        )

    def _record(
        self,
        key: str,
        call: tuple[object, ...],
        make: Callable[[], object],
        answers: Mapping[type[HoldfastError], object],
    ) -> None:
        pending = self._recorder.begin(self._process, key, call)
        try:
            answer = make()
        except tuple(answers) as refusal:
            pending.ok(answers[type(refusal)])
        except HoldfastError as error:
            pending.unknown() if error.effect == "unknown" else pending.fail()
        else:
            pending.ok(answer)


# -- Jepsen's logs ---------------------------------------------------------------

_LINE: Final = re.compile(r"jepsen\.util - (\d+)\s+:(\w+)\s+:(\w+)\s+(.+?)\s*$")


def parse_jepsen_log(text: str) -> list[Operation]:
    """Read a log of Jepsen's register test, as the etcd histories of Porcupine are written.

    A line is ``INFO  jepsen.util - 3  :invoke  :cas  [1 2]``; outcomes are
    ``:ok``, ``:fail`` (a cas that did not fit, or a read that had no effect) and
    ``:info`` (not known). Source: anishathalye/porcupine, test_data/jepsen.

    Raises:
        ValueError: a line ends an operation that its process never began.
    """
    pending: dict[int, Operation] = {}
    history: list[Operation] = []
    for stamp, line in enumerate(text.splitlines()):
        match = _LINE.search(line)
        if match is None:
            continue
        process, event = int(match[1]), match[2]
        if event == "invoke":
            call = (match[3], *_integers(match[4]))
            pending[process] = Operation(process, call, UNKNOWN, stamp, NEVER)
        elif process not in pending:
            raise ValueError(line)
        else:
            history += _ended(pending.pop(process), event, match[4], stamp)
    return history + list(pending.values())


def _integers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"-?\d+", text)]


def _ended(operation: Operation, event: str, value: str, stamp: int) -> list[Operation]:
    """The operation with its outcome; nothing where it had no effect and told nothing."""
    verb = operation.call[0]
    if event == "info":
        return [] if verb == "read" else [operation]
    if event == "fail" and verb != "cas":
        return []
    answers = {"read": next(iter(_integers(value)), None), "cas": event == "ok", "write": None}
    return [operation._replace(answer=answers[str(verb)], ended=stamp)]
