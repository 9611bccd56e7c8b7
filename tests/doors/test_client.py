"""The clients against a real server, over a network that fails: what is known is told."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import io
import ipaddress
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import holdfast
from holdfast.client import calls
from holdfast.client.async_store import AsyncRemoteNamespace, AsyncRemoteStore
from holdfast.client.files import RemoteReader
from holdfast.client.store import RemoteNamespace, RemoteStore
from holdfast.errors import (
    Busy,
    Changed,
    Closed,
    DeadlineExceeded,
    Forbidden,
    LimitExceeded,
    NotFound,
    OutcomeUnknown,
    Permanent,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance.base import patterned
from holdfast.testing.proxy import Proxy
from holdfast.testing.serving import Serving
from holdfast.wire.batch import Call, decode_results

pytestmark = pytest.mark.push
MIB = 1 << 20
HASTY_S = 2.0  # over what a busy machine keeps a request that is answered


class House(NamedTuple):
    """A store, a server, a network and a client."""

    store: holdfast.Store
    serving: Serving
    proxy: Proxy
    remote: RemoteStore

    @property
    def ns(self) -> RemoteNamespace:
        return self.remote.namespace("acme")

    @property
    def inside(self) -> holdfast.Namespace:
        return self.store.namespace("acme")

    def impatient(self) -> RemoteStore:
        """A client whose pauses pass at once, and with them its time: it waits for answers."""
        token = self.serving.token()
        return holdfast.connect(self.proxy.url, token=token, timeout=60, clock=ManualClock())


@pytest.fixture
def house() -> Iterator[House]:
    with (
        holdfast.open(":memory:") as store,
        Serving(store) as serving,
        Proxy(serving.url) as proxy,
        holdfast.connect(proxy.url, token=serving.token(), timeout=60) as remote,
    ):
        yield House(store, serving, proxy, remote)


@pytest.mark.parametrize("name", ["check", "collect", "rebuild", "backup"])
def test_what_takes_its_time_is_one_step(house: House, tmp_path: Path, name: str) -> None:
    """The arguments of the embedded face; the server tells nothing before its end."""
    embedded, folder = signature(getattr(Store, name)), tmp_path / "copy"
    arguments = (folder,) if name == "backup" else ()
    progress = holdfast.Progress(7, 7)
    getattr(house.remote, name)(*arguments, progress=progress)
    assert progress == holdfast.Progress(1, 1)
    with pytest.raises(holdfast.InvalidValue):
        getattr(house.remote, name)(*arguments, progress=7)
    if name == "backup":
        with pytest.raises(holdfast.InvalidValue):
            house.remote.backup(folder, progress=progress)
        assert progress == holdfast.Progress(0, 1)
    for face in (RemoteStore, AsyncRemoteStore):
        assert list(signature(getattr(face, name)).parameters) == list(embedded.parameters)


def test_what_takes_its_time_is_one_step_on_the_loop(house: House) -> None:
    async def main() -> None:
        progress = holdfast.Progress()
        async with holdfast.aconnect(house.proxy.url, token=house.serving.token()) as remote:
            assert (await remote.check(progress=progress)).ok
        assert progress == holdfast.Progress(1, 1)

    asyncio.run(main())


# -- what is lost on the way ------------------------------------------------------------------


def test_a_write_whose_answer_is_lost_is_asked_again_and_applied_once(house: House) -> None:
    house.proxy.lose_answers(3)
    assert house.ns.append("log", b"x") == 1
    assert house.inside.get("log") == b"x"


def test_a_write_that_is_never_answered_may_have_happened_and_says_so(house: House) -> None:
    with house.impatient() as hasty:
        ns = hasty.namespace("acme")
        ns.put("warm", b"1")
        house.proxy.lose_answers(1_000)
        with pytest.raises(OutcomeUnknown) as caught:
            ns.append("log", b"x")
    assert caught.value.effect == "unknown"
    assert house.inside.get("log") == b"x"  # not twice


def test_a_read_whose_answer_is_lost_is_asked_again(house: House) -> None:
    house.ns.put("a", b"1")
    house.proxy.lose_answers(3)
    assert house.ns.get("a") == b"1"
    assert list(house.ns.list()) == ["a"]


@pytest.mark.parametrize("error", [Unavailable(), Busy(), RateLimited()])
def test_what_a_batch_of_reads_could_not_have_is_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch, error: holdfast.HoldfastError
) -> None:
    """One bucket of many was between two processes, or behind with its charges."""
    house.ns.put_many([("a", b"1"), ("b", b"2")])

    def decoded(body: bytes, told: list[Call]) -> list[object]:
        return [*decode_results(body, told)[:-1], error]

    monkeypatch.setattr(calls, "decode_results", decoded)
    assert house.ns.get_many(["a", "b"]) == [b"1", b"2"]
    assert house.ns.get_many(["a", "absent"]) == [b"1", None]


def test_a_batch_is_asked_again_and_applied_once(house: House) -> None:
    house.ns.put("a", b"1")
    house.proxy.lose_answers(1)
    assert house.ns.get_many(["a", "b"]) == [b"1", None]
    house.proxy.lose_answers(2)
    pairs = [(f"k{number}", b"1") for number in range(2_500)]
    receipts = house.ns.put_many(pairs, if_absent=True)
    assert [house.inside.stat(key).version for key, _ in pairs] == [r.version for r in receipts]
    house.proxy.lose_answers(1)
    atomic = house.ns.put_many([("b", b"1"), ("c", b"1")], atomic=True, if_absent=True)
    assert [receipt.key for receipt in atomic] == ["b", "c"]


def test_a_batch_that_is_never_answered_says_from_where_on(house: House) -> None:
    with house.impatient() as hasty:
        hasty.namespace("acme").put("warm", b"1")
        house.proxy.lose_answers(1_000)
        with pytest.raises(OutcomeUnknown) as caught:
            hasty.namespace("acme").put_many([("b", b"1"), ("c", b"1")])
    assert caught.value.index == 0


def test_a_session_that_a_restore_ended_is_followed_by_another(
    house: House, tmp_path: Path
) -> None:
    """A client goes on where the server behind its address has another life of the store."""
    house.ns.put("a", b"1")
    house.store.backup(tmp_path / "backup")
    holdfast.restore(tmp_path / "backup", tmp_path / "data")
    with holdfast.open(tmp_path / "data") as other, Serving(other) as again:
        house.proxy.retarget(again.url)
        house.proxy.cut()
        with holdfast.connect(house.proxy.url, token=again.token()) as remote:
            old = house.remote._line.numbers.find(1)
            assert old is not None
            for _ in range(2):
                remote._line.numbers.add(old.session)
                assert remote.namespace("acme").append("log", b"x")
                remote._line.numbers.lose(None)
                remote._line.numbers.add(old.session)
                assert len(remote.namespace("acme").put_many([("b", b"1"), ("c", b"1")])) == 2
        assert other.namespace("acme").get("log") == b"xx"


def test_a_server_that_comes_back_is_found_again(house: House) -> None:
    house.ns.put("a", b"1")
    house.proxy.cut()
    assert house.ns.get("a") == b"1"
    hasty = house.impatient()
    house.serving.__exit__(None, None, None)
    with hasty:
        with pytest.raises((Unavailable, OutcomeUnknown)):
            hasty.namespace("acme").put("b", b"1")
        with pytest.raises((Unavailable, DeadlineExceeded)):
            hasty.namespace("acme").get("b")
    with Serving(house.store) as again:
        house.proxy.retarget(again.url)
        assert house.ns.get("a") == b"1"
        house.ns.put("b", b"2")
        assert house.inside.get("b") == b"2"


def test_a_slow_answer_is_late_for_reads_and_unknown_for_writes(house: House) -> None:
    house.ns.put("a", b"1")
    house.proxy.delay_s = 3 * HASTY_S
    with holdfast.connect(house.proxy.url, token=house.serving.token(), timeout=HASTY_S) as hasty:
        with pytest.raises(DeadlineExceeded) as caught:
            hasty.namespace("acme").put("a", b"2")  # there is no session yet: nothing was sent
        with pytest.raises(DeadlineExceeded) as caught:
            hasty.namespace("acme").get("a")
        assert caught.value.effect == "none"
        house.proxy.delay_s = 0
        stored(hasty.namespace("acme"))
        house.proxy.delay_s = 3 * HASTY_S
        with pytest.raises(OutcomeUnknown):
            sent(hasty.namespace("acme"))


def stored(ns: RemoteNamespace) -> None:
    """Put something, again where the machine takes longer than the client waits."""
    for _ in range(30):
        with contextlib.suppress(DeadlineExceeded, OutcomeUnknown):
            ns.put("b", b"1")
            return
    raise AssertionError("it is never in time")


def sent(ns: RemoteNamespace) -> None:
    """Put something, again where the machine let pass the time before it was sent."""
    for _ in range(3):
        with contextlib.suppress(DeadlineExceeded):
            ns.put("a", b"2")
            return


@pytest.mark.parametrize("outbox", [False, True])
def test_put_soon_is_stored_once_and_in_order_whatever_is_lost(
    house: House,
    tmp_path: Path,
    outbox: bool,  # noqa: FBT001 - given by name
) -> None:
    path = tmp_path / "out" if outbox else None
    with holdfast.connect(
        house.proxy.url, token=house.serving.token(), outbox=path, timeout=60
    ) as remote:
        ns = remote.namespace("acme")
        for step in range(100):
            if step % 9 == 0:
                house.proxy.lose_answers(2)
            if step % 25 == 0:
                house.proxy.cut()
            ns.put_soon(f"k{step % 3}", b"%d" % step)
        assert flushed(remote) == []
    assert house.inside.get_many(["k0", "k1", "k2"]) == [b"99", b"97", b"98"]


def flushed(remote: RemoteStore) -> list[str]:
    while True:
        try:
            return [letter.code for letter in remote.flush()]
        except (Unavailable, DeadlineExceeded):
            continue


def test_an_outbox_goes_on_where_a_client_ended(house: House, tmp_path: Path) -> None:
    token, path = house.serving.token(), tmp_path / "out"
    house.proxy.refusing = True
    with holdfast.connect(house.proxy.url, token=token, outbox=path, timeout=0.2) as remote:
        for step in range(10):
            remote.namespace("acme").put_soon("k", b"%d" % step)
        with pytest.raises((Unavailable, DeadlineExceeded)):
            remote.flush()
    assert not house.inside.exists("k")
    house.proxy.refusing = False
    with holdfast.connect(house.proxy.url, token=token, outbox=path) as remote:
        assert flushed(remote) == []
        assert remote.namespace("acme").get("k") == b"9"


def test_dead_letters_outlive_their_client(house: House, tmp_path: Path) -> None:
    house.inside.put("p", b"kept", permanent=True)
    token, path = house.serving.token(), tmp_path / "out"
    with holdfast.connect(house.proxy.url, token=token, outbox=path) as remote:
        remote.namespace("acme").put_soon("p", b"lost")
        assert flushed(remote) == ["permanent"]
    with holdfast.connect(house.proxy.url, token=token, outbox=path) as remote:
        assert [letter.code for letter in remote.dead_letters()] == ["permanent"]
        assert remote.flush() == []


def test_what_is_queued_waits_for_a_bound_on_requests(house: House) -> None:
    """It is stored a little later; what the bound refuses for now is no dead letter."""
    house.inside.configure(requests_per_s=1)
    token = house.serving.token()
    with holdfast.connect(house.serving.url, token=token) as remote:
        acme = remote.namespace("acme")
        with pytest.raises(LimitExceeded):
            [acme.exists("k") for _ in range(9)]
        remote.namespace("acme").put_soon("k", b"1")
        assert flushed(remote) == []
    assert house.inside.get("k") == b"1"


# -- streams ------------------------------------------------------------------------------------


def test_a_large_file_is_written_and_read_a_piece_at_a_time(house: House) -> None:
    value = patterned(11 * MIB + 7)
    with house.ns.open("large", "wb") as file:
        for at in range(0, len(value), 300_000):
            file.write(value[at : at + 300_000])
    assert house.inside.get("large") == value
    with house.ns.open("large", "rb") as file:
        assert file.seek(-100, io.SEEK_END) == len(value) - 100
        assert file.read(1000) == value[-100:]
        with pytest.raises(ValueError, match="whence"):
            file.seek(0, 9)
        file.seek(5 * MIB - 3)
        assert file.read(10) == value[5 * MIB - 3 : 5 * MIB + 7]
        file.seek(0)
        assert b"".join(iter(lambda: file.read(777_777), b"")) == value


def test_lines_of_a_file(house: House) -> None:
    lines = [b"%d " % number + b"-" * (number * 97) + b"\n" for number in range(400)]
    house.ns.put("a", b"".join(lines))
    with house.ns.open("a") as file:
        assert isinstance(file, RemoteReader)
        assert file.readline() + file.readline() == lines[0] + lines[1]
        assert file.tell() == len(lines[0] + lines[1])
        assert list(file) == lines[2:]
    for call in (file.peek, file.tell, file.read, lambda: file.seek(0)):
        with pytest.raises(Closed):
            call()


def test_a_large_file_that_is_replaced_is_never_a_mixture(house: House) -> None:
    house.ns.put("large", patterned(9 * MIB, 1))
    with house.ns.open("large", "rb") as file:
        file.read(10)
        house.ns.put("large", patterned(9 * MIB, 2))
        file.seek(8 * MIB)
        with pytest.raises(Changed):
            file.read(10)


def write_on(file: io.RawIOBase, count: int) -> None:
    file.writelines(bytes(MIB) for _ in range(count))
    file.close()


def test_an_upload_that_breaks_stores_nothing_and_is_known_to(house: House) -> None:
    house.ns.put("a", b"old")
    file = house.ns.open("a", "wb")
    for _ in range(20):  # 4 MiB wait at most: so some of it has gone through the network
        file.write(bytes(MIB))
    house.proxy.cut()
    with pytest.raises(Unavailable) as caught:
        write_on(file, 100)
    assert caught.value.effect == "none"
    assert house.inside.get("a") == b"old"
    file.close()


def test_an_upload_that_is_refused_says_why(house: House) -> None:
    house.inside.put("p", b"kept", permanent=True)
    file = house.ns.open("p", "wb")
    with pytest.raises(Permanent):
        write_on(file, 40)
    assert house.inside.get("p") == b"kept"


def test_a_file_that_nobody_closed_stores_nothing(house: House) -> None:
    file = house.ns.open("a", "wb")
    file.write(bytes(2 * MIB))
    del file
    assert not house.inside.exists("a")


# -- who asks, and where ---------------------------------------------------------------------------


def test_who_is_nobody_gets_nothing(house: House) -> None:
    house.ns.put("a", b"1")
    for token in (None, "not-a-token"):
        with (
            holdfast.connect(house.serving.url, token=token) as remote,
            pytest.raises(Unauthenticated),
        ):
            remote.namespace("acme").get("a")


def test_rights_end_where_they_were_given(house: House) -> None:
    house.ns.put("a", b"1")
    token = house.serving.token("acme", ("read",))
    with holdfast.connect(house.serving.url, token=token) as remote:
        assert remote.namespace("acme").get("a") == b"1"
        assert remote.namespaces() == ["acme"]
        for call in (
            lambda: remote.namespace("acme").put("a", b"2"),
            lambda: remote.namespace("other").get("a"),
            remote.status,
        ):
            with pytest.raises(Forbidden):
                call()
        assert remote.flush() == []


def test_a_socket_of_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with holdfast.open(":memory:") as store, Serving(store, unix_socket=str(path)) as serving:
        with holdfast.connect(f"unix:{path}", token=serving.token()) as remote:
            remote.namespace("acme").put("a", b"1")
        assert store.namespace("acme").get("a") == b"1"


def test_under_tls_the_server_is_held_to_its_name(tmp_path: Path) -> None:
    cert, key = authority(tmp_path)
    with (
        holdfast.open(":memory:") as store,
        Serving(store, tls_cert=str(cert), tls_key=str(key)) as serving,
    ):
        token = serving.token()
        assert serving.url.startswith("https://")
        with holdfast.connect(serving.url, token=token, ca=cert) as remote:
            remote.namespace("acme").put("a", b"1")
            assert remote.namespace("acme").get("a") == b"1"
        with holdfast.connect(
            serving.url, token=token, timeout=60, clock=ManualClock()
        ) as trusting:
            with pytest.raises(Unavailable) as caught:
                trusting.namespace("acme").get("a")
            assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value.cause)


def authority(folder: Path) -> tuple[Path, Path]:
    """A certificate that vouches for itself on the loopback, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(built.public_bytes(pem))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, plain))
    return folder / "cert.pem", folder / "key.pem"


# -- asyncio ------------------------------------------------------------------------------------


def test_many_tasks_at_once(house: House) -> None:
    async def main() -> None:
        url, token = house.serving.url, house.serving.token()
        async with holdfast.aconnect(url, token=token) as remote:
            ns = remote.namespace("acme")
            await asyncio.gather(*(ns.put(f"k{at:03d}", b"%d" % at) for at in range(200)))
            values = await asyncio.gather(*(ns.get(f"k{at:03d}") for at in range(200)))
            assert values == [b"%d" % at for at in range(200)]
            assert [key async for key in ns.list(limit=3)] == ["k000", "k001", "k002"]
        with pytest.raises(Closed):
            await ns.get("k000")

    asyncio.run(main())


async def give_up(ns: AsyncRemoteNamespace, value: bytes) -> None:
    async with ns.open("half", "wb") as file:
        await file.write(value)
        raise ZeroDivisionError


def test_files_locks_and_the_queue_of_a_loop(house: House, tmp_path: Path) -> None:
    async def main() -> None:
        url, token = house.serving.url, house.serving.token()
        async with holdfast.aconnect(url, token=token, outbox=tmp_path / "out") as remote:
            ns = remote.namespace("acme")
            value = patterned(5 * MIB + 3)
            async with ns.open("large", "wb") as file:
                await file.write(value)
            async with ns.open("large", "rb") as file:
                await file.seek(5 * MIB)
                assert await file.read() == value[5 * MIB :]
            with pytest.raises(ZeroDivisionError):
                await give_up(ns, value)
            with pytest.raises(NotFound):
                await ns.get("half")
            async with ns.lock("a") as lock:
                await ns.put("a", b"1", fence=lock.fence)
            await ns.put_soon("b", b"2")
            assert await remote.flush() == []
            assert await ns.get("b") == b"2"

    asyncio.run(main())


def test_a_cancelled_call_leaves_the_client_usable(house: House) -> None:
    async def main() -> None:
        async with holdfast.aconnect(house.proxy.url, token=house.serving.token()) as remote:
            ns = remote.namespace("acme")
            await ns.put("a", b"1")
            house.proxy.delay_s = HASTY_S
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ns.get("a"), 0.05)
            house.proxy.delay_s = 0
            assert await ns.get("a") == b"1"

    asyncio.run(main())


# -- letting others in -------------------------------------------------------------------------


def test_links_and_published_prefixes_over_the_wire(house: House) -> None:
    house.ns.put("open/a", b"for anyone")
    house.ns.put("shut/a", b"for one")
    link = house.ns.share("shut/a", ttl="1h", uses=2)
    path, _, grant = link.partition("?grant=")
    assert path.endswith("/v1/namespaces/acme/objects/shut/a")
    assert grant
    with holdfast.connect(house.serving.url, token=grant) as guest:
        assert guest.namespace("acme").get("shut/a") == b"for one"
        with pytest.raises(Forbidden):
            guest.namespace("acme").get("open/a")
    house.ns.publish("open/")
    house.ns.publish("open/")
    assert list(house.ns.published()) == ["open/"]
    with holdfast.connect(house.serving.url) as anyone:
        assert anyone.namespace("acme").get("open/a") == b"for anyone"
        with pytest.raises(Unauthenticated):
            anyone.namespace("acme").get("shut/a")
    house.ns.unpublish("open/")
    assert list(house.ns.published()) == []
