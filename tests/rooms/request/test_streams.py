"""A file is for writing or for reading; the other is refused the way files refuse it."""

from __future__ import annotations

from io import UnsupportedOperation

import pytest

import holdfast
from holdfast.client.files import RemoteReader


def test_a_file_is_written_or_read() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        ns = store.namespace("acme")
        with ns.open("a", "wb") as file:
            file.write(b"1")
            with pytest.raises(UnsupportedOperation):
                file.read()
        with ns.open("a") as file, pytest.raises(UnsupportedOperation):
            file.write(b"2")
        assert ns.get("a") == b"1"
    with pytest.raises(UnsupportedOperation):
        RemoteReader.write(RemoteReader.__new__(RemoteReader), b"2")
