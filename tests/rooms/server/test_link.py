"""Calls between processes of one store: answered, refused, or known not to have begun."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import InvalidValue, NotFound, OutcomeUnknown, Unavailable
from holdfast.server.link import LENGTH, LinkServer, SocketLink, listen, receive


def answer(method: str, arguments: Sequence[object]) -> Any:  # noqa: ANN401 - as the port says
    if method == "raise":
        raise NotFound(key=arguments[0])
    return [method, *arguments]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "link.sock")


@pytest.fixture
def server(path: str) -> Iterator[LinkServer]:
    with closing(LinkServer(path, answer)) as serving:
        yield serving


@pytest.mark.usefixtures("server")
def test_a_call_is_answered_and_its_connection_kept(path: str) -> None:
    with closing(SocketLink(path, SystemClock())) as link:
        for number in range(100):
            assert link.ask("load", b"k", number, (1, 2)) == ["load", b"k", number, (1, 2)]
        assert len(link._idle) == 1


@pytest.mark.usefixtures("server")
def test_a_large_frame_goes_through(path: str) -> None:
    value = b"x" * (20 << 20)
    with closing(SocketLink(path, SystemClock())) as link:
        assert link.ask("load", value) == ["load", value]


@pytest.mark.usefixtures("server")
def test_an_error_is_raised_on_the_other_side(path: str) -> None:
    with closing(SocketLink(path, SystemClock())) as link, pytest.raises(NotFound) as told:
        link.ask("raise", "k")
    assert told.value.facts == {"key": "k"}


@pytest.mark.usefixtures("server")
def test_only_the_owner_may_connect(path: str) -> None:
    assert stat.S_IMODE(Path(path).stat().st_mode) & 0o077 == 0


def test_a_process_that_is_not_there_began_nothing(path: str) -> None:
    with closing(SocketLink(path, SystemClock())) as link, pytest.raises(Unavailable):
        link.ask("apply", [])


def test_a_kept_connection_to_a_dead_process_is_not_used(path: str) -> None:
    with closing(SocketLink(path, SystemClock())) as link:
        with closing(LinkServer(path, answer)):
            link.ask("load", b"k")
        with pytest.raises(Unavailable):
            link.ask("apply", [])
        with closing(LinkServer(path, answer)):  # the one that took its place
            assert link.ask("apply", []) == ["apply", []]


@pytest.mark.parametrize(("method", "error"), [("apply", OutcomeUnknown), ("load", Unavailable)])
def test_a_lost_answer_leaves_a_write_open(path: str, method: str, error: type[Exception]) -> None:
    heard = Event()

    def hang_up(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        receive(connection)
        heard.set()
        connection.close()

    with closing(listen(path)) as listener, closing(SocketLink(path, SystemClock())) as link:
        thread = Thread(target=hang_up, args=(listener,))
        thread.start()
        with pytest.raises(error):
            link.ask(method, b"k")
        thread.join()
    assert heard.is_set()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", LENGTH.pack(9) + b"abc", LENGTH.pack(0)])
def test_a_stranger_is_hung_up_on_or_refused(path: str, data: bytes) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as stranger:
        stranger.connect(path)
        stranger.sendall(data)
        stranger.shutdown(socket.SHUT_WR)
        stranger.settimeout(60)
        while stranger.recv(1 << 16):
            pass
    with closing(SocketLink(path, SystemClock())) as link:
        with pytest.raises(InvalidValue):
            link.ask("raise", b"\0", {"": "Nobody"})
        assert link.ask("load") == ["load"]


def test_a_call_waits_for_the_process_that_takes_a_dead_ones_place(path: str) -> None:
    class Slow(SystemClock):
        """Has the successor begin while the call waits."""

        def sleep(self, seconds: float) -> None:  # type: ignore[override]
            begun.append(LinkServer(path, answer))
            assert seconds > 0

    begun: list[LinkServer] = []
    with closing(SocketLink(path, Slow(), patience_s=1.0)) as link:
        assert link.ask("apply", []) == ["apply", []]
    assert len(begun) == 1
    begun[0].close()
