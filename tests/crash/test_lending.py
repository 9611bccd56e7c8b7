"""Cut at each moment of a split: the child reads through its parent again, and nothing is derived.

A split of few keys stands for one of millions: what is held is that an opening copies no rows.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.bucket import birth, collect, commit, fork, seal
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.errors import HoldfastError, LockHeld
from holdfast.limits import SECOND_NS
from holdfast.store import Store
from holdfast.testing.simulator_world import Shelf
from holdfast.views.port import Table
from tests.crash.test_rules import Machine

VALUES = {f"k{number:03d}": bytes([number]) * 1_000 for number in range(60)}
CUT = b"n\0k030"
HELD = "k045"  # a lock on the upper half


def filled(*, absorbed: bool) -> tuple[Machine, Store]:
    """A store of one bucket, all of whose rows are below the overlay, or in it."""
    machine = Machine()
    store = machine.open()
    space = store.namespace("n")
    space.put_many(VALUES)
    space.put("k050", VALUES["k050"], ttl=3_600)
    space.consumers("k051").set(["one"])
    (bucket,) = store.placement.directory
    if absorbed:
        checkpoint(bucket)
    space.lock(HELD, ttl=3_600)
    space.put("k052", b"behind the checkpoint")
    return machine, store


def split(store: Store, name: str = "") -> tuple[Bucket, Bucket]:
    """Cut the only bucket in two, and write to both halves since; parent and child."""
    placement = store.placement
    (parent,) = placement.directory
    child = fork.split(parent, name or placement.new_id(), CUT)
    assert child is not None
    placement.directory.add(child)
    write_to_both(store)
    return parent, child


def write_to_both(store: Store) -> None:
    space = store.namespace("n")
    for half in ("k01", "k04"):
        space.put(f"{half}0", b"since the split")
        space.delete(f"{half}1")
        space.append(f"{half}2", b"more")
        space.put(f"{half}0a", b"new")


def refuse(*_: object) -> None:
    raise AssertionError


def expected() -> dict[str, bytes]:
    after = VALUES | {"k052": b"behind the checkpoint"}
    for half in ("k01", "k04"):
        after |= {f"{half}0": b"since the split", f"{half}0a": b"new"}
        after[f"{half}2"] += b"more"
        del after[f"{half}1"]
    return after


def hold(store: Store) -> None:
    """All is as it was written, in one piece or in halves."""
    space = store.namespace("n")
    assert dict(space.mapping()) == expected()
    assert list(space.list()) == sorted(expected())
    assert space.stat("k050").expires_ns is not None
    assert space.consumers("k051").list() == ["one"]
    with pytest.raises(LockHeld):
        space.lock(HELD)


def hold_through(machine: Machine) -> None:
    """A store that was cut off just now is whole at once, and when all is done, and once more."""
    again = machine.branch()
    store = again.open()
    hold(store)
    hold(again.branch().open())  # cut off while it borrows
    for _ in range(3):
        again.clock.advance(2 * SECOND_NS)
        store.tick()
    hold(store)
    assert all(b.lender is None and not b.births for b in store.placement.directory)
    assert store.check().ok
    for bucket in store.placement.directory:
        rows = bucket.state.page(Table.KEYS, b"", b"\xff", 1_000)[0]
        assert all(bucket.start <= key < bucket.stop for key, _ in rows)
    hold(again.branch().open())


@pytest.mark.parametrize("absorbed", [True, False])
def test_every_moment_of_a_take_over(*, absorbed: bool) -> None:
    machine, store = filled(absorbed=absorbed)
    _, child = split(store)
    hold_through(machine)
    moments = []
    fork.take_over(child, lambda: moments.append(machine.branch()))
    hold_through(machine)
    assert len(moments) > 5
    for moment in moments:
        hold_through(moment)


@pytest.mark.parametrize("absorbed", [True, False])
def test_every_moment_of_a_take_over_in_memory(
    monkeypatch: pytest.MonkeyPatch, *, absorbed: bool
) -> None:
    machine, store = filled(absorbed=absorbed)
    parent, child = split(store)
    moments = []

    def noted(step: Callable[..., None]) -> Callable[..., None]:
        def taken(*arguments: object, **options: object) -> None:
            moments.append(machine.branch())
            step(*arguments, **options)
            moments.append(machine.branch())

        return taken

    with monkeypatch.context() as patch:
        for step in ("share_segments", "rebuild", "confirm"):
            patch.setattr(fork, step, noted(getattr(fork, step)))
        fork.take_over(child, in_memory=True)
    assert [bucket.doing() for bucket in (parent, child)] == ["open", "open"]
    assert not any(bucket.view.count(table) for bucket in (parent, child) for table in Table)
    hold(store)
    hold_through(machine)
    assert len(moments) == 8
    for moment in moments:
        hold_through(moment)


def test_what_could_not_be_cut_out_of_the_parents_view_is_cut_out_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The child has a view of its own then, and both would hold what they share for ever."""
    machine, store = filled(absorbed=True)
    parent, child = split(store)
    with monkeypatch.context() as patch:
        patch.setattr(fork, "cut_view", refuse)
        with pytest.raises(AssertionError):
            fork.take_over(child)
    assert child.state.view is child.view
    hold_through(machine)
    store.tick()
    assert [bucket.doing() for bucket in (parent, child)] == ["open", "open"]
    hold_through(machine)


@pytest.mark.parametrize("absorbed", [True, False])
def test_an_opening_in_the_middle_of_a_split_derives_nothing(
    monkeypatch: pytest.MonkeyPatch, *, absorbed: bool
) -> None:
    machine, store = filled(absorbed=absorbed)
    split(store)
    again = machine.branch()
    with monkeypatch.context() as patch:
        patch.setattr(birth, "rebuild", refuse)
        patch.setattr(birth, "cut_view", refuse)
        patch.setattr(birth, "checkpoint", refuse)
        patch.setattr(seal, "seal", refuse)
        store = again.open()
        parent, child = store.placement.directory
        assert [bucket.doing() for bucket in (parent, child)] == ["splitting", "borrowing"]
        hold(store)
    store.namespace("n").put("k055", b"x")
    store.tick()
    assert [bucket.doing() for bucket in (parent, child)] == ["open", "open"]
    assert store.check().ok


def test_a_split_whose_child_has_nothing_yet() -> None:
    machine, store = filled(absorbed=True)
    (parent,) = store.placement.directory

    def cut_off(*_: object) -> Bucket:
        raise OSError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fork, "be_born", cut_off)
        with pytest.raises(HoldfastError):
            fork.split(parent, store.placement.new_id(), CUT)
    again = machine.branch()
    store = again.open()
    parent, child = store.placement.directory
    assert child.lender is parent
    write_to_both(store)
    hold_through(again)


def test_a_damaged_child_is_mended_from_what_its_parent_had() -> None:
    machine, store = filled(absorbed=True)
    parent, child = split(store)
    folder = f"store/log/{child.id}"
    (name,) = machine.disk.list(folder)
    file = machine.disk.open(f"{folder}/{name}")
    size = file.size()
    file.write(size // 2, [bytes(byte ^ 1 for byte in file.read(size // 2, 8))])
    again = machine.branch()
    store = again.open()
    space = store.namespace("n")
    before = {key: value for key, value in expected().items() if key.encode() < b"k030"}
    assert {key: space.get(key) for key in before} == before
    bad = next(bucket for bucket in store.placement.directory if bucket.damage is not None)
    assert bad.id == child.id
    assert not store.check(repair=True).ok
    kept = {f"k{number:03d}" for number in range(30, 60)}
    assert all(space.exists(key) for key in kept - {"k041"})
    assert store.check().ok
    assert [bucket.id for bucket in store.placement.directory] == [parent.id, child.id]


def test_a_child_whose_view_is_lost_derives_it_where_its_parent_let_go() -> None:
    machine, store = filled(absorbed=True)
    parent, child = split(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fork, "confirm", lambda *_: None)
        fork.take_over(child)
    again = machine.branch()
    tables = again.shelf.tables(child.id)
    for rows in tables.values():
        rows.clear()
    store = again.open()
    assert [bucket.id for bucket in store.placement.directory] == [parent.id, child.id]
    hold_through(again)


def test_a_child_that_comes_before_its_parent_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All its segments have names of their own, so that it could be opened without the parent."""
    machine, store = filled(absorbed=True)
    parent, child = split(store, "0" * 16)
    for planned in parent.births:
        fork.share_segments(parent, planned)
    assert child.id < parent.id
    again = machine.branch()
    with monkeypatch.context() as patch:
        patch.setattr(birth, "rebuild", refuse)
        parent, child = again.open().placement.directory
    assert child.lender is parent
    hold_through(again)


def test_a_child_that_moved_what_it_holds_is_read_from_its_own_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The parent could not say that it stands: it is not asked again for what is only there."""
    machine, store = filled(absorbed=False)
    _, child = split(store)
    with monkeypatch.context() as patch:
        patch.setattr(fork, "confirm", refuse)
        with pytest.raises(AssertionError):
            fork.take_over(child)
    collect.prepare(child)
    commit.switch(child)
    _, *others = sorted(child.log.ended)
    collect.collect(child, others, collect.Collected())
    machine.shelf = Shelf()  # what was absorbed is lost
    hold_through(machine)


def test_damage_in_what_both_share_is_mended_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is met while the split ends, and keeps neither repair nor growth from being done."""
    machine, store = filled(absorbed=True)
    with monkeypatch.context() as patch:
        patch.setattr(fork, "seal_all", lambda *_: True)  # so is what ended since
        parent, _ = split(store)
    shared = min(parent.log.ended)
    assert not parent.log.has_key_block(shared)
    store.sync()
    after = machine.branch()
    file = after.disk.open(f"store/log/{parent.id}/{shared:016x}.seg")
    at = file.size() // 2
    file.write(at, [bytes([file.read(at, 1)[0] ^ 1])])
    store = after.open()
    assert not store.check().ok
    report = store.check(repair=True)
    assert any(problem.repaired for problem in report.problems)
    after.clock.advance(2 * SECOND_NS)
    store.tick(10)
    assert {bucket.doing() for bucket in store.placement.directory} == {"open"}
    assert store.check().ok
    space = store.namespace("n")
    left = [key for key in VALUES if key in space]
    assert len(left) > len(VALUES) // 2
    for key in VALUES:
        space.put(key, b"again")
    assert all(space.get(key) == b"again" for key in VALUES)
