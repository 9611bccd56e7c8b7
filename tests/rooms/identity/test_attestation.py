"""Documents: public ones judged as known, and every mistake that an authority of ours can sign."""

from __future__ import annotations

import hashlib
from typing import Any

import cbor2
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.errors import AttestationInvalid, InvalidValue
from holdfast.identity.attestation import AWS, FUTURE_S, verify
from holdfast.identity.attestation.document import DOCUMENT_BYTES
from holdfast.limits import SECOND_NS
from holdfast.testing.authority import AUTHORITIES, LEAF, MockAuthority, image
from holdfast.testing.clock import SeededEntropy
from tests.rooms.identity import vectors

NOW_NS = 1_700_000_000 * SECOND_NS
HOUR_NS = 3600 * SECOND_NS
AUTHORITY = MockAuthority(SeededEntropy(1), now_ns=NOW_NS)


def reason_of(document: object, authority: MockAuthority = AUTHORITY, **options: object) -> str:
    """Why it is refused; "" where it is accepted."""
    told: dict[str, Any] = {"now_ns": NOW_NS, "roots": authority.roots, **options}
    try:
        verify(document, **told)  # type: ignore[arg-type]
    except AttestationInvalid as error:
        return str(error.reason)
    return ""


def minted(level: int, **wrong: object) -> MockAuthority:
    """An authority with one certificate made otherwise; level 4 is the leaf."""
    plans = list(AUTHORITIES)
    leaf = LEAF
    if level == len(plans):
        leaf = msgspec.structs.replace(LEAF, **wrong)
    else:
        plans[level] = msgspec.structs.replace(plans[level], **wrong)
    return MockAuthority(SeededEntropy(2), now_ns=NOW_NS, authorities=tuple(plans), leaf=leaf)


# -- public documents -----------------------------------------------------------------


def test_the_root_is_the_published_one() -> None:
    digests = [hashlib.sha256(root).hexdigest() for root in AWS]
    assert digests == ["641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"]


@vectors.needed
@pytest.mark.parametrize("name", sorted(vectors.IMAGES))
@pytest.mark.parametrize("age_s", [0, 299.5, 300])
def test_a_document_of_aws_verifies_while_it_is_fresh(name: str, age_s: float) -> None:
    signed_ns = vectors.SIGNED_NS[name]
    found = verify(vectors.document(name), now_ns=signed_ns + round(age_s * SECOND_NS))
    assert (found.image_id, found.timestamp_ns) == (vectors.IMAGES[name], signed_ns)
    assert found.module_id.startswith("i-")
    assert found.ends_ns > signed_ns


@vectors.needed
def test_the_fields_of_a_document_are_told_as_they_are() -> None:
    found = verify(vectors.document("vera_good"), now_ns=vectors.SIGNED_NS["vera_good"])
    assert (len(found.nonce or b""), len(found.user_data or b"")) == (32, 32)
    assert found.public_key is None
    assert sorted(found.pcrs) == list(range(16))


@vectors.needed
@pytest.mark.parametrize(
    ("name", "later_s", "reason"),
    [
        ("vera_badsig", 0, "signature"),
        ("ev_debug", 0, "debug"),
        ("ev_valid", 301, "stale"),
        ("ev_valid", 3 * 3600 + 1, "expired"),
        ("ev_valid", -60, "future"),
        ("ev_valid", 3 * 365 * 86400, "expired"),
    ],
)
def test_a_document_of_aws_is_refused_with_its_reason(name: str, later_s: int, reason: str) -> None:
    now_ns = vectors.SIGNED_NS[name] + later_s * SECOND_NS
    assert reason_of(vectors.document(name), now_ns=now_ns, roots=AWS) == reason


@vectors.needed
def test_stored_evidence_is_judged_at_its_own_time() -> None:
    now_ns = vectors.SIGNED_NS["ev_valid"] + 10**9 * SECOND_NS
    found = verify(vectors.document("ev_valid"), now_ns=now_ns, max_age_s=None)
    assert found.image_id == vectors.IMAGES["ev_valid"]
    for name, reason in (("vera_badsig", "signature"), ("ev_debug", "debug")):
        judged = reason_of(vectors.document(name), now_ns=now_ns, max_age_s=None, roots=AWS)
        assert judged == reason


# -- an authority of our own ----------------------------------------------------------


def test_a_minted_document_verifies() -> None:
    document = AUTHORITY.document(
        NOW_NS, pcrs=image(3), nonce=b"n", public_key=b"k", user_data=b"u"
    )
    found = verify(document, now_ns=NOW_NS, roots=AUTHORITY.roots)
    assert (found.nonce, found.public_key, found.user_data) == (b"n", b"k", b"u")
    assert found.pcrs == image(3)
    content = b"".join(image(3)[index] for index in range(3)) + bytes(48)
    assert found.image_id == hashlib.sha256(bytes.fromhex("00010007") + content).hexdigest()


def test_the_custom_register_is_part_of_the_image() -> None:
    plain, zero, other = (
        verify(
            AUTHORITY.document(NOW_NS, pcrs=image(3) | more), now_ns=NOW_NS, roots=AUTHORITY.roots
        )
        for more in ({}, {16: bytes(48)}, {16: b"x" * 48})
    )
    assert plain.image_id == zero.image_id != other.image_id


def test_registers_beyond_the_image_do_not_name_it() -> None:
    plain, other = (
        verify(
            AUTHORITY.document(NOW_NS, pcrs=image(3) | more), now_ns=NOW_NS, roots=AUTHORITY.roots
        )
        for more in ({}, {3: b"r" * 48, 8: b"s" * 48})
    )
    assert plain.image_id == other.image_id


def test_a_root_of_our_own_is_trusted_only_where_it_is_named() -> None:
    document = AUTHORITY.document(NOW_NS)
    assert reason_of(document) == ""
    assert reason_of(document, roots=AWS) == "root"
    assert reason_of(document, roots=()) == "root"
    assert reason_of(document, roots=(*AWS, AUTHORITY.root)) == ""


def test_an_impostor_of_the_root_is_refused() -> None:
    """The pinned root in the bundle, and below it a chain that another key signed."""
    impostor = MockAuthority(SeededEntropy(9), now_ns=NOW_NS)
    bundle = [AUTHORITY.root, *impostor.cabundle[1:]]
    assert reason_of(impostor.document(NOW_NS, cabundle=bundle)) == "chain"


def test_another_leaf_under_a_right_chain_is_refused() -> None:
    other = MockAuthority(SeededEntropy(9), now_ns=NOW_NS)
    assert reason_of(other.document(NOW_NS, cabundle=AUTHORITY.cabundle)) == "chain"
    assert reason_of(other.document(NOW_NS, certificate=AUTHORITY.certificate)) == "root"
    document = other.document(
        NOW_NS, cabundle=AUTHORITY.cabundle, certificate=AUTHORITY.certificate
    )
    assert reason_of(document) == "signature"


@pytest.mark.parametrize(
    "order",
    [[0, 2, 1, 3], [0, 1, 3], [0], [0, 1, 2, 3, 3], [0, 1, 1, 2, 3]],
    ids=["reordered", "one left out", "root alone", "last twice", "one twice"],
)
def test_a_bundle_in_another_order_is_refused(order: list[int]) -> None:
    bundle = [AUTHORITY.cabundle[index] for index in order]
    assert reason_of(AUTHORITY.document(NOW_NS, cabundle=bundle)) == "chain"


def test_a_bundle_without_the_root_in_front_is_refused() -> None:
    assert reason_of(AUTHORITY.document(NOW_NS, cabundle=AUTHORITY.cabundle[1:])) == "root"
    assert reason_of(AUTHORITY.document(NOW_NS, cabundle=AUTHORITY.cabundle[::-1])) == "root"


def test_an_empty_bundle_makes_no_leaf_its_own_root() -> None:
    assert reason_of(AUTHORITY.document(NOW_NS, cabundle=[])) == "encoding"


WRONG_CERTIFICATES: dict[str, tuple[int, dict[str, object]]] = {
    "an authority that is none": (2, {"ca": False}),
    "constraints that are not critical": (2, {"constraints_critical": False}),
    "usage that is not critical": (2, {"usage_critical": False}),
    "no right to sign certificates": (2, {"signs_certificates": False}),
    "too short a path": (1, {"path_length": 1}),
    "too short a path at the root": (0, {"path_length": 2}),
    "a critical extension": (2, {"extra": True}),
    "another curve": (2, {"curve": ec.SECP256R1()}),
    "another digest": (2, {"digest": hashes.SHA256()}),
    "a leaf that is an authority": (4, {"ca": True}),
    "a leaf whose constraints are not critical": (4, {"constraints_critical": False}),
    "a leaf that may not sign": (4, {"signs": False}),
    "a leaf with a critical extension": (4, {"extra": True}),
    "a leaf of another digest": (4, {"digest": hashes.SHA256()}),
}


@pytest.mark.parametrize("case", WRONG_CERTIFICATES)
def test_a_chain_with_one_wrong_certificate_is_refused(case: str) -> None:
    level, wrong = WRONG_CERTIFICATES[case]
    authority = minted(level, **wrong)
    assert reason_of(authority.document(NOW_NS), authority) == "chain"


@pytest.mark.parametrize("level", range(5))
def test_every_certificate_must_hold_now(level: int) -> None:
    ended = minted(level, begins_s=-7200, life_s=3600)
    assert reason_of(ended.document(NOW_NS), ended) == "expired"
    early = minted(level, begins_s=FUTURE_S + 1)
    assert reason_of(early.document(NOW_NS), early) == "future"
    slow = minted(level, begins_s=FUTURE_S)  # our clock is a little slow, the leaf is not backdated
    assert reason_of(slow.document(NOW_NS), slow) == ""


def test_the_last_second_of_a_certificate_counts() -> None:
    authority = minted(4, life_s=100)
    document = authority.document(NOW_NS + 99 * SECOND_NS)
    assert reason_of(document, authority, now_ns=NOW_NS + 101 * SECOND_NS - 1) == ""
    assert reason_of(document, authority, now_ns=NOW_NS + 101 * SECOND_NS) == "expired"


# -- time -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later_s", "options", "reason"),
    [
        (300, {}, ""),
        (300.001, {}, "stale"),
        (1, {"max_age_s": 0.5}, "stale"),
        (0, {"max_age_s": 0}, ""),
        (2 * 3600, {}, "stale"),  # the chain still holds
        (3 * 3600 + 1, {}, "expired"),
        (3 * 3600 + 1, {"max_age_s": None}, ""),
        (10**9, {"max_age_s": None}, ""),
    ],
)
def test_age_is_bounded(later_s: float, options: dict[str, Any], reason: str) -> None:
    now_ns = NOW_NS + round(later_s * SECOND_NS)
    assert reason_of(AUTHORITY.document(NOW_NS), now_ns=now_ns, **options) == reason


@pytest.mark.parametrize("max_age_s", [300, None])
@pytest.mark.parametrize(("ahead_s", "reason"), [(5, ""), (6, "future"), (3600, "future")])
def test_a_document_from_the_future_is_refused(
    ahead_s: int, reason: str, max_age_s: float | None
) -> None:
    document = AUTHORITY.document(NOW_NS + ahead_s * SECOND_NS)
    assert reason_of(document, max_age_s=max_age_s) == reason


def test_stored_evidence_must_have_been_right_when_it_was_signed() -> None:
    options: dict[str, Any] = {"now_ns": NOW_NS + 10 * HOUR_NS, "max_age_s": None}
    assert reason_of(AUTHORITY.document(NOW_NS + 4 * HOUR_NS), **options) == "expired"
    assert reason_of(AUTHORITY.document(NOW_NS - HOUR_NS), **options) == "future"


@pytest.mark.parametrize("max_age_s", [-1, float("nan"), float("inf")])
def test_an_age_that_is_none_is_our_callers_mistake(max_age_s: float) -> None:
    with pytest.raises(InvalidValue):
        verify(b"", now_ns=NOW_NS, max_age_s=max_age_s)


# -- policy ---------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1, 2])
def test_debug_mode_says_nothing(index: int) -> None:
    document = AUTHORITY.document(NOW_NS, pcrs=image(3) | {index: bytes(48)})
    assert reason_of(document) == "debug"


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_register_that_is_missing_is_not_zero(index: int) -> None:
    registers = {number: content for number, content in image(3).items() if number != index}
    assert reason_of(AUTHORITY.document(NOW_NS, pcrs=registers)) == "encoding"


def test_only_the_images_asked_for_are_accepted() -> None:
    document = AUTHORITY.document(NOW_NS, pcrs=image(3))
    found = verify(document, now_ns=NOW_NS, roots=AUTHORITY.roots)
    assert reason_of(document, images={found.image_id}) == ""
    assert reason_of(document, images={"0" * 64}) == "image"
    assert reason_of(document, images=()) == "image"


@pytest.mark.parametrize(
    ("carried", "reason"), [(b"x" * 32, ""), (b"y" * 32, "nonce"), (None, "nonce")]
)
def test_the_nonce_asked_for_must_be_there(carried: bytes | None, reason: str) -> None:
    assert reason_of(AUTHORITY.document(NOW_NS, nonce=carried), nonce=b"x" * 32) == reason


# -- the bytes ------------------------------------------------------------------------

RIGHT = AUTHORITY.document(NOW_NS)

WRONG_FIELDS: dict[str, dict[str, object]] = {
    "no module": {"module_id": ...},
    "an empty module": {"module_id": ""},
    "another digest": {"digest": "SHA256"},
    "a time of zero": {"timestamp": 0},
    "a time that is no integer": {"timestamp": True},
    "a time as text": {"timestamp": "1"},
    "no registers": {"pcrs": {}},
    "a register beyond the last": {"pcrs": image(3) | {32: bytes(48)}},
    "a register of another length": {"pcrs": image(3) | {4: bytes(47)}},
    "an image register of another hash": {"pcrs": image(3) | {0: b"x" * 32}},
    "a custom register of another hash": {"pcrs": image(3) | {16: b"x" * 64}},
    "a register that is text": {"pcrs": image(3) | {4: "x" * 48}},
    "a register named by text": {"pcrs": image(3) | {"4": bytes(48)}},
    "registers in a list": {"pcrs": [bytes(48)] * 3},
    "a bundle of nothing": {"cabundle": []},
    "a bundle of text": {"cabundle": ["x"]},
    "a bundle with nothing in it": {"cabundle": [AUTHORITY.root, b""]},
    "a bundle too long": {"cabundle": [AUTHORITY.root] * 9},
    "a certificate too long": {"certificate": b"x" * 1025},
    "no certificate": {"certificate": None},
    "an empty key": {"public_key": b""},
    "a key too long": {"public_key": b"x" * 1025},
    "data too long": {"user_data": b"x" * 1025},
    "a nonce too long": {"nonce": b"x" * 1025},
    "a nonce as text": {"nonce": "x"},
    "a field that nobody knows": {"surprise": 1},
    "a bundle left out": {"cabundle": ...},
}


@pytest.mark.parametrize("case", WRONG_FIELDS)
def test_a_field_of_another_form_is_refused(case: str) -> None:
    assert reason_of(AUTHORITY.document(NOW_NS, **WRONG_FIELDS[case])) == "encoding"


@pytest.mark.parametrize("name", ["public_key", "user_data", "nonce"])
def test_what_is_optional_may_be_absent_null_or_as_long_as_the_module_allows(name: str) -> None:
    for content in (..., None, b"x" * 1024):
        assert reason_of(AUTHORITY.document(NOW_NS, **{name: content})) == ""


def test_a_certificate_that_cannot_be_read_is_a_wrong_chain() -> None:
    assert reason_of(AUTHORITY.document(NOW_NS, certificate=b"x")) == "chain"


def test_bytes_before_behind_and_between_are_refused() -> None:
    tagged = b"\xd2" + RIGHT
    for document in (RIGHT + b"\0", tagged, RIGHT[:-1], RIGHT[:7], b"", b"\x80", RIGHT + RIGHT):
        assert reason_of(document) == "encoding"
    for other in (None, RIGHT.hex(), bytearray(RIGHT), 1):
        assert reason_of(other) == "encoding"


def test_a_document_over_the_bound_is_refused() -> None:
    payload = cbor2.dumps({"surprise": bytes(DOCUMENT_BYTES)})
    assert reason_of(AUTHORITY.seal(payload)) == "encoding"


@pytest.mark.parametrize(
    "protected",
    [
        b"",
        b"\xa0",
        b"\xa1\x01\x26",
        b"\xbf\x01\x38\x22\xff",
        b"\xa1\x01\x39\x00\x22",
        b"\xa2\x01\x38\x22\x04\x40",
    ],
    ids=["none", "empty", "ES256", "indefinite", "long form", "with a key id"],
)
def test_only_one_protected_header_is_known(protected: bytes) -> None:
    payload = cbor2.loads(RIGHT)[2]
    assert reason_of(AUTHORITY.seal(payload, protected)) == "encoding"


def test_an_algorithm_in_the_unprotected_header_is_refused() -> None:
    protected, _, payload, signature = cbor2.loads(RIGHT)
    for unprotected in ({1: -35}, {1: -7}, None):
        document = cbor2.dumps([protected, unprotected, payload, signature])
        assert reason_of(document) == "encoding"


def test_a_signature_of_another_length_is_refused() -> None:
    protected, unprotected, payload, signature = cbor2.loads(RIGHT)
    for other in (signature[:-1], signature + b"\0", b""):
        assert reason_of(cbor2.dumps([protected, unprotected, payload, other])) == "encoding"
    for other in (bytes(96), b"\xff" * 96):
        assert reason_of(cbor2.dumps([protected, unprotected, payload, other])) == "signature"


def test_a_payload_of_indefinite_length_is_as_good() -> None:
    payload = cbor2.loads(RIGHT)[2]
    assert payload[0] == 0xA9
    indefinite = b"\xbf" + payload[1:] + b"\xff"
    assert reason_of(AUTHORITY.seal(indefinite)) == ""
    assert reason_of(AUTHORITY.seal(indefinite[:-1])) == "encoding"


@pytest.mark.parametrize(
    "field",
    [
        "666469676573746653484133383 4",  # digest again
        "f501",  # {true: 1}
        "01 01",  # a key that is a number
        "40 01",  # a key that is bytes
        "6178 c001",  # a tag
        "6178 f93c00",  # a float
        "6178 f7",  # undefined
        "6178 1800",  # a zero in two bytes
        "6178 5f40ff",  # a string in chunks
        "6178 61ff",  # text that is not UTF-8
        "6178 8181818181 00",  # too deep
        "6178 9f" + "00" * 65 + "ff",  # too many
        "6178 9841" + "00" * 65,  # too many, told in front
        "6178 5b7fffffffffffffff",  # longer than the bytes
        "6178 1c",  # a reserved length
    ],
)
def test_what_a_general_decoder_forgives_is_refused(field: str) -> None:
    payload = cbor2.loads(RIGHT)[2]
    wider = bytes((payload[0] + 1,)) + payload[1:] + bytes.fromhex(field.replace(" ", ""))
    assert reason_of(AUTHORITY.seal(wider)) == "encoding"


def test_registers_named_true_are_not_register_one() -> None:
    registers = {True if index == 1 else index: content for index, content in image(3).items()}
    assert reason_of(AUTHORITY.document(NOW_NS, pcrs=registers)) == "encoding"


def test_the_signature_is_over_the_bytes_as_received() -> None:
    """The same fields in another order are another payload."""
    protected, unprotected, payload, signature = cbor2.loads(RIGHT)
    fields = cbor2.loads(payload)
    other = cbor2.dumps(dict(reversed(list(fields.items()))))
    assert reason_of(AUTHORITY.seal(other)) == ""
    assert reason_of(cbor2.dumps([protected, unprotected, other, signature])) == "signature"
