"""The service over gRPC: every method, what is refused and how it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest

from holdfast.request import reading
from holdfast.server.http2.frames import CANCEL, rst_stream
from holdfast.server.rpc.batch import Asked, Stream
from holdfast.testing.serving import Serving
from tests.rooms.server.http2_peer import peer
from tests.rooms.server.rpc_client import WITHIN_S, Caller, Said, problem, say, served
from tests.rooms.server.test_time_over import busy, pools

Served = tuple[Serving, Caller]
MIB = 1 << 20


@pytest.fixture(scope="module")
def both() -> Iterator[Served]:
    with served() as both:
        yield both


@pytest.fixture
def caller(both: Served) -> Caller:
    return both[1]


def refusal(caller: Caller, name: str, **fields: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as told:
        caller.ask(name, None, **fields)
    return told.value.code(), problem(told.value)["code"]


def test_a_value_goes_in_and_comes_back(caller: Caller) -> None:
    stored = caller.ask("Put", namespace="a", key="k", value=b"v", content_type="text/plain")
    found = caller.ask("Get", namespace="a", key="k")
    assert (found.value, found.version, found.content_type) == (b"v", stored.version, "text/plain")
    assert caller.ask("Get", namespace="a", key="k", start=1, stop=9).value == b""
    assert caller.ask("Exists", namespace="a", key="k").exists
    assert caller.ask("Stat", namespace="a", key="k").size == 1
    assert caller.ask("Append", namespace="a", key="k", value=b"w").size == 2
    caller.ask("Put", namespace="a", key="empty")
    assert caller.ask("Get", namespace="a", key="empty").value == b""
    caller.ask("Delete", namespace="a", key="k")
    assert not caller.ask("Exists", namespace="a", key="k").exists


def test_what_a_write_cost_and_which_version_it_made_are_in_the_trailers(caller: Caller) -> None:
    stored = caller.ask("Put", namespace="a", key="t", value=b"v")
    told = caller.trailers("Get", namespace="a", key="t")
    assert told["holdfast-version"] == str(stored.version)
    assert told["holdfast-cost"].isdecimal()


def test_a_lease_and_a_reference_list(caller: Caller) -> None:
    caller.ask("Put", namespace="a", key="l", value=b"", consumers=ids("x", b"y"))
    held = caller.ask("Lock", namespace="a", key="l")
    assert caller.ask("Renew", namespace="a", key="l", lock_id=held.lock_id).fence == held.fence
    caller.ask("Unlock", namespace="a", key="l", lock_id=held.lock_id)
    removed = ids(b"y", "z")
    missing = caller.ask("Consumers", namespace="a", key="l", action="remove", ids=removed)
    assert missing == ids("z")
    assert caller.ask("Consumers", namespace="a", key="l", action="list") == ids("x")


def ids(*told: str | bytes) -> Said:
    of = [say("ConsumerId", **{"text" if isinstance(i, str) else "raw": i}) for i in told]
    return say("ConsumerIds", ids=of)


def test_a_large_value_streams_in_and_out(caller: Caller) -> None:
    value = bytes(range(256)) * (20 << 10)  # 5 MiB
    chunks = [say("StoreChunk", begin=say("StoreRequest", namespace="a", key="b", value=b"!"))]
    chunks += [say("StoreChunk", data=value[at : at + MIB]) for at in range(0, len(value), MIB)]
    with pytest.raises(grpc.RpcError) as told:
        caller.send("Store", iter(chunks))
    assert problem(told.value)["facts"]["reason"] == "it ends before its end was told"
    assert not caller.ask("Exists", namespace="a", key="b").exists
    stored = caller.send("Store", iter([*chunks, say("StoreChunk", end=say("Done"))]))
    assert stored.size == len(value) + 1
    first, *rest = caller.ask("Load", namespace="a", key="b")
    assert (first.attributes.size, first.attributes.version) == (stored.size, stored.version)
    assert b"".join(chunk.data for chunk in rest) == b"!" + value
    first, *rest = caller.ask("Load", namespace="a", key="b", start=MIB, stop=MIB + 9)
    assert b"".join(chunk.data for chunk in rest) == value[MIB - 1 : MIB + 8]
    asked = {"namespace": "a", "key": "b", "if_version": stored.version + 1}
    assert refusal(caller, "Load", **asked) == (grpc.StatusCode.ABORTED, "version_mismatch")
    assert refusal(caller, "Get", namespace="a", key="b")[1] == "limit_exceeded"


def test_a_list_streams_by_pages(caller: Caller) -> None:
    names = [f"n/{number:04}" for number in range(1001)]
    stores = [say("Operation", store=say("StoreRequest", key=name, value=b"v")) for name in names]
    caller.ask("Batch", namespace="pages", operations=stores)
    first, second = caller.ask("List", namespace="pages")
    assert [*first.keys, *second.keys] == names
    assert first.next == names[999]
    (page,) = caller.ask("List", namespace="pages", details=True, limit=2, after=names[4])
    assert [one.key for one in page.objects] == names[5:7]
    assert refusal(caller, "List", namespace="a", by="x")[1] == "invalid_value"


def test_batches_are_answered_in_order_each_operation_for_itself(caller: Caller) -> None:
    def store(key: str, **more: object) -> Said:
        return say("Operation", store=say("StoreRequest", key=key, value=key.encode(), **more))

    def load(key: str) -> Said:
        return say("Operation", load=say("LoadRequest", key=key))

    asked = [
        say("BatchRequest", namespace="b", operations=[store("1"), store("2")]),
        say("BatchRequest", namespace="b", operations=[store("3")]),
        say("BatchRequest", namespace="b", operations=[load("1"), load("3"), load("4")]),
        say("BatchRequest", namespace="b", operations=[store("1", if_absent=True), load("2")]),
        say("BatchRequest", namespace="b", operations=[store("5")], more=True),
        say("BatchRequest", operations=[load("5")]),
    ]
    answers = caller.send("Batch", iter(asked))
    told = [[one.WhichOneof("result") for one in answer.results] for answer in answers]
    assert told == [
        ["store", "store"],
        ["store"],
        ["load", "load", "problem"],
        ["problem", "load"],
        ["store", "load"],
    ]
    with pytest.raises(grpc.RpcError) as refused:
        caller.send("Batch", iter(asked[:5]))
    assert problem(refused.value)["code"] == "invalid_value"
    assert answers[3].results[0].problem.code == "exists"
    assert answers[4].results[1].load.value == b"5"


def test_an_answer_to_a_batch_that_is_too_large_comes_in_pieces(caller: Caller) -> None:
    for key in ("x", "y", "z"):
        caller.ask("Put", namespace="c", key=key, value=bytes(MIB))
    loads = [say("Operation", load=say("LoadRequest", key=key)) for key in "xyzxyz"]
    answers = caller.ask("Batch", namespace="c", operations=loads)
    assert [answer.more for answer in answers] == [True, False]
    assert sum(len(one.load.value) for answer in answers for one in answer.results) == 6 * MIB


def test_a_stream_goes_back_to_the_loop_after_a_miss(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch of loads that has to wait sends none of those behind it to a thread."""
    caller.ask("Put", namespace="e", key="k", value=b"v")
    second, waited = threading.Event(), []
    taken, load_many, gather = [0], reading.load_many, Stream._gather

    def noted(stream: Stream, body: bytes) -> Asked | None:
        taken[0] += 1
        if taken[0] > 1:
            second.set()
        return gather(stream, body)

    def missed_once(*arguments: Said, waits: bool) -> Said:
        waited.append(waits)
        if len(waited) == 1:
            return None
        if waits:  # until the next is there: it finds this one under way
            assert second.wait(WITHIN_S)
        return load_many(*arguments, waits=waits)

    monkeypatch.setattr(Stream, "_gather", noted)
    monkeypatch.setattr(reading, "load_many", missed_once)
    load = say("Operation", load=say("LoadRequest", key="k"))
    asked = [say("BatchRequest", namespace="e", operations=[load])] * 5
    answers = caller.send("Batch", iter(asked))
    assert [one.results[0].load.value for one in answers] == [b"v"] * 5
    assert waited.count(False) == len(asked)


def test_numbered_writes_are_applied_once(caller: Caller) -> None:
    session = caller.ask("BeginSession").session
    told = {"holdfast-session": f"{session};1;1"}
    add = say("AppendRequest", key="n", value=b"x")
    batches = [say("BatchRequest", namespace="d", operations=[say("Operation", append=add)])] * 2
    for _ in range(2):
        answers = caller.send("Batch", iter(batches), told)
        assert [answer.results[0].append.size for answer in answers] == [1, 2]


def test_a_bucket_is_asked_directly(caller: Caller) -> None:
    place = caller.ask("Locate", namespace="a", key="k")
    caller.ask("Put", {"holdfast-bucket": place.bucket}, namespace="a", key="k", value=b"v")
    found = caller.ask("Get", {"holdfast-bucket": place.bucket}, namespace="a", key="k")
    assert found.value == b"v"
    with pytest.raises(grpc.RpcError) as told:
        caller.ask("Get", {"holdfast-bucket": "0" * 16}, namespace="a", key="k")
    assert problem(told.value)["facts"] == {"bucket": "0" * 16}


def test_a_value_or_its_absence_is_proved(caller: Caller) -> None:
    caller.ask("Put", namespace="a", key="proved", value=b"v")
    there = caller.ask("Prove", namespace="a", key="proved")
    assert (there.value, bool(there.proof)) == (b"v", True)
    assert not caller.ask("Prove", namespace="a", key="none").HasField("value")


def test_what_is_seldom_asked_is_asked_in_the_words_of_http(caller: Caller) -> None:
    told = caller.ask("Administer", method="GET", path="/v1/status")
    assert told.status == 200
    assert b'"buckets"' in told.body
    refused = refusal(caller, "Administer", method="GET", path="/v1/namespaces/a/objects/k")
    assert refused == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_value")
    assert refusal(caller, "Administer", method="GET", path="/x")[1] == "not_found"


@pytest.mark.parametrize(
    ("name", "fields", "code"),
    [
        ("Get", {"namespace": "a", "key": ""}, "invalid_key"),
        ("Get", {"namespace": "a%41", "key": "k"}, "invalid_namespace"),
        ("Get", {"key": "k"}, "invalid_namespace"),
        ("Get", {"namespace": "a", "key": "none"}, "not_found"),
        ("Get", {"namespace": "a", "key": "k", "start": 1}, "invalid_value"),
        ("Put", {"namespace": "a", "key": "k", "ttl_ns": -1}, "invalid_expiry"),
        ("Put", {"namespace": "a", "key": "none", "if_version": 7}, "version_mismatch"),
        ("Delete", {"namespace": "a", "key": "none"}, "not_found"),
        ("Consumers", {"namespace": "a", "key": "k", "action": "x"}, "invalid_value"),
        ("Renew", {"namespace": "a", "key": "k", "lock_id": "x"}, "lock_lost"),
        ("Unlock", {"namespace": "a", "key": "k", "lock_id": "0" * 40}, "lock_lost"),
        ("Batch", {"namespace": "a", "operations": [say("Operation")]}, "invalid_value"),
        ("Store", {"data": b"x"}, "invalid_value"),
    ],
)
def test_what_is_wrong_is_refused_by_name(
    caller: Caller, name: str, fields: dict[str, object], code: str
) -> None:
    caller.ask("Put", namespace="a", key="k", value=b"v")
    assert refusal(caller, name, **fields)[1] == code


def test_rights_are_those_of_http(both: Served) -> None:
    serving, _ = both
    reader = Caller(serving.rpc_url, serving.token("a", ["read"], prefix="open/"))
    nobody = Caller(serving.rpc_url, None)
    forger = Caller(serving.rpc_url, "x.y.z")
    target = {"namespace": "a", "key": "open/k"}
    denied = (grpc.StatusCode.PERMISSION_DENIED, "forbidden")
    unknown = (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")
    assert refusal(reader, "Get", **target)[1] == "not_found"
    assert refusal(reader, "Put", **target) == denied
    assert refusal(reader, "Get", namespace="a", key="k") == denied
    assert refusal(reader, "List", namespace="a") == denied
    assert reader.ask("List", namespace="a", prefix="open/")
    assert refusal(reader, "Administer", method="GET", path="/v1/status") == denied
    begin = say("StoreRequest", **target)
    assert refusal(reader, "Store", begin=begin) == denied
    for stranger in (nobody, forger):
        assert refusal(stranger, "Get", **target) == unknown
        assert refusal(stranger, "Batch", namespace="a") == unknown
    operation = say("Operation", store=say("StoreRequest", key="open/k"))
    (answer,) = reader.ask("Batch", namespace="a", operations=[operation])
    assert answer.results[0].problem.code == "forbidden"
    for one in (reader, nobody, forger):
        one.close()


def test_calls_are_counted_as_those_of_http_are(both: Served) -> None:
    serving, caller = both
    caller.ask("Put", namespace="counted", key="k", value=b"v")
    told = caller.ask("Administer", method="GET", path="/metrics").body.decode()
    assert 'operation="store"' in told
    assert serving.rpc_url.startswith("grpc://127.0.0.1:")


def test_a_deadline_that_has_passed_begins_nothing(both: Served) -> None:
    serving, caller = both
    store = say("StoreRequest", namespace="a", key="late").SerializeToString()
    with peer(serving) as one:
        one.say(one.call(1, "Put", store, grpc_timeout="1n"))
        assert one.answer(1)[1]["grpc-status"] == str(grpc.StatusCode.DEADLINE_EXCEEDED.value[0])
    assert not caller.ask("Exists", namespace="a", key="late").exists


def test_a_call_that_was_taken_back_by_the_time_it_is_read_begins_nothing(both: Served) -> None:
    serving, caller = both
    store = say("StoreRequest", namespace="a", key="back").SerializeToString()
    with peer(serving) as one:
        one.say(one.call(1, "Put", store), rst_stream(1, CANCEL), one.call(3, "Put", store[:-1]))
        one.answer(3)
    assert not caller.ask("Exists", namespace="a", key="back").exists


def test_what_waited_until_its_caller_gave_up_is_not_begun(both: Served) -> None:
    serving, caller = both
    stores = [say("Operation", store=say("StoreRequest", key=key, value=b"v")) for key in "ab"]
    batch = say("BatchRequest", namespace="late", operations=stores)
    one = say("StoreRequest", namespace="late", key="c")
    with busy(pools(serving)["lanes"]):
        with pytest.raises(grpc.RpcError) as refused:
            list(caller.method("Batch")(iter([batch]), metadata=caller.metadata, timeout=0.3))
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(grpc.RpcError):
            caller.method("Put")(one, metadata=caller.metadata, timeout=0.3)
        caller.ask("Exists", namespace="late", key="c")  # behind what tells that it gave up
    caller.ask("Put", namespace="late", key="behind", value=b"v")  # in the same lane
    assert [*next(iter(caller.ask("List", namespace="late"))).keys] == ["behind"]
