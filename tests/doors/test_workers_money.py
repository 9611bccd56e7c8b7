"""Several processes serve a store: what is shown, enforced and billed is one number over all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

import holdfast
from holdfast.client.store import RemoteNamespace, RemoteStore
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engines.disk import OsDisk
from holdfast.errors import BalanceEmpty, HoldfastError, LimitExceeded
from holdfast.identity.keys import signing_key
from holdfast.ledger import statement
from tests.doors.test_workers import SMALL, Served, serving

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
KEYS = [f"k{number:04d}" for number in range(300)]
VALUE = 1_000
STORED = len(KEYS) * (VALUE + 5)
FUNDS = 10**15
OPERATION, EGRESS = 1_000, 3
TOML = f"operation = {OPERATION}\negress = {EGRESS}"
TRIES = 3_000


class Shared(NamedTuple):
    """A served store: one namespace over two processes, and one that lies in the last alone."""

    served: Served
    folder: Path
    doors: tuple[RemoteStore, ...]

    def spaces(self, name: str = "acme") -> list[RemoteNamespace]:
        return [door.namespace(name) for door in self.doors]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    folder = tmp_path / "data"
    with holdfast.open(folder, bucket_bytes=SMALL) as store:
        store.namespace("acme").put_many((key, bytes(VALUE)) for key in KEYS)
        store.namespace("zeta").put("k", bytes(VALUE))
        store.tariffs.set("mine", TOML)
        store.accounts.deposit("acme", FUNDS, "invoice 1")
        store.accounts.deposit("zeta", FUNDS, "invoice 2")
    with serving(folder) as served, ExitStack() as stack:

        def connect(url: str) -> RemoteStore:
            return stack.enter_context(holdfast.connect(url, token=served.token, timeout=60))

        whole = connect(served.url)
        owners = {whole.locate("acme", key).address for key in (KEYS[0], KEYS[-1])}
        assert len(owners) == 2
        yield Shared(served, folder, tuple(connect(url) for url in sorted(owners)))


def spent_until_refused(space: RemoteNamespace, prefix: str, size: int) -> tuple[int, str]:
    """How many objects a namespace takes until a bound refuses one more, and which does."""
    for count in range(TRIES):
        try:
            space.put(f"{prefix}{count:04d}", bytes(size))
        except LimitExceeded as refused:
            return count, str(refused.facts["limit"])
    raise AssertionError("no bound was met")


def test_what_is_shown_enforced_and_billed_is_one_number(shared: Shared) -> None:
    books = shared.doors[0].accounts
    books.deposit("reserve", 2 * 10**18, "invoice 3")
    books.rule("poor", 5, 0, 1)
    all_show_one_usage_and_one_balance(shared)
    who_reads_through_another_process_pays(shared)
    money_that_another_process_holds_is_called_back(shared)
    a_tenant_uses_its_whole_quota_wherever_it_writes(shared)
    one_process_tells_of_the_books(shared)


def one_process_tells_of_the_books(shared: Shared) -> None:
    """Each has stepped by now; two that told would have told of twice the reserve."""
    asked = {"Authorization": f"Bearer {shared.served.token}"}
    text = ""
    for _ in range(TRIES):
        text = httpx.get(f"{shared.served.url}/metrics", headers=asked, timeout=60).text
        if "holdfast_reserve_usd 0.0" not in text:
            break
        SystemClock().sleep(0.02)
    assert "\nholdfast_reserve_usd 2.0\n" in text
    assert "\nholdfast_balance_low_total 0.0\n" not in text


def a_tenant_uses_its_whole_quota_wherever_it_writes(shared: Shared) -> None:
    one, other = shared.spaces()
    one.configure(objects_max=len(KEYS) + 60)
    assert spent_until_refused(one, "a", 0) == (60, "objects_max")  # below all others
    for space in (one, other):
        assert space.usage().objects == len(KEYS) + 60
    for count in range(60):
        other.delete(f"a{count:04d}")
    assert spent_until_refused(other, "z", 0) == (60, "objects_max")  # and above
    room = 50 * 1_005
    for count in range(60):
        one.delete(f"z{count:04d}")
    other.configure(bytes_max=STORED + room)
    for space, prefix in ((one, "a"), (other, "z")):
        assert spent_until_refused(space, prefix, VALUE) == (50, "bytes_max")
        for seen in (one, other):
            assert seen.usage().live_bytes == STORED + room
            assert seen.usage().objects == len(KEYS) + 50
        for count in range(50):
            space.delete(f"{prefix}{count:04d}")
    one.configure(objects_max=10)  # fewer than there are: nothing more, by any of them
    for space in (one, other):
        with pytest.raises(LimitExceeded):
            space.put("one more", b"")


def all_show_one_usage_and_one_balance(shared: Shared) -> None:
    one, other = shared.spaces()
    one.configure(tariff="mine")
    for space in (one, other):
        noted(space)
    before = one.usage()
    for space in (one, other):
        for key in (KEYS[0], KEYS[-1]):
            space.put(key, bytes(VALUE))
            assert len(space.get(key)) == VALUE
    used, again = other.usage(), one.usage()
    assert (used.requests, used.cost_atto) == (again.requests, again.cost_atto)
    cost = 8 * OPERATION + 4 * VALUE * EGRESS
    assert used.cost_atto - before.cost_atto == cost
    assert used.requests["C"] - before.requests["C"] == 8
    assert one.balance_atto == other.balance_atto == FUNDS - used.cost_atto
    assert shared.doors[0].accounts.balance("acme") == FUNDS - used.cost_atto
    document = shared.doors[1].statement("acme", 0, 1 << 62)
    held = signing_key(OsDisk(), str(shared.folder), SystemEntropy()).private.public_key()
    assert statement.verify(document, public_key=held).closing.charged == used.cost_atto


def who_reads_through_another_process_pays(shared: Shared) -> None:
    zetas = shared.spaces("zeta")
    zetas[0].configure(tariff="mine")
    for zeta in zetas:
        noted(zeta)
    before = zetas[0].usage()
    for zeta in zetas:
        zeta.get("k")
    assert zetas[0].usage().cost_atto - before.cost_atto == 2 * (OPERATION + VALUE * EGRESS)


def money_that_another_process_holds_is_called_back(shared: Shared) -> None:
    poor, door = "poor", shared.doors[0]
    door.accounts.deposit(poor, 400 * OPERATION, "little")
    spaces = shared.spaces(poor)
    spaces[0].configure(tariff="mine")
    for count in range(400):
        spaces[count % 2].put(f"k{count}", b"")
    with pytest.raises(BalanceEmpty):
        spaces[0].put("one more", b"")
    assert door.accounts.balance(poor) == 0


def test_no_bound_is_passed_while_processes_die(shared: Shared) -> None:
    one, other = shared.spaces()
    one.configure(objects_max=len(KEYS) + 40)
    answered = 0
    for count in range(80):
        if count in {15, 45}:
            os.kill(shared.served.workers()[count // 45], signal.SIGKILL)
        try:
            patiently((one, other)[count % 2], f"{'az'[count % 2]}{count:04d}")
            answered += 1
        except LimitExceeded:
            continue
    used = one.usage()
    assert answered <= used.objects - len(KEYS) <= 40
    assert answered == 40


def patiently(space: RemoteNamespace, key: str) -> None:
    """Store, again and again while a process is being replaced."""
    for _ in range(TRIES):
        try:
            space.put(key, b"")
        except LimitExceeded:
            raise
        except HoldfastError:
            SystemClock().sleep(0.02)
        else:
            return
    raise AssertionError("nobody answers")


def noted(space: RemoteNamespace) -> None:
    """Wait until a process has taken note that its reads are charged."""
    for _ in range(TRIES):
        with space.bill() as bill:
            space.exists("none")
        if bill.cost_atto:
            return
        SystemClock().sleep(0.02)
    raise AssertionError("nothing is metered")


def test_a_process_that_holds_nothing_asks_the_same_price(tmp_path: Path) -> None:
    """The store is one bucket: the other process answers reads that it cannot count by itself."""
    folder = tmp_path / "data"
    with holdfast.open(folder) as store:
        store.tariffs.set("mine", TOML)
        store.accounts.deposit("acme", FUNDS, "invoice 1")
        store.namespace("acme").configure(tariff="mine")
    told = 0
    with serving(folder) as served:
        for number in range(12):  # by connections of their own: some go to either process
            with holdfast.connect(served.url, token=served.token, timeout=60) as remote:
                space, key = remote.namespace("acme"), f"k{number:02d}"
                assert space.quote("store", key=key, size_bytes=9).atto == OPERATION
                with space.bill() as bill:
                    space.put(key, bytes(9))
                    space.append(key, bytes(1))
                    space.get(key)
                    space.exists(key)
                    space.stat(key)
                    assert list(space.list()) == [key]
                    space.delete(key)
                assert bill.cost_atto == (6 + 10) * OPERATION + EGRESS * (10 + 3 + 3)
                told += bill.cost_atto
        with holdfast.connect(served.url, token=served.token, timeout=60) as remote:
            space = remote.namespace("acme")
            for _ in range(TRIES):
                if space.usage().cost_atto == told:
                    break
                SystemClock().sleep(0.01)
            assert space.usage().cost_atto == told == FUNDS - space.balance_atto
