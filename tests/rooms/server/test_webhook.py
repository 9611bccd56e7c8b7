"""Low balances are told: signed, again until they are heard, and nowhere else."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from threading import Thread
from typing import NamedTuple

import pytest

import holdfast
from holdfast.clock import SystemClock
from holdfast.errors import InvalidValue
from holdfast.server.webhook import Webhook

SECRET = b"0123456789abcdef"
STORE = "00" * 16


class Heard(NamedTuple):
    """A request that came."""

    path: str
    signature: str
    body: bytes


class Listener:
    """A real address that answers as it is told, then well."""

    def __init__(self, answers: list[int]) -> None:
        heard = self.heard = Queue[Heard]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.put(Heard(self.path, self.headers["Holdfast-Signature"], body))
                self.send_response(answers.pop(0) if answers else 204)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener([500, 302, 404])
    yield made
    made.close()


def test_an_event_is_sent_until_it_is_heard(listener: Listener) -> None:
    clock = SystemClock()
    webhook = Webhook(listener.url, SECRET, store=STORE, clock=clock, pause_s=0.001)
    try:
        webhook.tell("acme", 10**30)
        heard = [listener.heard.get(timeout=60) for _ in range(4)]
    finally:
        webhook.close()
    assert len({one.body for one in heard}) == 1
    assert {one.path for one in heard} == {"/hook"}
    event = json.loads(heard[0].body)
    assert (event["type"], event["subject"]) == ("holdfast.balance.low", "acme")
    assert event["data"] == {"account": "acme", "balance_atto": str(10**30)}
    for one in heard:
        at, _, told = one.signature.partition(",v1=")
        signed = at.removeprefix("t=").encode() + b"." + one.body
        assert told == hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
    assert listener.heard.empty()


def test_who_does_not_answer_keeps_nobody_waiting() -> None:
    webhook = Webhook("http://127.0.0.1:9/", SECRET, store=STORE, clock=SystemClock())
    for _ in range(300):
        webhook.tell("acme", 0)
    webhook.close()


@pytest.mark.parametrize(
    ("url", "secret"), [("ftp://x/", SECRET), ("file:///x", SECRET), ("http://x/", b"short")]
)
def test_what_cannot_be_told_is_refused(url: str, secret: bytes) -> None:
    with pytest.raises(InvalidValue):
        Webhook(url, secret, store=STORE, clock=SystemClock())


def test_a_low_account_of_a_store_is_told(listener: Listener) -> None:
    webhook = Webhook(listener.url, SECRET, store=STORE, clock=SystemClock(), pause_s=0.001)
    with holdfast.open(":memory:", upkeep=False) as store:
        store.meters.heard_low = webhook.tell
        store.accounts.rule("acme", 5, 5, 1)
        acme = store.namespace("acme")
        acme.configure(tariff="enclave")
        with pytest.raises(holdfast.BalanceEmpty):
            acme.put("a", b"1")
        assert store.seen_reserve() == (1, 0)
        assert json.loads(listener.heard.get(timeout=60).body)["subject"] == "acme"
    webhook.close()
