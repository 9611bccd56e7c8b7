"""Proofs where several processes serve one store: one signs for all, any of them answers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import holdfast
from holdfast.client.store import RemoteStore
from tests.doors.test_workers import SMALL, Served, patiently, serving

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
KEYS = [f"k{number:04d}" for number in range(300)]
ENDS = ("k0001", "k0298", "k0150")
Doors = tuple[Served, bytes, list[RemoteStore]]


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    folder = tmp_path / "data"
    with holdfast.open(folder, bucket_bytes=SMALL) as store:
        store.namespace("acme").put_many((key, key.encode() * 180) for key in KEYS)
        public_key = store.public_key()
    with serving(folder) as served, ExitStack() as stack:

        def connect(url: str, key: bytes | None = None) -> RemoteStore:
            made = holdfast.connect(url, token=served.token, timeout=60, public_key=key)
            return stack.enter_context(made)

        whole = connect(served.url)
        owners = sorted({whole.locate("acme", key).address for key in ENDS})
        assert len(owners) == 2
        yield served, public_key, [connect(url, public_key) for url in owners]


def test_any_process_proves_what_any_of_them_holds(doors: Doors) -> None:
    _, _, stores = doors
    for number in range(3):
        for writer in stores:
            for key in ENDS:
                writer.namespace("acme").put(key, f"{key} {number}".encode())
            writer.namespace("acme").put(f"new{number}", b"1")
            for reader in stores:  # which believes nothing without a proof of now
                space = reader.namespace("acme")
                assert [space.get(key) for key in ENDS] == [f"{k} {number}".encode() for k in ENDS]
                with pytest.raises(holdfast.NotFound):
                    space.get("k0001/none")
                assert space.get(f"new{number}") == b"1"
            writer.namespace("acme").delete(f"new{number}")
            with pytest.raises(holdfast.NotFound):
                stores[0].namespace("acme").get(f"new{number}")


def test_lists_and_expired_objects_of_both_are_proved(doors: Doors) -> None:
    _, _, stores = doors
    first, last = (store.namespace("acme") for store in stores)
    assert list(first.list()) == list(last.list()) == KEYS
    for space in (first, last):
        for key in ENDS:
            space.put(f"{key}/short", b"s", ttl=0.05)
        space.put("k0299/large", os.urandom(3 << 20))
        space.put("k0000/large", b"x" * (2 << 20))
        assert first.get("k0000/large") == last.get("k0000/large") == b"x" * (2 << 20)
        told = [name for name in last.list() if "short" not in name]
        assert told == sorted([*KEYS, "k0299/large", "k0000/large"])


def test_signed_roots_go_on_when_the_one_that_signs_has_died(doors: Doors) -> None:
    served, _, stores = doors
    for victim in (0, 1, 0):
        for store in stores:
            space = store.namespace("acme")
            space.put("k0001", b"%d" % victim)
            assert patiently(space, "k0298") is not None
            assert patiently(space, "k0001") == b"%d" % victim
        os.kill(served.workers()[victim], signal.SIGKILL)
        for store in stores:
            assert patiently(store.namespace("acme"), "k0001") == b"%d" % victim
