"""The simulator's clients: what they ask of the store, and what it must answer.

Every action predicts its answer from the model first. An answer that was not
predicted is a ``Deviation``; a power cut in the middle leaves the prediction
behind as what may have happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from holdfast.errors import (
    CrossBucket,
    Exists,
    FenceTooOld,
    HoldfastError,
    LockHeld,
    LockLost,
    NotFound,
    Permanent,
    VersionMismatch,
)
from holdfast.limits import SECOND_NS
from holdfast.testing.simulator_asking import DONE, Allowed, with_changes
from holdfast.testing.simulator_model import Effect, Lease, Name, Object, Step
from holdfast.testing.simulator_numbered import Numbering
from holdfast.testing.simulator_world import SPACES, Deviation
from holdfast.values import Receipt

Mode = Literal["auto", "copying", "compacting"]
MODES: tuple[Mode, ...] = ("auto", "auto", "copying", "compacting")
LARGE = (1 << 20) + 1


class Clients(Numbering):
    """Several clients of one store, one acting at a time."""

    def act(self) -> None:
        """One action of one client, drawn by chance."""
        self.count += 1
        if self.model.numbers.open is not None and self.life != self.world.life:
            self.life = self.world.life
            self.send_again()
            return
        (action,) = self.chance.choices(ACTIONS, WEIGHTS)
        version = self.world.store.placement.directory.version
        action(self)
        if self.world.store.placement.directory.version != version:
            self.model.moved(self.world.clock.monotonic_ns())

    # -- values ----------------------------------------------------------------------------

    def put(self) -> None:
        """A put, with or without an option."""
        name, value = self.name(), self.value()
        now = self.world.now_ns()
        old = self.model.live(name, now)
        options, after, refusal = self._option(name, value, old)
        allowed: Allowed = (refusal,) if refusal is not None else DONE
        if old is not None and old.permanent:
            allowed = (Permanent,)
        self._store(name, after, options, allowed)

    def _option(
        self, name: Name, value: bytes, old: Object | None
    ) -> tuple[dict[str, object], Object, type[HoldfastError] | None]:
        """Options, what they make of the object, and what refuses them."""
        after = Object(value, consumers=old.consumers if old else None)
        draw = self.chance.randrange(12)
        if draw == 0:
            ttl = self.chance.choice((1, 3, 20, 300))
            expires = self.world.now_ns() + ttl * SECOND_NS
            return {"ttl": ttl}, with_changes(after, expires_ns=expires), None
        if draw == 1:
            expires_ns = old.expires_ns if old else None
            refusal = None if old else NotFound
            return {"keep_ttl": True}, with_changes(after, expires_ns=expires_ns), refusal
        if draw == 2:
            return {"if_absent": True}, after, Exists if old else None
        if draw == 3:
            version = self.model.highest.get(name, 0) - self.chance.randrange(2)
            matches = old is not None and old.version == version
            return {"if_version": version}, after, None if matches else VersionMismatch
        if draw == 4:
            ids = tuple(self.chance.choices("abcd", k=self.chance.randrange(4)))
            keeps = None if not ids and after.consumers is None else ids
            return {"consumers": ids}, with_changes(after, consumers=keeps), None
        if draw == 5:
            return {"permanent": True}, with_changes(after, permanent=True), None
        if draw == 6:
            kind = f"text/{self.count}"
            return {"content_type": kind}, with_changes(after, content_type=kind), None
        return {}, after, None

    def _store(
        self, name: Name, after: Object, options: dict[str, object], allowed: Allowed
    ) -> None:
        told = f"put {name} {len(after.value)} bytes {options}"
        space = self.space(name)
        receipt = self.ask(
            told,
            lambda: space.put(name[1], after.value, **options),  # type: ignore[arg-type]
            (self.step(name, after),),
            allowed,
        )
        if receipt is not None:
            self._stored(name, after, receipt)

    def _stored(self, name: Name, after: Object, receipt: Receipt) -> None:
        if (receipt.size, receipt.expires_ns) != (len(after.value), after.expires_ns):
            raise Deviation(f"{receipt} for {name}, expected expiry {after.expires_ns}")
        self.tell(name, receipt.version)
        self.acknowledge([self.step(name, with_changes(after, version=receipt.version))])

    def put_fenced(self) -> None:
        """A put under a lock's fence, or beside it."""
        name = self.name()
        lease = self.model.leases.get(name)
        old = self.model.live(name, self.world.now_ns())
        held = self.model.lock_state(name, self.world.clock.monotonic_ns())
        offset = self.chance.choice((0, 0, 0, -1, 1))
        fence = (lease.fence if lease else 7) + offset
        wrong: type[HoldfastError] = FenceTooOld if offset < 0 else LockLost
        allowed: Allowed = (LockLost,)
        if held is True:
            allowed = (wrong,) if offset else DONE
        elif held is None:
            allowed = (None, FenceTooOld, LockLost)
        if old is not None and old.permanent:
            allowed = (Permanent,)
        after = Object(self.value(), consumers=old.consumers if old else None)
        directory = self.world.store.placement.directory
        version = directory.version
        if held is False and lease is not None and lease.held is not False:
            allowed = (*allowed, None, FenceTooOld)  # a split may begin its time anew (rule 7)
        self._store(name, after, {"fence": fence}, allowed)
        found = self.model.now.get(name)
        stored = found is not None and found.value == after.value
        if held is False and stored and directory.version == version:
            raise Deviation(f"put {name} under a fence that nothing holds")

    def put_large(self) -> None:
        """A value in parts, at once or as a stream."""
        name = self.name()
        old = self.model.live(name, self.world.now_ns())
        mark = f"{self.count}:{self.chance.randrange(1 << 30):x}:".encode()
        size = LARGE + self.chance.choice((0, 5_000, LARGE))
        value = (mark * (size // len(mark) + 1))[:size]
        after = Object(value, consumers=old.consumers if old else None)
        allowed: Allowed = (Permanent,) if old is not None and old.permanent else DONE
        if self.chance.random() < 0.5:
            self._store(name, after, {}, allowed)
            return
        steps = (self.step(name, after),)
        told = f"stream {name} {size} bytes"
        if self.ask(told, lambda: self._stream(name, value), steps, allowed) is not None:
            self._learned(name, after)

    def _stream(self, name: Name, value: bytes) -> bool:
        file = self.space(name).open(name[1], "wb")
        for at in range(0, len(value), 600_000):
            file.write(value[at : at + 600_000])
        file.close()
        return True

    def _learned(self, name: Name, after: Object) -> None:
        """Acknowledge a write whose version only stat tells."""
        version = self.space(name).stat(name[1]).version
        self.tell(name, version)
        self.acknowledge([self.step(name, with_changes(after, version=version))])

    def append(self) -> None:
        """Add bytes to an object, or create it."""
        name, value = self.name(), self.value()
        old = self.model.live(name, self.world.now_ns())
        after = (
            Object(value) if old is None else with_changes(old, value=old.value + value, version=0)
        )
        allowed: Allowed = (Permanent,) if old is not None and old.permanent else DONE
        told = f"append {name} {len(value)} bytes"
        space = self.space(name)
        steps = (self.step(name, after),)
        size = self.ask(told, lambda: space.append(name[1], value), steps, allowed)
        if size is None:
            return
        if size != len(after.value):
            raise Deviation(f"{told}: {size} bytes in all instead of {len(after.value)}")
        self._learned(name, after)

    def delete(self) -> None:
        """Remove an object."""
        name = self.name()
        old = self.model.live(name, self.world.now_ns())
        allowed: Allowed = (NotFound,) if old is None else DONE
        if old is not None and old.permanent:
            allowed = (Permanent,)
        space = self.space(name)
        steps = (self.step(name, None),)

        def call() -> bool:
            space.delete(name[1])
            return True

        if self.ask(f"delete {name}", call, steps, allowed) is not None:
            self.acknowledge(steps)

    def release(self) -> None:
        """Lift permanent."""
        name = self.name()
        old = self.model.live(name, self.world.now_ns())
        after = None if old is None else with_changes(old, permanent=False)
        steps = (self.step(name, after),)
        space = self.space(name)

        def call() -> bool:
            space.release(name[1])
            return True

        allowed: Allowed = (NotFound,) if old is None else DONE
        if self.ask(f"release {name}", call, steps, allowed) is not None and after != old:
            self.acknowledge(steps)  # where nothing changed nothing was written

    def change_consumers(self) -> None:
        """Set, extend or shorten a reference list."""
        name = self.name()
        old = self.model.live(name, self.world.now_ns())
        action = self.chance.choice(("set", "append", "remove", "remove"))
        ids = tuple(self.chance.choices("abcd", k=self.chance.randrange(4)))
        held = old.consumers or () if old is not None else ()
        kept, missing = _changed(action, held, ids)
        after = old if old is None or kept == held else with_changes(old, consumers=kept)
        steps = (self.step(name, after),)
        handle = self.space(name).consumers(name[1])
        call = getattr(handle, action)
        allowed: Allowed = (NotFound,) if old is None else DONE
        told = f"consumers {name} {action} {ids}"
        answer = self.ask(told, lambda: (call(ids),), steps, allowed)
        if answer is None:
            return
        if action == "remove" and list(answer[0]) != missing:
            raise Deviation(f"{told}: {answer[0]} not found instead of {missing}")
        if after is not old:  # else nothing was written
            self.acknowledge(steps)

    # -- batches ------------------------------------------------------------------------------

    def put_many(self) -> None:
        """A batch, atomic or not."""
        now = self.world.now_ns()
        atomic = self.chance.random() < 0.5
        drawn = self.chance.sample(self.names, self.chance.randint(1, 6))
        space = drawn[0][0]
        names = [n for n in drawn if n[0] == space]
        olds = {name: self.model.live(name, now) for name in names}
        if not atomic:
            names = [n for n in names if not ((o := olds[n]) and o.permanent)]
        afters = [
            (name, Object(self.value(), consumers=o.consumers if (o := olds[name]) else None))
            for name in names
        ]
        buckets = {self.world.bucket_of(name) for name in names}
        refused = any((o := olds[name]) and o.permanent for name in names)
        allowed: Allowed = (Permanent,) if refused else DONE
        if atomic and len(buckets) > 1:
            allowed = (CrossBucket,)
        elif atomic:
            allowed = (*allowed, CrossBucket)  # the bucket may be split to make room
        pairs = [(name[1], after.value) for name, after in afters]
        handle = self.world.store.namespace(space)
        receipts = self.ask(
            f"put_many {names} atomic={atomic}",
            lambda: handle.put_many(pairs, atomic=atomic),
            tuple(self._batch(afters, atomic=atomic)),
            allowed,
        )
        if receipts is not None:
            told = []
            for (name, after), receipt in zip(afters, receipts, strict=True):
                self.tell(name, receipt.version)
                told.append((name, with_changes(after, version=receipt.version)))
            self.acknowledge(self._batch(told, atomic=atomic))

    def _batch(self, afters: list[tuple[Name, Object]], *, atomic: bool) -> list[Step]:
        """A batch as steps: of one bucket they stand together, if they are not too large."""
        effects = tuple(Effect(*pair) for pair in afters)
        lanes = {self.lane(name) for name, _ in effects}
        size = sum(len(name[1]) + len(after.value) for name, after in afters)
        if len(lanes) == 1 and (atomic or size < self.world.settings.bucket_bytes // 16):
            return [Step(lanes.pop(), effects, together=atomic)] if effects else []
        # Of several, a split may come between any two.
        alone = len(effects) == 1
        return [Step(self.lane(effect.name), (effect,), together=alone) for effect in effects]

    # -- locks ------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Take a lease."""
        name = self.name()
        clock, model = self.world.clock, self.model
        held = model.lock_state(name, clock.monotonic_ns())
        allowed: Allowed = (LockHeld,) if held else (None, LockHeld) if held is None else DONE
        ttl = self.chance.choice((2, 30, 200))
        space = self.space(name)
        before = model.leases.get(name)
        if held is False:  # as a crash in the middle would leave it
            ends = clock.monotonic_ns() + ttl * SECOND_NS
            longest = max(ttl * SECOND_NS, before.ttl_ns if before is not None else 0)
            model.leases[name] = Lease("", 0, longest, ends, held=None)
        elif before is not None and held is None:
            before.ttl_ns = max(before.ttl_ns, ttl * SECOND_NS)
        lock = self.ask(f"lock {name} {ttl} s", lambda: space.lock(name[1], ttl=ttl), (), allowed)
        if lock is None and held is False:
            return  # it failed: held or not, nobody can tell before the next life
        if lock is not None:
            self.tell(name, lock.fence)
            ends = clock.monotonic_ns() + ttl * SECOND_NS
            model.leases[name] = Lease(lock.id, lock.fence, ttl * SECOND_NS, ends)
            self.acknowledge(())

    def unlock(self) -> None:
        """Give a lease back, or try to with an id that never held."""
        name = self.name()
        lease = self.model.leases.get(name)
        if lease is None:
            return
        space = self.space(name)
        held = self.model.lock_state(name, self.world.clock.monotonic_ns())
        wrong = not lease.lock_id or self.chance.random() < 0.2
        allowed: Allowed = DONE if held else (None, LockLost) if held is None else (LockLost,)
        if wrong:
            allowed = (LockLost,)

        def call() -> bool:
            space.unlock(name[1], "00" * 20 if wrong else lease.lock_id)
            return True

        if not wrong and held:
            lease.held = None  # as a crash in the middle would leave it
        if self.ask(f"unlock {name}", call, (), allowed) is not None:
            lease.held = False
            lease.durable = False
            self.acknowledge(())
        elif None in allowed:  # it failed, and what was forgotten of the lease runs anew
            lease.blurred_ns = self.world.clock.monotonic_ns() + lease.ttl_ns

    # -- looking ---------------------------------------------------------------------

    def get(self) -> None:
        """Read one object, whole and in part."""
        name = self.name()
        old = self.model.live(name, self.world.now_ns())
        space = self.space(name)
        if space.exists(name[1]) != (old is not None):
            raise Deviation(f"exists {name} tells {old is None}")
        if old is None:
            return
        start = self.chance.randrange(len(old.value) + 1)
        stop = start + self.chance.randrange(2_000_000)
        if space.get(name[1]) != old.value:
            raise Deviation(f"get {name} answers another value")
        if space.get(name[1], range=(start, stop)) != old.value[start:stop]:
            raise Deviation(f"get {name} from {start} to {stop} answers other bytes")

    def list(self) -> None:
        """List a namespace."""
        space = self.chance.choice(SPACES)
        now = self.world.now_ns()
        expected = sorted(
            (name[1] for name in self.model.now if name[0] == space and self.model.live(name, now)),
            key=str.encode,
        )
        found = list(self.world.store.namespace(space).list())
        if found != expected:
            raise Deviation(f"list {space}: {found} instead of {expected}")

    # -- upkeep ----------------------------------------------------------------------

    def advance(self) -> None:
        """Time passes, and upkeep runs as it does every moment."""
        self.world.clock.advance(round(self.chance.choice((0.05, 1.5, 4, 12)) * SECOND_NS))
        self.tick()

    def tick(self) -> None:
        """Upkeep that is due."""
        faulty = self.world.faulty
        failed = faulty.failed if faulty is not None else 0
        ticked = self.attempt("tick", lambda: self.world.store.tick(10.0))
        if faulty is not None:  # a bucket whose time mark failed, or that is broken, has none
            ticked = ticked and failed == faulty.failed
            ticked = ticked and not any(b.broken for b in self.world.store.placement.directory)
        if ticked:
            self.model.bury(self.world.now_ns())

    def collect(self) -> None:
        """Remove what is marked, give the space of the dead back."""
        mode: Mode = self.chance.choice(MODES)
        now = self.world.now_ns()
        marked: dict[str, list[Effect]] = {}
        for name in sorted(self.model.now):
            found = self.model.live(name, now)
            if found is not None and found.state == "marked" and not found.permanent:
                where = self.world.bucket_of(name)
                marked.setdefault(where, []).append(Effect(name, None))
        steps = tuple(
            Step(where, (effect,)) for where, effects in marked.items() for effect in effects
        )
        told = f"collect {mode}"
        self.world.in_flight = self.world.attempted = steps
        done = self.attempt(told, lambda: self.world.store.collect(mode))
        self.world.in_flight = ()
        broken = {b.id for b in self.world.store.placement.directory if b.broken}
        if done and not broken:
            self.acknowledge(steps)
        else:  # a bucket that failed is passed over, the others go on
            self.model.doubt(step for step in steps if step.lane in broken)
            self._read_back(steps, partly=True)

    def absorb(self) -> None:
        """Checkpoint every view."""
        self.attempt("checkpoint", self.world.absorb)

    def rebuild(self) -> None:
        """Derive every view again."""
        self.attempt("rebuild", self.world.store.rebuild)
        self.model.moved(self.world.clock.monotonic_ns())

    def check(self) -> None:
        """Verify everything."""
        self.attempt("check", self.world.check)

    def flush(self) -> None:
        """Make everything durable."""
        if self.attempt("flush", self.world.store.flush):
            self.model.settle()


def _changed(
    action: str, held: tuple[str, ...], ids: tuple[str, ...]
) -> tuple[tuple[str, ...], list[str]]:
    """A reference list afterwards, and what a removal did not find."""
    if action == "set":
        return ids, []
    if action == "append":
        return held + ids, []
    left = list(held)
    missing = []
    for one in ids:
        if one in left:
            left.remove(one)
        else:
            missing.append(one)
    return tuple(left), missing


Action = Callable[[Clients], None]
CHOICES: tuple[tuple[Action, float], ...] = (
    (Clients.put, 30),
    (Clients.put_fenced, 4),
    (Clients.put_large, 0.6),
    (Clients.append, 8),
    (Clients.once, 8),
    (Clients.delete, 10),
    (Clients.release, 3),
    (Clients.change_consumers, 8),
    (Clients.put_many, 8),
    (Clients.lock, 6),
    (Clients.unlock, 4),
    (Clients.get, 4),
    (Clients.list, 2),
    (Clients.advance, 5),
    (Clients.tick, 4),
    (Clients.collect, 4),
    (Clients.absorb, 3),
    (Clients.rebuild, 0.7),
    (Clients.check, 0.5),
    (Clients.flush, 2),
)
ACTIONS = [action for action, _ in CHOICES]
WEIGHTS = [weight for _, weight in CHOICES]
