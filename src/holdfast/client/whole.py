"""The calls of a store as a whole, without I/O."""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import Final, Literal

from holdfast.client.asks import Answer, Ask, Work
from holdfast.client.box import Queued
from holdfast.client.calls import NamespaceCalls
from holdfast.client.line import Line
from holdfast.client.numbers import write
from holdfast.client.places import Places, locate
from holdfast.client.reading import read
from holdfast.errors import InvalidValue, NotFound, Unavailable
from holdfast.request import arguments
from holdfast.values import (
    CheckReport,
    CollectReport,
    DeadLetter,
    Hits,
    Place,
    Progress,
    Receipt,
    Stat,
    Status,
)
from holdfast.wire.batch import Call
from holdfast.wire.headers import Numbered
from holdfast.wire.paths import encode_key, encode_query, encode_text
from holdfast.wire.values import JSON, encode

MODES: Final = frozenset(("auto", "copying", "compacting"))


class StoreCalls:
    """What can be asked of a store.

    Args:
        line: the client's.
        places: in direct mode, what is known of where keys lie.
    """

    def __init__(self, line: Line, places: Places | None) -> None:
        self._line = line
        self._places = places

    def namespace(self, name: str) -> NamespaceCalls:
        """The calls of one namespace; InvalidNamespace where the name is none."""
        return NamespaceCalls(self._line, name, self._places)

    def namespaces(self) -> Work[builtins.list[str]]:
        """The namespaces that hold an object and that this caller may read, in byte order."""
        answer = yield from self._line.exchange(Ask("GET", "/v1/namespaces", repeatable=True))
        return read(answer, dict[str, list[str]])["namespaces"]

    def drop_namespace(self, name: str) -> Work[None]:
        """Remove everything in a namespace; Permanent (and nothing changed) if something is."""
        arguments.namespace_bytes(name)
        yield from self._line.exchange(
            Ask("DELETE", f"/v1/namespaces/{encode_key(name)}"), patient=True
        )

    def locate(self, namespace: str, key: str) -> Work[Place]:
        """Where a key lies, or would: its bucket, the range that it holds, its owner's address."""
        arguments.namespace_bytes(namespace)
        arguments.compose(b"", key)
        return (yield from locate(self._line, namespace, key))

    def search(
        self, query: str, *, limit: int = 20, rank: Literal["bm25", "key"] = "bm25"
    ) -> Work[Hits]:
        """The first objects that a query finds in any namespace, for whoever has them all."""
        told = {
            "query": arguments.text(query, "query").decode(),
            "limit": str(arguments.integer(limit, "limit")),
            "rank": rank,
        }
        ask = Ask("GET", f"/v1/search?{encode_query(told)}", repeatable=True)
        return read((yield from self._line.exchange(ask)), Hits)

    def status(self) -> Work[Status]:
        """Every bucket's keys, live, dead and on-disk bytes."""
        ask = Ask("GET", "/v1/status", repeatable=True)
        return read((yield from self._line.exchange(ask)), Status)

    def check(
        self,
        repair: bool = False,  # noqa: FBT001, FBT002 - the face
        *,
        progress: Progress | None = None,
    ) -> Work[CheckReport]:
        """Verify every byte of every log, and every view against its log; takes its time."""
        told = "true" if arguments.flag(repair, "repair") else "false"
        ask = Ask("POST", f"/v1/check?repair={told}", repeatable=not repair)
        return read((yield from self._long(ask, progress)), CheckReport)

    def collect(
        self,
        mode: Literal["auto", "copying", "compacting"] = "auto",
        *,
        progress: Progress | None = None,
    ) -> Work[CollectReport]:
        """Remove what is expired or unreferenced and give dead bytes' space back."""
        if mode not in MODES:
            raise InvalidValue(argument="mode", reason="auto, copying or compacting")
        ask = Ask("POST", f"/v1/collect?mode={mode}")
        return read((yield from self._long(ask, progress)), CollectReport, ask)

    def rebuild(self, *, progress: Progress | None = None) -> Work[None]:
        """Throw every view away and derive it again from the log."""
        yield from self._long(Ask("POST", "/v1/rebuild", repeatable=True), progress)

    def backup(
        self, path: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> Work[None]:
        """Copy the store, as it is at one moment, into a folder of the server's machine."""
        name = arguments.path(path)
        arguments.text(name, "path")  # as JSON carries it
        body = encode({"path": name})
        ask = Ask("POST", "/v1/backup", {"content-type": JSON}, body)
        yield from self._long(ask, progress)

    def _long(self, ask: Ask, progress: Progress | None) -> Work[Answer]:
        """Have the server do what takes its time: one step, for it tells nothing before its end."""
        seen = arguments.progress(progress)
        seen.total = 1
        answer = yield from self._line.exchange(ask, patient=True)
        seen.done = 1
        return answer

    def tick(self, budget_s: float = 0.05) -> Work[None]:
        """Run upkeep that is due, for about ``budget_s`` seconds."""
        query = encode_query({"budget_s": str(arguments.seconds(budget_s, "budget_s"))})
        yield from self._line.exchange(Ask("POST", f"/v1/tick?{query}"), patient=True)

    def flush(self) -> Work[builtins.list[DeadLetter]]:
        """Make what the server has answered durable, whatever its sync mode; what failed there."""
        ask = Ask("POST", "/v1/flush", repeatable=True)
        answer = yield from self._line.exchange(ask, patient=True)
        return read(answer, dict[str, list[DeadLetter]])["dead_letters"]

    def dead_letters(self) -> Work[builtins.list[DeadLetter]]:
        """Every ``put_soon`` that the server itself could not store."""
        ask = Ask("GET", "/v1/dead-letters", repeatable=True)
        answer = yield from self._line.exchange(ask)
        return read(answer, dict[str, list[DeadLetter]])["dead_letters"]


class SoonCalls:
    """What ``put_soon`` asks: sessions, and writes with a number in one of them."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def begin_session(self) -> Work[bytes]:
        """A new session."""
        ask = Ask("POST", "/v1/sessions", repeatable=True)
        told = read((yield from self._line.exchange(ask)), dict[str, str])
        try:
            return bytes.fromhex(told["session"])
        except (KeyError, ValueError):
            raise Unavailable(cause="the answer cannot be read") from None

    def store_numbered(
        self, namespace: str, queued: Sequence[Queued], numbered: Numbered
    ) -> Work[builtins.list[object]]:
        """Store in one request, under numbers that follow one another."""
        calls = [Call("store", one.key, {"value": one.value}) for one in queued]
        space = NamespaceCalls(self._line, namespace, None)
        return (yield from space.batch(calls, numbered=numbered))


def _known(bucket: object) -> str:
    """What may be a bucket's id; NotFound where it cannot."""
    if isinstance(bucket, str) and bucket and bucket.isascii():
        return bucket
    raise NotFound(bucket=bucket)


class BucketCalls:
    """What can be asked of one bucket; keys outside its range answer ``Moved``.

    Args:
        line: the client's.
        bucket: its id.
        origin: where its owner answers, or None for the client's own server.
    """

    def __init__(self, line: Line, bucket: str, origin: str | None) -> None:
        self.id = _known(bucket)
        self._line = line
        self._origin = origin
        self._root = f"/v1/buckets/{encode_text(bucket)}/namespaces"

    def _about(self, noun: str, namespace: str, key: str) -> str:
        arguments.namespace_bytes(namespace)
        return f"{self._root}/{encode_key(namespace)}/{noun}/{encode_key(key)}"

    def get(self, namespace: str, key: str) -> Work[bytes]:
        """A value of this bucket."""
        target = self._about("objects", namespace, key)
        ask = Ask("GET", target, origin=self._origin, repeatable=True)
        return (yield from self._line.exchange(ask)).body

    def stat(self, namespace: str, key: str) -> Work[Stat]:
        """What is known of an object of this bucket."""
        target = self._about("stat", namespace, key)
        ask = Ask("GET", target, origin=self._origin, repeatable=True)
        return read((yield from self._line.exchange(ask)), Stat)

    def put(self, namespace: str, key: str, data: bytes | bytearray | memoryview) -> Work[Receipt]:
        """Store an object in this bucket."""
        value = arguments.payload(data)
        target = self._about("objects", namespace, key)
        ask = Ask("PUT", target, body=value, origin=self._origin)
        return read((yield from write(self._line, ask)), Receipt, ask)
