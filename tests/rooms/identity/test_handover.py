"""Who holds a namespace: the old image and the owner's key decide, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.errors import (
    Forbidden,
    HoldfastError,
    InvalidNamespace,
    InvalidValue,
    LimitExceeded,
    VersionMismatch,
)
from holdfast.identity import handover
from holdfast.identity.handover import Statement
from holdfast.limits import SECOND_NS
from holdfast.testing.enclave import MockEnclave
from tests.rooms.identity.around import STORE, MemoryRecords, World

OWNER = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)


def reason(act: Callable[[], object]) -> str:
    with pytest.raises(Forbidden) as caught:
        act()
    return str(caught.value.reason)


def started(world: World, number: int = 1, namespace: str | None = None) -> MockEnclave:
    enclave = world.enclave(number)
    world.opened(enclave, namespace)
    return enclave


def held_by(world: World, namespace: str) -> tuple[str, ...]:
    return world.enclaves.handovers.holding(namespace).images


def test_a_namespace_belongs_to_the_image_it_is_named_after() -> None:
    world = World()
    name = world.enclave(1).image_id
    assert held_by(world, name) == (name,)
    assert world.records.held == {}


def test_an_old_image_hands_over_and_is_out() -> None:
    world = World()
    old, new = started(world, 1), world.enclave(2)
    name = old.image_id
    assert reason(lambda: world.opened(new, name)) == "image"
    world.enclaves.hand_over(world.ask(old), new.image_id)
    world.opened(new, name)
    assert world.ask(new).grants[0].namespace == name
    assert reason(lambda: world.ask(old)) == "image"  # its session too
    assert reason(lambda: world.opened(world.enclave(1))) == "image"
    assert held_by(world, name) == (new.image_id,)


def test_an_old_image_may_keep_the_namespace_too() -> None:
    world = World()
    old, new = started(world, 1), world.enclave(2)
    world.enclaves.hand_over(world.ask(old), new.image_id, keep=True)
    world.opened(new, old.image_id)
    world.ask(old)
    assert held_by(world, old.image_id) == (old.image_id, new.image_id)


def test_a_new_image_is_not_moved_by_what_others_say() -> None:
    """Else anybody could make an image write its secrets into a namespace of theirs."""
    world = World()
    thief, victim = started(world, 1), world.enclave(2)
    world.enclaves.hand_over(world.ask(thief), victim.image_id, keep=True)
    assert world.opened(victim).namespace == victim.image_id


def test_a_hand_over_is_passed_on_through_releases() -> None:
    world = World()
    first = started(world, 1)
    name = first.image_id
    before = first
    for number in (2, 3, 4):
        after = world.enclave(number)
        world.enclaves.hand_over(world.ask(before), after.image_id)
        world.opened(after, name)
        before = after
    assert held_by(world, name) == (before.image_id,)


def test_a_hand_over_outlives_the_process() -> None:
    world = World()
    old, new = started(world, 1), world.enclave(2)
    world.enclaves.hand_over(world.ask(old), new.image_id)
    world.enclaves = world.begin()
    world.opened(new, old.image_id)
    assert reason(lambda: world.opened(world.enclave(1))) == "image"


def test_another_process_learns_of_it_within_a_second() -> None:
    world = World()
    old, new = started(world, 1), world.enclave(2)
    elsewhere = world.begin()
    assert elsewhere.handovers.holding(old.image_id).images == (old.image_id,)
    world.enclaves.hand_over(world.ask(old), new.image_id)
    world.clock.advance(SECOND_NS)
    assert elsewhere.handovers.holding(old.image_id).images == (new.image_id,)


@pytest.mark.parametrize("target", ["", "acme", "0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n"])
def test_a_hand_over_names_an_image(target: str) -> None:
    world = World()
    old = started(world)
    with pytest.raises(InvalidValue):
        world.enclaves.hand_over(world.ask(old), target)
    with pytest.raises(InvalidValue):
        world.enclaves.hand_over(world.ask(old), old.image_id)
    assert world.records.held == {}


def test_an_image_that_holds_nothing_hands_nothing_over() -> None:
    world = World()
    one, other = started(world, 1), started(world, 2)
    handovers = world.enclaves.handovers
    statement = Statement(one.image_id, other.image_id, world.enclave(3).image_id)
    assert reason(lambda: handovers.hand_over(other.image_id, statement)) == "image"
    statement = Statement(one.image_id, one.image_id, other.image_id)
    assert reason(lambda: handovers.hand_over(other.image_id, statement)) == "image"
    for namespace in ("acme", "", "../" + one.image_id):
        statement = Statement(namespace, one.image_id, other.image_id)
        with pytest.raises(InvalidNamespace):
            handovers.hand_over(one.image_id, statement)
    assert world.records.held == {}


def test_the_images_of_a_namespace_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "ENCLAVE_IMAGES", 2)
    world = World()
    old = started(world, 1)
    world.enclaves.hand_over(world.ask(old), world.enclave(2).image_id, keep=True)
    with pytest.raises(LimitExceeded):
        world.enclaves.hand_over(world.ask(old), world.enclave(3).image_id, keep=True)
    world.enclaves.hand_over(world.ask(old), world.enclave(3).image_id)
    assert len(held_by(world, old.image_id)) == 2


# -- the owner's key ------------------------------------------------------------------


def owned(world: World) -> tuple[MockEnclave, MockEnclave]:
    """An old image that has named the owner, and a new one."""
    old, new = started(world, 1), world.enclave(2)
    world.enclaves.name_owner(world.ask(old), OWNER.public_key().public_bytes_raw())
    return old, new


def signed(
    world: World,
    statement: Statement,
    key: Ed25519PrivateKey = OWNER,
    store: str = STORE,
) -> tuple[str, ...]:
    signature = key.sign(statement.signed_bytes(store))
    return world.enclaves.handovers.hand_over_signed(statement, signature).images


def test_the_owner_hands_over_without_the_old_image() -> None:
    world = World()
    old, new = owned(world)
    statement = Statement(old.image_id, old.image_id, new.image_id, keep=False, number=1)
    assert signed(world, statement) == (new.image_id,)
    world.opened(new, old.image_id)
    assert reason(lambda: world.ask(old)) == "image"


def test_a_statement_counts_once_and_only_for_this_store() -> None:
    world = World()
    old, new = owned(world)
    name = old.image_id
    forth = Statement(name, old.image_id, new.image_id, keep=False, number=5)
    back = Statement(name, new.image_id, old.image_id, keep=False, number=6)
    assert reason(lambda: signed(world, forth, store="6" * 32)) == "owner"
    signed(world, forth)
    signed(world, back)
    assert reason(lambda: signed(world, forth)) == "number"
    assert held_by(world, name) == (old.image_id,)
    for number in (0, -1, 6, 1 << 53):
        again = msgspec.structs.replace(forth, number=number)
        assert reason(partial(signed, world, again)) == "number"


def test_a_statement_of_anybody_else_is_none() -> None:
    world = World()
    old, new = owned(world)
    statement = Statement(old.image_id, old.image_id, new.image_id, keep=False, number=1)
    assert reason(lambda: signed(world, statement, STRANGER)) == "owner"
    right = OWNER.sign(statement.signed_bytes(STORE))
    handovers = world.enclaves.handovers
    for wrong in (b"", right[:-1], right + b"\0", bytes(64)):
        assert reason(partial(handovers.hand_over_signed, statement, wrong)) == "owner"
    for other in (
        msgspec.structs.replace(statement, keep=True),
        msgspec.structs.replace(statement, number=2),
        msgspec.structs.replace(statement, target=world.enclave(3).image_id),
    ):
        assert reason(partial(handovers.hand_over_signed, other, right)) == "owner"
    assert held_by(world, old.image_id) == (old.image_id,)


def test_without_an_owner_no_signature_counts() -> None:
    world = World()
    old, new = started(world, 1), world.enclave(2)
    statement = Statement(old.image_id, old.image_id, new.image_id, keep=False, number=1)
    assert reason(lambda: signed(world, statement)) == "owner"
    world.enclaves.name_owner(world.ask(old), OWNER.public_key().public_bytes_raw())
    world.enclaves.name_owner(world.ask(old), None)
    assert reason(lambda: signed(world, statement)) == "owner"


def test_only_who_holds_a_namespace_names_its_owner() -> None:
    world = World()
    one, other = started(world, 1), started(world, 2)
    key = STRANGER.public_key().public_bytes_raw()
    handovers = world.enclaves.handovers
    assert reason(lambda: handovers.name_owner(other.image_id, one.image_id, key)) == "image"
    for wrong in (b"", key[:-1], key + b"\0"):
        with pytest.raises(InvalidValue):
            world.enclaves.name_owner(world.ask(one), wrong)


def test_a_key_that_is_no_point_signs_nothing() -> None:
    world = World()
    old, new = started(world, 1), world.enclave(2)
    world.enclaves.name_owner(world.ask(old), b"\xff" * 32)
    statement = Statement(old.image_id, old.image_id, new.image_id, keep=False, number=1)
    assert reason(lambda: signed(world, statement)) == "owner"


# -- races ----------------------------------------------------------------------------


class Raced(MemoryRecords):
    """Somebody else changes a record between our look and our write, once."""

    def __init__(self, meanwhile: Callable[[MemoryRecords], None]) -> None:
        super().__init__()
        self._meanwhile: Callable[[MemoryRecords], None] | None = meanwhile

    def put(
        self, key: str, value: bytes, version: int | None = None, *, ttl_ns: int | None = None
    ) -> int:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile(self)
        return super().put(key, value, version, ttl_ns=ttl_ns)


def test_what_another_process_decided_meanwhile_is_not_lost() -> None:
    plain = World()
    first, second, third = (plain.enclave(number).image_id for number in (1, 2, 3))

    def meanwhile(records: MemoryRecords) -> None:
        other = World(records)
        other.enclaves.handovers.hand_over(first, Statement(first, first, second, keep=True))

    world = World(Raced(meanwhile))
    world.enclaves.handovers.hand_over(first, Statement(first, first, third, keep=True))
    assert held_by(world, first) == (first, second, third)


def test_an_image_that_lost_the_race_is_refused() -> None:
    plain = World()
    first, second, third = (plain.enclave(number).image_id for number in (1, 2, 3))

    def meanwhile(records: MemoryRecords) -> None:
        World(records).enclaves.handovers.hand_over(first, Statement(first, first, second))

    world = World(Raced(meanwhile))
    handovers = world.enclaves.handovers
    assert reason(lambda: handovers.hand_over(first, Statement(first, first, third))) == "image"
    assert held_by(world, first) == (second,)


def test_our_records_refuse_as_the_stores_do() -> None:
    records = MemoryRecords()
    assert records.put("a", b"1", 0) == 1
    for version in (0, 7):
        with pytest.raises(HoldfastError):
            records.put("a", b"2", version)
    with pytest.raises(VersionMismatch):
        records.put("b", b"2", 7)
