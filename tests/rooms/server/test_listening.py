"""Where a server listens, and with which guard."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.errors import InvalidValue
from holdfast.server.listeners import bind
from holdfast.server.settings import Settings
from holdfast.server.worker import Orders, listeners_of
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import OBJECTS, Raw


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """A certificate of its own for 127.0.0.1: its file, and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begun = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begun)
        .not_valid_after(begun + dt.timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(cert), str(private)


def test_strangers_are_not_served_without_tls() -> None:
    with pytest.raises(InvalidValue):
        bind(Settings(host="0.0.0.0", port=0))  # noqa: S104 - that is the point
    (listener,) = bind(Settings(host="0.0.0.0", port=0, insecure=True))  # noqa: S104
    listener.close()


def test_an_address_that_is_taken_is_told() -> None:
    (first,) = bind(Settings(port=0))
    first.socket.listen()
    port = first.socket.getsockname()[1]
    try:
        with pytest.raises(InvalidValue) as caught:
            bind(Settings(port=port))
        assert caught.value.facts["argument"] == "port"
    finally:
        first.close()


def test_what_the_system_refuses_is_named(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere" / "socket")
    for settings, argument in (
        (Settings(host="203.0.113.1", port=0, insecure=True), "host"),
        (Settings(port=0, unix_socket=nowhere), "unix_socket"),
    ):
        with pytest.raises(InvalidValue) as caught:
            bind(settings)
        assert caught.value.facts["argument"] == argument


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    (tmp_path / "linked").symlink_to(notes)
    (tmp_path / "folder").mkdir()
    for name in ("notes.txt", "linked", "folder"):
        with pytest.raises(InvalidValue) as caught:
            bind(Settings(port=0, unix_socket=str(tmp_path / name)))
        assert caught.value.facts["argument"] == "unix_socket"
        assert caught.value.facts["reason"] == "there, and no socket"
    assert notes.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "linked", "notes.txt"]


def test_a_socket_that_nobody_listens_on_any_more_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    for listener in bind(Settings(port=0, unix_socket=str(path))):
        assert path.is_socket()
        listener.close()
    assert not path.exists()


def test_a_server_that_ends_leaves_what_another_put_at_the_name(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listeners = bind(Settings(port=0, unix_socket=str(path)))
    (tmp_path / "another").write_text("mine")
    (tmp_path / "another").rename(path)
    for listener in listeners:
        listener.close()
    assert path.read_text() == "mine"


def test_a_worker_speaks_tls_where_it_was_asked_for(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "a")
    settings = Settings(tls_cert=cert, tls_key=key)
    bound = [socket.socket(), socket.socket(socket.AF_UNIX)]
    orders = Orders(
        root="",
        whole="",
        index=0,
        parts=(),
        listen=tuple(one.detach() for one in bound),
        urls=("https://127.0.0.1:1", "unix:/socket"),
        bounds="",
        settings=settings,
        sync="always",
        bucket_bytes=0,
    )
    listeners = listeners_of(orders)
    assert [one.tls is not None for one in listeners] == [True, False]
    for one in listeners:
        one.close()


def test_tls_is_spoken(serve: Serve, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "a")
    serving = serve(tls_cert=cert, tls_key=key)
    host, _, port = serving.url.removeprefix("https://").rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cert)
    context.check_hostname = False
    with (
        socket.create_connection((host, int(port)), timeout=60) as connected,
        context.wrap_socket(connected) as wrapped,
    ):
        raw = Raw(wrapped, serving.token())
        large = bytes(3 << 20)
        assert raw.ask("PUT", OBJECTS + "a", large).status == 200
        assert raw.ask("GET", OBJECTS + "a").body == large
        refused = raw.request("PUT", OBJECTS + "b").replace(b"Length: 0", b"Length: 99999999999999")
        raw.say(refused)
        assert raw.hear().status == 413
        assert raw.rest() == b""


def test_a_certificate_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path, "a")
    _, other = certificate(tmp_path, "b")
    for settings in (
        Settings(port=0, tls_cert=cert),
        Settings(port=0, tls_cert=cert, tls_key=other),
        Settings(port=0, tls_cert="/nowhere", tls_key=other),
    ):
        with pytest.raises(InvalidValue):
            bind(settings)
