"""CPython's own mapping tests, over the model and over the store."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.testing.conformance.cpython import (
    WAIVED_AS_THEY_ARE,
    WAIVED_IN_FULL,
    cpython_suites,
)
from holdfast.testing.face import StoreFace
from holdfast.testing.model import ModelStore

theirs = pytest.importorskip(
    "test.mapping_tests", reason="this Python came without its own tests (test.mapping_tests)"
)


@contextmanager
def memory_store() -> Iterator[StoreFace]:
    holdfast = importlib.import_module("holdfast")
    with holdfast.open(":memory:", bucket_bytes=1 << 20, upkeep=False) as store:
        yield store


TestModelAsTheyAre, TestModelInFull = cpython_suites(theirs, ModelStore)
TestStoreAsTheyAre, TestStoreInFull = cpython_suites(theirs, memory_store)


def test_what_is_waived_is_there_and_little() -> None:
    basic = {name for name in dir(theirs.BasicTestMappingProtocol) if name.startswith("test_")}
    full = {name for name in dir(theirs.TestHashMappingProtocol) if name.startswith("test_")}
    assert set(WAIVED_AS_THEY_ARE) <= basic
    assert set(WAIVED_IN_FULL) <= full
    assert len(basic) - len(WAIVED_AS_THEY_ARE) >= 12
    assert len(full) - len(WAIVED_IN_FULL) >= 14
