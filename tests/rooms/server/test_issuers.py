"""Tokens of a trusted issuer at the door: its organisations' namespaces, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.errors import InvalidValue
from holdfast.identity.issuers import IssuerSettings
from holdfast.store.store import Store
from holdfast.testing.serving import Serving
from holdfast.values import Grant
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import Raw

Dial = Callable[[Serving], Raw]
THEM = "https://id.example"
KEY = ec.derive_private_key(9, ec.SECP384R1())
PHOTOS = "/v1/namespaces/acme_0stor_photos/objects/a"


@pytest.fixture
def jwks(tmp_path: Path) -> str:
    key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [{**key, "kid": "1", "alg": "ES384"}]}))
    return str(path)


def token(store: Store, scope: str, *, life_s: int = 60) -> str:
    now_s = store.clock.wall_ns() // 1_000_000_000
    claims = {"iss": THEM, "aud": "holdfast", "sub": "ann", "exp": now_s + life_s, "scope": scope}
    return jwt.encode(claims, KEY, algorithm="ES384", headers={"kid": "1"})


def test_scopes_open_the_organisations_namespace(
    serve: Serve, connect: Dial, store: Store, jwks: str
) -> None:
    raw = connect(serve(issuers=(IssuerSettings(THEM, "holdfast", jwks),)))
    raw.token = token(store, "user:memberof:acme.0stor.photos")
    assert raw.ask("PUT", PHOTOS, b"1").status == 200
    assert raw.ask("GET", "/v1/namespaces/acme/objects/a").status == 403
    raw.token = token(store, "user:memberof:acme.0stor.photos.read openid")
    assert raw.ask("GET", PHOTOS).body == b"1"
    assert raw.ask("PUT", PHOTOS, b"2").status == 403
    raw.token = token(store, "openid")
    assert raw.ask("GET", PHOTOS).status == 403
    grant = Grant("acme_0stor_photos", ("read",))
    store.access.set_grants("acme_0stor_photos", [(f"user:{THEM}#ann", grant)])
    assert raw.ask("GET", PHOTOS).body == b"1"
    raw.token = token(store, "user:memberof:acme.0stor.photos", life_s=-1)
    assert raw.ask("GET", PHOTOS).status == 401


def test_without_the_setting_nobody_else_is_believed(
    serve: Serve, connect: Dial, store: Store
) -> None:
    raw = connect(serve())
    raw.token = token(store, "user:memberof:acme.0stor.photos")
    told = raw.ask("GET", PHOTOS)
    assert (told.status, json.loads(told.body)["facts"]["reason"]) == (401, "issuer")


def test_a_server_does_not_start_on_keys_that_it_cannot_read(store: Store, jwks: str) -> None:
    for issuer in (
        IssuerSettings(THEM, "holdfast", f"{jwks}.absent"),
        IssuerSettings(THEM, "holdfast"),
    ):
        with pytest.raises(InvalidValue):
            Serving(store, issuers=(issuer,))
