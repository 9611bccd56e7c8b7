"""Clients of the simulator that number writes, and send again what they do not know of (rule 9).

Each write adds bytes that no other write has, so an object tells whether it was
applied, and how often. What a crash or a disk left open is sent again in the next
life before anything else happens; what was answered is asked again now and then.
"""

from __future__ import annotations

from holdfast.errors import Permanent
from holdfast.testing.simulator_asking import DONE, Allowed, Asking, with_changes
from holdfast.testing.simulator_model import Object, Sent
from holdfast.testing.simulator_world import Deviation

OPEN = 40  # numbers above the floor, at most
SESSION_PART = 0.05  # of writes begin another session
AGAIN_PART = 0.4


class Numbering(Asking):
    """What clients with sessions do."""

    def once(self) -> None:
        """A numbered write, or one of before again."""
        numbers = self.model.numbers
        if numbers.open is not None:
            self.send_again()
        elif numbers.answered and self.chance.random() < AGAIN_PART:
            self.ask_again(self.chance.choice(sorted(numbers.answered)))
        else:
            self._send_new()

    def _send_new(self) -> None:
        name, value = self.name(), self.value()
        numbers = self.model.numbers
        old = self.model.live(name, self.world.now_ns())
        if old is not None and (old.permanent or old.expires_ns is not None):
            return
        if not numbers.session or self.chance.random() < SESSION_PART:
            numbers.begin(self.world.store.begin_session())
        numbers.rise(numbers.number - self.chance.randrange(1, OPEN))
        numbers.number += 1
        numbers.open = Sent(numbers.session, numbers.number, numbers.floor, name, value)
        self.send_again()

    def send_again(self) -> None:
        """Send what is open; afterwards it was applied, once."""
        sent = self.model.numbers.open
        if sent is None:
            return
        self.world.sent = sent
        old = self.model.live(sent.name, self.world.now_ns())
        applied = old is not None and sent.value in old.value
        if old is None:
            after = Object(sent.value)
        else:
            after = old if applied else with_changes(old, value=old.value + sent.value, version=0)
        allowed: Allowed = DONE
        if old is not None and old.permanent and not applied:
            allowed = (Permanent,)
        steps = () if applied else (self.step(sent.name, after),)
        size = self.ask(sent.told(), lambda: self._append(sent), steps, allowed)
        if size is not None:
            self._answered(sent, after, size, applied=applied)
        elif allowed != DONE:
            self.model.numbers.open = None

    def _answered(self, sent: Sent, after: Object, size: int, *, applied: bool) -> None:
        if size != len(after.value):
            raise Deviation(f"{sent.told()}: {size} bytes in all instead of {len(after.value)}")
        if applied:
            self.acknowledge(())
        else:
            version = self.space(sent.name).stat(sent.name[1]).version
            self.tell(sent.name, version)
            self.acknowledge([self.step(sent.name, with_changes(after, version=version))])
        self.model.numbers.settle(sent, size)
        if self._found(sent.name) != self.model.live(sent.name, self.world.now_ns()):
            raise Deviation(f"{sent.told()}: the object is another one")

    def ask_again(self, number: int) -> None:
        """A number that was answered answers the same, and changes nothing."""
        sent, size = self.model.numbers.answered[number]
        again = self.ask(f"again {sent.told()}", lambda: self._append(sent), (), DONE)
        if again not in (size, None):
            raise Deviation(f"{sent.told()} answers {again} instead of {size}")
        found = self._found(sent.name)
        if found is not None and found.value.count(sent.value) > 1:
            raise Deviation(f"{sent.told()} was applied twice")

    def _append(self, sent: Sent) -> int:
        space = self.space(sent.name).numbered(sent.session, sent.number, sent.floor)
        return space.append(sent.name[1], sent.value)
