"""Where a server is, and what is no such place."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.client.address import Address, address_of
from holdfast.errors import InvalidValue, Unavailable


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://localhost", "http://localhost"),
        ("https://store.example:8443/", "https://store.example:8443"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_an_address(url: str, origin: str) -> None:
    assert address_of(url) == Address(origin)


@pytest.mark.parametrize(
    "url",
    [
        *("", "store", "ftp://a", "http://", "http://:80", "http://a:b", "http://a:70000", "unix:"),
        *(
            "http://a/path",
            "http://a?x=1",
            "http://a#x",
            "http://user:secret@a",
            None,
            5,
            b"http://a",
        ),
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidValue):
        holdfast.connect(url)


def test_a_downgrade_is_not_followed() -> None:
    safe = Address("https://a")
    assert safe.at("http://b") == "https://a"
    assert safe.at("https://b/") == "https://b"
    assert Address("http://a").at("https://b") == "http://a"
    assert Address("http://a").at("http://b:1") == "http://b:1"
    assert safe.at(None) == safe.at("") == "https://a"
    assert Address("http://localhost", "/run/s").at("http://b") == "http://localhost"


@pytest.mark.parametrize(
    "options",
    [
        {"token": "a b"},
        {"token": "a\r\nb"},
        {"token": 5},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": True},
        {"direct": 1},
        {"ca": "/absent"},
        {"public_key": b"k" * 31},
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_and_never_ignored(options: dict[str, object]) -> None:
    for way in (holdfast.connect, holdfast.aconnect):
        with pytest.raises(InvalidValue):
            way("http://localhost", **options)  # type: ignore[arg-type]


def test_nobody_there_is_unavailable_and_without_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.client.line.PAUSE_S", 0.001)  # the tries end, not the time
    with holdfast.connect("http://127.0.0.1:1", timeout=60) as store:
        ns = store.namespace("acme")
        for call in (lambda: ns.get("a"), lambda: ns.put("a", b"1"), store.namespaces):
            with pytest.raises(Unavailable) as caught:
                call()
            assert caught.value.effect == "none"
