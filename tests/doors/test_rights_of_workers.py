"""Rights where several processes serve one store: what one was told, all hold to."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

import holdfast
from holdfast.clock import SystemClock
from tests.doors.test_workers import SMALL, Served, serving

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
OBJECT = "/v1/namespaces/acme/objects/k0001"
GRANT = {"namespace": "acme", "rights": ["read"], "ttl": "1h", "name": "ci"}


class Doors(NamedTuple):
    """A server of two processes, and where each of them answers by itself."""

    served: Served
    addresses: tuple[str, ...]
    client: httpx.Client

    def ask(self, at: int, method: str, path: str, body: object = None) -> httpx.Response:
        """The operator's request to one of the processes."""
        headers = {"authorization": f"Bearer {self.served.token}"}
        content = None if body is None else json.dumps(body)
        url = self.addresses[at] + path
        return self.client.request(method, url, headers=headers, content=content)

    def status(self, at: int, path: str, token: str | None = None) -> int:
        """How somebody's read at one of the processes ends."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return self.client.get(self.addresses[at] + path, headers=headers).status_code


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    folder = tmp_path / "data"
    with holdfast.open(folder, bucket_bytes=SMALL) as store:
        store.namespace("acme").put_many((f"k{n:04d}", bytes(900)) for n in range(300))
    with serving(folder) as served:
        with holdfast.connect(served.url, token=served.token) as store:
            owners = {store.locate("acme", f"k{n:04d}").address for n in range(0, 300, 10)}
        assert len(owners) == 2
        with httpx.Client(timeout=60) as client:
            yield Doors(served, tuple(sorted(owners)), client)


def test_what_one_was_told_all_hold_to(doors: Doors) -> None:
    for at, other in ((0, 1), (1, 0)):
        made = doors.ask(at, "POST", "/v1/tokens", GRANT).json()
        for place in (at, other):
            assert doors.status(place, OBJECT, made["token"]) == 200
            assert doors.status(place, OBJECT) == 401
        assert doors.ask(at, "DELETE", f"/v1/tokens/{made['id']}").status_code == 204
        assert doors.status(at, OBJECT, made["token"]) == 401
        assert heard(doors, other, made["token"], 401)
        space = "/v1/namespaces/acme/published"
        assert doors.ask(at, "PUT", space, {"prefixes": ["k"]}).status_code == 200
        assert doors.status(at, OBJECT) == 200
        assert heard(doors, other, None, 200)
        assert doors.ask(other, "PUT", space, {"prefixes": []}).status_code == 200
        assert doors.status(other, OBJECT) == 401
        assert heard(doors, at, None, 401)


def heard(doors: Doors, at: int, token: str | None, status: int) -> bool:
    """Whether a process holds to what another was told.

    The other waits for it, but on a machine that stalls not for longer than a second.
    """
    clock = SystemClock()
    for _ in range(3_000):
        if doors.status(at, OBJECT, token) == status:
            return True
        clock.sleep(0.02)
    return False


@pytest.mark.parametrize("uses", [5, 64])
def test_all_of_them_together_give_no_more_uses_than_granted(doors: Doors, uses: int) -> None:
    made = doors.ask(0, "POST", "/v1/tokens", {**GRANT, "uses": uses}).json()
    allowed = 0
    for number in range(uses + 20):
        allowed += doors.status(number % 2, OBJECT, made["token"]) == 200
    assert allowed == uses


def test_nor_where_one_of_them_dies(doors: Doors) -> None:
    made = doors.ask(0, "POST", "/v1/tokens", {**GRANT, "uses": 64}).json()
    allowed = 0
    for round_number in range(3):
        for number in range(10):
            allowed += patiently(doors, number % 2, made["token"]) == 200
        os.kill(doors.served.workers()[round_number % 2], signal.SIGKILL)
    for number in range(80):
        allowed += patiently(doors, number % 2, made["token"]) == 200
    assert 30 <= allowed <= 64


def patiently(doors: Doors, at: int, token: str) -> int:
    """A read by somebody who comes again where nobody answered: what was answered counts."""
    clock = SystemClock()
    for _ in range(3_000):
        try:
            status = doors.status(at, OBJECT, token)
        except httpx.TransportError:
            status = 503
        if status != 503:
            return status
        clock.sleep(0.02)
    return 503
