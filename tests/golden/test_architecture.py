"""docs/ARCHITECTURE.md leads somewhere: every file that it names exists, and every name in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "src" / "holdfast"
PAGES = [ROOT / "docs" / "ARCHITECTURE.md", *sorted((ROOT / "docs" / "adr").glob("0*.md"))]
NAMED = re.compile(r"`((?:\w+/)*\w+\.(?:py|md))(?::(\w+))?`")
ROW = re.compile(r"^\| (\d+) \| [^|]+\|([^|]+)\|([^|]+)\|$", re.MULTILINE)  # of the table of rules
RULES = {*range(1, 16), 17, 21, 22, 23}  # of steps 1, 2, 4 and 5


def named(page: Path) -> list[tuple[str, str]]:
    """The files that a page names, each with a name in it or nothing."""
    return [(path, name) for path, name in NAMED.findall(page.read_text()) if "/" in path or name]


def place(path: str) -> Path:
    """Where a file is: paths without a folder of their own are the package's."""
    top = path.partition("/")[0]
    return (ROOT if top in {"bench", "docs", "tests"} else PACKAGE) / path


def defines(path: Path, name: str) -> bool:
    """Whether a file says what a name is."""
    defined = rf"^\s*(?:def|class) {name}\b|^\s*{name}(?::[^=]+)? = "
    return re.search(defined, path.read_text(), re.MULTILINE) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    assert [path for path, _ in named(page) if not place(path).exists()] == []
    assert [
        (path, name) for path, name in named(page) if name and not defines(place(path), name)
    ] == []


def test_every_room_is_in_the_picture() -> None:
    picture = PAGES[0].read_text().partition("```")[2].partition("```")[0]
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    files = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert {room for room in rooms if f"{room}/" not in picture} == set()
    assert {file for file in files if file not in picture} == set()


def test_every_rule_of_this_step_has_code_and_what_holds_it() -> None:
    rows = re.findall(
        r"^\| (\d+) \| [^|]+\|([^|]+)\|([^|]+)\|$", PAGES[0].read_text(), re.MULTILINE
    )
    assert {int(rule) for rule, _, _ in rows} == RULES
    for _, code, tests in rows:
        assert NAMED.search(code)
        assert "tests/" in tests or "bench/" in tests


def test_a_page_that_leads_astray_is_noticed() -> None:
    assert named(PAGES[0])
    assert defines(Path(__file__), "defines")
    assert defines(Path(__file__), "ROOT")
    assert not defines(Path(__file__), "astray")
    assert NAMED.findall("`log/log.py:Log`, `limits.py` and `a.b`") == [
        ("log/log.py", "Log"),
        ("limits.py", ""),
    ]
