"""Peers that break HTTP/2, or wear it out: their connection ends, the service stays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress

import grpc
import pytest

from holdfast.clock import SystemClock
from holdfast.server.http2 import coding, frames
from holdfast.server.http2.bounds import IDLE_FRAMES, STREAM_WINDOW, TAKEN_BYTES
from holdfast.server.http2.connection import Connection
from holdfast.server.http2.frames import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    frame,
)
from holdfast.server.http2.messages import PREFIX, PREFIX_BYTES
from holdfast.testing.serving import Serving
from holdfast.wire.protobuf.words import CLASSES
from tests.rooms.server.http2_peer import (
    BEGINS,
    ENDS,
    SERVICE,
    WITHIN_S,
    Peer,
    end_patience,
    get,
    peer,
    stranger,
)
from tests.rooms.server.rpc_client import Caller, Said, served

Served = tuple[Serving, Caller]
SHORT_S = 1.5


@pytest.fixture(scope="module")
def both() -> Iterator[Served]:
    with served() as both:
        both[1].ask("Put", namespace="a", key="k", value=bytes(100))
        yield both


@pytest.fixture
def patient() -> Iterator[Served]:
    """A server of a test's own, whose patience it ends."""
    with served() as both:
        both[1].ask("Put", namespace="a", key="k", value=bytes(1 << 20))
        yield both


def server_of(serving: Serving) -> Said:
    rpc: Said = serving.server.rpc
    return rpc._server


def is_up(caller: Caller) -> bool:
    return len(caller.ask("Get", namespace="a", key="k").value) > 0


def settled(serving: Serving) -> bool:
    """Whether nothing is under way, and nothing is held; waits for it."""
    clock, server = SystemClock(), server_of(serving)
    for _ in range(3_000):
        if not server.under_way and not server.held_bytes:
            return True
        clock.sleep(0.02)
    return False


# -- what is answered ------------------------------------------------------------------------------


def test_a_call_is_answered(both: Served) -> None:
    with peer(both[0]) as one:
        one.say(one.call(1, "Get", get()))
        data, fields = one.answer(1)
        assert CLASSES["Value"].FromString(data[PREFIX.size :]).value == bytes(100)
        assert fields[":status"] == "200"
        assert fields["grpc-status"] == "0"
        assert fields["holdfast-cost"] == "0"


def test_very_many_at_once_are_answered(both: Served) -> None:
    with peer(both[0]) as one:
        count = 600
        one.say(frames.window_update(0, 1 << 20))
        one.say(*(one.call(2 * n + 1, "Get", get()) for n in range(count)))
        ended = set()
        for told in one.frames():
            if told.kind == frames.HEADERS and told.flags & ENDS:
                ended.add(told.stream)
                if len(ended) == count:
                    break
    assert settled(both[0])


def test_bytes_may_come_one_by_one(both: Served) -> None:
    with peer(both[0]) as one:
        for byte in one.call(1, "Get", get()):
            one.say(bytes((byte,)))
        assert one.answer(1)[1]["grpc-status"] == "0"


class Heard(asyncio.Transport):
    """Takes what a connection says."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.well = 0  # calls that it was told the end of
        self.ended = asyncio.Event()
        self._count = count

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It takes everything."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: Said) -> None:
        self.well += bytes(data).count(b"grpc-status\x010")
        if self.well == self._count:
            self.ended.set()

    def writelines(self, list_of_data: Iterable[Said]) -> None:
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """What comes all the same is kept."""

    def resume_reading(self) -> None:
        """Nothing was left out."""


@pytest.mark.parametrize("size", [1, 8, 9, 10, 40, 1_000, 1 << 20])
def test_frames_are_the_same_however_their_bytes_are_cut(both: Served, size: int) -> None:
    server, count = server_of(both[0]), 140  # more than one turn of the loop begins
    with stranger(both[0]) as one:
        calls = [one.call(2 * n + 1, "Get", get()) for n in range(count)]
    data = b"".join((frames.PREFACE, frames.settings({}), *calls))

    async def say() -> None:
        connection, heard = Connection(server), Heard(count)
        connection.connection_made(heard)
        for at in range(0, len(data), size):
            connection.data_received(data[at : at + size])
        await asyncio.wait_for(heard.ended.wait(), WITHIN_S)
        assert not connection.calls
        connection.connection_lost(None)

    asyncio.run_coroutine_threadsafe(say(), server.loop).result(2 * WITHIN_S)


def test_an_answer_waits_for_room(both: Served) -> None:
    with peer(both[0], {frames.INITIAL_WINDOW_SIZE: 10}) as one:
        one.say(one.call(1, "Get", get()))
        assert len(one.until(frames.DATA, 1).payload) == 10
        one.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 15}))
        assert len(one.until(frames.DATA, 1).payload) == 5
        one.say(frames.window_update(1, 1_000))
        data, fields = one.answer(1)
        assert len(data) > 80
        assert fields["grpc-status"] == "0"


def test_settings_are_confirmed_before_anything_that_they_let_pass(both: Served) -> None:
    """A peer counts by its old settings until it reads that; grpc's ends the stream for less."""
    with peer(both[0], {frames.INITIAL_WINDOW_SIZE: 10}) as one:
        one.say(one.call(1, "Get", get()))
        one.until(frames.DATA, 1)
        one.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 15}))
        said = one.frames()
        first, then = next(said), next(said)
        assert (first.kind, first.flags) == (frames.SETTINGS, frames.ACK)
        assert (then.kind, len(then.payload)) == (frames.DATA, 5)


def test_padding_priority_and_kinds_that_nobody_knows_change_nothing(both: Served) -> None:
    with peer(both[0]) as one:
        flags = BEGINS | frames.PADDED | frames.PRIORITIZED
        head = b"\x03" + bytes(5) + one.head(SERVICE + "Get") + bytes(3)
        message = PREFIX.pack(0, len(get())) + get()
        one.say(
            frame(frames.HEADERS, flags, 1, head),
            frame(99, 0xFF, 1, b"what"),
            frame(frames.PRIORITY, 0, 1, bytes(5)),
            frame(frames.DATA, frames.PADDED, 1, b"\x02" + message[:7] + bytes(2)),
            frame(frames.DATA, 0, 1, message[7:]),
            frame(frames.HEADERS, BEGINS | ENDS, 1, coding.field(b"later", b"said")),
        )
        assert one.answer(1)[1]["grpc-status"] == "0"


def test_a_header_may_come_in_pieces(both: Served) -> None:
    with peer(both[0]) as one:
        head = one.head(SERVICE + "Get")
        one.say(
            frame(frames.HEADERS, 0, 1, head[:9]),
            frame(frames.CONTINUATION, 0, 1, head[9:20]),
            frame(frames.CONTINUATION, BEGINS, 1, head[20:]),
            frame(frames.DATA, ENDS, 1, PREFIX.pack(0, len(get())) + get()),
        )
        assert one.answer(1)[1]["grpc-status"] == "0"


def test_a_ping_is_answered(both: Served) -> None:
    with peer(both[0]) as one:
        one.say(frame(frames.PING, 0, 0, b"12345678"))
        told = one.until(frames.PING)
        assert (told.flags, told.payload) == (frames.ACK, b"12345678")


def test_packed_messages_are_taken(both: Served) -> None:
    serving, caller = both
    with grpc.insecure_channel(
        serving.rpc_url.partition("://")[2], compression=grpc.Compression.Gzip
    ) as channel:
        put = channel.unary_unary(f"{SERVICE}Put")
        message = CLASSES["StoreRequest"](namespace="a", key="packed", value=b"a" * 100_000)
        put(message.SerializeToString(), metadata=caller.metadata, timeout=60)
    assert len(caller.ask("Get", namespace="a", key="packed").value) == 100_000


# -- what is refused, and the connection goes on ---------------------------------------------------


@pytest.mark.parametrize(
    ("path", "more", "told"),
    [
        ("/no.Such/Method", {}, {"grpc-status": "12"}),
        (SERVICE + "Nothing", {}, {"grpc-status": "12"}),
        (SERVICE + "Get", {"content_type": "text/html"}, {":status": "415"}),
        (SERVICE + "Get", {"method": "GET"}, {":status": "405"}),
        (SERVICE + "Get", {"grpc_encoding": "zstd"}, {"grpc-status": "12"}),
        (SERVICE + "Get", {"grpc_timeout": "soon"}, {"grpc-status": "3"}),
        (SERVICE + "Get", {"some_bin": "!"}, {"grpc-status": "3"}),
        (SERVICE + "Get", {"big": "x" * 100_000}, {"grpc-status": "8"}),
        (SERVICE + "Get", {"huge": "x" * 200_000}, {}),
        (SERVICE + "Get", {}, {"grpc-status": "13"}),  # for it has no message
    ],
)
def test_calls_that_cannot_be_begun(
    both: Served, path: str, more: dict[str, str], told: dict[str, str]
) -> None:
    with peer(both[0]) as one:
        head = one.head(path, **more)
        pieces = [head[at : at + 16_000] for at in range(0, len(head), 16_000)]
        *first, last = [
            (frames.CONTINUATION if at else frames.HEADERS, piece)
            for at, piece in enumerate(pieces)
        ]
        one.say(
            *(frame(kind, ENDS, 1, piece) for kind, piece in first),
            frame(last[0], BEGINS | ENDS, 1, last[1]),
        )
        if len(head) > 150_000:
            assert one.goaway() == ENHANCE_YOUR_CALM
            return
        _, fields = one.answer(1)
        assert fields.items() >= told.items()
        one.say(one.call(3, "Get", get()))
        assert one.answer(3)[1]["grpc-status"] == "0"


def test_metadata_that_unpack_to_too_much_end_their_call_alone(both: Served) -> None:
    with peer(both[0]) as one:
        kept = b"\x40" + coding.number(4, 7) + b"name" + coding.number(3_000, 7) + b"v" * 3_000
        head = one.head(SERVICE + "Get") + kept + coding.number(62, 7, 0x80) * 50
        one.say(frame(frames.HEADERS, BEGINS | ENDS, 1, head))
        assert one.answer(1)[1]["grpc-status"] == "8"
        again = one.head(SERVICE + "Get") + coding.number(62, 7, 0x80)
        data = frame(frames.DATA, ENDS, 3, PREFIX.pack(0, len(get())) + get())
        one.say(frame(frames.HEADERS, BEGINS, 3, again), data)
        assert one.answer(3)[1]["grpc-status"] == "0"


@pytest.mark.parametrize(
    "amiss", ["twice", "late", "unknown", "upper", "connection", "none", "empty", "te"]
)
def test_headers_that_no_request_has_end_their_stream(both: Served, amiss: str) -> None:
    with peer(both[0]) as one:
        head, asked = one.head(SERVICE + "Get"), coding.field(b":path", b"/")
        head = {
            "twice": asked + head,
            "late": head + coding.field(b":authority", b"a"),
            "unknown": coding.field(b":what", b"a") + head,
            "upper": head + coding.field(b"Upper", b"a"),
            "connection": head + coding.field(b"connection", b"close"),
            "none": asked,
            "empty": one.head(""),
            "te": one.head(SERVICE + "Get", te="gzip"),
        }[amiss]
        one.say(frame(frames.HEADERS, BEGINS | ENDS, 1, head))
        assert frames.LONG.unpack(one.until(frames.RST_STREAM, 1).payload) == (PROTOCOL_ERROR,)
        one.say(one.call(3, "Get", get()))
        assert one.answer(3)[1]["grpc-status"] == "0"


def test_calls_that_are_taken_back_at_once_leave_nothing(both: Served) -> None:
    with peer(both[0]) as one:
        for first in range(1, 4_000, 200):
            streams = range(first, first + 200, 2)
            said = [(one.begin(n, "Batch"), frames.rst_stream(n, frames.CANCEL)) for n in streams]
            one.say(*(part for both_parts in said for part in both_parts))
        one.say(one.call(5_001, "Get", get()))
        assert one.answer(5_001)[1]["grpc-status"] == "0"
    assert settled(both[0])


# -- what ends the connection ----------------------------------------------------------------------

LONG_1 = frames.LONG.pack(1)
BROKEN = [
    (frame(frames.DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    (frame(frames.DATA, 0, 7, b"x"), PROTOCOL_ERROR),
    (frame(frames.HEADERS, BEGINS, 0, b"\x82"), PROTOCOL_ERROR),
    (frame(frames.HEADERS, BEGINS, 2, b"\x82"), PROTOCOL_ERROR),
    (frame(frames.HEADERS, BEGINS, 1, b"\x80"), COMPRESSION_ERROR),
    (frame(frames.HEADERS, BEGINS | frames.PADDED, 1, b"\x09\x82"), PROTOCOL_ERROR),
    (frame(frames.HEADERS, BEGINS | frames.PADDED, 1), PROTOCOL_ERROR),
    (frame(frames.HEADERS, BEGINS | frames.PRIORITIZED, 1, b"\x82"), FRAME_SIZE_ERROR),
    (frame(frames.HEADERS, 0, 1, b"\x82") + frame(frames.PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
    (frame(frames.HEADERS, 0, 1, b"\x82") + frame(frames.CONTINUATION, 0, 3), PROTOCOL_ERROR),
    (frame(frames.CONTINUATION, BEGINS, 1, b"\x82"), PROTOCOL_ERROR),
    (frame(frames.PRIORITY, 0, 0, bytes(5)), PROTOCOL_ERROR),
    (frame(frames.PRIORITY, 0, 1, bytes(4)), FRAME_SIZE_ERROR),
    (frame(frames.RST_STREAM, 0, 0, LONG_1), PROTOCOL_ERROR),
    (frame(frames.RST_STREAM, 0, 9, LONG_1), PROTOCOL_ERROR),
    (frame(frames.RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    (frame(frames.SETTINGS, 0, 1), PROTOCOL_ERROR),
    (frame(frames.SETTINGS, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    (frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
    (frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}), FLOW_CONTROL_ERROR),
    (frames.settings({frames.MAX_FRAME_SIZE: 1}), PROTOCOL_ERROR),
    (frames.settings({frames.ENABLE_PUSH: 2}), PROTOCOL_ERROR),
    (frame(frames.PUSH_PROMISE, 0, 1, bytes(4)), PROTOCOL_ERROR),
    (frame(frames.PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
    (frame(frames.PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    (frame(frames.GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
    (frames.window_update(0, 0), PROTOCOL_ERROR),
    (frames.window_update(9, 1), PROTOCOL_ERROR),
    (frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    (frames.window_update(0, frames.MOST_WINDOW), FLOW_CONTROL_ERROR),
    (frame(frames.DATA, 0, 1, bytes(TAKEN_BYTES + 1)), FRAME_SIZE_ERROR),
]


@pytest.mark.parametrize(("said", "code"), BROKEN)
def test_what_breaks_the_protocol_ends_the_connection(both: Served, said: bytes, code: int) -> None:
    with peer(both[0]) as one:
        one.say(said)
        assert one.goaway() == code
    assert is_up(both[1])


def test_a_stream_that_has_ended_says_nothing_more(both: Served) -> None:
    with peer(both[0]) as one:
        one.say(
            one.begin(1, "Batch", BEGINS | ENDS),
            frame(frames.DATA, 0, 1, b"x"),
            one.begin(1, "Get"),
        )
        assert one.goaway() in {frames.STREAM_CLOSED, PROTOCOL_ERROR}


@pytest.mark.parametrize("kind", ["ping", "settings", "data", "continuation", "reset"])
def test_frames_that_carry_nothing_have_a_bound(both: Served, kind: str) -> None:
    with peer(both[0]) as one:
        begin = one.begin(1, "Batch")
        said = {
            "ping": frame(frames.PING, 0, 0, bytes(8)),
            "settings": frames.settings({}),
            "data": frame(frames.DATA, 0, 1),
            "continuation": frame(frames.CONTINUATION, 0, 3),
            "reset": frames.rst_stream(1, frames.CANCEL),
        }[kind]
        if kind == "continuation":
            begin += frame(frames.HEADERS, 0, 3, b"\x82")
        with suppress(OSError):  # it is ended before all is said
            one.say(begin, *([said] * (2 * IDLE_FRAMES)))
        ended = [told for told in one.frames() if told.kind == frames.GOAWAY]
        assert not ended or frames.DOUBLE.unpack(ended[0].payload)[1] == ENHANCE_YOUR_CALM
    assert is_up(both[1])
    assert settled(both[0])


def test_more_than_was_allowed_to_come_ends_the_connection(both: Served) -> None:
    loads = [CLASSES["Operation"](load=CLASSES["LoadRequest"](key="k"))] * 2_000
    asked = CLASSES["BatchRequest"](namespace="a", operations=loads).SerializeToString()
    message = PREFIX.pack(0, len(asked)) + asked
    with peer(both[0], {frames.INITIAL_WINDOW_SIZE: 0}) as one:
        one.say(one.begin(1, "Batch"))
        with suppress(OSError):  # it is ended before all is said
            for _ in range(8 * STREAM_WINDOW // len(message)):
                one.say(frame(frames.DATA, 0, 1, message))
        assert one.goaway() == FLOW_CONTROL_ERROR
    assert settled(both[0])


def test_a_frame_may_be_as_large_as_is_told(both: Served) -> None:
    value = b"v" * (TAKEN_BYTES - 100)
    message = CLASSES["StoreRequest"](namespace="a", key="large", value=value).SerializeToString()
    assert frames.FRAME_BYTES < len(message) + PREFIX_BYTES <= TAKEN_BYTES
    with peer(both[0]) as one:
        settings = frames.SETTING.iter_unpack(one.until(frames.SETTINGS).payload)
        assert dict(settings)[frames.MAX_FRAME_SIZE] == TAKEN_BYTES
        one.say(one.call(1, "Put", message))
        assert one.answer(1)[1]["grpc-status"] == "0"
        one.say(
            one.call(
                3, "Get", CLASSES["LoadRequest"](namespace="a", key="large").SerializeToString()
            )
        )
        assert value in one.answer(3)[0]
    assert settled(both[0])


def test_another_protocol_is_not_answered(both: Served) -> None:
    with stranger(both[0]) as one:
        one.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert one.goaway() == PROTOCOL_ERROR


# -- what takes too long ---------------------------------------------------------------------------


def test_who_says_nothing_is_let_go(patient: Served) -> None:
    ping = frame(frames.PING, 0, 0, bytes(8))
    with stranger(patient[0]) as silent, peer(patient[0]) as idle, peer(patient[0]) as stuck:
        idle.say(ping)
        stuck.say(ping + ping[:5])
        for one in (idle, stuck):
            one.until(frames.PING)
        end_patience(patient[0], header_s=SHORT_S, body_s=SHORT_S, idle_s=SHORT_S)
        assert silent.goaway() == frames.SETTINGS_TIMEOUT
        assert idle.goaway() == frames.NO_ERROR
        assert [told for told in stuck.frames() if told.kind == frames.PING] == []


def test_a_message_that_does_not_go_on_ends_its_call(patient: Served) -> None:
    with peer(patient[0]) as one:
        one.say(one.begin(1, "Get"), one.begin(3, "Batch"), frame(frames.DATA, 0, 3, bytes(3)))
        end_patience(patient[0], body_s=SHORT_S)
        status = {told.stream: one.fields(told) for told in _ends(one, 2)}
        assert {status[n]["grpc-status"] for n in (1, 3)} == {"4"}
    assert settled(patient[0])


def test_a_deadline_ends_a_call_that_nothing_else_ends(both: Served) -> None:
    with peer(both[0]) as one:
        one.say(one.begin(1, "Batch", grpc_timeout="200m"), one.begin(3, "Batch"))
        assert one.answer(1)[1]["grpc-status"] == "4"
        one.say(frame(frames.DATA, ENDS, 3))
        assert one.answer(3)[1]["grpc-status"] == "0"
    assert settled(both[0])


def test_who_takes_nothing_of_an_answer_loses_it(patient: Served) -> None:
    with peer(patient[0]) as one:
        one.say(one.call(1, "Get", get()), one.begin(3, "Batch"))
        end_patience(patient[0], send_s=SHORT_S)
        told = one.until(frames.RST_STREAM, 1)
        assert frames.LONG.unpack(told.payload) == (frames.CANCEL,)
    assert settled(patient[0])


def _ends(one: Peer, count: int) -> Iterator[Said]:
    for told in one.frames():
        if told.kind == frames.HEADERS and told.flags & ENDS:
            yield told
            count -= 1
        if not count:
            return


def test_what_is_under_way_is_answered_when_the_server_goes(both: Served) -> None:
    del both
    with served(drain_s=60) as (serving, caller):
        caller.ask("Put", namespace="a", key="k", value=b"v")
        with peer(serving) as one:
            one.say(one.begin(1, "Batch"))
            one.say(one.call(3, "Get", get()))
            assert one.answer(3)[1]["grpc-status"] == "0"
            serving.server.stop()
            assert one.until(frames.GOAWAY).payload == frames.DOUBLE.pack(3, frames.NO_ERROR)
            one.say(one.call(5, "Get", get()), frame(frames.DATA, ENDS, 1))
            told = one.until(frames.RST_STREAM, 5)
            assert frames.LONG.unpack(told.payload) == (frames.REFUSED_STREAM,)
            assert one.answer(1)[1]["grpc-status"] == "0"
