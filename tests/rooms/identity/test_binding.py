"""A document that binds a store's signing key, and every way in which one does not."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner

import holdfast
from holdfast.certify import cose
from holdfast.cli.app import app
from holdfast.client import Attested
from holdfast.clock import SystemClock
from holdfast.errors import AttestationInvalid, InvalidValue, NotFound, ProofInvalid
from holdfast.identity.attestation import binds, key_of
from holdfast.testing import SeededEntropy
from holdfast.testing.authority import MockAuthority, image
from holdfast.testing.serving import Serving

NOW_NS = 1_700_000_000 * 10**9
AUTHORITY = MockAuthority(SeededEntropy(1), now_ns=NOW_NS)
STRANGER = MockAuthority(SeededEntropy(2), now_ns=NOW_NS)
KEY = cose.key_bytes(cose.public_key(b"\x01" * 32))
OTHER = cose.key_bytes(cose.public_key(b"\x02" + b"\x01" * 31))
DIGEST = sha256(KEY).digest()


def document(**fields: object) -> bytes:
    return AUTHORITY.document(NOW_NS, pcrs=image(7), **fields)


def reason_of(told: bytes, *, key: object = None, image_id: str | None = None) -> str | None:
    images = None if image_id is None else [image_id]
    try:
        bound = key_of(told, now_ns=NOW_NS, public_key=key, roots=AUTHORITY.roots, images=images)
    except AttestationInvalid as error:
        return str(error.facts["reason"])
    assert bound.public_key == KEY
    assert bound.attestation.timestamp_ns == NOW_NS
    return None


@pytest.mark.parametrize(
    ("fields", "key", "reason"),
    [
        ({"public_key": KEY}, None, None),
        ({"public_key": KEY}, KEY, None),
        ({"public_key": KEY[-32:]}, KEY, None),
        ({"user_data": DIGEST}, KEY, None),
        ({"user_data": DIGEST, "public_key": OTHER}, KEY, None),
        ({"user_data": DIGEST}, None, "key"),
        ({"public_key": OTHER}, KEY, "key"),
        ({"public_key": b"no key"}, None, "key"),
        ({"public_key": b"no key"}, KEY, "key"),
        ({"user_data": DIGEST + b"!"}, KEY, "key"),
        ({"user_data": DIGEST[:-1]}, KEY, "key"),
        ({"nonce": DIGEST}, KEY, "key"),
        ({}, KEY, "key"),
        ({}, None, "key"),
    ],
)
def test_a_document_binds_the_key_that_it_names(
    fields: dict[str, object], key: bytes | None, reason: str | None
) -> None:
    told = document(**fields)
    assert reason_of(told, key=key) == reason
    assert binds(told, KEY) == (reason is None or (key is None and "user_data" in fields))


def test_a_document_of_nobody_binds_nothing() -> None:
    told = document(public_key=KEY)
    (other,) = {key_of(told, now_ns=NOW_NS, roots=AUTHORITY.roots).attestation.image_id}
    assert reason_of(told, image_id=other) is None
    assert reason_of(told, image_id="0" * 64) == "image"
    assert reason_of(STRANGER.document(NOW_NS, pcrs=image(7), public_key=KEY)) == "root"
    assert reason_of(told[:-1] + bytes([told[-1] ^ 1])) == "signature"
    assert reason_of(b"") == "encoding"
    assert not binds(b"", KEY)
    with pytest.raises(InvalidValue, match="public_key"):
        key_of(told, now_ns=NOW_NS, public_key=b"", roots=AUTHORITY.roots)


def test_a_server_shows_the_document_of_its_own_key_alone(tmp_path: Path) -> None:
    file = tmp_path / "key.doc"
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.put("a", b"1")
        with Serving(store, key_document=str(file)) as serving:
            assert shown(serving) is None  # the enclave has not brought it yet
            for key in (OTHER, cose.key_bytes(cose.public_key(store.public_key()))):
                file.write_bytes(document(public_key=key))
                assert (shown(serving) is None) == (key == OTHER)
            told = shown(serving)
            assert told is not None
            bound = key_of(told, now_ns=NOW_NS, roots=AUTHORITY.roots)
            proof = acme.prove("a").proof
            holdfast.verify("acme", "a", b"1", proof, public_key=bound.public_key)
        store.rotate_key()
        for settings in ({"key_document": str(file)}, {}):
            with Serving(store, **settings) as serving:
                assert shown(serving) is None


def test_a_client_learns_the_key_from_the_document_and_believes_no_other(tmp_path: Path) -> None:
    file = tmp_path / "key.doc"
    now_ns = SystemClock().wall_ns()
    authority = MockAuthority(SeededEntropy(3), now_ns=now_ns)
    with holdfast.open(":memory:", upkeep=False) as store:
        store.namespace("acme").put("a", b"1")
        der = cose.key_bytes(cose.public_key(store.public_key()))
        ours = authority.document(now_ns, pcrs=image(7), public_key=der)
        made = key_of(ours, now_ns=now_ns, roots=authority.roots).attestation
        trusted = Attested([made.image_id], authority.roots)
        with Serving(store, key_document=str(file)) as serving:
            assert refusal(serving, trusted) == "key"  # it shows none
            file.write_bytes(ours)
            assert refusal(serving, Attested([made.image_id])) == "root"
            assert refusal(serving, Attested(["0" * 64], authority.roots)) == "image"
            token = serving.token()
            with holdfast.connect(serving.url, token=token, public_key=trusted) as remote:
                acme = remote.namespace("acme")
                assert acme.get("a") == b"1"
                store.rotate_key()  # the document is of the old key, and not asked for again
                store.namespace("acme").put("a", b"2")
                assert acme.get("a") == b"2"
                with pytest.raises(NotFound):
                    acme.get("b")


def refusal(serving: Serving, trusted: Attested) -> object:
    """Why a client believes nothing that it reads."""
    with holdfast.connect(serving.url, token=serving.token(), public_key=trusted) as remote:
        with pytest.raises(AttestationInvalid) as refused:
            remote.namespace("acme").get("a")
        return refused.value.facts["reason"]


def test_images_must_be_named_and_only_http_shows_documents() -> None:
    wrong: tuple[Collection[str], ...] = ([], "0" * 64)
    for images in wrong:
        with pytest.raises(InvalidValue, match="images"):
            Attested(images)
    with pytest.raises(InvalidValue, match="attested"):
        holdfast.connect("grpc://127.0.0.1:1", public_key=Attested(["0" * 64]))


def shown(serving: Serving) -> bytes | None:
    headers = {"Authorization": f"Bearer {serving.token()}"}
    with urlopen(Request(f"{serving.url}/v1/root", headers=headers)) as answer:  # noqa: S310
        told = json.load(answer)["attestation"]
    return None if told is None else b64decode(told)


def test_from_the_shell_a_document_takes_the_place_of_the_key(tmp_path: Path) -> None:
    now_ns = SystemClock().wall_ns()
    authority = MockAuthority(SeededEntropy(3), now_ns=now_ns)
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        store.namespace("acme").put("a", b"1")
        (tmp_path / "proof").write_bytes(store.namespace("acme").prove("a").proof)
        der = cose.key_bytes(cose.public_key(store.public_key()))
    (tmp_path / "value").write_bytes(b"1")
    (tmp_path / "root.pem").write_text(authority.pem)
    told = authority.document(now_ns, pcrs=image(7), public_key=der)
    image_id = key_of(told, now_ns=now_ns, roots=authority.roots).attestation.image_id
    (tmp_path / "good").write_bytes(told)
    (tmp_path / "bad").write_bytes(authority.document(now_ns, pcrs=image(7), public_key=OTHER))

    def ends(*words: str, name: str = "good", of: str = image_id) -> type | None:
        root = ("--attestation-root", str(tmp_path / "root.pem"), "--attestation-image", of)
        return ended(*words, "--attestation", str(tmp_path / name), *root)

    key = ("key", str(tmp_path / "data"))
    check = ("verify", str(tmp_path / "proof"), "acme", "a", str(tmp_path / "value"))
    assert (ends(*key), ends(*check)) == (None, None)
    assert ends(*key, name="bad") is AttestationInvalid
    assert ends(*check, name="bad") is ProofInvalid  # of a key, but of another store's
    assert ends(*check, of="0" * 64) is AttestationInvalid
    assert ended(*check) is SystemExit
    assert ended(*check, "--attestation", str(tmp_path / "good")) is SystemExit


def ended(*words: str) -> type | None:
    """What a command ended with, None where it did what it should."""
    error = CliRunner().invoke(app, words).exception
    return None if error is None else type(error)
