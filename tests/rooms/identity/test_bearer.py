"""Documents as bearers: verified once, worth nothing when they are too old, and off by default."""

from __future__ import annotations

import base64

import pytest

from holdfast.errors import AttestationInvalid, Forbidden, Unauthenticated
from holdfast.identity.enclaves import HEADER_CHARS
from holdfast.limits import SECOND_NS
from holdfast.testing.authority import image
from holdfast.testing.enclave import MockEnclave
from tests.rooms.identity.around import World


def header(enclave: MockEnclave, **fields: object) -> str:
    return base64.b64encode(enclave.document(None, **fields)).decode()


def test_a_document_alone_is_nothing_by_default() -> None:
    world = World()
    with pytest.raises(Unauthenticated) as caught:
        world.enclaves.by_document(header(world.enclave()))
    assert caught.value.reason == "bearer"


def test_a_document_is_verified_once_until_it_is_too_old() -> None:
    world = World(mode="bearer")
    seen = count_verifications(world)
    told = header(world.enclave(7))
    assert not world.enclaves.knows_document(told)
    principal = world.enclaves.by_document(told)
    for _ in range(5):
        assert world.enclaves.knows_document(told)
        assert world.enclaves.by_document(told) == principal
    assert (principal.name, len(seen)) == (world.enclave(7).image_id, 1)
    world.clock.advance(300 * SECOND_NS)
    assert world.enclaves.by_document(told) == principal
    world.clock.advance(1)
    assert not world.enclaves.knows_document(told)
    with pytest.raises(AttestationInvalid) as caught:
        world.enclaves.by_document(told)
    assert (caught.value.reason, len(seen)) == ("stale", 2)


def count_verifications(world: World) -> list[bytes]:
    seen: list[bytes] = []
    documents = world.enclaves._documents
    judge = documents._judge

    def judged(document: bytes) -> object:
        seen.append(document)
        return judge(document)

    documents._judge = judged  # type: ignore[assignment]
    return seen


def test_a_step_of_the_clock_ends_what_was_remembered() -> None:
    world = World(mode="bearer")
    told = header(world.enclave())
    world.enclaves.by_document(told)
    world.clock.step_wall(-6 * SECOND_NS)
    with pytest.raises(AttestationInvalid) as caught:
        world.enclaves.by_document(told)
    assert caught.value.reason == "future"


def test_what_is_remembered_ends_with_the_chain() -> None:
    world = World(mode="bearer")
    world.clock.advance(3 * 3600 * SECOND_NS - 10 * SECOND_NS)  # the leaf lasts 3 hours
    told = header(world.enclave())
    world.enclaves.by_document(told)
    world.clock.advance(11 * SECOND_NS)
    with pytest.raises(AttestationInvalid) as caught:
        world.enclaves.by_document(told)
    assert caught.value.reason == "expired"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.identity.enclaves.ENCLAVE_DOCUMENTS", 2)
    world = World(mode="bearer")
    told = [header(world.enclave(number)) for number in (1, 2, 3)]
    for one in told:
        world.enclaves.by_document(one)
    assert [world.enclaves.knows_document(one) for one in told] == [False, True, True]


@pytest.mark.parametrize("text", ["", "x", "é", "AAAA", "A" * (HEADER_CHARS + 4), "AA AA"])
def test_a_header_that_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(AttestationInvalid) as caught:
        World(mode="bearer").enclaves.by_document(text)
    assert caught.value.reason == "encoding"


def test_a_document_that_was_refused_is_not_remembered() -> None:
    world = World(mode="bearer")
    seen = count_verifications(world)
    told = header(world.enclave(), pcrs=image(1) | {1: bytes(48)})
    for _ in range(2):
        with pytest.raises(AttestationInvalid):
            world.enclaves.by_document(told)
    assert len(seen) == 2


def test_a_mock_document_is_nothing_where_its_root_is_not_named() -> None:
    world = World(roots=("aws",), mode="bearer")
    with pytest.raises(AttestationInvalid) as caught:
        world.enclaves.by_document(header(world.enclave()))
    assert caught.value.reason == "root"


def test_a_document_for_a_namespace_that_was_handed_over() -> None:
    world = World(mode="bearer")
    old, new = world.enclave(1), world.enclave(2)
    told = header(new)
    with pytest.raises(Forbidden):
        world.enclaves.by_document(told, old.image_id)
    world.opened(old)
    world.enclaves.hand_over(world.ask(old), new.image_id)
    principal = world.enclaves.by_document(told, old.image_id)
    assert (principal.name, principal.grants[0].namespace) == (new.image_id, old.image_id)
    assert world.enclaves.by_document(told).grants[0].namespace == new.image_id
    with pytest.raises(Forbidden):
        world.enclaves.by_document(header(old))
