"""What we tell people is executed: the blocks of the pages, and the examples in docstrings.

The python blocks of a page are one program, in order; where shell blocks stand
between them, a new program begins in the same folder. Lines keep their
numbers, so a failure points into the page. Of the README only python is run:
its shell blocks are the two commands, of which one is running now.
"""

from __future__ import annotations

import doctest
import importlib
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT, files, module_of

pytestmark = pytest.mark.push

README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "guide"
PAGES = [README, *sorted(GUIDE.glob("**/*.md"))]
LANGUAGES = {"python", "sh"}  # what is run; any other word after the fence is for reading
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")  # a target that is neither a web address nor in-page

CURL = "curl "  # followed by what it is asked

Block = tuple[str, int, list[str]]  # language, number of the first line, lines


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page that are to be run."""
    found: list[Block] = []
    language = ""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
            language = line[3:].strip()
            if inside and language in LANGUAGES:
                found.append((language, number + 1, []))
        elif inside and language in LANGUAGES:
            found[-1][2].append(line)
    return found


def programs(text: str) -> list[tuple[str, str]]:
    """Neighbouring blocks of one language, joined, each line at its number in the page."""
    joined = []
    for language, run in itertools.groupby(blocks(text), key=lambda block: block[0]):
        lines: list[str] = []
        for _, first, body in run:
            lines += [""] * (first - 1 - len(lines)) + body
        joined.append((language, "\n".join(lines) + "\n"))
    return joined


def command_of(language: str, script: Path) -> list[str]:
    return [sys.executable, str(script)] if language == "python" else ["bash", "-eu", str(script)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    if CURL in page.read_text() and shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    script = tmp_path / page.name
    folder = tmp_path / "here"
    folder.mkdir()
    beside = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"}
    ran = 0
    for language, program in programs(page.read_text()):
        if page == README and language != "python":
            continue
        script.write_text(program)
        done = subprocess.run(
            command_of(language, script),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        ran += 1
    assert ran, "the page has no block that runs"


@pytest.mark.parametrize("page", [README, *(ROOT / "docs").glob("**/*.md")], ids=lambda p: p.name)
def test_every_curl_line_is_one_that_runs(page: Path) -> None:
    text = page.read_text()
    ran = [line for language, _, body in blocks(text) if language == "sh" for line in body]
    told = [line for line in text.splitlines() if CURL in line]
    assert not told or page in PAGES[1:], "only the blocks of the guide run"
    assert set(told) <= set(ran)


@pytest.mark.parametrize("module", [module_of(path) for path in files()])
def test_the_examples_in_docstrings_hold(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if not module.endswith("__main__"):
        assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_every_link_between_our_pages_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    links = [(page, link) for page in pages for link in LINK.findall(page.read_text())]
    assert links
    assert [(str(page), link) for page, link in links if not (page.parent / link).exists()] == []


def test_lines_keep_their_numbers() -> None:
    fenced = [("python", "a = 1"), ("python", "b = a"), ("sh", "ls"), ("json", "{}")]
    page = "".join(f"```{language}\n{line}\n```\n" for language, line in fenced)
    assert programs(page) == [("python", "\na = 1\n\n\nb = a\n"), ("sh", "\n" * 7 + "ls\n")]
