"""Every room says on its door what it is for."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.source import PACKAGE, rooms, tree

# line of the card -> how it begins
CARD = {
    "what comes in": r"\b(comes )?in:",
    "what goes out": r"\b(goes )?out:",
    "what it keeps": r"\bkeeps\b",
    "what it must never know": r"\bmust never know\b",
    "its invariants": r"\binvariants\b",
}


def missing_from(card: str) -> list[str]:
    return [line for line, form in CARD.items() if not re.search(form, card, re.IGNORECASE)]


@pytest.mark.parametrize("room", [str(room.relative_to(PACKAGE)) for room in rooms()])
def test_a_room_has_a_card(room: str) -> None:
    door = PACKAGE / room / "__init__.py"
    assert door.exists(), f"{room} has no __init__.py"
    assert not missing_from(ast.get_docstring(tree(door)) or "")


def test_the_types_ship() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_a_card_without_a_line_is_noticed() -> None:
    card = "Comes in: a. Goes out: b. Keeps: c. Must never know: d. Invariants: e."
    assert missing_from(card) == []
    assert missing_from(card.replace("Keeps", "Has")) == ["what it keeps"]
    assert missing_from("What fits in here goes out again.") == list(CARD)
