"""What only a real process shows: pipes, terminals, signals, another owner."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast

pytestmark = pytest.mark.push

HOLDFAST = [sys.executable, "-m", "holdfast"]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HOLDFAST, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def by_shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    line = f"{shlex.join(HOLDFAST)} {command}"
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def on_a_terminal(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run with a terminal on all three streams; returns the exit code and what it showed."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        [*HOLDFAST, *arguments],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as screen:
        while True:
            try:
                piece = screen.read(65536)
            except OSError:  # how Linux says that the other end was closed
                break
            if not piece:
                break
            shown += piece
    return process.wait(timeout=60), shown.decode()


def test_a_value_goes_through_processes(tmp_path: Path) -> None:
    assert run(tmp_path, "put", "data", "acme", "k", "--text", "hello").returncode == 0
    assert run(tmp_path, "get", "data", "acme", "k").stdout == "hello"
    assert run(tmp_path, "get", "data", "acme", "nope").returncode == 4
    assert run(tmp_path, "fly").returncode == 2
    assert run(tmp_path, "--version").stdout.startswith("holdfast ")


def test_the_version_is_told_without_a_store() -> None:
    code = "import sys; from holdfast.cli import main; sys.argv[1:] = ['--version']; main()"
    told = "print('typer' in sys.modules, 'holdfast.store' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {told}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("\nFalse False\n")


def test_a_reader_that_goes_away_is_no_fault(tmp_path: Path) -> None:
    many = "{" + ",".join(f'"{number:06d}": "x"' for number in range(20_000)) + "}"
    (tmp_path / "many.json").write_text(many)
    assert run(tmp_path, "import", "data", "acme", "many.json").returncode == 0
    process = subprocess.Popen(
        [*HOLDFAST, "ls", "data", "acme"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.readline() == b"000000\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_a_table_that_nobody_reads_is_no_fault_either(tmp_path: Path) -> None:
    run(tmp_path, "put", "data", "acme", "k", "--text", "v")
    ours, theirs = os.pipe()
    os.close(ours)  # before there is a table: it may be drawn before anything is done here
    process = subprocess.Popen(
        [*HOLDFAST, "status", "data"], cwd=tmp_path, stdout=theirs, stderr=subprocess.PIPE
    )
    os.close(theirs)
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


@pytest.mark.parametrize("command", ["ls data", "status data"])
def test_output_that_cannot_be_written_is_told(command: str, tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data") as store:
        store.namespace("acme").put("k", b"v")
    ended = by_shell(tmp_path, f"{command} > /dev/full")
    assert ended.returncode == 3
    assert "reason='No space left on device'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_what_the_system_takes_a_part_of_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Python does not buffer its text streams say nothing of it."""
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    with holdfast.open(tmp_path / "data") as store:
        store.namespace("acme").put("k", bytes(200_000))
    command = [*HOLDFAST, "get", "data", "acme", "k", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(3) == b'{"k'
        process.stdout.close()
        assert process.wait(timeout=60) == 141
    told = by_shell(tmp_path, "get data acme k --json").stdout
    assert len(json.loads(told)["value"]) == 200_000


def test_streams_that_are_closed_lead_nowhere(tmp_path: Path) -> None:
    every = " <&- >&- 2>&-"
    assert by_shell(tmp_path, "put data acme k --text v" + every).returncode == 0
    refused = by_shell(tmp_path, "put data acme other <&-")
    assert refused.returncode == 3  # what nobody sends is not taken for an empty value
    assert "reason='standard input is closed'" in refused.stderr
    assert by_shell(tmp_path, "get data acme k" + every).returncode == 0
    with holdfast.open(tmp_path / "data") as store:
        assert list(store.namespace("acme").list()) == ["k"]
        assert store.check().ok


def test_another_owner_is_named_and_waited_for(tmp_path: Path) -> None:
    run(tmp_path, "put", "data", "acme", "other", "--text", "v")
    process = subprocess.Popen(
        [*HOLDFAST, "put", "data", "acme", "k"], cwd=tmp_path, stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    with process.stdin:
        while (tmp_path / "data" / "LOCK").read_text() != f"{process.pid}\n":
            assert process.poll() is None
        refused = run(tmp_path, "--json", "ls", "data")
        assert refused.returncode == 5
        assert f'"pid": {process.pid}' in refused.stderr
        process.stdin.write(b"late")
    assert process.wait(timeout=60) == 0
    assert run(tmp_path, "get", "data", "acme", "k").stdout == "late"


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [(signal.SIGINT, 130, "holdfast: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_a_signal_ends_quietly(
    number: signal.Signals, code: int, told: str, tmp_path: Path
) -> None:
    # What runs the tests may ignore interrupts, as jobs of a shell in the background do, and a
    # process begins with what its parent ignores.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*HOLDFAST, "bench", ".", "--seconds", "60"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, ours)
    while not list(tmp_path.glob("holdfast-bench-*/bare")):
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "", told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_program_is_loaded_ends_it_without_a_word(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    slow = "import pathlib, time\npathlib.Path('here').touch()\ntime.sleep(60)\n"
    (tmp_path / "typer.py").write_text(slow)
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*HOLDFAST, "ls", "data"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, ours)
    while not (tmp_path / "here").exists():
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "", "")


def test_a_terminal_sees_progress_and_a_pipe_does_not(tmp_path: Path) -> None:
    texts = "{" + ",".join(f'"{number:05d}": "{"x" * 500}"' for number in range(3_000)) + "}"
    (tmp_path / "many.json").write_text(texts)
    code, shown = on_a_terminal(tmp_path, "import", "data", "acme", "many.json")
    assert code == 0
    assert "importing" in shown
    assert "imported 3,000 objects" in shown
    assert "\x1b[" in shown
    piped = run(tmp_path, "import", "data", "again", "many.json")
    assert (piped.stdout, piped.stderr) == ("imported 3,000 objects, 1.4 MiB\n", "")
    code, shown = on_a_terminal(tmp_path, "import", "data", "third", "many.json", "--json")
    assert shown.strip() == '{"imported": 3000, "bytes": 1500000, "left_out": []}'


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("check data", "checking"),
        ("collect data", "collecting"),
        ("rebuild data", "rebuilding"),
        ("backup data other", "backing up"),
        ("restore copy again", "restoring"),
    ],
)
def test_long_work_shows_how_far_it_is(words: str, shown: str, tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", bucket_bytes=1 << 16) as store:
        for number in range(300):
            store.namespace("acme").put(f"{number:03d}", b"x" * 1_000)
        store.backup(tmp_path / "copy")
    code, screen = on_a_terminal(tmp_path, *words.split())
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    bars = [line for line in re.split(r"[\r\n]+", plain) if line.startswith(shown)]
    figures = [re.findall(r"([\d.]+)/([\d.]+)", line) for line in bars]
    assert code == 0
    ((done, total),) = figures[-1]
    assert done == total
    assert float(total) > 2


def test_the_demo_looks_the_same_without_a_terminal(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for number in range(60):
        (library / f"{number:03d}.txt").write_bytes(os.urandom(20_000))
    words = ("--bucket-bytes", "128KiB", "demo", "--source", str(library))
    piped = run(tmp_path, *words)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert "\x1b" not in piped.stdout
    code, shown = on_a_terminal(tmp_path, *words)
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "Everything is as it should be." in plain


def test_without_its_extra_the_program_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('typer')\n")
    environment = os.environ | {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    }
    told = subprocess.run(
        [*HOLDFAST, "ls", "data"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 2
    assert "pip install 'holdfast[cli]'" in told.stderr
