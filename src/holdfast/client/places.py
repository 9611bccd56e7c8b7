"""Where keys lie, as the directory last said: what direct mode goes by.

A place is believed until somebody says otherwise: a bucket that answers Moved, an owner that
cannot be reached. Whether to go by places at all, ``NearPlaces`` finds out as it goes
(docs/guide/server.md has what that rests on).
"""

from __future__ import annotations

from bisect import bisect_right
from threading import Lock
from typing import Final

import msgspec

from holdfast.client.asks import Answer, Ask, Work
from holdfast.client.line import NOT_BEGUN_ERRORS, Line
from holdfast.client.reading import read
from holdfast.errors import Moved, NotFound, OutcomeUnknown
from holdfast.limits import VALUE_RECORD_BYTES
from holdfast.request import arguments
from holdfast.values import Place
from holdfast.wire.paths import encode_query, encode_text

MOVES: Final = 5
OWNER_TRIES: Final = 2  # then any server is asked
PLACES: Final = 10_000
Point = tuple[str, bytes]
NEAR_NS: Final = 5_000_000  # to the directory and back; beyond it the distance is what counts
FAR_REST_NS: Final = 60_000_000_000
ASKED_LEAST: Final = 2  # the first answer may have waited for a connection to be made
LOWEST: Final[Point] = ("", b"")


class Places:
    """The ranges that are known, in order; safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._starts: list[Point] = []
        self._places: list[Place] = []

    def are_for(self, size_bytes: int, now_ns: int) -> bool:
        """Whether to go to the owner with a request that has so large a body."""
        del size_bytes, now_ns
        return True

    def told_within(self, took_ns: int, now_ns: int) -> None:
        """The directory answered, and how soon."""

    def led_nowhere(self, now_ns: int) -> None:
        """An owner could not be reached where it is said to be."""

    def find(self, namespace: str, key: str) -> Place | None:
        """The place of a key, where one is known."""
        point = (namespace, key.encode())
        with self._lock:
            at = bisect_right(self._starts, point) - 1
            if at < 0:
                return None
            place = self._places[at]
        return place if place.stop is None or point < _point(place.stop) else None

    def learn(self, place: Place) -> None:
        """Believe a place, and nothing any more that it overlaps."""
        start = LOWEST if place.start is None else _point(place.start)
        with self._lock:
            if len(self._places) >= PLACES:
                self._starts, self._places = [], []
            kept = [p for p in self._places if not _overlap(p, place)]
            self._starts = [LOWEST if p.start is None else _point(p.start) for p in kept]
            at = bisect_right(self._starts, start)
            self._starts.insert(at, start)
            self._places = [*kept[:at], place, *kept[at:]]

    def forget(self, place: Place) -> None:
        """Believe it no more."""
        with self._lock:
            kept = [p for p in self._places if p != place]
            self._starts = [LOWEST if p.start is None else _point(p.start) for p in kept]
            self._places = kept


class NearPlaces(Places):
    """The same, gone by only where that is worth it: for what is small, and near.

    Near is a server whose directory answers within 5 ms, by the best of its answers. What is
    far, or leads to an address that cannot be reached from here, is left alone for a minute.
    """

    def __init__(self) -> None:
        super().__init__()
        self._least_ns = FAR_REST_NS
        self._asked = 0
        self._rest_ns: int | None = None

    def are_for(self, size_bytes: int, now_ns: int) -> bool:
        """Whether it is small, and the server not known to be far."""
        if self._rest_ns is not None and now_ns >= self._rest_ns:
            self._rest_ns, self._asked, self._least_ns = None, 0, FAR_REST_NS
        return self._rest_ns is None and size_bytes <= VALUE_RECORD_BYTES

    def told_within(self, took_ns: int, now_ns: int) -> None:
        """Judge by the best of the answers since we began to ask."""
        self._asked += 1
        self._least_ns = min(self._least_ns, took_ns)
        if self._asked >= ASKED_LEAST and self._least_ns > NEAR_NS:
            self._rest_ns = now_ns + FAR_REST_NS

    def led_nowhere(self, now_ns: int) -> None:
        """Ask any server instead, for a while."""
        self._rest_ns = now_ns + FAR_REST_NS


def places_of(direct: object) -> Places | None:
    """What ``connect(direct=...)`` asks for; None where everything is relayed.

    Raises:
        InvalidValue: neither a bool nor "auto".
    """
    if direct == "auto":
        return NearPlaces()
    return Places() if arguments.flag(direct, "direct") else None


def _point(bound: tuple[str, str]) -> Point:
    """A bound in the order of the keyspace: namespaces are ASCII, keys go by their bytes."""
    return bound[0], bound[1].encode()


def _overlap(one: Place, other: Place) -> bool:
    return _begins_before_end(one, other) and _begins_before_end(other, one)


def _begins_before_end(one: Place, other: Place) -> bool:
    if one.start is None or other.stop is None:
        return True
    return _point(one.start) < _point(other.stop)


def locate(line: Line, namespace: str, key: str) -> Work[Place]:
    """Ask the directory where a key lies."""
    query = encode_query({"namespace": namespace, "key": key})
    answer = yield from line.exchange(Ask("GET", f"/v1/locate?{query}", repeatable=True))
    return read(answer, Place)


def ask_owner(line: Line, places: Places, about: tuple[str, str], ask: Ask) -> Work[Answer]:
    """Ask the bucket that owns a key, at its owner's address; any server where that fails.

    Args:
        line: the client's.
        places: what it knows.
        about: namespace and key.
        ask: as it would go to any server.
    """
    for _ in range(MOVES):
        place = yield from _place_of(line, places, about)
        try:
            return (yield from line.exchange(at_owner(ask, place), tries=OWNER_TRIES))
        except Moved as error:
            places.forget(place)
            if isinstance(error.facts.get("place"), Place):
                places.learn(error.facts["place"])  # type: ignore[arg-type] # just seen
        except NotFound as error:
            if "bucket" not in error.facts:
                raise
            places.forget(place)
        except OutcomeUnknown:  # who asks again will ask whoever owns it by then
            places.forget(place)
            raise
        except NOT_BEGUN_ERRORS:  # it did nothing: any other server may know the new owner
            places.forget(place)
            places.led_nowhere(line.clock.monotonic_ns())
            break
    return (yield from line.exchange(ask))


def _place_of(line: Line, places: Places, about: tuple[str, str]) -> Work[Place]:
    place = places.find(*about)
    if place is None:
        begun_ns = line.clock.monotonic_ns()
        place = yield from locate(line, *about)
        now_ns = line.clock.monotonic_ns()
        places.told_within(now_ns - begun_ns, now_ns)
        places.learn(place)
    return place


def at_owner(ask: Ask, place: Place) -> Ask:
    """The same ask to one bucket, at the address of its owner."""
    target = f"/v1/buckets/{encode_text(place.bucket)}{ask.target.removeprefix('/v1')}"
    return msgspec.structs.replace(ask, target=target, origin=place.address or None)
