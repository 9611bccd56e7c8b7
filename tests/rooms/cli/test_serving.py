"""What ``serve`` says when it listens, for people and for programs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.server.worker import readied


@contextmanager
def served(folder: Path, *options: str, before: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """The first lines of a server that listens on a port and on a Unix socket."""
    command = [sys.executable, "-m", "holdfast", *before, "serve", "data", "--port", "0"]
    command += ["--unix-socket", "socket", *options]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.push
@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_every_address_is_a_line(tmp_path: Path, options: tuple[str, ...]) -> None:
    with served(tmp_path, *options) as lines:
        assert lines[0].startswith("listening on http://127.0.0.1:")
        assert lines[1] == "listening on unix:socket\n"
    assert not (tmp_path / "socket").exists()


@pytest.mark.push
@pytest.mark.parametrize(("before", "behind"), [(("--json",), ()), ((), ("--json",))])
def test_every_address_is_a_document(
    tmp_path: Path, before: tuple[str, ...], behind: tuple[str, ...]
) -> None:
    with served(tmp_path, *behind, before=before) as lines:
        told = [json.loads(line) for line in lines]
        assert told[0]["url"].startswith("http://127.0.0.1:")
        assert told[1] == {"url": "unix:socket"}


def test_a_worker_of_several_doors_says_once_that_it_is_ready(
    capfd: pytest.CaptureFixture[str],
) -> None:
    say = readied()
    for url in ("http://127.0.0.1:1", "unix:socket", "grpc://127.0.0.1:2"):
        say(url)
    assert capfd.readouterr().out == "ready\n"
