"""Where an extra is not installed it is named, not the module that is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HIDE = "import sys; sys.modules[{!r}] = None; "


@pytest.mark.parametrize(
    ("hidden", "code", "told"),
    [
        ("httpcore", "import holdfast; holdfast.connect", "pip install 'holdfast[client]'"),
        ("grpc", "import holdfast; holdfast.connect('grpc://127.0.0.1:1')", "needs holdfast[grpc]"),
        ("uvloop", "from holdfast.cli import main; sys.exit(main())", "'holdfast[server]'"),
        ("typer", "from holdfast.cli import main; sys.exit(main())", "'holdfast[cli]'"),
        ("pyroaring", "import holdfast; holdfast.open(':memory:').searcher", "holdfast[search]"),
    ],
)
def test_an_extra_is_named(tmp_path: Path, hidden: str, code: str, told: str) -> None:
    line = [sys.executable, "-c", HIDE.format(hidden) + code, "serve", str(tmp_path / "data")]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert told in ended.stderr.splitlines()[-1]


def test_the_command_line_says_it_in_a_line(tmp_path: Path) -> None:
    code = HIDE.format("uvloop") + "from holdfast.cli import main; sys.exit(main())"
    line = [sys.executable, "-c", code, "serve", str(tmp_path / "data")]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
