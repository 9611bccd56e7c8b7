"""Tokens: what they say comes back, and every way to bend one is refused by its reason."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from holdfast.engines.memory import MemoryDisk
from holdfast.errors import (
    Forbidden,
    InvalidExpiry,
    InvalidNamespace,
    InvalidValue,
    LimitExceeded,
    Unauthenticated,
)
from holdfast.identity import jws
from holdfast.identity.issuers import (
    Issuer,
    IssuerSettings,
    issuer_of,
    key_from_pem,
    keys_from_jwks,
)
from holdfast.identity.keys import SigningKey, signing_key
from holdfast.identity.tokens import Tokens
from holdfast.limits import TOKEN_CHARS, TOKEN_TTL_S, TOKENS_CACHED
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.values import Grant, Principal
from tests.rooms.access.tenancies import DictRecords

STORE = "5e" * 16
US = f"urn:holdfast:{STORE}"
THEM = "https://id.example"
NOW_S = 1_700_000_000
READ = Grant("acme", ("read",))
SCOPE = "user:memberof:org.0stor.ns.read"

ED = Ed25519PrivateKey.from_private_bytes(b"7" * 32)
P256 = ec.derive_private_key(7, ec.SECP256R1())
P384 = ec.derive_private_key(7, ec.SECP384R1())


class House:
    """A store's tokens, a clock to move, and issuers with keys at hand."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_S * 1_000_000_000)
        self.records = DictRecords()
        self.key = signing_key(MemoryDisk(), ".", SeededEntropy(1))
        self.tokens = self.opened()

    def opened(self) -> Tokens:
        """The tokens of the same store, as another process finds them."""
        keys = [(ED, "ed"), (P256, "p256"), (P384, "p384")]
        issuer = Issuer(THEM, "holdfast", tuple(public(key, kid) for key, kid in keys))
        return Tokens(
            self.key,
            STORE,
            clock=self.clock,
            entropy=SeededEntropy(2),
            records=self.records,
            issuers=[issuer, Issuer("https://one.example", "holdfast", (public(P384, None),))],
        )

    def refusal(self, token: object) -> str:
        with pytest.raises(Unauthenticated) as told:
            self.tokens.verify(token)  # type: ignore[arg-type] # a caller may hand in anything
        return str(told.value.reason)

    def own(self, **changes: Any) -> str:  # noqa: ANN401 - claims
        """A token of the store with some claims changed, or taken out by None."""
        claims: dict[str, Any] = {
            "iss": US,
            "aud": US,
            "sub": "ci",
            "jti": "ab" * 16,
            "iat": NOW_S,
            "exp": NOW_S + 60,
            "knd": "token",
            "grants": [{"namespace": "acme", "rights": ["read"]}],
        } | changes
        kept = {name: claim for name, claim in claims.items() if claim is not None}
        return jws.signed(json.dumps(kept).encode(), self.key.private, self.key.id)


@pytest.fixture
def house() -> House:
    return House()


def public(key: Any, kid: str | None) -> jws.VerifyingKey:  # noqa: ANN401 - of three kinds
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key_from_pem(pem, kid)


def theirs(key: Any = ED, alg: str = "EdDSA", kid: str | None = "ed", **changes: Any) -> str:  # noqa: ANN401
    """A token of the trusted issuer, signed by an independent library."""
    claims = {
        "iss": THEM,
        "aud": "holdfast",
        "sub": "ann",
        "iat": NOW_S,
        "exp": NOW_S + 60,
        "scope": SCOPE,
    } | changes
    kept = {name: claim for name, claim in claims.items() if claim is not None}
    return jwt.encode(kept, key, algorithm=alg, headers={"kid": kid} if kid else None)


def bent(header: object, payload: object = None, signature: bytes = b"") -> str:
    parts = (
        json.dumps(header).encode(),
        json.dumps(payload or {"iss": US, "aud": US, "exp": NOW_S}).encode(),
        signature,
    )
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


# -- what they say ---------------------------------------------------------------------


def test_a_token_says_who_and_what(house: House) -> None:
    made = house.tokens.mint("ci", [READ, Grant("b", ("write",), prefix="x/", uses=3)], 60)
    found = house.tokens.verify(made.token)
    assert found == Principal("token", "ci", made.grants, made.id, (NOW_S + 60) * 1_000_000_000)
    assert house.opened().verify(made.token) == found


def test_an_independent_library_reads_them(house: House) -> None:
    token = house.tokens.issue("ci", [READ], 60)
    assert jwt.get_unverified_header(token) == {
        "alg": "EdDSA",
        "kid": house.key.id,
        "typ": "JWT",
    }
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(
        token, house.key.public_pem(), algorithms=["EdDSA"], audience=US, options=options
    )
    assert (claims["iss"], claims["sub"], claims["exp"]) == (US, "ci", NOW_S + 60)


@pytest.mark.parametrize(
    ("key", "alg", "kid"), [(ED, "EdDSA", "ed"), (P256, "ES256", "p256"), (P384, "ES384", "p384")]
)
def test_trusted_issuers_are_believed_by_each_algorithm(
    house: House, key: object, alg: str, kid: str
) -> None:
    found = house.tokens.verify(theirs(key, alg, kid, jti="7"))
    assert (found.kind, found.name, found.credential) == ("token", f"{THEM}#ann", f"{THEM}#7")
    assert found.grants == (Grant("org_0stor_ns", ("read",)),)


def test_an_issuer_with_one_key_need_not_name_it(house: House) -> None:
    token = theirs(P384, "ES384", None, iss="https://one.example")
    assert house.tokens.verify(token).name == "https://one.example#ann"
    assert house.refusal(theirs(ED, "EdDSA", None)) == "key"


def test_foreign_claims_that_look_like_ours_decide_nothing(house: House) -> None:
    grants = [{"namespace": "acme", "rights": ["admin"]}]
    found = house.tokens.verify(
        theirs(grants=grants, knd="operator", via=7, scope=["other", SCOPE])
    )
    assert found.kind == "token"
    assert found.grants == (Grant("org_0stor_ns", ("read",)),)


def test_an_issuer_speaks_for_its_own_namespaces(house: House) -> None:
    issuer = Issuer(THEM, "holdfast", (public(ED, "ed"),), ("org_0stor_other",))
    house.tokens.trust([issuer])
    token = theirs(scope="org.0stor.ns org.0stor.other.write org.0stor")
    assert house.tokens.verify(token).grants == (Grant("org_0stor_other", ("write",)),)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"aud": None}, "ann"),
        ({"aud": "else"}, "ann"),
        ({"sub": None, "aud": None, "username": "bob"}, "bob"),
        ({"sub": None, "aud": None, "azp": "app"}, "app"),
        ({"username": "bob"}, "ann"),
    ],
)
def test_an_issuer_may_be_trusted_whose_tokens_are_for_nobody_in_particular(
    house: House, changes: dict[str, Any], name: str
) -> None:
    house.tokens.trust([Issuer(THEM, "*", (public(ED, "ed"),))])
    assert house.tokens.verify(theirs(**changes)).name == f"{THEM}#{name}"
    nobody = theirs(sub=None, aud=None)
    assert house.refusal(nobody) == "claims"
    house.tokens.trust([Issuer(THEM, "holdfast", (public(ED, "ed"),))])
    assert house.refusal(theirs(sub=None, username="bob")) == "claims"


# -- every way to bend one -------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": None}, "claims"),
        ({"exp": "soon"}, "claims"),
        ({"exp": True}, "claims"),
        ({"exp": -1}, "claims"),
        ({"exp": 1 << 70}, "claims"),
        ({"exp": NOW_S}, "expired"),
        ({"iat": NOW_S + 61}, "not_yet"),
        ({"nbf": NOW_S + 61}, "not_yet"),
        ({"aud": None}, "claims"),
        ({"aud": "else"}, "audience"),
        ({"aud": ["else", "holdfast2"]}, "audience"),
        ({"aud": []}, "audience"),
        ({"iss": None}, "claims"),
        ({"iss": "https://else.example"}, "issuer"),
        ({"iss": US, "aud": US}, "key"),
        ({"sub": None}, "claims"),
        ({"sub": ""}, "claims"),
        ({"sub": 7}, "claims"),
        ({"scope": {"a": 1}}, "claims"),
    ],
)
def test_foreign_claims_are_checked(house: House, changes: dict[str, Any], reason: str) -> None:
    try:
        token = theirs(**changes)
    except TypeError:  # the library refuses to make it; we make it ourselves
        token = jws.signed(
            json.dumps({"iss": THEM, "aud": "holdfast", "exp": NOW_S + 60} | changes).encode(),
            ED,
            "ed",
        )
    assert house.refusal(token) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"knd": "root"}, "claims"),
        ({"knd": None}, "claims"),
        ({"jti": ""}, "claims"),
        ({"jti": "AB" * 16}, "claims"),
        ({"grants": None}, "claims"),
        ({"grants": [{"namespace": "acme", "rights": ["everything"]}]}, "claims"),
        ({"grants": [{"namespace": "acme", "rights": ["read"], "narrower": 1}]}, "claims"),
        ({"narrower": 1}, "claims"),
        ({"aud": "urn:holdfast:else"}, "audience"),
        ({"exp": NOW_S}, "expired"),
        ({"exp": None}, "claims"),
        ({"iat": NOW_S + 61}, "not_yet"),
    ],
)
def test_own_claims_are_checked(house: House, changes: dict[str, object], reason: str) -> None:
    assert house.tokens.verify(house.own()).name == "ci"
    assert house.refusal(house.own(**changes)) == reason


def test_the_algorithm_is_the_keys(house: House) -> None:
    pem = P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    own = {"alg": "none", "kid": house.key.id}
    assert house.refusal(bent(own)) == "algorithm"
    assert house.refusal(bent({**own, "alg": "nOnE"})) == "algorithm"
    assert house.refusal(bent({"kid": house.key.id})) == "malformed"
    # A public key is no shared secret: HS256 over the PEM, as the classic confusion has it.
    shared = jwt.encode({"iss": THEM}, b"x" * 32, algorithm="HS256", headers={"kid": "p256"})
    claims = {"iss": THEM, "aud": "holdfast", "sub": "ann", "exp": NOW_S + 60}
    assert house.refusal(bent({"alg": "HS256", "kid": "p256"}, claims, pem)) == "algorithm"
    assert house.refusal(shared) in {"algorithm", "claims"}
    assert house.refusal(theirs(P384, "ES384", "p256")) == "algorithm"
    assert house.refusal(theirs(P256, "ES256", "ed")) == "algorithm"
    assert house.refusal(theirs(ED, "EdDSA", "p384")) == "algorithm"


def test_keys_that_a_token_brings_are_not_looked_at(house: House) -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(b"8" * 32)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "a"}
    for extra in ({"jwk": jwk}, {"jku": "https://evil.example"}, {"x5c": ["a"]}):
        headers = {"kid": "ed", **extra}
        token = jwt.encode({"iss": THEM}, stranger, algorithm="EdDSA", headers=headers)
        assert house.refusal(token) in {"signature", "claims"}
    assert house.refusal(theirs(stranger)) == "signature"
    assert house.refusal(theirs(kid="p521")) == "key"
    assert house.refusal(theirs(kid="")) == "key"


@pytest.mark.parametrize(
    "token",
    [
        None,
        7,
        b"a.b.c",
        "",
        "a.b",
        "a.b.c.d",
        "..",
        "ä.b.c",
        "e30.e30.",
        "e30=.e30.e30",
        "eyJ9 .e30.e30",
        "{}.e30.e30",
        bent({"alg": "EdDSA", "crit": ["b64"], "b64": False}),
        bent({"alg": "EdDSA", "b64": False}),
        bent({"alg": "EdDSA", "crit": []}),
        bent([]),
        bent({"alg": 7}),
        urlsafe_b64encode(b"\xff\xfe").decode() + ".e30.e30",
    ],
)
def test_what_is_no_token_is_malformed(house: House, token: object) -> None:
    assert house.refusal(token) == "malformed"


def test_a_huge_token_is_not_read(house: House) -> None:
    assert house.refusal("a" * (TOKEN_CHARS + 1)) == "too_long"
    assert house.refusal("." * TOKEN_CHARS) == "malformed"
    assert house.refusal(theirs(more="x" * TOKEN_CHARS)) == "too_long"
    deep = "[" * 3000 + "]" * 3000
    token = ".".join([*bent({"alg": "EdDSA"}).split(".")[:1], jws.encoded(deep.encode()), ""])
    assert house.refusal(token) == "claims"


def test_a_token_has_one_spelling(house: House) -> None:
    token = house.own()
    head, payload, signature = token.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same = [one for one in last if one != signature[-1]]
    for other in [f"{head}.{payload}.{signature[:-1]}{one}" for one in same]:
        assert house.refusal(other) in {"malformed", "signature"}
    for other in (f" {token}", f"{token}\n", f"{token}=", token.replace(".", "..", 1)):
        assert house.refusal(other) == "malformed"


def test_p1363_signatures_of_other_lengths_are_refused(house: House) -> None:
    head, payload, signature = theirs(P256, "ES256", "p256").split(".")
    raw = jws.decoded(signature)
    for other in (raw[:-1], raw + b"\0", b"", b"\0" + raw[:32] + b"\0" + raw[32:], b"\0" * 64):
        assert house.refusal(f"{head}.{payload}.{jws.encoded(other)}") == "signature"


@pytest.mark.push
def test_no_flipped_bit_is_accepted(house: House) -> None:
    """20,000 flips over tokens of each algorithm; each is refused, by a reason of the list."""
    tokens = [
        house.own(),
        theirs(),
        theirs(P256, "ES256", "p256"),
        theirs(P384, "ES384", "p384"),
    ]
    for token in tokens:
        house.tokens.verify(token)
    flips = 0
    for token in tokens:
        raw = token.encode()
        for step in range(5_000):
            at = step * 7919 % (len(raw) * 8)
            flipped = bytearray(raw)
            flipped[at // 8] ^= 1 << at % 8
            with pytest.raises(Unauthenticated):
                house.tokens.verify(flipped.decode("latin-1"))
            flips += 1
    assert flips == 20_000


# -- time, and what is kept ----------------------------------------------------------------


def test_expiry_is_looked_at_on_every_use(house: House) -> None:
    token = house.tokens.issue("ci", [READ], 60)
    for _ in range(2):
        house.tokens.verify(token)
    house.clock.advance(59_900_000_000)
    house.tokens.verify(token)
    house.clock.advance(100_000_000)
    assert house.refusal(token) == "expired"


def test_nothing_that_was_refused_is_kept(house: House) -> None:
    for token in (theirs(aud="else"), house.own(exp=NOW_S), "a.b.c"):
        for _ in range(2):
            house.refusal(token)
    assert not house.tokens._cache


def test_the_cache_is_bounded(house: House) -> None:
    many = [house.own(jti=f"{number:032x}") for number in range(TOKENS_CACHED + 3)]
    for token in many:
        house.tokens.verify(token)
    assert len(house.tokens._cache) == TOKENS_CACHED
    assert many[-1] in house.tokens._cache
    assert many[0] not in house.tokens._cache


def test_revoked_is_revoked_at_once_and_after_opening_again(house: House) -> None:
    made = house.tokens.mint("ci", [READ], 60)
    foreign = theirs(jti="7")
    house.tokens.verify(made.token)
    house.tokens.verify(foreign)
    assert house.tokens.revoke(made.id) is True
    assert house.tokens.revoke(f"{THEM}#7") is False  # of an issuer's nothing is noted
    assert house.refusal(made.token) == house.refusal(foreign) == "revoked"
    house.tokens = house.opened()
    assert house.refusal(made.token) == house.refusal(foreign) == "revoked"
    assert [(one.id, one.revoked) for one in house.tokens.issued()] == [(made.id, True)]


def test_another_process_hears_of_it(house: House) -> None:
    made = house.tokens.mint("ci", [READ], 60)
    house.tokens.verify(made.token)
    house.opened().revoke(made.id)
    house.tokens.reload()
    assert house.refusal(made.token) == "revoked"


def test_a_list_that_was_read_before_does_not_undo_it(house: House) -> None:
    made = house.tokens.mint("ci", [READ], 60)
    read = house.records.list

    def slow(prefix: str) -> list[tuple[str, bytes]]:
        found = read(prefix)
        house.records.list = read  # type: ignore[method-assign]
        house.tokens.revoke(made.id)  # by another thread, while the list is on its way
        return found

    house.records.list = slow  # type: ignore[method-assign]
    house.tokens.reload()
    assert house.refusal(made.token) == "revoked"


def test_a_short_life_is_not_rounded_up(house: House) -> None:
    house.clock.advance(700_000_000)
    made = house.tokens.mint("ci", [READ], 1.5)
    house.clock.advance(1_499_000_000)
    assert house.tokens.verify(made.token).until_ns == made.until_ns
    house.clock.advance(1_000_000)
    assert house.refusal(made.token) == "expired"


def test_what_was_handed_on_ends_with_what_it_came_from(house: House) -> None:
    first = house.tokens.mint("first", [READ], 60)
    second = house.tokens.mint("second", [READ], 600, by=house.tokens.verify(first.token))
    third = house.tokens.mint("third", [READ], 10, by=house.tokens.verify(second.token))
    assert second.until_ns == first.until_ns
    for _ in range(100):  # whatever the fraction of a second
        house.clock.advance(7_001_003)
        whole = house.tokens.mint("whole", [READ], 60)
        handed = house.tokens.mint("part", [READ], 600, by=house.tokens.verify(whole.token))
        assert house.tokens.verify(handed.token).until_ns == handed.until_ns == whole.until_ns
    house.tokens.verify(third.token)
    house.tokens.revoke(first.id)
    assert house.refusal(third.token) == house.refusal(second.token) == "revoked"


def test_a_chain_of_hands_has_an_end(house: House) -> None:
    made = house.tokens.mint("0", [READ], 60)
    for number in range(8):
        made = house.tokens.mint(str(number), [READ], 60, by=house.tokens.verify(made.token))
    last = house.tokens.verify(made.token)
    with pytest.raises(Forbidden) as told:
        house.tokens.mint("one too many", [READ], 60, by=last)
    assert told.value.reason == "lineage"


def test_revocations_of_tokens_that_ended_long_ago_go(house: House) -> None:
    made = house.tokens.mint("ci", [READ], 60)
    house.tokens.revoke(made.id)
    house.tokens.revoke("f" * 32)  # nothing is known of it, so it stays
    house.clock.advance(8 * 86_400_000_000_000)
    house.tokens = house.opened()
    assert [key for key, _ in house.records.list("revoked/")] == ["revoked/" + "f" * 32]


# -- what cannot be issued -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "name", "grants", "ttl_s"),
    [
        (InvalidValue, "", [READ], 60),
        (InvalidValue, "a#b", [READ], 60),
        (InvalidValue, "a\nb", [READ], 60),
        (InvalidValue, "a" * 129, [READ], 60),
        (InvalidValue, "a", [], 60),
        (InvalidExpiry, "a", [READ], 0),
        (InvalidExpiry, "a", [READ], -1),
        (InvalidExpiry, "a", [READ], float("nan")),
        (InvalidExpiry, "a", [READ], 1e12),
        (InvalidNamespace, "a", [Grant("a b", ("read",))], 60),
        (InvalidNamespace, "a", [Grant("", ("read",))], 60),
        (InvalidValue, "a", [Grant("acme", ())], 60),
        (InvalidValue, "a", [Grant("acme", ("root",))], 60),  # type: ignore[arg-type]
        (InvalidValue, "a", [Grant("acme", ("read",), prefix="x" * 1025)], 60),
        (InvalidValue, "a", [Grant("acme", ("read",), operations=("fly",))], 60),
        (InvalidValue, "a", [Grant("acme", ("read",), networks=("10.0.0.1/8",))], 60),
        (InvalidValue, "a", [Grant("acme", ("read",), networks=("nonsense",))], 60),
        (InvalidValue, "a", [Grant("acme", ("read",), uses=0)], 60),
        (InvalidValue, "a", [Grant("acme", ("read",), bytes_max=-1)], 60),
        (InvalidValue, "a", [Grant("acme", ("read",), key="")], 60),
        (LimitExceeded, "a", [Grant("acme", ("read",), prefix="x" * 1000)] * 9, 60),
    ],
)
def test_what_is_no_grant_is_not_signed(  # noqa: PLR0917 - the columns of the table
    house: House, error: type[Exception], name: str, grants: list[Grant], ttl_s: float
) -> None:
    with pytest.raises(error):
        house.tokens.issue(name, grants, ttl_s)
    assert not house.records.held


def test_a_token_that_would_last_too_long_names_the_bound(house: House) -> None:
    with pytest.raises(InvalidExpiry) as refused:
        house.tokens.issue("a", [READ], TOKEN_TTL_S + 1)
    assert (refused.value.limit, refused.value.most) == ("TOKEN_TTL_S", TOKEN_TTL_S)


# -- keys and issuers ------------------------------------------------------------------------


def test_the_key_is_made_once_and_shows_nowhere() -> None:
    disk = MemoryDisk()
    made = signing_key(disk, ".", SeededEntropy(1))
    assert signing_key(disk, ".", SeededEntropy(2)).id == made.id
    assert signing_key(MemoryDisk(), ".", SeededEntropy(2)).id != made.id
    assert disk.list(".") == ["signing-key.pem"]
    assert repr(made) == f"SigningKey('{made.id}')"
    assert b"PRIVATE" not in made.public_pem()


def jwk(key: Any, **more: str) -> dict[str, str]:  # noqa: ANN401
    return {**json.loads(jwk_text(key)), **more}


def jwk_text(key: Any) -> str:  # noqa: ANN401
    if isinstance(key, Ed25519PrivateKey):
        return jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key())
    return jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())


def test_a_jwks_is_read() -> None:
    keys = [jwk(ED, kid="a"), jwk(P256, kid="b", alg="ES256", use="sig"), jwk(P384)]
    read = keys_from_jwks(json.dumps({"keys": keys}).encode())
    assert [(key.id, key.algorithm) for key in read] == [
        ("a", "EdDSA"),
        ("b", "ES256"),
        (None, "ES384"),
    ]


BAD_JWKS: list[Callable[[], object]] = [
    list,
    lambda: {"keys": []},
    lambda: {"keys": [jwk(ED, kid="a"), jwk(P256, kid="a")]},
    lambda: {"keys": [jwk(P256, alg="ES384")]},
    lambda: {"keys": [jwk(P256, use="enc")]},
    lambda: {"keys": [jwk(P256, crv="P-384")]},
    lambda: {"keys": [jwk(P256, crv="secp256k1")]},
    lambda: {"keys": [jwk(P256, kty="RSA")]},
    lambda: {"keys": [jwk(P256, y="AAAA")]},
    lambda: {"keys": [jwk(P256, x="!")]},
    lambda: {"keys": [jwk(ED, x="AAAA")]},
    lambda: {"keys": [{"kty": "oct", "k": "AAAA"}]},
]


@pytest.mark.parametrize("document", BAD_JWKS)
def test_a_jwks_that_cannot_be_meant_is_refused(document: Callable[[], object]) -> None:
    with pytest.raises(InvalidValue):
        keys_from_jwks(json.dumps(document()).encode())


def test_keys_of_other_kinds_are_refused() -> None:
    weak = rsa.generate_private_key(65537, 2048).public_key()
    k1 = ec.derive_private_key(7, ec.SECP521R1()).public_key()
    for key in (weak, k1):
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(InvalidValue):
            key_from_pem(pem)
    with pytest.raises(InvalidValue):
        key_from_pem(b"nonsense")


def pem_of(key: Any) -> str:  # noqa: ANN401
    public_key = key.public_key()
    return str(public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def test_a_configuration_tells_of_issuers(house: House) -> None:
    files = {"keys.json": json.dumps({"keys": [jwk(P384, kid="c")]}).encode()}
    settings = IssuerSettings(THEM, "holdfast", "keys.json", {"ed": pem_of(ED), "": pem_of(P256)})
    house.tokens.trust([issuer_of(settings, files.__getitem__)])
    for token in (theirs(), theirs(P384, "ES384", "c")):
        assert house.tokens.verify(token).name == f"{THEM}#ann"
    for bad in (
        IssuerSettings(THEM, "holdfast"),
        IssuerSettings(THEM, "holdfast", "keys.json", {"c": pem_of(ED)}),
        IssuerSettings(THEM, "holdfast", None, {"c": "nonsense"}),
    ):
        with pytest.raises(InvalidValue):
            issuer_of(bad, files.__getitem__)


def test_an_issuer_has_one_name(house: House) -> None:
    keys = (public(ED, None),)
    for issuers in (
        [Issuer(US, "a", keys)],
        [Issuer("", "a", keys)],
        [Issuer("x", "", keys)],
        [Issuer("x", "a", keys)] * 2,
    ):
        with pytest.raises(InvalidValue):
            house.tokens.trust(issuers)
    assert house.tokens.verify(theirs()).name == f"{THEM}#ann"


def test_issuers_that_are_trusted_no_more(house: House) -> None:
    house.tokens.verify(theirs())
    house.tokens.trust([])
    assert house.refusal(theirs()) == "issuer"


def test_another_stores_token_is_nobodys(house: House) -> None:
    other = Tokens(
        SigningKey(ED), "77" * 16, clock=house.clock, entropy=SeededEntropy(3), records=None
    )
    assert house.refusal(other.issue("ci", [READ], 60)) == "issuer"
    imposing = Tokens(
        SigningKey(ED), STORE, clock=house.clock, entropy=SeededEntropy(3), records=None
    )
    assert house.refusal(imposing.issue("ci", [READ], 60)) == "key"
    with pytest.raises(InvalidValue):
        imposing.revoke("ab" * 16)
