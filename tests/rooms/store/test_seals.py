"""What a seal shows is what it sealed, and it seals all that is there (rule 15)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import holdfast
from holdfast.certify.leaf import namespace_id
from holdfast.engines.memory import MemoryDisk
from holdfast.store import Store
from holdfast.store.certifying import FRESH_NS, Certifier
from holdfast.store.seals import listed, shown
from holdfast.testing.clock import ManualClock
from tests.growth.growing import in_memory


@pytest.fixture
def both() -> Iterator[tuple[Store, ManualClock]]:
    with in_memory(MemoryDisk()) as both:
        yield both


def contents(certifier: Certifier) -> dict[bytes, bytes]:
    """Every object's leaf as it is now."""
    return dict(certifier._look_all(b"acme\x00", b"", None))


def test_a_seal_shows_nothing_but_what_it_sealed(both: tuple[Store, ManualClock]) -> None:
    store, _ = both
    ns, certifier = store.namespace("acme"), store.certifier
    ns.put_many([("a", b"1"), ("b", b"2")])
    seal = certifier.seal()
    label = namespace_id(certifier._id, "acme")
    then = contents(certifier)
    assert shown(seal, label, b"a", then[b"a"]) is not None
    assert shown(seal, label, b"c", None) is not None
    assert listed(seal, label, (b"", None), then) is not None
    ns.put("a", b"newer")
    ns.put("c", b"3")
    now = contents(certifier)
    assert shown(seal, label, b"a", now[b"a"]) is None  # a value newer than its leaf
    assert shown(seal, label, b"c", now[b"c"]) is None
    assert shown(seal, label, b"a", None) is None
    for other in (
        {**then, b"a": now[b"a"]},
        {**then, b"c": now[b"c"]},
        {b"a": then[b"a"]},
    ):
        assert listed(seal, label, (b"", None), other) is None


def test_a_list_with_a_gap_or_more_is_shown_from_a_page_of_it_alone(
    both: tuple[Store, ManualClock],
) -> None:
    store, _ = both
    ns = store.namespace("acme")
    ns.put_many([(key, b"1") for key in "abc"])
    seal = store.certifier.seal()
    label = namespace_id(store.certifier._id, "acme")
    then = contents(store.certifier)
    page = {key: then[key] for key in (b"a", b"b")}
    assert listed(seal, label, (b"", b"b\x00"), page) is not None
    assert listed(seal, label, (b"", b"b\x00"), then) is None


def test_nothing_is_signed_that_a_crash_could_take(both: tuple[Store, ManualClock]) -> None:
    store, _ = both
    store.namespace("acme").put("a", b"1")
    (bucket,) = store.placement.directory
    assert bucket.log.synced < bucket.log.stop
    signed = []
    certifier = store.certifier
    really = certifier._sign

    def sign(*place: object) -> object:
        signed.append(bucket.log.is_durable(bucket.published))
        return really(*place)  # type: ignore[arg-type]

    certifier._sign = sign  # type: ignore[method-assign, assignment]
    certifier.seal()
    assert signed == [True]


def test_a_range_that_is_on_its_way_leaves_no_gap(both: tuple[Store, ManualClock]) -> None:
    """A bucket that divides is seen as it was, or as both halves: else it is looked at again."""
    store, _ = both
    ns = store.namespace("acme")
    values = {f"k{number:03d}": b"v" * 1_000 for number in range(200)}
    ns.put_many(list(values.items()))
    assert len(store.placement.directory) > 1
    absorbing = store.certifier._absorbing
    really, looks = absorbing.catch_up, 0

    def catch_up(pace: object) -> object:
        nonlocal looks
        looks += 1
        pieces = really(pace)  # type: ignore[arg-type]
        return {1: pieces[:-1], 2: pieces[1:], 3: [*pieces, pieces[-1]]}.get(looks, pieces)

    absorbing.catch_up = catch_up  # type: ignore[method-assign, assignment]
    proof = ns.prove_list("").proof
    assert looks == 4
    key = store.public_key()
    assert list(holdfast.verify_list("acme", "", proof, public_key=key)) == sorted(values)


def test_a_seal_of_what_did_not_change_is_renewed(both: tuple[Store, ManualClock]) -> None:
    """So that who asks for a young root gets one."""
    store, clock = both
    store.namespace("acme").put("a", b"1")
    first = store.certifier.seal()
    clock.advance(FRESH_NS // 2)
    assert store.certifier.seal() is first
    clock.advance(FRESH_NS)
    second = store.certifier.seal()
    assert second.root.time_ns == clock.wall_ns()
    assert second.root.revision > first.root.revision
