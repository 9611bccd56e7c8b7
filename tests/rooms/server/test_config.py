"""Settings: which source counts, what is refused, what SIGHUP does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.errors import InvalidValue
from holdfast.server.config import load, names, variable
from holdfast.server.settings import Settings


def test_the_later_source_counts() -> None:
    text = b'port = 1\nhost = "127.0.0.2"\nidle_s = 3\n[attestation]\nmode = "bearer"\n'
    environment = {"HOLDFAST_PORT": "2", "HOLDFAST_HOST": "127.0.0.3", "HOLDFAST_OTHER": "x"}
    found = load({"port": 3}, environment, file="f", text=text)
    assert (found.settings.port, found.settings.host) == (3, "127.0.0.3")
    assert (found.settings.idle_s, found.settings.attestation.mode) == (3.0, "bearer")
    assert found.settings.header_s == Settings().header_s
    assert {name: found.origins[name] for name in ("port", "host", "idle_s", "header_s")} == {
        "port": "flag --port",
        "host": "environment HOLDFAST_HOST",
        "idle_s": "file f",
        "header_s": "default",
    }


def test_lists_and_flags_in_the_environment() -> None:
    environment = {"HOLDFAST_INSECURE": "true", "HOLDFAST_ATTESTATION_ROOTS": "a.pem,b.pem"}
    settings = load({}, environment).settings
    assert settings.insecure is True
    assert settings.attestation.roots == ("a.pem", "b.pem")


@pytest.mark.parametrize(
    "text",
    [b"prot = 1", b"port = 'x'", b"port = 70000", b"idle_s = 0", b"=", b"[attestation]\nx = 1"],
)
def test_what_is_no_setting_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidValue):
        load({}, {}, file="f", text=text)


def test_every_setting_has_a_name_in_the_environment() -> None:
    assert len({variable(name) for name in names()}) == len(names())


@pytest.mark.push
def test_a_server_reads_its_settings_again(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('log = "none"\nport = 0\n')
    command = [sys.executable, "-m", "holdfast", "serve", str(tmp_path / "data")]
    with subprocess.Popen(
        [*command, "--config", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: v for name, v in os.environ.items() if not name.startswith("HOLDFAST_")},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("listening on http://127.0.0.1:")
        assert "token" in process.stderr.readline()
        file.write_text("log = 5\n")
        process.send_signal(signal.SIGHUP)
        assert "could not be read again" in json.loads(process.stderr.readline())["message"]
        file.write_text('log = "all"\n')
        process.send_signal(signal.SIGHUP)
        told = json.loads(process.stderr.readline())
        assert told["message"] == "the settings were read again"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
