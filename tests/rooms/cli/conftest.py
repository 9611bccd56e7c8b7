"""Runs command lines in this process and catches what they say."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli import main


@dataclass(frozen=True)
class Said:
    """What one command answered."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        (line,) = self.lines
        return dict(json.loads(line))

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def error(self) -> dict[str, Any]:
        """The one JSON document on standard error."""
        (line,) = self.err.splitlines()
        return dict(json.loads(line))


Run = Callable[..., Said]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """Run a command line in a folder of its own; ``stdin`` are the bytes it may read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDFAST_SYNC", "never")  # nobody cuts the power of a test of words
    monkeypatch.setenv("COLUMNS", "80")  # help is drawn as wide as the terminal is

    def command(*arguments: str, stdin: bytes = b"") -> Said:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = main(arguments)
        out, err = capsysbinary.readouterr()
        return Said(code, out, err.decode())

    return command
