"""A client that was connected before a fork is the parent's: the child mixes nothing up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.testing.serving import Serving
from tests.rooms.store.forking import end, in_child, refused


def test_a_child_cannot_use_its_parents_connection(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    with holdfast.open(":memory:") as store, Serving(store) as serving:
        remote = holdfast.connect(serving.url, token=serving.token(), outbox=outbox)
        ns = remote.namespace("acme")
        ns.append("log", b"before,")
        ns.put_soon("soon", b"1")
        calls: list[Callable[[], object]] = [
            lambda: ns.get("log"),
            lambda: ns.append("log", b"child,"),
            lambda: ns.put_soon("soon", b"2"),
            lambda: ns.open("file", "wb"),
            lambda: list(ns.list()),
            remote.flush,
        ]

        def work() -> str:
            said = refused(calls)
            remote.close()
            return said

        said, child, let_go = in_child(work)
        try:
            assert said == "all refused"
            ns.append("log", b"after")
            assert remote.flush() == []
            assert ns.get("log") == b"before,after"
            assert ns.get("soon") == b"1"
            remote.close()
            with holdfast.connect(serving.url, token=serving.token(), outbox=outbox) as again:
                assert again.namespace("acme").get("log") == b"before,after"
        finally:
            end(child, let_go)


def test_a_child_connects_by_itself() -> None:
    with holdfast.open(":memory:") as store, Serving(store) as serving:
        token = serving.token()
        remote = holdfast.connect(serving.url, token=token)
        remote.namespace("acme").append("log", b"parent,")

        def work() -> str:
            with holdfast.connect(serving.url, token=token) as own:
                return str(own.namespace("acme").append("log", b"child,"))

        said, child, let_go = in_child(work)
        end(child, let_go)
        assert said == str(len(b"parent,child,"))
        assert remote.namespace("acme").append("log", b"parent") == len(b"parent,child,parent")
        remote.close()


def test_a_child_cannot_use_its_parents_loop() -> None:
    async def main(url: str, token: str) -> str:
        async with holdfast.aconnect(url, token=token) as remote:
            ns = remote.namespace("acme")
            await ns.put("a", b"1")

            def work() -> str:
                calls = [lambda: ns.get("a").send(None), lambda: ns.put("a", b"2").send(None)]
                return refused(calls)

            said, child, let_go = in_child(work)
            end(child, let_go)
            assert await ns.get("a") == b"1"
            return said

    with holdfast.open(":memory:") as store, Serving(store) as serving:
        assert asyncio.run(main(serving.url, serving.token())) == "all refused"


@pytest.mark.parametrize("token", ["", " ", "a b", "a\nb", "\xe9"])
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(holdfast.InvalidValue):
        holdfast.connect("http://127.0.0.1:1", token=token)
