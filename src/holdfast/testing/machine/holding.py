"""Rules on what holds an object or a key: consumers and locks."""
# ruff: noqa: S101 - a machine speaks in assertions

from __future__ import annotations

from functools import partial
from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.testing.face import ConsumerId, LockFace, NamespaceFace, Ttl
from holdfast.testing.machine.inputs import PAUSES_NS, Key, ids, lockable, some, spaces
from holdfast.testing.machine.twins import Outcome, Taken, Twins, attempt

verbs = st.sampled_from(["set", "append", "remove"])


def change(
    namespace: NamespaceFace, *, key: str, verb: str, given: list[ConsumerId]
) -> list[ConsumerId] | None:
    """Change a reference list; the answer of remove, which is the only one that has any."""
    consumers = namespace.consumers(key)
    if verb == "remove":
        return list(consumers.remove(given))
    if verb == "set":
        consumers.set(given)
    else:
        consumers.append(given)
    return None


class HoldingRules(Twins):
    """Reference lists, leases, fences."""

    @rule(space=spaces, key=some, steps=st.lists(st.tuples(verbs, ids), min_size=1, max_size=4))
    def change_consumers(
        self, space: str, key: Key, steps: list[tuple[str, list[ConsumerId]]]
    ) -> None:
        """Each verb, and the list that it leaves."""
        name = self.key_of(space, key)
        for verb, given in steps:
            self.both(space, partial(change, key=name, verb=verb, given=given))
            self.both(space, lambda ns: list(ns.consumers(name).list()))

    @rule(space=spaces, key=some)
    def lose_all_consumers(self, space: str, key: Key) -> None:
        """What is marked waits for a collect or for a new consumer."""
        self.change_consumers(space=space, key=key, steps=[("append", ["x"]), ("set", [])])

    # -- locks -------------------------------------------------------------------

    @rule(space=spaces, key=lockable, ttl=st.sampled_from([1, 5, 30, "1m"]))
    def lock(self, space: str, key: str, ttl: Ttl) -> None:
        """Taken by both or by none; the fence passes all that the key has seen."""
        name = (space, key)
        if self.is_uncertain(name):
            return
        store = attempt(lambda: self.store.namespace(space).lock(key, ttl=ttl))
        if store.error is not None and self.is_uncertain(name):
            return
        model = attempt(lambda: self.model.namespace(space).lock(key, ttl=ttl))
        assert store.error == model.error, f"store {store}, model {model}"
        if store.error is not None:
            return
        taken = Taken(name, cast("LockFace", store.value), cast("LockFace", model.value), self.life)
        self.taken.append(taken)
        self.lock_ttls[name] = self.model.namespace(space).locks[key].ttl_ns
        assert taken.store.fence > self.highest.get(name, -1)
        self.highest[name] = taken.store.fence

    @rule(space=spaces, key=lockable, pause_ns=st.sampled_from(PAUSES_NS[:4]))
    def lock_again(self, space: str, key: str, pause_ns: int) -> None:
        """Refused to the last nanosecond; after it the first lock is a late writer's."""
        self.lock(space=space, key=key, ttl=1)
        self.clock.advance(pause_ns)
        self.lock(space=space, key=key, ttl=30)
        for which in range(min(2, len(self.taken))):
            self.put_with_a_fence(which=which)

    def pick(self, which: int) -> Taken | None:
        """One of the latest locks, unless the store may hold it longer than the model."""
        taken = self.taken[-1 - which % min(len(self.taken), 6)]
        return None if self.is_uncertain(taken.name) else taken

    def began_again(self, taken: Taken, store: Outcome) -> bool:
        """Whether a lease that had ended held: the very call divided its bucket (rule 7)."""
        return store.error is None and self.is_uncertain(taken.name)

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, 5), linger=st.booleans())
    def renew(self, *, which: int, linger: bool) -> None:
        """Held, expired, released and replaced ones; a renewed one holds as long as a new one."""
        taken = self.pick(which)
        if taken is None or taken.life != self.life:
            return
        store = attempt(taken.store.renew)
        if self.began_again(taken, store):
            return
        model = attempt(taken.model.renew)
        assert store.error == model.error, f"store {store}, model {model}"
        if linger and model.error is None:
            space, key = taken.name
            self.clock.advance(self.lock_ttls[taken.name] - 1)
            self.lock(space=space, key=key, ttl=1)

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, 5), by_id=st.booleans())
    def unlock(self, *, which: int, by_id: bool) -> None:
        """By its id, which outlives a reopened store, or by its handle."""
        taken = self.pick(which)
        if taken is None:
            return
        space, key = taken.name
        if by_id or taken.life != self.life:
            store = attempt(lambda: self.store.namespace(space).unlock(key, taken.store.id))
        else:
            store = attempt(taken.store.release)
        if self.began_again(taken, store):
            return
        model = attempt(lambda: self.model.namespace(space).unlock(key, taken.model.id))
        assert store.error == model.error, f"store {store}, model {model}"
        if model.error is None:
            del self.lock_ttls[taken.name]

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, 5))
    def put_with_a_fence(self, which: int) -> None:
        """Accepted from the holder alone."""
        taken = self.pick(which)
        if taken is None:
            return
        (space, key), value = taken.name, self.value(40)
        store = attempt(
            lambda: self.store.namespace(space).put(key, value, fence=taken.store.fence).size
        )
        if self.began_again(taken, store):
            self.model.namespace(space).put(key, value)
            return
        if store.error == "fence_too_old" and self.is_uncertain(taken.name):
            return  # so did a newer one
        model = attempt(
            lambda: self.model.namespace(space).put(key, value, fence=taken.model.fence).size
        )
        assert store == model, f"store {store}, model {model}"
