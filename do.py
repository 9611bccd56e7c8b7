#!/usr/bin/env python3
"""The commands of this checkout, for a machine that has only Python 3.11.

    python3 do.py demo     set up, then store a real directory and show what became of it
    python3 do.py test     set up, then the tests: quick ring and push ring
    python3 do.py quick    the quick ring alone, as before a commit
    python3 do.py check    format, lint, types, layers
    python3 do.py bench    the benchmarks, rivals in the same run
    python3 do.py nightly  the long tests, then the benchmarks at full size
    python3 do.py mutate   break the source line by line: does a test notice?

Words after the command are handed on: ``python3 do.py test -k lock``. Setting
up means a virtual environment in ``.venv`` with this checkout and what it
needs; a stamp in it makes the next run start at once. The makefile calls this.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

LEAST = (3, 11)
ROOT = Path(__file__).resolve().parent
HOME = ROOT / ".venv"
BIN = HOME / "bin"
PYTHON = str(BIN / "python")

# One worker per core: most tests compute, and none may lean on what another left behind.
PYTEST = [PYTHON, "-m", "pytest", "--numprocesses=auto", "--dist=worksteal"]

USER = "all"
HOUSE = "all,bench,dev,test"

# command -> (extras it needs, what it runs one after the other)
COMMANDS = {
    "demo": (USER, [[str(BIN / "holdfast"), "demo"]]),
    "test": (HOUSE, [PYTEST]),
    "quick": (HOUSE, [[*PYTEST, "-m", "not push and not nightly"]]),
    "check": (
        HOUSE,
        [
            [str(BIN / "ruff"), "format", "--check", "."],
            [str(BIN / "ruff"), "check", "."],
            [str(BIN / "mypy")],
            [str(BIN / "lint-imports"), "--no-cache"],
        ],
    ),
    "bench": (HOUSE, [[PYTHON, "-m", "bench.run"]]),
    "nightly": (
        HOUSE,
        [
            [PYTHON, "-m", "pytest", "-m", "nightly", "--hypothesis-profile=nightly"],
            [PYTHON, "-m", "bench.run", "--nightly"],
        ],
    ),
    "mutate": (HOUSE, [[PYTHON, "-m", "tests.mutations.run"]]),
}


def main(words: list[str]) -> int:
    """Set up what the command needs and run it.

    Args:
        words: the command, then what its first step is handed on.

    Returns:
        The exit code of the first step that failed, or 0; 2 for an unknown command.
    """
    if not words or words[0] not in COMMANDS:
        print(__doc__)
        return 2
    use_new_enough_python()
    extras, (first, *others) = COMMANDS[words[0]]
    set_up(extras)
    for step in ([*first, *words[1:]], *others):
        code = run(step)
        if code:
            return code
    return 0


def use_new_enough_python() -> None:
    """Start over under a newer Python of this machine where ours is too old."""
    if sys.version_info >= LEAST:
        return
    for minor in range(14, LEAST[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        if newer and run([newer, "-c", "import venv"]) == 0:
            os.execv(newer, [newer, *sys.argv])  # noqa: S606 - ourselves, under another Python
    sys.exit(f"Holdfast needs Python 3.11 or newer; this is {sys.version.split()[0]}.")


def set_up(extras: str) -> None:
    """Bring .venv to what the checkout asks for; at once where the stamp says it is."""
    wanted = fingerprint()
    stamp = HOME / f".holdfast-{extras.replace(',', '-')}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not any(path.read_text() == wanted for path in HOME.glob(".holdfast-*")):
        make_environment()
    print(f"Installing Holdfast [{extras}] into {HOME}; this can take minutes ...", flush=True)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if run([*pip, "--editable", f"{ROOT}[{extras}]"]):
        sys.exit("Installing failed: see the lines above.")
    stamp.write_text(wanted)


def fingerprint() -> str:
    """What an environment is good for: this Python, in this place, with these needs."""
    needs = (ROOT / "pyproject.toml").read_bytes()
    return f"{sys.version}\n{ROOT}\n{hashlib.sha256(needs).hexdigest()}\n"


def make_environment() -> None:
    """A fresh .venv; Debian keeps the means to make one in a package of its own."""
    if importlib.util.find_spec("ensurepip") is None:
        install_ensurepip()
    venv.create(HOME, clear=True, with_pip=True, symlinks=True)


def install_ensurepip() -> None:
    """Get python3-venv where we may, else say how."""
    ask = "apt-get install -y python3-venv"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"This Python cannot make virtual environments. On Debian:  sudo {ask}")
    print("This Python cannot make virtual environments; installing python3-venv ...", flush=True)
    if run(["apt-get", "update", "-qq"]) or run([*ask.split(), "-qq", "--no-install-recommends"]):
        sys.exit(f"That failed. Try by hand:  {ask}")


def run(command: list[str]) -> int:
    """Run a command from the root of the checkout."""
    return subprocess.call(command, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
