"""The verifier of clients/js and the one in Python say the same of every proof, good or bad."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import holdfast
from holdfast.certify import cose, leaf, roots, verify
from holdfast.certify.cose import PublicKey
from holdfast.certify.parts import Parts
from holdfast.errors import ProofInvalid
from tests.house.source import ROOT
from tests.rooms.certify.making import KEY, NOW_NS, OTHER, PUBLIC, STORE, Shelf, Thing
from tests.rooms.certify.test_soundness import TAMPERINGS, TRUE, Claim

LEAST = 20  # the first version whose WebCrypto knows Ed25519 and is there unasked


def node() -> str | None:
    """Where a node that can run the verifier is, or None."""
    found = shutil.which("node")
    if found is None:
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    major = told.strip().removeprefix("v").partition(".")[0]
    return found if major.isdigit() and int(major) >= LEAST else None


NODE = node()
VERIFIER = ROOT / "clients" / "js" / "verify.mjs"
JUDGE = Path(__file__).parent / "judge.mjs"
Case = dict[str, object]

pytestmark = [
    pytest.mark.push,
    pytest.mark.skipif(NODE is None, reason="there is no node on this machine"),
]


def pem(key: PublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def case(claim: Claim, key: PublicKey = PUBLIC) -> Case:
    return {
        "namespace": claim.namespace,
        "name": claim.key,
        "value": None if claim.value is None else b64encode(claim.value).decode(),
        "proof": b64encode(claim.proof).decode(),
        "key": pem(key),
        "nowMs": NOW_NS // 1_000_000,
    }


def list_case(shelf: Shelf, prefix: str) -> Case:
    claim = Claim("acme", "", None, shelf.prove_list("acme", prefix))
    return case(claim) | {"prefix": prefix}


def judged(cases: list[Case], folder: Path) -> list[object]:
    """What the verifier under node says of each."""
    file = folder / "cases.json"
    file.write_text(json.dumps(cases))
    assert NODE is not None
    done = subprocess.run(
        [NODE, str(JUDGE), str(VERIFIER), str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said: list[object] = json.loads(done.stdout)
    return said


def reason_of(claim: Claim) -> str | None:
    try:
        claim.check()
    except ProofInvalid as error:
        return str(error.reason)
    return None


def test_what_is_true_convinces_both(tmp_path: Path) -> None:
    large = Shelf({"acme": {"large": Thing(bytes(5 << 19) + b"end")}})
    claims = [*TRUE, Claim("acme", "large", large.things["acme"]["large"].value, b"")]
    claims[-1].proof = large.prove("acme", "large")
    assert judged([case(claim) for claim in claims], tmp_path) == [None] * len(claims)


def test_both_say_the_same_of_what_was_tampered_with(tmp_path: Path) -> None:
    chance = random.Random(5)
    claims = [chance.choice(TAMPERINGS)(chance, chance.choice(TRUE)) for _ in range(1_500)]
    said = judged([case(claim) for claim in claims], tmp_path)
    assert said == [reason_of(claim) for claim in claims]
    assert None not in said


def test_lists_are_complete_for_both(tmp_path: Path) -> None:
    things = {f"{letter}{number}": Thing(b"x") for letter in "abc" for number in range(30)}
    things["b7"] = Thing(b"gone", expires_ns=NOW_NS)
    shelf = Shelf({"acme": things}, {"acme": ("a3", "b", "b5")})
    prefixes = ["", "a", "b", "b1", "nothing", "é"]
    wanted = [
        sorted(key for key in things if key.startswith(one) and key != "b7") for one in prefixes
    ]
    assert judged([list_case(shelf, prefix) for prefix in prefixes], tmp_path) == wanted
    short = list_case(shelf, "a") | {"prefix": ""}
    assert judged([short], tmp_path) == ["unknown"]


def test_keys_of_every_kind_convince_both(tmp_path: Path) -> None:
    cases = []
    for curve in (ec.SECP256R1(), ec.SECP384R1()):
        key = ec.derive_private_key(11, curve)
        shelf = replace(Shelf({"acme": {"a": Thing(b"1")}}), key=key)
        claim = Claim("acme", "a", b"1", shelf.prove("acme", "a"))
        cases += [case(claim, key.public_key()), case(claim)]
        over = roots.hand_over(STORE, 7, key.public_key(), KEY)
        shown = shelf.witness("acme", "a", b"a\x00")
        handed = verify.encode_proof(shelf.signed(), [over], shown)
        cases.append(case(Claim("acme", "a", b"1", handed)))
        before = roots.hand_over(STORE, 6, PUBLIC, OTHER)
        longer = verify.encode_proof(shelf.signed(), [before, over], shown)
        cases += [
            case(Claim("acme", "a", b"1", longer), trusted)
            for trusted in (OTHER.public_key(), PUBLIC, key.public_key())
        ]
    assert judged(cases, tmp_path) == [None, "algorithm", None, None, None, None] * 2


def parts_case(key: str, held: Parts, proof: bytes, public: PublicKey = PUBLIC) -> Case:
    paths = [[b64encode(hashed).decode() for hashed in path] for path in held.paths]
    told = {"first": held.first, "data": b64encode(held.data).decode(), "paths": paths}
    return case(Claim("acme", key, None, proof), public) | {"parts": told}


def test_parts_that_a_store_proves_convince_both(tmp_path: Path) -> None:
    """Ranges of values of many sizes, proved by a store; then the same with something wrong."""
    part = leaf.PART_BYTES
    cases, wanted = [], []
    with holdfast.open(":memory:", upkeep=False) as store:
        acme, public = store.namespace("acme"), cose.public_key(store.public_key())
        for size in (0, 5, part, part + 1, 3 * part, 6 * part + 17):
            acme.put("large", random.Random(size).randbytes(size))
            for span in ((0, 1), (size // 2, size // 2 + part), (max(0, size - 1), size)):
                some = acme.get("large", range=span, prove=True)
                held = Parts(some.first, some.value or b"", some.paths)
                other = Parts(held.first, held.data[:-1] + b"?", held.paths)
                moved = Parts(held.first + 1, held.data, held.paths)
                short = Parts(held.first, held.data, [path[:-1] for path in held.paths])
                for one in (held, other, moved, short):
                    cases.append(parts_case("large", one, some.proof, public) | {"real": True})
                    wanted.append(parts_reason(one, some.proof, public))
    assert None in wanted
    assert {"parts", "value"} <= {*wanted}
    assert judged(cases, tmp_path) == wanted


def parts_reason(held: Parts, proof: bytes, public: PublicKey) -> str | None:
    try:
        verify.verify_parts("acme", "large", held, proof, public_key=public)
    except ProofInvalid as error:
        return str(error.reason)
    return None


def test_pages_that_a_store_proves_convince_both(tmp_path: Path) -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        acme, public = store.namespace("acme"), cose.public_key(store.public_key())
        acme.put_many({f"a/{number:03d}": b"x" for number in range(50)} | {"b": b"x", "a": b"x"})
        cases, wanted, after = [], [], None
        while after != "":
            page = store.certifier.prove_page("acme", "a/", after=after, limit=7)
            one = case(Claim("acme", "", None, page.proof), public) | {"real": True}
            cases.append(one | {"prefix": "a/", "after": after, "until": page.next})
            found = verify.verify_list(
                "acme", "a/", page.proof, public_key=public, after=after, until=page.next
            )
            wanted.append(list(found))
            after = page.next or ""
    assert [key for keys in wanted for key in keys] == [f"a/{number:03d}" for number in range(50)]
    broken = [one | {"until": None} for one in cases[:1]] + [
        one | {"after": None} for one in cases[1:]
    ]
    said_of = judged([*cases, *broken], tmp_path)
    assert said_of[: len(cases)] == wanted
    assert said_of[len(cases) :] == ["unknown"] * len(broken)
