"""Take the rules out, one line at a time, and see whether a test notices.

    python3 do.py mutate               every mutation
    python3 do.py mutate rule_01       those of some files beside this one
    python3 do.py mutate rule_01:3     the third of a file
    python3 do.py mutate --whole       the named tests over the code as it is: all must pass

Each mutation is a piece of the source, what stands there instead, and the tests that
must fail then. The source is mutated in a copy; the checkout is left alone.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

import msgspec

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COPIED = ("src", "tests", "bench", "docs", "clients")
FILES = sorted(path.stem for path in HERE.glob("*.toml"))
LIMIT_S = 180  # of the tests of one mutation: one that hangs was noticed
NEVER_COPIED = shutil.ignore_patterns("__pycache__", "node_modules", ".*")


class Mutation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line that keeps a rule, and the line that would break it.

    Attributes:
        what: what goes wrong then.
        file: below src/holdfast.
        old: stands there exactly once.
        new: stands there instead.
        tests: of which at least one must fail; as pytest takes them, below tests.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def mutations(words: list[str]) -> Iterator[tuple[str, Mutation]]:
    """Name and content of every mutation, or of those asked for."""
    for file in FILES:
        listed = tomllib.loads((HERE / f"{file}.toml").read_text())["mutation"]
        for number, each in enumerate(listed, 1):
            name = f"{file}:{number}"
            if not words or file in words or name in words:
                yield name, msgspec.convert(each, Mutation)


def copy_house(into: Path) -> None:
    """A copy of the checkout, compiled so that what is mutated is compiled again."""
    for name in COPIED:
        shutil.copytree(ROOT / name, into / name, ignore=NEVER_COPIED, symlinks=True)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":  # which is a file in a worktree
            shutil.copy2(path, into / path.name)
    mode = PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(into / "src", quiet=2, invalidation_mode=mode)


def run_tests(house: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """The tests' exit code and the first of them that failed."""
    base = house / ".pytest"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "--no-header"]
    command += [
        "-p",
        "no:cacheprovider",
        f"--basetemp={base}",
        *(f"tests/{test}" for test in tests),
    ]
    places = os.pathsep.join((str(house / "src"), str(house)))
    environment = os.environ | {"PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=house,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return 1, f"did not end in {LIMIT_S} s"
    finally:
        shutil.rmtree(base, ignore_errors=True)
    told = done.stdout.splitlines()
    first = next((line for line in told if line.startswith(("FAILED", "ERROR"))), "")
    return done.returncode, first.removeprefix("FAILED ") or (told[-1] if told else done.stderr)


def mutated(house: Path, mutation: Mutation) -> tuple[int, str]:
    """The tests of a mutation, over the source with it."""
    path = house / "src" / "holdfast" / mutation.file
    before = path.read_text()
    if before.count(mutation.old) != 1:
        return 0, f"not applicable: found {before.count(mutation.old)} times"
    path.write_text(before.replace(mutation.old, mutation.new))
    try:
        return run_tests(house, mutation.tests)
    finally:
        path.write_text(before)


def main(words: list[str]) -> int:
    """Run what is asked for; 0 where all went as it must."""
    whole = "--whole" in words
    wanted = list(mutations([word for word in words if word != "--whole"]))
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="holdfast-mutations-") as folder:
        house = Path(folder)
        copy_house(house)
        if whole:
            wanted = list({each.tests: (name, each) for name, each in wanted}.values())
        for name, each in wanted:
            code, first = run_tests(house, each.tests) if whole else mutated(house, each)
            failed = code == 1
            wrong += failed == whole or code > 1
            word = "unusable" if code > 1 else "failed" if failed else "passed"
            print(f"{word:8} {name:12} {each.what}: {first}", flush=True)
    print(f"{len(wanted)} runs, {wrong} not as they must be")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
