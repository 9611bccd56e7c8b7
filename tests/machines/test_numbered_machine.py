"""Numbered writes against a model: sent again, late, out of order, over every change of buckets.

The model is a dict of objects and, per number, the answer that was given first.
Clients are honest, as PROTOCOL.md asks: a number is one write, and nothing below a
floor is sent on purpose. Late copies of it arrive all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from holdfast.bucket import outcomes
from holdfast.bucket.checkpoint import checkpoint
from holdfast.bucket.sessions import Sessions
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import HoldfastError, InvalidValue
from holdfast.log.header import KeptNumbers
from holdfast.store import Namespace, Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, CrashDisk
from holdfast.testing.machine import machine_settings, nightly_settings

KEYS = [f"k/{number:02}" for number in range(0, 60, 5)]
FILL = 60
SECOND_NS = 1_000_000_000
Answer = tuple[str, object]


class Write(NamedTuple):
    """What a number stands for."""

    space: str
    key: str
    verb: str
    value: bytes


class Client(NamedTuple):
    """A session: its writes by number, what each answered, and the floor in a list of one."""

    session: str
    writes: dict[int, Write]
    answers: dict[int, Answer]
    floor: list[int]


def answer_of(call: Callable[[], object]) -> Answer:
    """What a write came to."""
    try:
        return "done", call()
    except HoldfastError as error:
        return error.code, sorted(error.facts.items())


def ask(ns: Namespace, write: Write) -> object:
    """Carry a write out."""
    if write.verb == "append":
        return ns.append(write.key, write.value)
    if write.verb == "delete":
        ns.delete(write.key)
        return None
    if write.verb == "put of many":
        (receipt,) = ns.put_many({write.key: write.value})
        return receipt.version, receipt.size
    receipt = ns.put(write.key, write.value, if_absent=write.verb == "create")
    return receipt.version, receipt.size


class NumberedMachine(RuleBasedStateMachine):
    """Two clients, two namespaces, buckets of the least size."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.lives = 0
        self.disk = CrashDisk(MemoryDisk())
        self.store = self.opened()
        self.objects: dict[tuple[str, str], bytes] = {}
        self.clients = [self.client(), self.client()]
        self.writes = 0

    def opened(self) -> Store:
        """The store in the next of its lives."""
        self.lives += 1
        return open_on(
            self.disk,
            "store",
            sync="always",
            bucket_bytes=64 << 10,
            clock=self.clock,
            entropy=SeededEntropy(self.lives),
        )

    def client(self) -> Client:
        """A client that begins a session."""
        return Client(self.store.begin_session(), {}, {}, [0])

    def send(self, client: Client, number: int, floor: int) -> Answer:
        """Send a write under its number."""
        write = client.writes[number]
        ns = self.store.namespace(write.space).numbered(client.session, number, floor)
        return answer_of(partial(ask, ns, write))

    def apply(self, write: Write) -> str:
        """What the model makes of a write, and how it ends."""
        name = (write.space, write.key)
        there = name in self.objects
        if write.verb == "delete":
            return "done" if self.objects.pop(name, None) is not None else "not_found"
        if write.verb == "create" and there:
            return "exists"
        old = self.objects.get(name, b"") if write.verb == "append" else b""
        self.objects[name] = old + write.value
        return "done"

    # -- writes ----------------------------------------------------------------------

    @rule(
        which=st.integers(0, 1),
        space=st.sampled_from(["acme", "zeta"]),
        key=st.sampled_from(KEYS),
        verb=st.sampled_from(["put", "put of many", "append", "append", "create", "delete"]),
        skip=st.sampled_from([1, 1, 1, 3]),
    )
    def write(self, *, which: int, space: str, key: str, verb: str, skip: int) -> None:
        """A new number, perhaps with a gap before it that is filled later."""
        client = self.clients[which]
        first = max(client.writes, default=0) + 1
        for number in range(first, first + skip):
            self.writes += 1
            value = b"%d;" % self.writes * 100
            client.writes[number] = Write(space, key, verb, value)
        self._first(client, first + skip - 1)

    def _first(self, client: Client, number: int) -> None:
        expected = self.apply(client.writes[number])
        client.answers[number] = self.send(client, number, client.floor[0])
        assert client.answers[number][0] == expected

    @rule(which=st.integers(0, 1), draw=st.integers(0, 1_000), back=st.integers(0, 200))
    def again(self, which: int, draw: int, back: int) -> None:
        """Any number from the floor on, sent before or not."""
        client = self.clients[which]
        numbers = [number for number in client.writes if number >= client.floor[0]]
        if not numbers:
            return
        number = numbers[draw % len(numbers)]
        if number not in client.answers:
            self._first(client, number)
            return
        floor = max(0, client.floor[0] - back)  # of a copy that was sent earlier
        assert self.send(client, number, floor) == client.answers[number]

    @rule(which=st.integers(0, 1), draw=st.integers(0, 1_000))
    def late(self, which: int, draw: int) -> None:
        """A copy of what was settled: its answer, or none; nothing changes."""
        client = self.clients[which]
        numbers = [number for number in client.answers if number < client.floor[0]]
        if numbers:
            number = numbers[draw % len(numbers)]
            answer = self.send(client, number, 0)
            assert answer == client.answers[number] or answer[0] == InvalidValue.code

    @rule(which=st.integers(0, 1), by=st.integers(1, 12))
    def settle(self, which: int, by: int) -> None:
        """The floor rises over what was answered."""
        client = self.clients[which]
        highest = max(client.answers, default=0)
        client.floor[0] = min(client.floor[0] + by, highest)
        for number in [n for n in client.writes if n < client.floor[0]]:
            if number not in client.answers:
                del client.writes[number]  # given up, and never sent

    @rule(which=st.integers(0, 1))
    def begin(self, which: int) -> None:
        """Another session."""
        self.clients[which] = self.client()

    # -- what becomes of buckets -----------------------------------------------------

    @rule()
    def fill(self) -> None:
        """Enough for buckets to be cut."""
        for space in ("acme", "zeta"):
            ns = self.store.namespace(space)
            for number in range(FILL):
                name = f"k/{number:02}+"
                ns.put(name, bytes(1_500))
                self.objects[space, name] = bytes(1_500)

    @rule()
    def empty(self) -> None:
        """So little that they become one again."""
        for space, key in [name for name in self.objects if name[1].endswith("+")]:
            self.store.namespace(space).delete(key)
            del self.objects[space, key]
        self.store.collect()
        self.clock.advance(2 * SECOND_NS)
        self.store.tick(5)

    @rule(mode=st.sampled_from(["auto", "copying", "compacting"]))
    def collect(self, mode: str) -> None:
        """Segments go."""
        self.store.collect(mode)  # type: ignore[arg-type]

    @rule()
    def absorb(self) -> None:
        """Views catch up."""
        for bucket in list(self.store.placement.directory):
            checkpoint(bucket)

    @rule()
    def rebuild(self) -> None:
        """Views are derived again."""
        self.store.rebuild()

    @rule()
    def reopen(self) -> None:
        """A clean end."""
        self.store.close()
        self.store = self.opened()

    @precondition(lambda self: self.lives < 6)
    @rule(mode=st.sampled_from(MODES), seed=st.integers(0, 99))
    def cut(self, mode: str, seed: int) -> None:
        """The power goes; what was answered is durable."""
        self.disk = CrashDisk(self.disk.after_cut(mode, seed))  # type: ignore[arg-type]
        self.store = self.opened()

    @rule(space=st.sampled_from(["acme", "zeta"]))
    def compare(self, space: str) -> None:
        """The store holds what the model holds."""
        ns = self.store.namespace(space)
        held = {key: ns.get(key) for key in ns.list()}
        assert held == {key: value for (its, key), value in self.objects.items() if its == space}

    def teardown(self) -> None:
        """Everything that is open is asked once more, and nothing changes."""
        for client in self.clients:
            for number, answer in client.answers.items():
                if number >= client.floor[0]:
                    assert self.send(client, number, client.floor[0]) == answer
        for space in ("acme", "zeta"):
            self.compare(space)
        assert self.store.check().ok
        self.store.close()


def test_numbered_writes_are_the_model() -> None:
    run_state_machine_as_test(NumberedMachine, settings=machine_settings(examples=25, steps=50))


@pytest.mark.nightly
@pytest.mark.timeout(7_200)
def test_numbered_writes_are_the_model_all_night() -> None:
    run_state_machine_as_test(NumberedMachine, settings=nightly_settings())


def _not_in_the_state(patch: pytest.MonkeyPatch) -> None:
    told = Sessions.told
    patch.setattr(Sessions, "told", lambda self, now: KeptNumbers(told(self, now).since_ns))


def _not_in_the_log(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sessions, "replay", lambda *_: None)


def _not_merged(patch: pytest.MonkeyPatch) -> None:
    taken = Sessions.take_in

    def first_only(self: Sessions, numbers: KeptNumbers | None, time_ns: int) -> None:
        if not self._spaces:
            taken(self, numbers, time_ns)

    patch.setattr(Sessions, "take_in", first_only)


def _refusals_not_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outcomes, "DECIDED", ())


@pytest.mark.push
@pytest.mark.parametrize(
    "mutate", [_not_in_the_state, _not_in_the_log, _not_merged, _refusals_not_kept]
)
def test_the_machine_notices(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            NumberedMachine, settings=machine_settings(examples=200, steps=50)
        )
