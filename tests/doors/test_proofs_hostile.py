"""A server that lies to a client which has the store's public key: each lie is caught."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Thread
from types import TracebackType
from typing import Self

import httpx
import msgspec
import pytest

import holdfast
from holdfast import Changed, InvalidValue, NotFound, ProofInvalid, Store
from holdfast.client.store import RemoteNamespace, RemoteStore
from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance.base import patterned
from holdfast.testing.proxy import Proxy
from holdfast.testing.serving import Serving
from holdfast.wire.proofs import Answered

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
MIB = 1 << 20
SECOND_NS = 1_000_000_000
Lie = Callable[[str, bytes], bytes]


class Liar:
    """Stands before a server and answers what it answers, but for what ``lie`` makes of it."""

    def __init__(self, url: str) -> None:
        self._there = httpx.Client(base_url=url, timeout=60)
        self.lie: Lie = lambda _, body: body
        self.told: dict[str, bytes] = {}  # what was answered last, by path
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.pass_on(self)

            do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - as the library calls them

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", "0")))
        headers = {k: v for k, v in handler.headers.items() if k.lower() != "host"}
        there = self._there.request(handler.command, handler.path, headers=headers, content=body)
        path = handler.path.partition("?")[0]
        told = self.lie(path, there.content) if there.is_success else there.content
        self.told[path] = there.content
        handler.send_response(there.status_code)
        handler.send_header("content-type", there.headers.get("content-type", "text/plain"))
        handler.send_header("content-length", str(len(told)))
        handler.end_headers()
        handler.wfile.write(told)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._there.close()


class House:
    """A store that is served, a liar before it, and a client with the key."""

    def __init__(self, store: Store, serving: Serving, liar: Liar, clock: ManualClock) -> None:
        self.store = store
        self.inside = store.namespace("acme")
        self.liar = liar
        self.clock = clock
        self.token = serving.token()
        self.remote = self.client()
        self.ns = self.remote.namespace("acme")

    def client(self, seen: Path | None = None) -> RemoteStore:
        return holdfast.connect(
            self.liar.url,
            token=self.token,
            public_key=self.store.public_key(),
            clock=self.clock,
            seen=seen,
        )

    def change(self, change: Callable[[Answered], Answered]) -> None:
        """Have every answer with a proof changed."""

        def lie(_: str, body: bytes) -> bytes:
            try:
                answered = msgspec.msgpack.decode(body, type=Answered)
            except msgspec.MsgspecError:
                return body
            return msgspec.msgpack.encode(change(answered))

        self.liar.lie = lie

    def replay(self, path: str) -> None:
        """Have every proof be one that was told before."""
        kept = self.liar.told[path]
        self.change(lambda _: msgspec.msgpack.decode(kept, type=Answered))


OBJECT = "/v1/namespaces/acme/objects/"


@pytest.fixture
def house() -> Iterator[House]:
    clock = ManualClock()
    with (
        holdfast.open(":memory:", clock=clock, upkeep=False) as store,
        Serving(store) as serving,
        Liar(serving.url) as liar,
    ):
        house = House(store, serving, liar, clock)
        yield house
        house.remote.close()


def refused(reason: str | None, call: Callable[[], object]) -> None:
    with pytest.raises(ProofInvalid) as caught:
        call()
    if reason is not None:
        assert caught.value.reason == reason


def test_the_liar_is_honest_where_it_does_not_lie(house: House) -> None:
    house.ns.put("a", b"1")
    assert house.ns.get("a") == b"1"
    house.change(lambda answered: answered)
    assert house.ns.get("a") == b"1"


def test_an_old_value_is_refused_by_who_has_seen_a_newer_root(house: House) -> None:
    house.inside.put("a", b"1")
    assert house.ns.get("a") == b"1"
    house.inside.put("b", b"2")
    path = f"{OBJECT}a"
    kept = house.liar.told[path]
    assert house.ns.get("b") == b"2"
    house.liar.told[path] = kept
    house.replay(path)
    refused("revision", lambda: house.ns.get("a"))
    refused("revision", lambda: house.ns.exists("a"))
    refused(None, lambda: house.ns.stat("a"))


def test_an_old_value_is_refused_by_anyone_once_it_is_five_minutes_old(house: House) -> None:
    house.inside.put("a", b"1")
    assert house.ns.get("a") == b"1"
    house.replay(f"{OBJECT}a")
    house.clock.advance(299 * SECOND_NS)
    with house.client() as new:
        assert new.namespace("acme").get("a") == b"1"
        house.clock.advance(2 * SECOND_NS)
        refused("age", lambda: new.namespace("acme").get("a"))


def test_a_wrong_value_is_refused(house: House) -> None:
    house.inside.put("a", b"1")
    house.change(lambda answered: msgspec.structs.replace(answered, value=b"2"))
    refused("value", lambda: house.ns.get("a"))
    refused("value", lambda: house.ns.get_many(["a"]))
    refused(None, lambda: house.ns.get("a", range=(0, 1)))


def test_a_hidden_key_is_refused(house: House) -> None:
    house.inside.put_many({"a": b"1", "b": b"2", "c": b"3"})
    house.change(lambda answered: msgspec.structs.replace(answered, value=None))
    refused("present", lambda: house.ns.get("a"))
    refused("present", lambda: house.ns.prove("a"))
    assert house.ns.exists("a")  # it goes by what is proved
    assert house.ns.prove("none").value is None
    house.replay(f"{OBJECT}none")
    refused(None, lambda: house.ns.exists("a"))
    refused(None, lambda: list(house.ns.list()))


def test_an_invented_key_is_refused(house: House) -> None:
    house.change(lambda answered: msgspec.structs.replace(answered, value=b"1"))
    refused("absent", lambda: house.ns.get("a"))
    refused("absent", lambda: house.ns.get("a", range=(0, 1)))
    house.liar.lie = lambda _, body: body
    with pytest.raises(NotFound):
        house.ns.get("a", range=(0, 1))


def test_the_proof_of_another_key_is_none(house: House) -> None:
    house.inside.put_many({"a": b"1", "b": b"1"})
    assert house.ns.get("a") == b"1"
    house.replay(f"{OBJECT}a")
    refused(None, lambda: house.ns.get("b"))
    refused(None, lambda: house.remote.namespace("other").get("a"))


def test_no_proof_is_none(house: House) -> None:
    house.inside.put("a", b"1")
    house.liar.lie = lambda _, __: b"1"
    refused("missing", lambda: house.ns.get("a"))
    refused("missing", lambda: list(house.ns.list()))


def test_a_list_leaves_nothing_out(house: House) -> None:
    house.inside.put_many({f"k{number:04d}": b"1" for number in range(1_500)})
    assert list(house.ns.list("k")) == [f"k{number:04d}" for number in range(1_500)]
    house.change(lambda answered: msgspec.structs.replace(answered, next=None))
    refused(None, lambda: list(house.ns.list("k")))  # the first page is not all
    house.change(lambda answered: msgspec.structs.replace(answered, next="k1400"))
    refused(None, lambda: list(house.ns.list("k")))
    for cursor in ("j", "z", "k"):
        house.change(partial(msgspec.structs.replace, next=cursor))
        refused("structure", lambda: list(house.ns.list("k", after="k0001")))


def test_what_stat_tells_is_what_is_proved(house: House) -> None:
    house.inside.put_many({"a": b"1", "dir/x": b"1"})
    house.ns.consumers("a").set(["one"])
    stat, entry = house.ns.stat("a"), next(iter(house.ns.entries()))
    assert stat == entry == house.inside.stat("a")
    assert not house.ns.stat("dir").terminal
    with pytest.raises(NotFound):
        house.ns.stat("no")
    told = house.liar.told
    lies = {
        "a": msgspec.json.encode(msgspec.structs.replace(stat, size=2)),
        "dir": told["/v1/namespaces/acme/stat/a"],
    }

    def lie(path: str, body: bytes) -> bytes:
        return lies.get(path.removeprefix("/v1/namespaces/acme/stat/"), body)

    house.liar.lie = lie
    for key in lies:
        with pytest.raises(Changed):
            house.ns.stat(key)


def test_parts_of_a_large_value_are_proved_by_themselves(house: House) -> None:
    value = patterned(5 * MIB + 17)
    house.inside.put("large", value)
    for span in ((0, 1), (MIB - 1, MIB + 1), (3 * MIB, 9 * MIB), (5 * MIB + 17, 6 * MIB), (7, 7)):
        assert house.ns.get("large", range=span) == value[slice(*span)]
    assert len(house.liar.told[f"{OBJECT}large"]) < 2 * MIB  # one part, not the whole
    with pytest.raises(InvalidValue):
        house.ns.get("large", range=(6 * MIB, 7 * MIB))
    with house.ns.open("large", "rb") as file:
        file.seek(4 * MIB + 5)
        assert file.read(100) == value[4 * MIB + 5 : 4 * MIB + 105]
    house.inside.put("empty", b"")
    assert house.ns.get("empty", range=(0, 9)) == b""


@pytest.mark.parametrize(
    "change",
    [
        lambda a: msgspec.structs.replace(a, value=a.value[:-1] + b"!"),
        lambda a: msgspec.structs.replace(a, value=a.value[MIB:] + a.value[:MIB]),
        lambda a: msgspec.structs.replace(a, value=a.value[:MIB]),
        lambda a: msgspec.structs.replace(a, value=a.value[:MIB], paths=a.paths[:1]),
        lambda a: msgspec.structs.replace(a, value=a.value[:-1]),
        lambda a: msgspec.structs.replace(a, first=a.first + 1),
        lambda a: msgspec.structs.replace(a, first=-1),
        lambda a: msgspec.structs.replace(a, first=a.first + 1, paths=a.paths[::-1]),
        lambda a: msgspec.structs.replace(a, paths=()),
        lambda a: msgspec.structs.replace(a, paths=tuple((*path, path[0]) for path in a.paths)),
        lambda a: msgspec.structs.replace(a, value=b"", paths=((),)),
        lambda a: msgspec.structs.replace(a, value=None),
    ],
)
def test_parts_that_are_others_are_refused(
    house: House, change: Callable[[Answered], Answered]
) -> None:
    house.inside.put("large", Random(1).randbytes(4 * MIB))
    house.change(change)
    refused(None, lambda: house.ns.get("large", range=(MIB, 3 * MIB)))


# -- histories --------------------------------------------------------------------------------


class Lives:
    """One store, and what became of copies of its folder; a client of whichever is served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen = folder / "seen"
        with holdfast.open(folder / "first") as store:
            store.namespace("acme").put("a", b"0")
            self.key = store.public_key()
            store.certifier.seal()

    def copy(self, name: str) -> None:
        shutil.copytree(self.folder / "first", self.folder / name)

    def write(self, name: str, count: int) -> None:
        with holdfast.open(self.folder / name) as store:
            for number in range(count):
                store.namespace("acme").put("a", b"%d of %d" % (number, count))
                store.certifier.seal()

    def read(self, name: str, *, remembers: bool = True) -> bytes:
        """What a new client, that has the file of the one before, is told."""
        with (
            holdfast.open(self.folder / name) as store,
            Serving(store) as serving,
            holdfast.connect(
                serving.url,
                token=serving.token(),
                public_key=self.key,
                seen=self.seen if remembers else None,
            ) as remote,
        ):
            return remote.namespace("acme").get("a")


def test_a_history_that_goes_on_is_believed(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    for count in (1, 3, 2):
        lives.write("first", count)
        assert lives.read("first") == b"%d of %d" % (count - 1, count)


def test_a_fork_is_seen(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    lives.copy("fork")
    lives.write("first", 2)
    lives.read("first")
    lives.write("fork", 9)  # its revisions are above all that was seen, its past is another
    assert lives.read("fork", remembers=False) == b"8 of 9"
    refused("fork", lambda: lives.read("fork"))
    assert lives.read("first") == b"1 of 2"


def test_a_fork_at_the_same_revision_is_seen(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    lives.copy("fork")
    lives.read("first")
    lives.write("fork", 1)
    lives.write("first", 1)
    lives.read("first")
    with holdfast.open(tmp_path / "first") as store:
        revision = store.certifier.last().root.revision
    while True:
        with holdfast.open(tmp_path / "fork") as store:
            if store.certifier.last().root.revision >= revision:
                break
            store.namespace("acme").put("a", b"!")
            store.certifier.seal()
    refused("fork", lambda: lives.read("fork"))


def test_a_folder_that_was_put_back_is_seen(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    lives.copy("kept")
    lives.write("first", 5)
    lives.read("first")
    refused("revision", lambda: lives.read("kept"))  # nobody said that it is restored
    lives.write("kept", 20)
    refused("fork", lambda: lives.read("kept"))


def test_a_declared_restore_is_believed_and_what_was_before_no_more(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    with holdfast.open(tmp_path / "first") as store:
        store.backup(tmp_path / "backup")
    lives.write("first", 5)
    lives.read("first")
    holdfast.restore(tmp_path / "backup", tmp_path / "again")
    for key in (tmp_path / "first").glob("signing-key*"):
        shutil.copy(key, tmp_path / "again")
    assert lives.read("again") == b"0"
    refused("revision", lambda: lives.read("first"))


def test_another_store_is_not_this_one(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    lives.read("first")
    with holdfast.open(tmp_path / "other") as store:
        store.namespace("acme").put("a", b"!")
    for key in (tmp_path / "first").glob("signing-key*"):
        shutil.copy(key, tmp_path / "other")
    with holdfast.open(tmp_path / "other") as store:
        for _ in range(9):
            store.namespace("acme").put("a", b"!")
            store.certifier.seal()
    refused("store", lambda: lives.read("other"))


def test_one_client_remembers_while_it_lives(tmp_path: Path) -> None:
    """The server behind the address is another one from one call to the next."""
    lives = Lives(tmp_path)
    lives.copy("fork")
    with (
        holdfast.open(tmp_path / "first") as honest,
        holdfast.open(tmp_path / "fork") as forked,
        Serving(honest) as first,
        Serving(forked) as second,
        Proxy(first.url) as proxy,
        holdfast.connect(proxy.url, token=first.token(), public_key=lives.key) as remote,
    ):
        ns: RemoteNamespace = remote.namespace("acme")
        for number in range(3):
            honest.namespace("acme").put("a", b"%d" % number)
            assert ns.get("a") == b"%d" % number
        for _ in range(9):
            forked.namespace("acme").put("a", b"!")
            forked.certifier.seal()
        proxy.retarget(second.url)
        proxy.cut()
        refused("fork", lambda: ns.get("a"))
        refused("fork", lambda: list(ns.list()))
        proxy.retarget(first.url)
        proxy.cut()
        assert ns.get("a") == b"2"


def test_what_is_no_memory_is_refused(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    lives.seen.write_bytes(b"{}")
    refused("encoding", lambda: lives.read("first"))
    with pytest.raises(InvalidValue, match="seen"):
        holdfast.connect("http://127.0.0.1:1", seen=tmp_path / "seen")


def test_the_asynchronous_client_is_not_lied_to_either(house: House) -> None:
    house.inside.put_many({"a": b"1", "b/c": b"2"})

    async def read() -> list[str]:
        async with holdfast.aconnect(
            house.liar.url,
            token=house.token,
            public_key=house.store.public_key(),
            clock=house.clock,
        ) as remote:
            ns = remote.namespace("acme")
            names = [name async for name in ns.list(recursive=False)]
            listed = await ns.prove_list()
            key = house.store.public_key()
            assert list(holdfast.verify_list("acme", "", listed.proof, public_key=key)) == [
                "a",
                "b/c",
            ]
            house.change(lambda answered: msgspec.structs.replace(answered, value=b"!"))
            with pytest.raises(ProofInvalid):
                await ns.get("a")
            return names

    assert asyncio.run(read()) == ["a", "b/"]
