"""What ``connect`` refuses before anything is sent, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.errors import InvalidValue

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("asked", "argument"),
    [
        ({"outbox": "."}, "outbox"),
        ({"public_key": b"x"}, "public_key"),
        ({"public_key": "-----BEGIN PUBLIC KEY-----"}, "public_key"),
        ({"public_key": 5}, "public_key"),
        ({"public_key": bytes(32), "seen": "."}, "seen"),
    ],
)
def test_a_wrong_argument_is_named_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], argument: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValue) as refused:
        holdfast.connect(URL, **asked)
    assert refused.value.argument == argument
    assert refused.value.reason
