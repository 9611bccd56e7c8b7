"""Rules that read, list and ask wrongly."""
# ruff: noqa: S101 - a machine speaks in assertions

from __future__ import annotations

from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import rule

from holdfast.testing.face import Coverage, NamespaceFace
from holdfast.testing.machine.inputs import FEW_KEYS, PREFIXES, WRONG, Key, some, spaces
from holdfast.testing.machine.twins import Twins


def read(namespace: NamespaceFace, *, key: str, span: tuple[int, int]) -> bytes:
    """A part of a value."""
    return namespace.get(key, range=span)


class ReadingRules(Twins):
    """get, stat, list and their like."""

    @rule(space=spaces)
    def read_everything(self, space: str) -> None:
        """Every value, one by one and together."""
        listed = list(self.model.namespace(space).list())
        self.both(space, lambda ns: [ns.get(key) for key in listed])
        self.both(space, lambda ns: ns.get_many([*listed, *FEW_KEYS]))
        self.both(space, lambda ns: dict(ns.mapping()))

    @rule(space=spaces, key=some, start=st.integers(-1, 21_000), stop=st.integers(-1, 21_000))
    def read_a_range(self, space: str, *, key: Key, start: int, stop: int) -> None:
        """Ranges within, across and outside the value, and one that no value has."""
        name = self.key_of(space, key)
        for span in ((start, stop), (min(start, stop) // 20, stop), (-1, start)):
            self.both(space, partial(read, key=name, span=span))

    @rule(space=spaces, key=some | st.sampled_from(["a", "a/b", "n", "none"]))
    def look(self, space: str, key: Key) -> None:
        """Exists and stat: of objects, of directories and of nothing."""
        name = self.key_of(space, key)
        self.both(space, lambda ns: (ns.exists(name), name in ns))
        self.both(space, lambda ns: self.told(space, ns.stat(name)))
        place = self.store.locate(space, name)
        assert place.start is None or place.start <= (space, name)
        assert place.stop is None or (space, name) < place.stop

    @rule(
        space=spaces,
        prefix=st.sampled_from(PREFIXES),
        recursive=st.booleans(),
        by=st.sampled_from(["text", "component"]),
        limit=st.sampled_from([None, 1, 2, 5, 100]),
        skip=st.none() | st.integers(0, 20),
    )
    def list_some(
        self,
        *,
        space: str,
        prefix: str,
        recursive: bool,
        by: Coverage,
        limit: int | None,
        skip: int | None,
    ) -> None:
        """Every way to list; cursors are names that a list has shown."""
        if by == "component":
            prefix = prefix.rstrip("/")
            if not recursive and self.model.namespace(space).exists(prefix or "none"):
                return  # whether a level shows the name it lies below is nowhere said
        ours = self.model.namespace(space)
        shown = list(ours.list(prefix, recursive=recursive, by=by))
        after = shown[skip % len(shown)] if skip is not None and shown else None
        self.both(
            space,
            lambda ns: list(ns.list(prefix, recursive=recursive, by=by, limit=limit, after=after)),
        )
        self.both(
            space,
            lambda ns: [
                (entry.key, entry.terminal, entry.size)
                for entry in ns.entries(
                    prefix, recursive=recursive, by=by, limit=limit, after=after
                )
            ],
        )

    @rule(space=spaces, wrong=st.integers(0, len(WRONG) - 1))
    def ask_wrongly(self, space: str, wrong: int) -> None:
        """Bad input gets its error and changes nothing."""
        refused, _ = self.both(space, WRONG[wrong])
        assert refused.error is not None
