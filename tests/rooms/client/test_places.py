"""What direct mode believes of where keys lie, against a list of every key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.client.asks import Answer, Ask
from holdfast.client.line import Line
from holdfast.client.places import NearPlaces, Places, ask_owner, places_of
from holdfast.errors import InvalidValue
from holdfast.limits import VALUE_RECORD_BYTES
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.values import Place
from holdfast.wire.values import encode

KEYS = ["a", "b", "c", "d", "\uffff", "\U0001f600"]
BOUNDS = st.none() | st.tuples(st.sampled_from(["n", "m"]), st.sampled_from(["", *KEYS]))


def point(bound: tuple[str, str]) -> tuple[str, bytes]:
    return bound[0], bound[1].encode()


def covers(place: Place, namespace: str, key: str) -> bool:
    here = (namespace, key.encode())
    return (place.start is None or point(place.start) <= here) and (
        place.stop is None or here < point(place.stop)
    )


@given(st.lists(st.tuples(BOUNDS, BOUNDS, st.booleans()), max_size=12))
def test_the_last_word_on_a_range_counts(told: list[tuple[object, object, bool]]) -> None:
    places, believed = Places(), dict[tuple[str, str], Place]()
    for number, (start, stop, forgotten) in enumerate(told):
        place = Place(str(number), start, stop, "", number)  # type: ignore[arg-type]
        if start is not None and stop is not None and point(start) >= point(stop):  # type: ignore[arg-type]
            continue
        places.learn(place)
        gone = {p.bucket for p in believed.values() if _overlap(p, place)}
        believed = {at: p for at, p in believed.items() if p.bucket not in gone}
        if forgotten:
            places.forget(place)
            continue
        for namespace in ("m", "n"):
            believed |= {(namespace, k): place for k in KEYS if covers(place, namespace, k)}
    for namespace in ("m", "n"):
        for key in KEYS:
            assert places.find(namespace, key) == believed.get((namespace, key))


def _overlap(one: Place, other: Place) -> bool:
    return (one.start is None or other.stop is None or point(one.start) < point(other.stop)) and (
        other.start is None or one.stop is None or point(other.start) < point(one.stop)
    )


# -- whether to go by them ------------------------------------------------------------------------

SMALL = Ask("GET", "/v1/namespaces/m/objects/a", repeatable=True)


class Far:
    """A directory so many seconds away that knows a bucket for each key, and its owners."""

    def __init__(self, round_trip_s: float) -> None:
        self.clock = ManualClock()
        self.line = Line(None, 30, self.clock, SeededEntropy(1))
        self.round_trip_s = round_trip_s
        self.places = NearPlaces()

    def asked(self, key: str) -> list[str]:
        """The paths that a request about a key goes to."""
        if not self.places.are_for(0, self.clock.monotonic_ns()):
            return ["relayed"]
        work = ask_owner(self.line, self.places, ("m", key), SMALL)
        step, paths = next(work), []
        try:
            while True:
                assert isinstance(step, Ask)
                paths.append(step.target.partition("?")[0])
                self.clock.sleep(self.round_trip_s)
                place = Place(f"b{key}", ("m", key), ("m", f"{key}!"), "http://there", 1)
                told = encode(place) if paths[-1] == "/v1/locate" else b""
                step = work.send(Answer(200, {}, told))
        except StopIteration:
            return paths


def test_a_near_server_is_asked_by_place() -> None:
    near = Far(0.001)
    assert near.asked("a") == ["/v1/locate", "/v1/buckets/ba/namespaces/m/objects/a"]
    for key in "bcd":
        assert "/v1/locate" in near.asked(key)
    assert near.asked("a") == ["/v1/buckets/ba/namespaces/m/objects/a"]


def test_a_far_one_is_left_alone_for_a_minute_once_that_is_known() -> None:
    far = Far(0.02)
    for key in "ab":  # the first answer may have been slow for another reason
        assert far.asked(key)[0] == "/v1/locate"
    assert far.asked("a") == far.asked("c") == ["relayed"]
    far.clock.sleep(61)
    far.round_trip_s = 0.001
    assert far.asked("c")[0] == "/v1/locate"
    assert far.asked("d")[0] == "/v1/locate"
    assert far.asked("a") == ["/v1/buckets/ba/namespaces/m/objects/a"]


def test_one_slow_answer_makes_no_server_far() -> None:
    near = Far(0.02)
    near.asked("a")
    near.round_trip_s = 0.001
    near.asked("b")
    near.round_trip_s = 0.02
    assert near.asked("c")[0] == "/v1/locate"


def test_what_leads_nowhere_is_not_followed_again_at_once() -> None:
    places = NearPlaces()
    places.led_nowhere(0)
    assert not places.are_for(0, 59_000_000_000)
    assert places.are_for(0, 60_000_000_000)


def test_what_is_large_is_relayed() -> None:
    assert NearPlaces().are_for(VALUE_RECORD_BYTES, 0)
    assert not NearPlaces().are_for(VALUE_RECORD_BYTES + 1, 0)
    assert Places().are_for(VALUE_RECORD_BYTES + 1, 0)


def test_what_can_be_asked_for() -> None:
    assert places_of(direct=False) is None
    assert isinstance(places_of("auto"), NearPlaces)
    assert type(places_of(direct=True)) is Places
    for wrong in ("on", 1, None):
        with pytest.raises(InvalidValue, match="direct"):
            places_of(wrong)
