"""Clients that are generated from a ``.proto`` alone, in a clean folder, and what they say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from grpc_tools import protoc

GO_TOOLS = (
    "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.6",
    "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1",
)


def _run(command: list[str], folder: Path, **environment: str) -> str:
    """What a command says; it must end well."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tour_in_python(proto: Path, program: str, arguments: list[str], folder: Path) -> str:
    """What a program says that imports nothing but what protoc makes of the proto."""
    clean = folder / "clean"
    clean.mkdir()
    out = [f"--python_out={clean}", f"--grpc_python_out={clean}"]
    assert protoc.main(["", f"-I{proto.parent}", *out, str(proto)]) == 0
    (clean / "tour.py").write_text(program)
    return _run([sys.executable, "tour.py", *arguments], clean)


def tour_in_go(proto: Path, source: Path, arguments: list[str], folder: Path) -> str:
    """What a module in Go says, with what protoc's plugins make of the proto; skips without Go."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no Go here")
    clean, tools = folder / "clean", folder / "tools"
    shutil.copytree(source, clean)
    (clean / proto.stem).mkdir()  # where a package of its own name is put
    for tool in GO_TOOLS:
        _run([go, "install", tool], clean, GOBIN=str(tools))
    paths = os.pathsep.join((str(tools), os.environ["PATH"]))
    asked = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto.parent}", "--go_out=."]
    _run([*asked, "--go-grpc_out=.", str(proto)], clean, PATH=paths)
    _run([go, "mod", "tidy"], clean)
    return _run([go, "run", ".", *arguments], clean)
