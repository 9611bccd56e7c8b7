"""Callers who mean harm, or know no better: the gRPC door refuses, forgets, and stays up."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from threading import Event

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.clock import SystemClock
from holdfast.limits import RPC_MESSAGE_BYTES
from holdfast.testing.serving import Serving
from holdfast.wire.protobuf.schema import METHODS
from holdfast.wire.protobuf.words import CLASSES
from tests.rooms.server.http2_peer import end_patience
from tests.rooms.server.rpc_client import KINDS, Caller, Said, say, served

Served = tuple[Serving, Caller]
MIB = 1 << 20
ONE_MESSAGE = [method for method in METHODS if not method.asks_many]
EXPECTED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@pytest.fixture(scope="module")
def both() -> Iterator[Served]:
    with served() as both:
        yield both


@pytest.fixture
def own() -> Iterator[Served]:
    """A server of a test's own."""
    with served() as own:
        yield own


def is_up(caller: Caller) -> bool:
    caller.ask("Put", namespace="up", key="k", value=b"v")
    return bool(caller.ask("Get", namespace="up", key="k").value == b"v")


def raw(caller: Caller, name: str, body: bytes | Iterator[bytes], kind: str) -> grpc.StatusCode:
    """Send bytes as they are; how it ended."""
    call = getattr(caller.channel, kind)(f"/holdfast.v1.Holdfast/{name}")
    try:
        answered = call(body, metadata=caller.metadata, timeout=60)
        if kind.endswith("stream"):
            list(answered)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(method=st.sampled_from(METHODS), body=st.binary(max_size=64))
def test_bytes_that_are_no_message_are_refused(both: Served, method: Said, body: bytes) -> None:
    _, caller = both
    told = iter([body]) if method.asks_many else body
    code = raw(caller, method.name, told, KINDS[method.asks_many, method.tells_many])
    assert code is grpc.StatusCode.OK or code in EXPECTED


FIELDS = st.dictionaries(
    st.sampled_from(["namespace", "key", "lock_id", "action", "prefix", "by", "path", "method"]),
    st.one_of(st.sampled_from(["a", "k", "list", "set", "GET", "/v1/x"]), st.text(max_size=9)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(method=st.sampled_from(ONE_MESSAGE), fields=FIELDS)
def test_messages_of_nonsense_are_refused_by_name(
    both: Served, method: Said, fields: dict[str, str]
) -> None:
    _, caller = both
    known = {field.name for field in CLASSES[method.asks].DESCRIPTOR.fields}
    try:
        request = CLASSES[method.asks](**{n: v for n, v in fields.items() if n in known})
    except (UnicodeEncodeError, ValueError):
        return  # no client can say this
    body = request.SerializeToString()
    code = raw(caller, method.name, body, KINDS[method.asks_many, method.tells_many])
    assert code is grpc.StatusCode.OK or code in EXPECTED


def test_a_message_that_is_too_large_is_refused_before_it_is_taken(both: Served) -> None:
    _, caller = both
    body = bytes(RPC_MESSAGE_BYTES + 1)
    assert raw(caller, "Put", body, "unary_unary") is grpc.StatusCode.RESOURCE_EXHAUSTED
    chunks = iter([body])
    assert raw(caller, "Store", chunks, "stream_unary") is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert is_up(caller)


def test_a_method_that_is_none_is_told(both: Served) -> None:
    _, caller = both
    assert raw(caller, "Nothing", b"", "unary_unary") is grpc.StatusCode.UNIMPLEMENTED


def test_a_stream_that_is_cancelled_stores_nothing_and_leaves_nothing(both: Served) -> None:
    serving, caller = both
    released = Event()

    def chunks() -> Iterator[Said]:
        yield say("StoreChunk", begin=say("StoreRequest", namespace="a", key="cut"))
        for _ in range(3):
            yield say("StoreChunk", data=bytes(MIB))
        released.wait(60)

    calls = [
        caller.method("Store").future(chunks(), metadata=caller.metadata, timeout=60)
        for _ in range(5)
    ]
    for call in calls:
        call.cancel()
    released.set()
    assert is_up(caller)
    assert not caller.ask("Exists", namespace="a", key="cut").exists
    wait_for(lambda: idle(serving))


def test_who_reads_nothing_is_given_up_and_holds_little(own: Served) -> None:
    serving, caller = own
    caller.ask("Put", namespace="a", key="big", value=bytes(MIB))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loads = [say("Operation", load=say("LoadRequest", key="big"))] * 3
    message = say("BatchRequest", namespace="a", operations=loads)
    slow = Caller(serving.rpc_url, serving.token())
    calls = [
        slow.method("Batch")(iter([message] * 100), metadata=slow.metadata, timeout=100)
        for _ in range(4)
    ]
    wait_for(lambda: streams_of(serving) == len(calls))
    end_patience(serving, send_s=0.3)  # once all of them are under way
    wait_for(lambda: idle(serving))  # without a word from the reader
    assert is_up(caller)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert grown_kib < 300 << 10  # of 1.2 GiB of answers
    for call in calls:
        call.cancel()
    slow.close()


def test_half_a_batch_is_forgotten(both: Served) -> None:
    serving, caller = both
    store = say("Operation", store=say("StoreRequest", key="k", value=bytes(MIB)))
    half = say("BatchRequest", namespace="half", operations=[store], more=True)
    released = Event()

    def messages() -> Iterator[Said]:
        yield from [half] * 8
        released.wait(60)

    call = caller.method("Batch")(messages(), metadata=caller.metadata, timeout=60)
    wait_for(lambda: site_of(serving).gathered_bytes > 7 * MIB)
    call.cancel()
    released.set()
    wait_for(lambda: idle(serving))
    assert not caller.ask("Exists", namespace="half", key="k").exists


def test_bodies_together_have_a_bound() -> None:
    with served(gathered_bytes=4 * MIB) as (_, caller):
        store = say("Operation", store=say("StoreRequest", key="k", value=bytes(MIB)))
        part = say("BatchRequest", namespace="a", operations=[store], more=True)
        last = say("BatchRequest", namespace="a", operations=[store])
        with pytest.raises(grpc.RpcError) as told:
            caller.send("Batch", iter([part] * 6 + [last]))
        assert told.value.code() is grpc.StatusCode.UNAVAILABLE
        assert is_up(caller)


def test_a_stream_that_stores_faster_than_the_disk_waits() -> None:
    with served(queued_bytes=5 * MIB) as (serving, caller):
        stores = [
            [say("Operation", store=say("StoreRequest", key=f"{at}/{n}", value=bytes(MIB)))]
            for at in range(12)
            for n in range(3)
        ]
        batches = [say("BatchRequest", namespace="a", operations=one) for one in stores]
        replies = caller.send("Batch", iter(batches))
        assert [reply.results[0].store.size for reply in replies] == [MIB] * 36
        wait_for(lambda: idle(serving))


def site_of(serving: Serving) -> Said:
    return serving.server._site


def idle(serving: Serving) -> bool:
    """Whether the server holds nothing of anybody."""
    site = site_of(serving)
    under_way = sum(tenant.under_way for tenant in list(site.tenants._known.values()))
    return not (site.gathered_bytes or under_way or streams_of(serving))


def streams_of(serving: Serving) -> int:
    """Streams of batches that are read from."""
    loop = serving.server._loop
    assert loop is not None
    return sum("Stream.read" in repr(task.get_coro()) for task in asyncio.all_tasks(loop))


def wait_for(condition: Callable[[], bool]) -> None:
    clock = SystemClock()
    for _ in range(3_000):
        if condition():
            return
        clock.sleep(0.02)
    raise AssertionError("it never came to that")
