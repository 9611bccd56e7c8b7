"""Tokens of an organisation's members, as a client of 0-stor shows them."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.identity.issuers import IssuerSettings
from holdfast.store.store import Store

ISSUER = "https://id.example"
KEY = ec.derive_private_key(9, ec.SECP384R1())
LABEL = "org_0stor_ns"
SCOPE = "user:memberof:org.0stor.ns"
RIGHTS = {
    "admin": SCOPE,
    "read": f"{SCOPE}.read",
    "write": f"{SCOPE}.write",
    "delete": f"{SCOPE}.delete",
    "all but admin": f"{SCOPE}.read {SCOPE}.write {SCOPE}.delete",
    "another's": "user:memberof:org.0stor.ns2",
    "no member's": "user:org.0stor.ns",
}
# Whether each of them may read, write, delete, administer.
MATRIX = {
    "admin": (True, True, True, True),
    "read": (True, False, False, False),
    "write": (False, True, False, False),
    "delete": (False, False, True, False),
    "all but admin": (True, True, True, False),
    "another's": (False, False, False, False),
    "no member's": (False, False, False, False),
}


def issuers(folder: Path) -> tuple[IssuerSettings, ...]:
    """The one issuer that is trusted."""
    key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": [{**key, "kid": "1", "alg": "ES384"}]}))
    return (IssuerSettings(ISSUER, "holdfast", str(path)),)


def member(store: Store, scope: str = SCOPE, *, life_s: int = 600) -> str:
    """A token of somebody whom the issuer knows."""
    now_s = store.clock.wall_ns() // 1_000_000_000
    claims = {"iss": ISSUER, "aud": "holdfast", "sub": "ann", "exp": now_s + life_s, "scope": scope}
    return jwt.encode(claims, KEY, algorithm="ES384", headers={"kid": "1"})
