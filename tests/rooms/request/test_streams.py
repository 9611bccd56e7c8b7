"""A file is for writing or for reading; the other is refused the way files refuse it."""

from __future__ import annotations

from io import UnsupportedOperation
from itertools import count

import pytest

import holdfast
from holdfast.client.files import RemoteReader
from holdfast.request.streams import ObjectReader


def test_lines_are_looked_for_in_more_than_a_byte_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [b"%d " % number + b"-" * (number * 97) + b"\n" for number in range(400)]
    with holdfast.open(":memory:", upkeep=False) as store:
        ns = store.namespace("acme")
        ns.put("a", b"".join(lines) + b"the last")
        with ns.open("a") as file:
            assert isinstance(file, ObjectReader)
            calls = count()
            around = file._around
            monkeypatch.setattr(file, "_around", lambda: (next(calls), around())[1])
            assert list(file) == [*lines, b"the last"]
            assert next(calls) < 10 * len(lines)
            assert file.peek() == b""
            file.seek(len(lines[0]))
            assert lines[1].startswith(file.peek()[: len(lines[1])])
            assert file.tell() == len(lines[0])
        with pytest.raises(holdfast.Closed):
            file.peek()


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
