"""Rules that write objects."""
# ruff: noqa: S101 - a machine speaks in assertions

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from holdfast.testing.face import ConsumerId, NamespaceFace, Ttl
from holdfast.testing.machine.inputs import (
    FEW_KEYS,
    NAMESPACES,
    Key,
    ids,
    keys,
    sizes,
    some,
    spaces,
    ttls,
)
from holdfast.testing.machine.twins import Pair, Twins, attempt


class WritingRules(Twins):
    """put in all its forms, append, delete, release."""

    @rule(
        space=spaces,
        key=keys,
        size=sizes,
        ttl=ttls,
        keep_ttl=st.booleans(),
        if_absent=st.booleans(),
        consumers=st.none() | st.none() | ids,
        content_type=st.sampled_from([None, "text/plain"]),
    )
    def put(
        self,
        *,
        space: str,
        key: str,
        size: int,
        ttl: Ttl | None,
        keep_ttl: bool,
        if_absent: bool,
        consumers: list[ConsumerId] | None,
        content_type: str | None,
    ) -> None:
        """Every option that both understand alike."""
        value = self.value(size)
        done, _ = self.both(
            space,
            lambda ns: (
                ns.put(
                    key,
                    value,
                    ttl=None if keep_ttl else ttl,
                    keep_ttl=keep_ttl,
                    if_absent=if_absent,
                    consumers=consumers,
                    content_type=content_type,
                ).expires_ns
            ),
        )
        if done.error is None:
            assert self.store.namespace(space).get(key) == value

    @rule(space=spaces, key=keys, size=sizes)
    def put_simply(self, space: str, key: str, size: int) -> None:
        """The put that everybody makes; without it most puts would carry conditions."""
        value = self.value(size)
        self.both(space, lambda ns: ns.put(key, value).size)
        self.both(space, lambda ns: ns.get(key))

    @rule(space=spaces, key=keys, current=st.booleans())
    def put_if_version(self, *, space: str, key: str, current: bool) -> None:
        """The version that is there, or one that was."""
        name, value = (space, key), self.value(50)
        past = self.past.get(name, [])
        pair = self.versions.get(name) if current else (past[-1] if past else Pair(0, 0))
        expected = pair or Pair(0, 0)
        store = attempt(
            lambda: self.store.namespace(space).put(key, value, if_version=expected.store).size
        )
        model = attempt(
            lambda: self.model.namespace(space).put(key, value, if_version=expected.model).size
        )
        assert store == model, f"store {store}, model {model}"

    @rule(space=spaces, key=keys)
    def put_permanent(self, space: str, key: str) -> None:
        """Few keys stay permanent for long: ``release`` comes as often."""
        value = self.value(20)
        self.both(space, lambda ns: ns.put(key, value, permanent=True).expires_ns)

    @rule(space=spaces, key=some)
    def release(self, space: str, key: Key) -> None:
        """Whether this counts as a change of the object is the store's business."""
        name = self.key_of(space, key)
        self.loose.add((space, name))
        self.both(space, lambda ns: ns.release(name), same=False)

    @rule()
    def release_all(self) -> None:
        """Permanent objects stand in the way of everything else."""
        for space in NAMESPACES:
            for key in [
                entry.key for entry in self.model.namespace(space).entries() if entry.permanent
            ]:
                self.release(space=space, key=key)

    @rule(
        space=spaces,
        first=st.integers(0, 40),
        count=st.integers(1, 40),
        size=st.sampled_from([100, 2_000, 5_000]),
        ttl=ttls,
    )
    def put_many(self, space: str, *, first: int, count: int, size: int, ttl: Ttl | None) -> None:
        """Neighbouring keys, so that buckets fill and are cut."""
        numbers = range(first, first + count)
        pairs = [(f"n/{number:03d}", self.value(size)) for number in numbers]
        self.both(space, lambda ns: [each.size for each in ns.put_many(pairs, ttl=ttl)])

    @rule(space=spaces, chosen=st.lists(keys, max_size=4), if_absent=st.booleans())
    def put_atomically(self, *, space: str, chosen: list[str], if_absent: bool) -> None:
        """All or nothing, or CrossBucket where the keys are in two buckets."""
        pairs = [(key, self.value(30)) for key in chosen]
        store = attempt(
            lambda: len(
                self.store.namespace(space).put_many(pairs, atomic=True, if_absent=if_absent)
            )
        )
        if store.error == "cross_bucket":
            assert len({self.store.locate(space, key).bucket for key in chosen}) > 1
            return
        model = attempt(
            lambda: len(
                self.model.namespace(space).put_many(pairs, atomic=True, if_absent=if_absent)
            )
        )
        assert store == model, f"store {store}, model {model}"

    @rule(space=spaces, key=keys, size=sizes)
    def put_soon(self, space: str, key: str, size: int) -> None:
        """Queued, then flushed."""
        value = self.value(size)
        self.both(space, lambda ns: ns.put_soon(key, value), same=False)
        assert len(self.store.flush()) == len(self.model.flush())

    @rule(space=spaces, key=keys, size=sizes, pieces=st.integers(1, 3))
    def stream(self, space: str, *, key: str, size: int, pieces: int) -> None:
        """Written in pieces, read in others."""
        value = self.value(size)

        def write(ns: NamespaceFace) -> None:
            with ns.open(key, "wb") as file:
                for _ in range(pieces):
                    file.write(value)

        def read(ns: NamespaceFace) -> bytes:
            with ns.open(key, "rb") as file:
                return b"".join(iter(lambda: file.read(1_500), b""))

        self.both(space, write)
        self.both(space, read)

    @rule(space=spaces, key=keys, size=sizes)
    def append(self, space: str, key: str, size: int) -> None:
        """The total that is answered is the size that is stored."""
        more = self.value(size)
        self.both(space, lambda ns: ns.append(key, more))
        self.both(space, lambda ns: ns.get(key))

    @rule(space=spaces)
    def put_few(self, space: str) -> None:
        """All the names that lists have to tell apart."""
        pairs = [(key, self.value(10)) for key in FEW_KEYS]
        self.both(space, lambda ns: [each.size for each in ns.put_many(pairs)])

    @rule(space=spaces, key=some, missing_ok=st.booleans())
    def delete(self, *, space: str, key: Key, missing_ok: bool) -> None:
        """Absent, expired and permanent ones too."""
        name = self.key_of(space, key)
        self.both(space, lambda ns: ns.delete(name, missing_ok=missing_ok))

    @rule(space=spaces, first=st.integers(0, 40), count=st.integers(10, 60))
    def delete_many(self, space: str, *, first: int, count: int) -> None:
        """Enough of them that buckets become small."""
        for number in range(first, first + count):
            self.delete(space=space, key=f"n/{number:03d}", missing_ok=True)

    @rule(space=spaces, sure=st.integers(0, 3))
    def drop_namespace(self, space: str, sure: int) -> None:
        """Seldom where it will be done; not where a lock is held, whose end is nowhere said."""
        refused = any(entry.permanent for entry in self.model.namespace(space).entries())
        locked = [name for name in self.lock_ttls if name[0] == space]
        held = any(self.is_held(name) or self.is_uncertain(name) for name in locked)
        if refused or (sure == 0 and not held):
            store = attempt(lambda: self.store.drop_namespace(space))
            model = attempt(lambda: self.model.drop_namespace(space))
            assert store.error == model.error, f"store {store}, model {model}"
