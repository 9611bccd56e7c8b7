"""Challenges, the exchange, marked requests: nothing counts twice, and nothing of anybody else."""

from __future__ import annotations

import logging
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from holdfast.errors import (
    AttestationInvalid,
    Forbidden,
    InvalidNamespace,
    InvalidValue,
    RateLimited,
    Unauthenticated,
)
from holdfast.identity import challenges, sessions
from holdfast.identity.attestation import AWS, roots_of
from holdfast.identity.enclaves import AttestationSettings
from holdfast.identity.exchange import mac_of, public_of, seal, unseal
from holdfast.limits import SECOND_NS
from holdfast.testing.authority import image
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.values import Grant
from tests.rooms.identity.around import STORE, World

DIGEST = sha256(b"{}").digest()


def refused(enclaves: World, document: bytes, namespace: str | None = None) -> tuple[str, object]:
    with pytest.raises(AttestationInvalid) as caught:
        enclaves.enclaves.exchange(document, namespace)
    return str(caught.value.reason), caught.value.facts.get("what")


# -- challenges -----------------------------------------------------------------------


def test_a_nonce_is_32_bytes_and_never_the_same() -> None:
    world = World()
    nonces = {world.enclaves.challenge() for _ in range(100)}
    assert {len(nonce) for nonce in nonces} == {32}
    assert len(nonces) == 100


def test_a_nonce_counts_once() -> None:
    world = World()
    document = world.enclave().document(world.enclaves.challenge())
    assert world.enclaves.exchange(document).session
    assert refused(world, document) == ("nonce", "used")
    assert len(world.enclaves.sessions) == 1


def test_a_nonce_ends_after_a_minute() -> None:
    world = World()
    early, late = world.enclaves.challenge(), world.enclaves.challenge()
    world.clock.advance(60 * SECOND_NS - 1)
    assert world.enclaves.exchange(world.enclave().document(early)).session
    world.clock.advance(1)
    assert refused(world, world.enclave().document(late)) == ("nonce", "ended")


def test_a_step_of_wall_time_does_not_make_a_nonce_last_longer() -> None:
    world = World()
    nonce = world.enclaves.challenge()
    world.clock.advance(61 * SECOND_NS)
    world.clock.step_wall(-61 * SECOND_NS)
    assert refused(world, world.enclave().document(nonce)) == ("nonce", "ended")


@pytest.mark.parametrize("nonce", [None, b"", bytes(32), b"x" * 31, b"x" * 33, b"x" * 1024])
def test_a_nonce_of_nobody_is_refused(nonce: bytes | None) -> None:
    world = World()
    assert refused(world, world.enclave().document(nonce)) == ("nonce", "unknown")


@pytest.mark.parametrize("bit", range(0, 256, 5))
def test_a_nonce_that_was_changed_is_refused(bit: int) -> None:
    world = World()
    nonce = bytearray(world.enclaves.challenge())
    nonce[bit // 8] ^= 1 << bit % 8
    assert refused(world, world.enclave().document(bytes(nonce)))[0] == "nonce"


def test_a_nonce_of_an_earlier_run_is_refused() -> None:
    world = World()
    nonce = world.enclaves.challenge()
    world.enclaves = world.begin()
    assert refused(world, world.enclave().document(nonce)) == ("nonce", "unknown")


def test_a_nonce_for_one_image_is_no_other_ones() -> None:
    world = World()
    one, other = world.enclave(1), world.enclave(2)
    nonce = world.enclaves.challenge(one.image_id)
    assert refused(world, other.document(nonce)) == ("nonce", "unknown")
    assert world.enclaves.exchange(one.document(nonce)).image_id == one.image_id


def test_nonces_that_are_out_cost_no_memory_and_those_used_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(challenges, "CHALLENGES_SPENT", 3)
    clock = ManualClock()
    asked = challenges.Challenges(clock, SeededEntropy(1))
    nonces = [asked.make() for _ in range(1_000)]
    for nonce in nonces[:3]:
        asked.spend(nonce, "")
    with pytest.raises(RateLimited):
        asked.spend(nonces[3], "")
    clock.advance(60 * SECOND_NS)
    asked.spend(asked.make(), "")


# -- the exchange ---------------------------------------------------------------------


def test_a_document_gives_a_session_that_only_the_enclave_can_use() -> None:
    world = World()
    enclave = world.enclave(4)
    opened = world.opened(enclave)
    assert (opened.image_id, opened.namespace) == (enclave.image_id, enclave.image_id)
    assert (len(opened.session), opened.store) == (32, STORE)
    principal = world.ask(enclave)
    assert (principal.kind, principal.name) == ("enclave", enclave.image_id)
    assert principal.grants == (Grant(enclave.image_id, ("read", "write", "delete", "admin")),)
    assert principal.credential == opened.session
    assert principal.until_ns == opened.until_ns == world.clock.wall_ns() + 3600 * SECOND_NS


def test_the_secret_is_sealed_to_the_key_in_the_document() -> None:
    world = World()
    nonce = world.enclaves.challenge()
    opened = world.enclaves.exchange(world.enclave().document(nonce))
    thief = world.enclave()
    with pytest.raises(Unauthenticated) as caught:
        thief.open(opened.session, opened.public_key, opened.sealed, nonce)
    assert caught.value.reason == "sealed"


def test_what_was_sealed_is_bound_to_nonce_and_session() -> None:
    ours, theirs = b"\x01" * 32, b"\x02" * 32
    sealed = seal(b"s" * 32, private=ours, peer=public_of(theirs), nonce=b"n", session=b"i" * 16)
    assert b"s" * 32 not in sealed
    right = {"private": theirs, "peer": public_of(ours), "nonce": b"n", "session": b"i" * 16}
    assert unseal(sealed, **right) == b"s" * 32
    for wrong in ({"nonce": b"m"}, {"session": b"j" * 16}, {"private": b"\x03" * 32}):
        with pytest.raises(Unauthenticated):
            unseal(sealed, **right | wrong)
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unauthenticated):
            unseal(bytes(changed), **right)


@pytest.mark.parametrize("key", [None, b"k", bytes(32), b"\x01" + bytes(31), b"k" * 33])
def test_a_document_needs_a_key_that_keeps_a_secret(key: bytes | None) -> None:
    """A point of low order would give a secret that everybody knows."""
    world = World()
    document = world.enclave().document(world.enclaves.challenge(), public_key=key)
    with pytest.raises(InvalidValue):
        world.enclaves.exchange(document)
    assert len(world.enclaves.sessions) == 0


def test_the_document_is_judged_like_any_other() -> None:
    world = World(images=(world_image(1),))
    nonce = world.enclaves.challenge()
    assert refused(world, b"")[0] == "encoding"
    assert refused(world, world.enclave(2).document(nonce))[0] == "image"
    debug = image(1) | {0: bytes(48)}
    assert refused(world, world.enclave().document(nonce, pcrs=debug))[0] == "debug"
    assert world.enclaves.exchange(world.enclave().document(nonce)).session


def world_image(number: int) -> str:
    return World().enclave(number).image_id


def test_nobody_holds_anothers_namespace() -> None:
    world = World()
    with pytest.raises(Forbidden) as caught:
        world.opened(world.enclave(1), world_image(2))
    assert caught.value.reason == "image"
    with pytest.raises(InvalidNamespace):
        world.opened(world.enclave(1), "acme")


# -- marked requests ------------------------------------------------------------------


def test_a_request_counts_once() -> None:
    world = World()
    enclave = world.enclave()
    world.opened(enclave)
    marks = [enclave.mark("POST", "/load", b"{}") for _ in range(3)]
    ask = world.enclaves.by_session
    ask(marks[1], "POST", "/load", DIGEST)
    for mark in (marks[1], marks[0]):  # seen on the way and sent again, or held back
        with pytest.raises(Unauthenticated) as caught:
            ask(mark, "POST", "/load", DIGEST)
        assert (caught.value.reason, caught.value.counter) == ("counter", 2)
    ask(marks[2], "POST", "/load", DIGEST)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PUT", "/load", b"{}"),
        ("POST", "/delete", b"{}"),
        ("POST", "/load?x=1", b"{}"),
        ("POST", "/load", b"{} "),
        ("POST", "/load", b""),
    ],
)
def test_a_mark_is_for_one_request(method: str, target: str, body: bytes) -> None:
    world = World()
    enclave = world.enclave()
    world.opened(enclave)
    mark = enclave.mark("POST", "/load", b"{}")
    with pytest.raises(Unauthenticated) as caught:
        world.enclaves.by_session(mark, method, target, sha256(body).digest())
    assert caught.value.reason == "signature"
    world.enclaves.by_session(mark, "POST", "/load", DIGEST)  # it was not used up


def test_a_mark_of_another_secret_is_refused() -> None:
    world = World()
    one, other = world.enclave(1), world.enclave(2)
    first, second = world.opened(one), world.opened(other)
    mark = one.mark("POST", "/load", b"{}").replace(first.session, second.session)
    with pytest.raises(Unauthenticated) as caught:
        world.enclaves.by_session(mark, "POST", "/load", DIGEST)
    assert caught.value.reason == "signature"


def test_every_bit_of_a_mark_counts() -> None:
    world = World()
    enclave = world.enclave()
    world.opened(enclave)
    mark = enclave.mark("POST", "/load", b"{}").encode()
    for bit in range(len(mark) * 8):
        changed = bytearray(mark)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unauthenticated):
            world.enclaves.by_session(changed.decode("latin-1"), "POST", "/load", DIGEST)


@pytest.mark.parametrize(
    "mark",
    ["", ";;", "a;1;b", "0" * 32, f"{'0' * 32};1;", f"{'0' * 32};01;{'0' * 64}"]
    + [f"{'0' * 32};{number};{'0' * 64}" for number in ("0", "-1", "9" * 19, "\u0661")]
    + [f"{'0' * 32};1;{'0' * 64}\n", f"{'A' * 32};1;{'0' * 64}"],
)
def test_what_is_no_mark_is_refused(mark: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        World().enclaves.by_session(mark, "POST", "/load", DIGEST)
    assert caught.value.reason == "signature"


def test_a_session_ends() -> None:
    world = World(session_s=100)
    enclave = world.enclave()
    world.opened(enclave)
    world.clock.advance(100 * SECOND_NS - 1)
    world.ask(enclave)
    world.clock.step_wall(-50 * SECOND_NS)
    world.clock.advance(1)
    with pytest.raises(Unauthenticated) as caught:
        world.ask(enclave)
    assert caught.value.reason == "session"


def test_a_session_ends_with_the_process() -> None:
    world = World()
    enclave = world.enclave()
    world.opened(enclave)
    world.enclaves = world.begin()
    with pytest.raises(Unauthenticated):
        world.ask(enclave)


def test_one_image_has_so_many_sessions_and_then_its_oldest_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "ENCLAVE_SESSIONS_PER_IMAGE", 3)
    world = World()
    other = world.enclave(2)
    world.opened(other)
    own = [world.enclave(1) for _ in range(4)]
    for enclave in own:
        world.opened(enclave)
    assert len(world.enclaves.sessions) == 4
    with pytest.raises(Unauthenticated):
        world.ask(own[0])
    for enclave in (*own[1:], other):
        world.ask(enclave)


def test_sessions_are_bounded_in_all_and_nobodys_ends_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "ENCLAVE_SESSIONS", 2)
    world = World(session_s=50)
    first, second, third = (world.enclave(number) for number in (1, 2, 3))
    world.opened(first)
    world.clock.advance(10 * SECOND_NS)
    world.opened(second)
    with pytest.raises(RateLimited) as caught:
        world.opened(third)
    assert caught.value.retry_after_s == 40
    world.ask(first)
    world.ask(second)
    world.clock.advance(40 * SECOND_NS)
    world.opened(third)
    assert len(world.enclaves.sessions) == 2


def test_the_mark_is_as_the_page_draws_it() -> None:
    """Bytes that another implementation must get as well."""
    mac = mac_of(bytes(32), "POST", "/load", counter=1, digest=sha256(b"{}").digest())
    message = b"holdfast request 1\nPOST\n/load\n1\n" + sha256(b"{}").hexdigest().encode()
    block = bytes(64)
    inner = sha256(bytes(0x36 ^ b for b in block) + message).digest()
    assert mac == sha256(bytes(0x5C ^ b for b in block) + inner).digest()


# -- settings -------------------------------------------------------------------------


@pytest.mark.parametrize("max_age_s", [0, -1, 301, float("nan")])
def test_no_setting_lets_a_document_live_longer(max_age_s: float) -> None:
    with pytest.raises(InvalidValue):
        World(max_age_s=max_age_s)


def test_a_root_of_our_own_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    name = "holdfast.attestation"  # others may log meanwhile: of what an earlier test left, say
    with caplog.at_level(logging.WARNING, logger=name):
        World(roots=("aws",))
        assert [record for record in caplog.records if record.name == name] == []
        world = World()
    assert [one.levelname for one in caplog.records if one.name == name] == ["WARNING"]
    assert sha256(world.authority.root).hexdigest() in caplog.text
    assert "NOT AMAZON'S" in caplog.text


def test_a_mock_document_is_nothing_where_its_root_is_not_named() -> None:
    world = World(roots=("aws",))
    assert refused(world, world.enclave().document(world.enclaves.challenge()))[0] == "root"


def test_roots_are_named_by_word_file_or_bytes(tmp_path: Path) -> None:
    world = World()
    root, pem = world.authority.root, world.authority.pem
    (tmp_path / "root.der").write_bytes(root)
    (tmp_path / "roots.pem").write_text(f"# ours\n{pem}{pem}")
    assert roots_of("aws") == AWS
    assert roots_of(pem) == roots_of(str(tmp_path / "root.der")) == (root,)
    assert roots_of(str(tmp_path / "roots.pem")) == (root, root)
    (tmp_path / "none.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    for wrong in (
        "-----BEGIN CERTIFICATE-----\nx",
        str(tmp_path / "none.pem"),
        str(tmp_path / "absent"),
        "",
    ):
        with pytest.raises(InvalidValue):
            roots_of(wrong)


@pytest.mark.parametrize("image_id", ["", "acme", "0" * 63, "A" * 64])
def test_an_image_in_the_settings_is_an_id(image_id: str) -> None:
    with pytest.raises(InvalidValue):
        World(images=(image_id,))


def test_no_image_may_come_where_none_is_named() -> None:
    world = World(images=())
    assert refused(world, world.enclave().document(world.enclaves.challenge()))[0] == "image"


def test_a_configuration_may_say_it_all() -> None:
    told = {"mode": "bearer", "max_age_s": 60, "roots": ["aws"], "images": ["0" * 64]}
    assert msgspec.convert(told, AttestationSettings) == AttestationSettings(
        "bearer", 60, ("aws",), ("0" * 64,)
    )
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"mock": True}, AttestationSettings)
