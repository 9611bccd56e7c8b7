from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

import holdfast
from holdfast.cli.billing import parse_moment, parse_money
from holdfast.cli.exits import ExitCode
from tests.rooms.cli.conftest import Run


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = tmp_path / "data"
    with holdfast.open(path) as opened:
        opened.accounts.deposit("reserve", 10**18, "r")
    return str(path)


@pytest.mark.parametrize(
    ("text", "atto"),
    [("1.50", 15 * 10**17), ("$0.1", 10**17), ("7", 7 * 10**18), ("12atto", 12), ("0", 0)],
)
def test_money_is_read(text: str, atto: int) -> None:
    assert parse_money(text) == atto


@pytest.mark.parametrize("text", ["", "-1", "1.", ".5", "1e3", "1.0000000000000000001", "x", "1,5"])
def test_what_is_no_money_is_a_mistake_of_the_line(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_money(text)


def test_moments_are_read() -> None:
    assert parse_moment("1970-01-01T00:00:01+00:00") == 1_000_000_000
    with pytest.raises(typer.BadParameter):
        parse_moment("yesterday")


def test_everything_is_told_as_json(run: Run, store: str, tmp_path: Path) -> None:
    toml = tmp_path / "mine.toml"
    toml.write_text("operation = 5")
    assert run("--json", "tariff", "set", store, "mine", str(toml)).document["version"] == 1
    listed = run("--json", "tariff", "list", store).documents
    assert [one["name"] for one in listed][-1] == "mine"
    assert listed[-1]["terms"]["a"] == 50
    moved = run(
        "--json", "account", "transfer", store, "reserve", "acme", "5atto", "--reference", "x"
    )
    assert (moved.document["kind"], moved.document["balance"]) == ("transfer", "5")
    ruled = run(
        *("--json", "account", "rule", store, "acme", "--below", "1", "--draw", "2"),
        *("--per-day", "3"),
    )
    assert ruled.document["threshold"] == str(10**18)
    accounts = run("--json", "account", "list", store).documents
    assert {one["account"]: one["funds"] for one in accounts}["acme"] == "5"
    found = run("--json", "account", "entries", store, "acme").documents
    assert [one["kind"] for one in found] == ["transfer", "rule"]


def test_a_statement_is_made_and_checked(run: Run, store: str, tmp_path: Path) -> None:
    made, key = tmp_path / "made", tmp_path / "key.pem"
    assert run("statement", "create", store, "reserve", "-o", str(made)).code == 0
    key.write_bytes(run("key", store).raw)
    told = run("--json", "statement", "verify", str(made), "--key", str(key)).document
    assert told["closing"]["balance"] == str(10**18)
    events = run("statement", "verify", str(made), "--key", str(key), "--as", "events")
    assert json.loads(events.lines[0])["type"] == "holdfast.ledger.deposit"
    nothing = tmp_path / "nothing"
    before = run(
        "statement", "create", store, "reserve", "-o", str(nothing), "--until", "2001-01-01"
    )
    assert before.code == 0
    told = run("--json", "statement", "verify", str(nothing), "--key", str(key)).document
    assert told["entries"] == []


def test_nobody_moves_what_is_not_there(run: Run, store: str) -> None:
    said = run("account", "transfer", store, "reserve", "acme", "2", "--reference", "x")
    assert said.code == ExitCode.PAY


def test_a_price_is_told_before_anything_is_done(run: Run, store: str) -> None:
    run("tariff", "use", store, "acme", "enclave")
    asked = ("quote", store, "acme", "store", "--key", "k", "--size", "5", "--ttl", "30d")
    assert run(*asked).out == "$0.00000014\n"
    told = run("--json", *asked).document
    storage = 6 * 30 * 86_400 * 8_796
    assert (told["kind"], told["storage_atto"], told["version"]) == ("C", str(storage), 1)
    assert told["atto"] == str(storage + 1_763_750_000)
    assert run("quote", store, "acme", "fly").code == ExitCode.CORRECTABLE
    assert run("ls", store, "acme").out == ""
    kept = run("--json", "quote", store, "acme", "store", "--key", "k", "--size", "5", "--keep-ttl")
    assert (kept.document["storage_atto"], kept.document["back_atto"]) == (
        "0",
        "0",
    )  # none is there
    assert run(*asked, "--keep-ttl").code == ExitCode.CORRECTABLE


def test_a_retention_is_said_with_the_price(run: Run, store: str) -> None:
    told = run("--json", "tariff", "use", store, "acme", "enclave", "--retention", "90d").document
    assert told["retention_ns"] == 90 * 86_400 * 10**9
    assert run("--json", "tariff", "use", store, "acme").document["retention_ns"] is None


def test_what_a_tariff_that_is_not_said_ends_is_told(run: Run, store: str) -> None:
    asked = ("tariff", "use", store, "acme")
    bounds = ("--objects-max", "5", "--bytes-max", "1MiB", "--grace", "7d")
    assert run(*asked, "enclave", *bounds).lines == ["acme: enclave, version 1"]
    fewer = run(*asked, "enclave", "--objects-max", "5")
    assert fewer.lines == ["acme: enclave, version 1; ended: bytes_max, grace"]
    assert run(*asked).lines == ["acme: free; ended: tariff, objects_max"]
    assert run("--json", *asked).document["ended"] == []


def test_a_command_says_what_it_cost(run: Run, store: str) -> None:
    assert run("tariff", "use", store, "acme", "enclave").code == 0
    run("account", "transfer", store, "reserve", "acme", "0.5", "--reference", "x")
    put = run("put", store, "acme", "k", "--text", "value", "--ttl", "30d")
    assert put.err == "costs $0.00000014\n"  # six bytes for 30 days, and one operation
    got = run("get", store, "acme", "k")
    assert (got.raw, got.err) == (b"value", "costs $0.0000000022\n")
    assert run("ls", store, "acme").err == "costs $0.000000018\n"
    assert run("rm", store, "acme", "k").err.startswith("gives back $0.0000001")
    assert run("get", store, "acme", "k").err.count("costs") == 0
    assert run("--json", "put", store, "acme", "k", "--text", "v").err == ""
    assert run("put", store, "free", "k", "--text", "v").err == ""
