"""A store behind a server refuses what an embedded one refuses, by the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import holdfast
from holdfast.client.store import RemoteStore
from holdfast.errors import HoldfastError, InvalidValue
from holdfast.store import Store
from holdfast.testing.serving import Serving

Both = tuple[Store, RemoteStore]


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with (
        holdfast.open(":memory:") as store,
        Serving(store) as serving,
        holdfast.connect(serving.url, token=serving.token(), timeout=60) as remote,
    ):
        yield store, remote


def refusal(call: Callable[[Any], object], store: Store | RemoteStore) -> tuple[object, ...]:
    with pytest.raises(HoldfastError) as refused:
        call(store)
    error = refused.value
    return type(error), error.message, error.facts.get("argument")


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.backup(None),
        lambda store: store.backup(5),
        lambda store: store.backup(b"x"),
        lambda store: store.backup(""),
        lambda store: store.bucket("zz").get("acme", "k"),
        lambda store: store.bucket("zz").put("acme", "k", b"1"),
        lambda store: store.accounts.balance(5),
        lambda store: store.accounts.balance(""),
        lambda store: store.accounts.entries(5),
        lambda store: store.accounts.deposit(5, 1, "r"),
        lambda store: store.accounts.transfer(5, "acme", 1, "r"),
        lambda store: store.accounts.transfer("acme", 5, 1, "r"),
        lambda store: store.accounts.rule(5, 1, 1, 1),
        lambda store: store.accounts.rule("acme", 1, 1, 1, parent=5),
        lambda store: store.statement(5, 0, 1),
    ],
)
def test_a_wrong_argument_is_the_same_error(both: Both, call: Callable[[Any], object]) -> None:
    embedded, remote = both
    assert refusal(call, remote) == refusal(call, embedded)


@pytest.mark.parametrize("name", ["if_version", "fence"])
@pytest.mark.parametrize("number", [-1, 1 << 64, 1 << 70])
def test_a_number_that_cannot_travel_is_told_as_the_argument(
    both: Both, name: str, number: int
) -> None:
    acme = both[1].namespace("acme")
    asked: dict[str, Any] = {name: number}
    for call in (
        lambda: acme.put("k", b"1", **asked),
        lambda: acme.put_many({"k": b"1"}, **asked),
    ):
        with pytest.raises(InvalidValue) as refused:
            call()
        assert refused.value.argument == name
