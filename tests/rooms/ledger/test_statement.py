"""A statement holds for who has the key, and nobody changes a digit of it unseen."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from holdfast.certify import cose
from holdfast.errors import InvalidValue, ProofInvalid
from holdfast.ledger import entries, export, statement
from holdfast.ledger.ledger import Report
from holdfast.ledger.statement import Statement
from tests.rooms.ledger.keeping import (
    DISK,
    DOLLAR,
    ENCLAVE,
    STORE,
    a_delete,
    a_ledger,
    a_put,
    lines_of,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
HOUR = 3_600_000_000_000


def a_story() -> list[entries.Entry]:
    """A few hours of a customer, and of another one."""
    ledger, _, clock = a_ledger()
    ledger.price("acme", "enclave", 1, ENCLAVE)
    ledger.deposit("reserve", 10 * DOLLAR, "start")
    ledger.rule("acme", DOLLAR, 2 * DOLLAR, per_day=3, parent="reserve")
    ledger.top_up()
    ledger.fund("acme", "b1", DOLLAR)
    clock.now += HOUR
    ledger.report([Report("acme", "b1", 1, (), 0, 9, lines_of(a_put(), a_put(size=7), a_delete()))])
    ledger.deposit("globex", 5, "not acme's")
    clock.now += HOUR
    ledger.price("acme", "disk", 1, DISK)
    ledger.report([Report("acme", "b1", 1, (), 9, 12, lines_of(a_put(DISK, size=3), a_delete()))])
    clock.now += HOUR
    ledger.report([Report("acme", "b1", 1, ((1, DOLLAR // 2),))])
    ledger.fund("acme", "b2", 7)
    ledger.void("acme", "b2", 0)
    ledger.transfer("acme", "reserve", 5, "too much")
    return list(ledger.history())


STORY = a_story()


def drawn(start: int = 0, stop: int = 1 << 62) -> Statement:
    return statement.draw(STORY, STORE, "acme", start_ns=start, stop_ns=stop, made_ns=5)


def signed_object(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A statement of somebody who signs what is not so."""
    told = json.loads(entries.canonical(statement.to_object(drawn(HOUR))))
    change(told)
    header = {statement.CONTENT_TYPE: statement.MEDIA_TYPE}
    return cose.sign(header, entries.canonical(told), KEY)


def test_a_statement_holds_and_says_what_happened() -> None:
    made = drawn()
    assert statement.verify(statement.sign(made, KEY), public_key=PUBLIC) == made
    assert made.opening.entries == 0
    assert all("acme" in entries.owners(entry) for entry in made.entries)
    assert made.usage.requests == {"A": 0, "B": 0, "C": 5}
    assert made.usage.charged == made.closing.charged > 0
    funds = made.closing.balance + made.closing.transit + made.closing.float_
    assert funds == 2 * DOLLAR - 5 - made.closing.charged


def test_periods_follow_each_other() -> None:
    edges = [0, HOUR, 2 * HOUR, 3 * HOUR, 9 * HOUR]
    parts = [drawn(start, stop) for start, stop in pairwise(edges)]
    for before, after in pairwise(parts):
        assert before.closing == after.opening
    assert sum(len(part.entries) for part in parts) == len(drawn().entries)
    for part in parts:
        assert statement.verify(statement.sign(part, KEY), public_key=PUBLIC) == part


def test_another_key_does_not_convince() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(ProofInvalid) as refused:
        statement.verify(statement.sign(drawn(), other), public_key=PUBLIC)
    assert refused.value.reason == "signature"
    with pytest.raises(InvalidValue):
        statement.verify(b"", public_key=b"no key")


@given(st.data())
def test_no_bit_can_be_changed(data: st.DataObject) -> None:
    document = bytearray(statement.sign(drawn(HOUR), KEY))
    at = data.draw(st.integers(0, len(document) - 1))
    document[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ProofInvalid):
        statement.verify(bytes(document), public_key=PUBLIC)


def charged(told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in told["entries"] if one["kind"] == "charged")
    return found


def bill_more(told: dict[str, Any]) -> None:
    entry = charged(told)
    entry["amount"] = str(int(entry["amount"]) + 1)


def bill_more_throughout(told: dict[str, Any]) -> None:
    entry = charged(told)
    entry["amount"] = str(int(entry["amount"]) + 1)
    line = entry["lines"][0]
    line["amount"] = str(int(line["amount"]) + 1)


def round_more(told: dict[str, Any]) -> None:
    entry = charged(told)
    entry["amount"] = str(int(entry["amount"]) + 1)
    line = entry["lines"][0]
    line["amount"] = str(int(line["amount"]) + 1)
    entry["lines"][0]["times"] = 0


def move(place: str, by: int, at: str = "closing") -> Callable[[dict[str, Any]], object]:
    def change(told: dict[str, Any]) -> None:
        told[at][place] = str(int(told[at][place]) + by)

    return change


LIES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (bill_more, "charge"),
    (bill_more_throughout, "charge"),
    (round_more, "charge"),
    (lambda told: told["terms"]["2"].update(c=5), "charge"),
    (lambda told: told["terms"].pop("2"), "charge"),
    (lambda told: told["terms"]["2"].update(storage_unit=0), "charge"),
    (lambda told: told["entries"].pop(0), "negative"),
    (lambda told: told["entries"].pop(), "chain"),
    (lambda told: told["entries"].reverse(), "order"),
    (lambda told: told["entries"].append(told["entries"][-1]), "order"),
    (lambda told: told["entries"][-1].update(reference="else"), "chain"),
    (lambda told: told["entries"][-1].update(source="else", target="more"), "order"),
    (lambda told: told["entries"][-1].update(amount="6"), "chain"),
    (lambda told: told.update(start_ns=told["stop_ns"] + 1), "period"),
    (lambda told: told.update(stop_ns=HOUR + 1), "period"),
    (lambda told: told["usage"].update(charged="1"), "usage"),
    (lambda told: told["usage"]["requests"].update(A=1), "usage"),
    (move("balance", 1), "balance"),
    (move("balance", 1, "opening"), "balance"),
    (move("float", -2 * DOLLAR, "opening"), "negative"),
    (lambda told: told["closing"].update(head="00" * 32), "chain"),
    (lambda told: told["opening"].update(head="00" * 32), "chain"),
    (lambda told: told["opening"].update(head="x"), "chain"),
    (lambda told: told["opening"].update(entries=0), "chain"),
    (lambda told: told.update(format="holdfast-statement-2"), "format"),
    (lambda told: told.update(more=1), "structure"),
    (lambda told: told.pop("usage"), "structure"),
    (lambda told: told["entries"][0].update(kind="gift"), "structure"),
    (lambda told: told["entries"][0].update(amount=5), "structure"),
    (lambda told: charged(told)["lines"][0].update(times=True), "structure"),
    (lambda told: told["terms"].update({"9": told["terms"]["2"]}), "structure"),
    (lambda told: told.update(entries={}), "structure"),
]


@pytest.mark.parametrize(("change", "reason"), LIES)
def test_not_even_the_signer_can_tell_what_is_not_so(
    change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(ProofInvalid) as refused:
        statement.verify(signed_object(change), public_key=PUBLIC)
    assert refused.value.reason == reason


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"format":1}'])
def test_what_is_no_statement_is_refused(payload: bytes) -> None:
    header = {statement.CONTENT_TYPE: statement.MEDIA_TYPE}
    for signed in (cose.sign(header, payload, KEY), cose.sign({}, payload, KEY)):
        with pytest.raises(ProofInvalid):
            statement.verify(signed, public_key=PUBLIC)


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidValue):
        drawn(2, 1)


# -- for people and for billing systems ---------------------------------------------------


def test_the_table_tells_the_story() -> None:
    told = export.table(drawn())
    assert "Statement of account acme" in told
    assert "enclave, version 1" in told
    assert "3 operations in bucket b1" in told
    assert "charged in the period: $0.0000000" in told
    assert drawn().closing.head in told


def test_csv_has_a_row_for_each_entry() -> None:
    made = drawn()
    rows = list(csv.DictReader(io.StringIO(export.to_csv(made))))
    assert [int(row["number"]) for row in rows] == [entry.number for entry in made.entries]
    assert sum(int(row["amount_atto"]) for row in rows) == int(rows[-1]["funds_atto"])
    assert rows[0]["time"] == "1970-01-01T00:00:01Z"


def test_events_are_cloudevents() -> None:
    made = drawn()
    events = [json.loads(line) for line in export.to_events(made).splitlines()]
    assert len({(event["source"], event["id"]) for event in events}) == len(made.entries)
    for event, entry in zip(events, made.entries, strict=True):
        assert event["specversion"] == "1.0"
        assert event["type"] == f"holdfast.ledger.{entry.kind}"
        assert entries.from_object(event["data"]) == entry


def test_moments_beyond_the_calendar() -> None:
    assert export.moment(1 << 62) == "2116-02-20T23:53:38.427387904Z"
    assert export.moment(1 << 80) == "9999-12-31T23:59:59Z"
