"""What direct mode believes of where keys lie, against a list of every key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.client.places import Places
from holdfast.values import Place

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
