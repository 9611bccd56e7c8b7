"""What is asked in JSON or msgpack, and how a list of nothing may be written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.errors import InvalidValue
from holdfast.wire.headers import options_of
from holdfast.wire.values import ENCODERS, Form, decode


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    names: list[str]


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inners: tuple[Inner, ...]
    other: list[bytes] | None = None
    count: int = 0


@pytest.mark.parametrize("form", ["json", "msgpack"])
@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({"inners": None}, Outer(())),
        ({"inners": [{"names": None}, {"names": ["a"]}]}, Outer((Inner([]), Inner(["a"])))),
        ({"inners": None, "other": [b"\xff"]}, Outer((), [b"\xff"])),
        ({"inners": [], "other": None}, Outer(())),
    ],
)
def test_null_is_the_empty_list(form: Form, asked: object, meant: Outer) -> None:
    assert decode(ENCODERS[form](asked), Outer, form) == meant


@pytest.mark.parametrize("form", ["json", "msgpack"])
@pytest.mark.parametrize(
    "asked",
    [
        None,
        {},
        {"inners": [None]},
        {"inners": 1},
        {"inners": {}},
        {"inners": None, "count": None},
        {"inners": None, "unknown": 1},
        {"inners": [{"names": [None]}]},
    ],
)
def test_null_is_nothing_else(form: Form, asked: Any) -> None:  # noqa: ANN401 - whatever it may be
    with pytest.raises(InvalidValue):
        decode(ENCODERS[form](asked), Outer, form)


def test_a_header_may_say_so_too() -> None:
    asked = options_of({"holdfast-consumers": "null"})
    assert asked == options_of({"holdfast-consumers": "[]"})
    assert asked is not None
    assert asked.consumers == ()
