"""`do.py check` as tests, so that one command says everything; and do.py says what it does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import do
from tests.house.source import ROOT

BESIDE = Path(sys.executable).parent
CHECKS = do.COMMANDS["check"][1]


@pytest.mark.push
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "check", CHECKS, ids=lambda check: " ".join([Path(check[0]).name, *check[1:]])
)
def test_the_house_is_in_order(check: list[str]) -> None:
    tool, *rest = check
    done = subprocess.run(
        [str(BESIDE / Path(tool).name), *rest],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_knows_every_command() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^([a-z ]+):$", makefile, re.MULTILINE)
    assert targets
    assert set(targets[1].split()) == set(do.COMMANDS)


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert do.main([]) == do.main(["sing"]) == 2
    said = capsys.readouterr().out
    assert [command for command in do.COMMANDS if f"do.py {command} " not in said] == []


def test_ci_ends_with_the_command_of_the_readme() -> None:
    commands = re.findall(r"^python3 do\.py \w+$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands == ["python3 do.py demo", "python3 do.py test"]
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == f'exec {commands[1]} "$@"'


def test_the_ci_script_is_sound() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 == 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)
