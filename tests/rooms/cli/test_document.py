"""docs/CLI.md is executed: every ``$`` line, from top to bottom, in one folder and one shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from holdfast.cli.app import app

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "CLI.md"
MARK = "=== next command ==="


@dataclass(frozen=True)
class Example:
    """A command line of the page and what the page says it prints."""

    line: int
    command: str
    says: str


def examples(text: str) -> list[Example]:
    """The commands in the console blocks of a page, with the lines below each."""
    found: list[Example] = []
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Example(number, line[2:], ""))
        elif inside:
            last = found.pop()
            found.append(Example(last.line, last.command, f"{last.says}{line}\n"))
    return found


def fits(said: str, printed: str) -> bool:
    """Whether a text is what a page says; ``...`` stands for anything."""
    parts = [re.escape(part) for part in plain(said).split("...")]
    return re.fullmatch(".*".join(parts), plain(printed), re.DOTALL) is not None


def plain(text: str) -> str:
    """Without the blanks at the end of lines, with which tables are drawn."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.mark.push
@pytest.mark.timeout(900)
def test_every_example_prints_what_the_page_says(tmp_path: Path) -> None:
    wanted = examples(DOCUMENT.read_text())
    command = tmp_path / "bin" / "holdfast"  # no function: what runs in the background is ended
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m holdfast "$@"\n')
    command.chmod(0o700)
    here = tmp_path / "here"
    here.mkdir()
    script = [f'PATH="{command.parent}:$PATH"', "exec 2>&1"]
    for example in wanted:
        script += [example.command, f"echo; echo '{MARK}'"]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=here,
        env=environment | {"PYTHONUNBUFFERED": "", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
        timeout=800,
    )
    printed = done.stdout.split(MARK)[:-1]
    assert len(printed) == len(wanted)
    wrong = [
        f"line {example.line}: {example.command}\nprinted:\n{text.strip()}\n"
        for example, text in zip(wanted, printed, strict=True)
        if not fits(example.says, text)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_command_stands_on_the_page() -> None:
    text = DOCUMENT.read_text()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    table = "".join(line for line in text.splitlines() if line.startswith("| `"))
    assert {name for name in commands if not re.search(rf"`{name}\b|, `{name}\b", table)} == set()
    shown = "\n".join(example.command for example in examples(text))
    assert {
        name for name in commands if not re.search(rf"holdfast [^|]*\b{name}\b", shown)
    } == set()


def test_the_comparison_can_fail() -> None:
    assert fits("a ... c\n", "a b\nb c")
    assert not fits("a ... c\n", "a b")
    assert not fits("", "something")
    assert [example.command for example in examples("```console\n$ ls\na\n```\n$ no\n")] == ["ls"]
