"""A store gets another key: old trust goes on, and no crash leaves it without one."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import cast

import pytest

import holdfast
from holdfast import ProofInvalid, Store
from holdfast.certify import roots, verify, watch
from holdfast.errors import Unauthenticated
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import CrashDisk, Mode
from holdfast.values import Grant

MODES = cast("tuple[Mode, ...]", ("kept", "dropped", "torn", "reordered"))


def opened(disk: CrashDisk, seed: int) -> Store:
    return open_on(disk, "store", clock=ManualClock(), entropy=SeededEntropy(seed), upkeep=False)


def shown(store: Store) -> bytes:
    return store.namespace("acme").get("a", prove=True).proof


def test_who_trusts_any_key_of_the_chain_goes_on_trusting() -> None:
    with opened(CrashDisk(), 1) as store:
        store.namespace("acme").put("a", b"1")
        keys = [store.public_key()]
        before = shown(store)
        keys += [store.rotate_key() for _ in range(3)]
        assert len(set(keys)) == 4
        assert store.public_key() == keys[-1]
        proof = shown(store)
        for key in keys:
            assert holdfast.verify("acme", "a", b"1", proof, public_key=key).size == 1
            listed = store.namespace("acme").prove_list("").proof
            assert list(holdfast.verify_list("acme", "", listed, public_key=key)) == ["a"]
        holdfast.verify("acme", "a", b"1", before, public_key=keys[0])
        for key in keys[1:]:
            with pytest.raises(ProofInvalid):
                holdfast.verify("acme", "a", b"1", before, public_key=key)


def test_an_old_key_signs_nothing_any_more() -> None:
    with opened(CrashDisk(), 2) as store:
        store.namespace("acme").put("a", b"1")
        old = store.certifier._keys.current
        trusted = store.public_key()
        store.rotate_key()
        seal = store.certifier.seal()
        forged = roots.sign(seal.root, old.private)
        for handovers in ((), seal.handovers):
            with pytest.raises(ProofInvalid):
                roots.verify(forged, store.public_key(), handovers)
        with pytest.raises(ProofInvalid):
            roots.verify(forged, trusted, seal.handovers)


def test_history_goes_on_over_a_new_key() -> None:
    with opened(CrashDisk(), 3) as store:
        trusted = store.public_key()
        first = store.certifier.seal()
        before = watch.seen_of(first.message, roots.verify(first.message, trusted))
        store.rotate_key()
        store.namespace("acme").put("a", b"1")
        second = store.certifier.seal()
        now = watch.seen_of(second.message, roots.verify(second.message, trusted, second.handovers))
        history = store.certifier.history(before, now)
        assert watch.judge(before, now, history, wall_ns=now.time_ns) == []


def test_what_the_old_key_let_in_ends() -> None:
    with opened(CrashDisk(), 4) as store:
        grants = [Grant("acme", ("read",))]
        token = store.tokens.issue("ci", grants, 60)
        store.tokens.verify(token)
        store.rotate_key()
        with pytest.raises(Unauthenticated):
            store.tokens.verify(token)
        store.tokens.verify(store.tokens.issue("ci", grants, 60))


def test_a_long_chain_is_cut_at_its_old_end() -> None:
    with opened(CrashDisk(), 5) as store:
        store.namespace("acme").put("a", b"1")
        keys = [store.public_key()] + [store.rotate_key() for _ in range(roots.HANDOVERS_MOST + 2)]
        proof = shown(store)
        with pytest.raises(ProofInvalid):
            holdfast.verify("acme", "a", b"1", proof, public_key=keys[0])
        for key in (keys[2], keys[-2], keys[-1]):
            holdfast.verify("acme", "a", b"1", proof, public_key=key)


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_point_leaves_a_key_that_old_trust_reaches(mode: Mode) -> None:
    disk = CrashDisk()
    store = opened(disk, 6)
    store.namespace("acme").put("a", b"1")
    trusted = store.public_key()
    shown(store)
    begun = disk.points
    new = store.rotate_key()
    ended = disk.points
    keys = set()
    turns = 3 if mode == "reordered" else 1  # which names are kept is chance
    for at, turn in product(range(begun, ended + 1), range(turns)):
        after = CrashDisk(disk.after_cut(mode, turns * at + turn, at=at))
        with opened(after, 1_000 + at) as again:
            proof = shown(again)
            keys.add(again.public_key())
            for key in (trusted, again.public_key()):
                holdfast.verify("acme", "a", b"1", proof, public_key=key)
            assert "signing-key.old.pem" not in after.list("store")
            assert again.check().ok
    assert keys == {trusted, new}
    store.close()


def test_a_key_that_was_brought_in_needs_no_hand_over(tmp_path: Path) -> None:
    with holdfast.open(tmp_path) as store:
        store.namespace("acme").put("a", b"1")
        store.rotate_key()
        shown(store)
    (tmp_path / "signing-key.pem").unlink()
    with holdfast.open(tmp_path) as store:
        proof = shown(store)
        holdfast.verify("acme", "a", b"1", proof, public_key=store.public_key())
        assert store.certifier.seal().handovers == ()
        assert verify.verify("acme", "a", b"1", proof, public_key=store.public_key()).size == 1
