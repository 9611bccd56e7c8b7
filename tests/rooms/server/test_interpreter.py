"""How long a thread keeps the interpreter is the server's to say, not the store's (rule 11)."""

from __future__ import annotations

import subprocess
import sys

import pytest

import holdfast

SERVING = """
import sys
from holdfast.server.serving import calm_interpreter

calm_interpreter()
print(sys.getswitchinterval())
"""


@pytest.mark.push
def test_a_server_hands_the_interpreter_on_after_half_a_millisecond() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVING], check=True, capture_output=True, text=True
    )
    assert float(done.stdout) == pytest.approx(0.0005)


def test_an_embedded_store_leaves_the_interpreter_as_it_is() -> None:
    before = sys.getswitchinterval()
    with holdfast.open(":memory:") as store:
        store.namespace("acme").put("a", b"1")
        assert sys.getswitchinterval() == before
    assert sys.getswitchinterval() == before
