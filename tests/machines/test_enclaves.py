"""Enclaves against a model: nonces, sessions, counters and hand-overs, in any order."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule

from holdfast.errors import AttestationInvalid, Forbidden, HoldfastError, Unauthenticated
from holdfast.identity.handover import Statement
from holdfast.limits import SECOND_NS
from holdfast.testing.enclave import MockEnclave
from tests.rooms.identity.around import World

pytestmark = pytest.mark.push

NUMBERS = st.integers(1, 3)
DIGEST = sha256(b"").digest()
NONCE_S, SESSION_S = 60, 3600


class Held:
    """A session as the model has it."""

    def __init__(self, enclave: MockEnclave, number: int, space: int, ends_s: int) -> None:
        self.enclave = enclave
        self.number = number
        self.space = space
        self.ends_s = ends_s
        self.process = 0
        self.marks: list[str] = []
        self.last = 0


class Enclaves(RuleBasedStateMachine):
    """The store's half, and what it must answer."""

    nonces = Bundle("nonces")
    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.ids = {number: self.world.enclave(number).image_id for number in (1, 2, 3)}
        self.holders = {number: {number} for number in (1, 2, 3)}
        self.now_s = 0
        self.process = 0

    @rule(target=nonces)
    def challenge(self) -> tuple[bytes, int, int]:
        return self.world.enclaves.challenge(), self.now_s + NONCE_S, self.process

    @rule(target=sessions, nonce=consumes(nonces), number=NUMBERS, space=NUMBERS)
    def exchange(self, nonce: tuple[bytes, int, int], number: int, space: int) -> object:
        told, ends_s, process = nonce
        enclave = self.world.enclave(number)
        document = enclave.document(told)
        if process != self.process or self.now_s >= ends_s:
            with pytest.raises(AttestationInvalid):
                self.world.enclaves.exchange(document, self.ids[space])
            return multiple()
        if number not in self.holders[space]:
            with pytest.raises(Forbidden):
                self.world.enclaves.exchange(document, self.ids[space])
            return multiple()
        found = self.world.enclaves.exchange(document, self.ids[space])
        with pytest.raises(AttestationInvalid):
            self.world.enclaves.exchange(document, self.ids[space])
        enclave.open(found.session, found.public_key, found.sealed, told)
        held = Held(enclave, number, space, self.now_s + SESSION_S)
        held.process = self.process
        return held

    @rule(held=sessions, count=st.integers(1, 3))
    def mark(self, held: Held, count: int) -> None:
        held.marks += [held.enclave.mark("GET", "/") for _ in range(count)]

    @rule(held=sessions, at=st.integers(0, 5))
    def ask(self, held: Held, at: int) -> None:
        if not held.marks:
            return
        told = held.marks[at % len(held.marks)]
        counter = int(told.split(";")[1])
        expected = self.expected(held, counter)
        if expected is not None:
            with pytest.raises(expected):
                self.world.enclaves.by_session(told, "GET", "/", DIGEST)
            return
        principal = self.world.enclaves.by_session(told, "GET", "/", DIGEST)
        assert principal.name == self.ids[held.number]
        assert [grant.namespace for grant in principal.grants] == [self.ids[held.space]]
        with pytest.raises(Unauthenticated):
            self.world.enclaves.by_session(told, "GET", "/", DIGEST)

    def expected(self, held: Held, counter: int) -> type[HoldfastError] | None:
        if held.process != self.process or self.now_s >= held.ends_s or counter <= held.last:
            return Unauthenticated
        held.last = counter
        return None if held.number in self.holders[held.space] else Forbidden

    @rule(number=NUMBERS, taker=NUMBERS, space=NUMBERS, keep=st.booleans())
    def hand_over(self, number: int, taker: int, space: int, keep: bool) -> None:  # noqa: FBT001
        if number == taker:
            return
        statement = Statement(self.ids[space], self.ids[number], self.ids[taker], keep)
        handovers = self.world.enclaves.handovers
        if number not in self.holders[space]:
            with pytest.raises(Forbidden):
                handovers.hand_over(self.ids[number], statement)
            return
        found = handovers.hand_over(self.ids[number], statement)
        self.holders[space] |= {taker}
        if not keep:
            self.holders[space] -= {number}
        assert set(found.images) == {self.ids[holder] for holder in self.holders[space]}

    @rule(seconds=st.sampled_from([1, 30, 60, 1800, 3600]))
    def wait(self, seconds: int) -> None:
        self.now_s += seconds
        self.world.clock.advance(seconds * SECOND_NS)
        # Certificates last for hours; what is judged here is not their end.
        self.world.clock.step_wall(-seconds * SECOND_NS)

    @rule()
    def begin_again(self) -> None:
        self.process += 1
        self.world.enclaves = self.world.begin()


TestEnclaves = Enclaves.TestCase
TestEnclaves.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
