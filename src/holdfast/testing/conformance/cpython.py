"""CPython's own tests of a mapping (``test.mapping_tests``) over the mapping of a namespace.

They run twice. As they are, with text for keys and bytes for values, as far as
the protocol's base goes; and in full, through a mapping that writes keys and
values as Python literals, since those tests use numbers, tuples and None for
both. What is waived is listed with its reason; where a part of a waived test
applies, that part stands here instead.

Not loaded with the suite: some distributions ship Python without its tests.
"""
# ruff: noqa: S101 - a suite speaks in assertions

from __future__ import annotations

import ast
import unittest
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager
from types import ModuleType
from typing import ClassVar, Final

import pytest

from holdfast.testing.face import StoreFace

Literals = MutableMapping[object, object]
Opening = Callable[[], AbstractContextManager[StoreFace]]

WAIVED_AS_THEY_ARE: Final = {
    "test_update": "stores text as values on its way to the error it looks for; runs in full below",
}
WAIVED_IN_FULL: Final = {
    "test_copy": "copy() is a verb of dict, not of MutableMapping",
    "test_eq": "wants errors of a key's __eq__; keys here are text (replaced by its first half)",
    "test_fromkeys": "fromkeys() is a verb of dict, not of MutableMapping",
    "test_mutatingiteration": "a list is no snapshot and goes on when keys come and go (rule 10)",
    "test_popitem": "copies, and pops 16,000 items (replaced by the same at 64)",
    "test_repr": "the repr of a dict; a store does not print what it holds",
    "test_repr_deep": "the repr of a dict; a store does not print what it holds",
    "test_setdefault": "changes a list in place after it was stored (replaced by the rest of it)",
}


class LiteralMapping(MutableMapping[object, object]):
    """Any literal as key and value, over a mapping of text to bytes.

    Keys are hashed first, as a dict does, so that what cannot be hashed is
    refused here too.
    """

    def __init__(self, below: MutableMapping[str, bytes], items: dict[str, object]) -> None:
        self._below = below
        self.update(items)

    def __getitem__(self, key: object) -> object:
        return ast.literal_eval(self._below[_text(key)].decode())

    def __setitem__(self, key: object, value: object) -> None:
        self._below[_text(key)] = repr(value).encode()

    def __delitem__(self, key: object) -> None:
        del self._below[_text(key)]

    def __iter__(self) -> Iterator[object]:
        return map(ast.literal_eval, self._below)

    def __len__(self) -> int:
        return len(self._below)


def _text(key: object) -> str:
    hash(key)
    return repr(key)


class FreshMappings(unittest.TestCase):
    """Opens a store for each test and answers a namespace of its own for each mapping."""

    opening: ClassVar[Opening]

    def setUp(self) -> None:
        """Open an empty store."""
        self.store = self.enterContext(type(self).opening())
        self.count = 0

    def fresh(self) -> MutableMapping[str, bytes]:
        """A mapping that holds nothing."""
        self.count += 1
        return self.store.namespace(f"mapping-{self.count}").mapping()


class AsTheyAre(FreshMappings):
    """What CPython's base class is told: text and bytes."""

    def type2test(self) -> MutableMapping[str, bytes]:
        """What is tested."""
        return self.fresh()

    def _reference(self) -> dict[str, bytes]:
        return {"1": b"2", "key1": b"value1", "key2": b"\x01\x02\x03"}


class InFull(FreshMappings):
    """What CPython's full class is told, and what replaces the tests that are waived in part."""

    def type2test(self, **items: object) -> Literals:
        """What is tested."""
        return LiteralMapping(self.fresh(), items)

    def full(self, items: Literals) -> Literals:
        """A mapping that holds ``items``."""
        mapping = self.type2test()
        mapping.update(items)
        return mapping

    def test_eq(self) -> None:
        """Equality by what is held."""
        assert self.type2test() == self.type2test()
        assert self.full({1: 2}) == self.full({1: 2})
        assert self.full({1: 2}) != self.full({1: 3})

    def test_popitem(self) -> None:
        """Everything is popped once."""
        with pytest.raises(KeyError):
            self.type2test().popitem()
        for size in (1, 2, 4, 8, 16, 32, 64):
            one = self.full({repr(number): number for number in range(size)})
            popped = dict(one.popitem() for _ in range(size))
            assert popped == {repr(number): number for number in range(size)}
            assert not one

    def test_setdefault(self) -> None:
        """The first default stays."""
        mapping = self.type2test()
        assert mapping.setdefault("key0", None) is None
        assert mapping.setdefault("key0", []) is None
        assert mapping.setdefault("key", [3]) == [3]
        assert mapping.setdefault("key", []) == [3]


def cpython_suites(
    theirs: ModuleType, opening: Opening
) -> tuple[type[unittest.TestCase], type[unittest.TestCase]]:
    """The two test classes, for a module of tests to name.

    Args:
        theirs: the module ``test.mapping_tests`` of this Python.
        opening: answers a context that opens an empty store; called for every test.

    Example:
        >>> from test import mapping_tests
        >>> from holdfast.testing import ModelStore
        >>> TestAsTheyAre, TestInFull = cpython_suites(mapping_tests, ModelStore)
    """
    opened = {"opening": staticmethod(opening)}
    return (
        type(
            "MappingAsTheyAre",
            (AsTheyAre, theirs.BasicTestMappingProtocol),
            {**dict.fromkeys(WAIVED_AS_THEY_ARE), **opened},
        ),
        type(
            "MappingInFull",
            (InFull, theirs.TestHashMappingProtocol),
            {**{name: None for name in WAIVED_IN_FULL if not hasattr(InFull, name)}, **opened},
        ),
    )
