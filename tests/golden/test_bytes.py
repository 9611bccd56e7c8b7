"""Golden bytes: what the product packs is, byte for byte, what it packed before.

A change of format has to be deliberate: ``python -m tests.golden.write`` puts the
bytes down anew, the diff says what changed, and docs/FORMAT.md follows.
"""

from __future__ import annotations

import pytest

from holdfast.log.records import Type
from tests.golden.making import VALUES, example_segment
from tests.golden.write import BYTES, MAKERS, read, written

STORED = {file: read(file) for file in MAKERS}


@pytest.mark.parametrize("file", MAKERS)
def test_everything_has_its_golden_bytes(file: str) -> None:
    assert list(MAKERS[file]()) == list(STORED[file])
    assert {path.name for path in BYTES.iterdir()} == set(MAKERS)


@pytest.mark.parametrize(("file", "name"), [(f, name) for f in STORED for name in STORED[f]])
def test_the_bytes_are_what_they_were(file: str, name: str) -> None:
    assert MAKERS[file]()[name].hex() == STORED[file][name].hex()


def test_every_type_that_is_written_is_among_them() -> None:
    assert set(Type) - set(VALUES) == set()


def test_what_is_made_is_made_again() -> None:
    assert example_segment() == example_segment()
    for make in MAKERS.values():
        assert make() == make()


@pytest.mark.parametrize("file", MAKERS)
def test_a_golden_file_keeps_every_byte(file: str) -> None:
    assert written(STORED[file]) == (BYTES / file).read_text()
