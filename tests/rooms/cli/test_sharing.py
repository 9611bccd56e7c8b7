"""token, share and publish, with the store closed, in use, and behind a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import holdfast
from holdfast.access.decide import Ask
from holdfast.identity.operator import NAME, admin_token
from holdfast.testing.serving import Serving
from holdfast.values import Grant

Run = Callable[..., Any]
CREATE = ("token", "create", "--namespace", "acme", "--grant", "read,write", "--ttl", "30d")


@pytest.fixture
def data(run: Run) -> None:
    assert run("put", "data", "acme", "a", "--text", "1").code == 0


@pytest.mark.usefixtures("data")
def test_a_token_is_made_listed_and_ended(run: Run) -> None:
    made = run(*CREATE, "--name", "ann")
    token = made.out.strip()
    with holdfast.open("data") as store:
        found = store.tokens.verify(token)
    assert (found.name, found.grants) == ("ann", (Grant("acme", ("read", "write")),))
    assert f"id {found.credential}" in made.err
    (listed,) = run("token", "list", "--json").documents
    assert (listed["id"], listed["revoked"]) == (found.credential, False)
    assert found.credential in run("token", "list", "data").out
    assert run("token", "revoke", found.credential).out == f"{found.credential}: revoked\n"
    assert run("token", "list", "--json").document["revoked"] is True
    known = run("token", "revoke", found.credential, "--json")
    assert (known.document["noted"], known.err) == (True, "")
    unknown = run("token", "revoke", "ab" * 16)
    assert unknown.out == f"{'ab' * 16}: revoked\n"
    assert "no list has a token with this id" in unknown.err
    assert run("token", "revoke", "ab" * 16, "--json").document["noted"] is False
    with holdfast.open("data") as store, pytest.raises(holdfast.Unauthenticated):
        store.tokens.verify(token)


@pytest.mark.usefixtures("data")
def test_every_narrowing_has_an_option(run: Run) -> None:
    narrowing = ("--prefix", "x/", "--key", "x/y", "--operations", "load, stat", "--uses", "3")
    more = ("--bytes", "1KiB", "--network", "10.0.0.0/8", "--network", "::1/128")
    found = run(*CREATE, *narrowing, *more, "--json").document
    assert set(found) == {"token", "id", "name", "until_ns"}
    with holdfast.open("data") as store:
        (grant,) = store.tokens.verify(found["token"]).grants
    assert grant == Grant(
        "acme",
        ("read", "write"),
        prefix="x/",
        operations=("load", "stat"),
        bytes_max=1024,
        uses=3,
        networks=("10.0.0.0/8", "::1/128"),
        key="x/y",
    )


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    "options",
    [
        ("--namespace", "a b", "--grant", "read", "--ttl", "1h"),
        ("--namespace", "acme", "--grant", "root", "--ttl", "1h"),
        ("--namespace", "acme", "--grant", "", "--ttl", "1h"),
        ("--namespace", "acme", "--grant", "read", "--ttl", "soon"),
        ("--namespace", "acme", "--grant", "read", "--ttl", "99999d"),
        ("--namespace", "acme", "--grant", "read", "--ttl", "1h", "--network", "here"),
    ],
)
def test_what_cannot_be_granted_makes_nothing(run: Run, options: tuple[str, ...]) -> None:
    assert run("token", "create", *options).code == 3
    assert run("token", "list").out == ""


def test_without_a_store_it_is_a_mistake(run: Run) -> None:
    for command in (
        CREATE,
        ("token", "list"),
        ("token", "revoke", "x"),
        ("share", "data", "acme", "a"),
        ("publish", "data", "acme", "a"),
    ):
        assert run(*command).code == 2
    assert not Path("data").exists()


@pytest.mark.usefixtures("data")
def test_while_another_process_has_the_store(run: Run) -> None:
    with holdfast.open("data") as store:
        made = run(*CREATE)
        assert "in no list" in made.err
        assert store.tokens.verify(made.out.strip()).name == "cli"
        link = run("share", "data", "acme", "a").out.strip()
        opened = store.tokens.verify(link.partition("grant=")[2])
        store.access.decide(opened, Ask("acme", "load", "a"))
        assert "--url" in made.err
        for command in (
            ("token", "list"),
            ("token", "revoke", "x"),
            ("publish", "data", "acme", "x"),
        ):
            told = run(*command)
            assert told.code == 5
            assert "--url" in told.err


@pytest.mark.usefixtures("data")
def test_a_link_and_its_bounds(run: Run) -> None:
    base = "https://store.example"
    found = run(
        *("share", "data", "acme", "a", "--base", base, "--ttl", "5m"),
        *("--grant", "read,delete", "--uses", "2", "--json"),
    ).document
    assert found["url"].startswith(f"{base}/v1/namespaces/acme/objects/a?grant=")
    with holdfast.open("data") as store:
        principal = store.tokens.verify(found["url"].partition("grant=")[2])
    (grant,) = principal.grants
    assert (grant.rights, grant.uses, grant.key) == (("read", "delete"), 2, "a")
    assert run("share", "data", "a b", "a").code == 3
    assert run("share", "data", "acme", "a", "--base", "here").code == 3
    assert run("share", "data", "acme", "a", "--grant", "admin").code == 3


@pytest.mark.usefixtures("data")
def test_publishing_and_ending_it(run: Run) -> None:
    assert run("publish", "data", "acme").out == ""
    assert run("publish", "data", "acme", "b/").lines == ["b/"]
    assert run("publish", "data", "acme", "").lines == ["(all)", "b/"]
    assert run("publish", "data", "acme", "--json").document["published"] == ["", "b/"]
    assert run("publish", "data", "acme", "b/", "--end").lines == ["(all)"]


class Answering:
    """A server's side of a request, by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, str, str, bytes | None]] = []
        self.answers: list[httpx.Response] = []
        monkeypatch.setattr(httpx, "request", self.request)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        content: bytes | None,
        timeout: float,
    ) -> httpx.Response:
        assert timeout > 0
        self.asked.append((method, url, headers["authorization"], content))
        return self.answers.pop(0)


@pytest.mark.usefixtures("data")
def test_a_server_is_asked_where_it_says(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Answering(monkeypatch)
    url = ("--url", "http://h:1/")
    there.answers = [httpx.Response(204)]
    assert run("token", "revoke", "ab", *url, "--token", "T").code == 0
    assert there.asked.pop() == ("DELETE", "http://h:1/v1/tokens/ab", "Bearer T", None)
    assert run("publish", "data", "acme", "b/", *url).code == 2  # there is no operator's token
    Path("data", NAME).write_text("O\n")
    there.answers = [httpx.Response(200, json={"prefixes": ["a/"]}), httpx.Response(204)]
    assert run("publish", "data", "acme", "b/", *url).lines == ["a/", "b/"]
    path = "http://h:1/v1/namespaces/acme/published"
    body = b'{"prefixes":["a/","b/"]}'
    assert there.asked == [("GET", path, "Bearer O", None), ("PUT", path, "Bearer O", body)]
    there.answers = [httpx.Response(403, json={"code": "forbidden", "facts": {"reason": "right"}})]
    assert run("publish", "data", "acme", *url).code == 3
    there.answers = [httpx.Response(502, text="<html>")]
    assert run("publish", "data", "acme", *url).code == 5


def test_nobody_answers(run: Run) -> None:
    told = run("token", "revoke", "ab", "--url", "http://127.0.0.1:1", "--token", "T")
    assert told.code == 5


@pytest.mark.usefixtures("data")
def test_a_running_server_hears_of_it(run: Run) -> None:
    with holdfast.open("data") as store, Serving(store) as serving:
        admin_token(store.disk, store.path, store.tokens, entropy=store.entropy, clock=store.clock)
        url = ("--url", serving.url)
        narrowed = ("--prefix", "a", "--operations", "load", "--uses", "2", "--bytes", "1KiB")
        there = run(*CREATE, *narrowed, "--network", "127.0.0.0/8", *url, "--json").document
        assert store.tokens.verify(there["token"]).grants == (
            Grant(
                "acme",
                ("read", "write"),
                prefix="a",
                operations=("load",),
                bytes_max=1024,
                uses=2,
                networks=("127.0.0.0/8",),
            ),
        )
        made = store.tokens.mint("ci", [Grant("acme", ("read",))], 60)
        told = run("token", "list", *url, "--json").lines
        assert {there["id"], made.id} <= {json.loads(line)["id"] for line in told}
        assert run("token", "list", *url).code == 0
        assert run("token", "revoke", made.id, *url).code == 0
        with pytest.raises(holdfast.Unauthenticated):
            store.tokens.verify(made.token)
        assert run("publish", "data", "acme", "a", *url).lines == ["a"]
        published = f"{serving.url}/v1/namespaces/acme/objects/a"
        assert httpx.get(published, timeout=60).content == b"1"
        assert run("publish", "data", "acme", "a", "--end", *url).code == 0
        assert httpx.get(published, timeout=60).status_code == 401
        weak = serving.token("acme", ("read",))
        assert run("publish", "data", "acme", "a", *url, "--token", weak).code == 3
