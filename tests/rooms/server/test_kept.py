"""What is kept in memory is told only while it is what the store holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from threading import Thread

import pytest

import holdfast
from holdfast.bucket.checkpoint import checkpoint
from holdfast.errors import NotFound
from holdfast.limits import BUCKET_BYTES_LEAST
from holdfast.server.kept import ONE_IN, OVERHEAD_BYTES, VALUE_BYTES, Kept, Seen
from holdfast.store.store import Store
from holdfast.views.memory_view import MemoryView
from holdfast.views.state import State

KEYS = [f"k{number:02}" for number in range(90)]
SPACE = b"acme\0"
MOST = 60_000
STEPS = 3_000


@pytest.fixture
def small() -> Iterator[Store]:
    """A store of small buckets, which does nothing by itself."""
    with holdfast.open(
        ":memory:", bucket_bytes=BUCKET_BYTES_LEAST, in_place=False, upkeep=False
    ) as opened:
        yield opened


def kept_of(store: Store, most_bytes: int = MOST) -> Kept:
    return Kept(store.placement.directory, most_bytes)


def told(kept: Kept, key: str) -> bytes | None:
    """The value that an answer would have, kept or read; None where there is none."""
    composite = SPACE + key.encode()
    try:
        seen = kept.seen(composite)
    except NotFound:
        return None
    assert seen is not None
    return value_in(seen)


def value_in(seen: Seen) -> bytes:
    value = seen.rest.partition(b"\r\n\r\n")[2]
    assert len(value) == seen.size
    assert b"Content-Length: %d\r\n" % seen.size in seen.rest
    return value


def absorb(store: Store) -> None:
    for bucket in list(store.placement.directory):
        checkpoint(bucket)


def test_what_is_told_is_what_the_store_holds(small: Store) -> None:
    chance, space, kept = Random(1), small.namespace("acme"), kept_of(small)
    model: dict[str, bytes] = {}

    def put() -> None:
        key, value = chance.choice(KEYS), chance.randbytes(chance.choice([0, 9, 900, 2_000]))
        space.put(key, value)
        model[key] = value

    def delete() -> None:
        key = chance.choice(KEYS)
        space.delete(key, missing_ok=True)
        model.pop(key, None)

    def get() -> None:
        key = chance.choice(KEYS)
        assert told(kept, key) == model.get(key)
        assert kept.held_bytes <= MOST

    def tidy() -> None:
        if chance.random() < 0.1:
            small.collect()
        else:
            absorb(small)

    steps: list[Callable[[], None]] = [get] * 20 + [put] * 6 + [delete] + [tidy]
    for _ in range(STEPS):
        chance.choice(steps)()
    assert len(small.placement.directory) > 1
    kept.bound(0)
    assert kept.held_bytes == 0


def test_a_key_below_the_overlays_is_not_looked_up_again(small: Store) -> None:
    space, kept = small.namespace("acme"), kept_of(small)
    space.put("k", b"1")
    absorb(small)
    seen = kept.read(SPACE + b"k")
    assert kept.find(SPACE + b"k") is seen
    space.put("other", b"2")
    assert kept.find(SPACE + b"k") is seen
    absorb(small)  # other rows lie below now, and which ones is not known
    assert kept.find(SPACE + b"k") is None
    assert kept.held_bytes == 0
    again = kept.read(SPACE + b"k")
    assert again is not None
    assert value_in(again) == b"1"


def test_what_ends_by_itself_or_is_large_is_not_kept(small: Store) -> None:
    space, kept = small.namespace("acme"), kept_of(small)
    space.put("short", b"s", ttl=3600)
    space.put("large", bytes(VALUE_BYTES + 1))
    for key in ("short", "large"):
        assert kept.read(SPACE + key.encode()) is not None
        assert kept.find(SPACE + key.encode()) is None
    space.put("typed", b"t", content_type="text/plain")
    seen = kept.read(SPACE + b"typed")
    assert seen is not None
    assert b"Content-Type: text/plain\r\n" in seen.rest
    assert kept.find(SPACE + b"typed") is seen


def test_the_oldest_goes_first_for_one_in_some(small: Store) -> None:
    space = small.namespace("acme")
    for number in range(5):
        space.put(f"k{number}", bytes(100))
    kept = kept_of(small, 3 * (OVERHEAD_BYTES + 400))

    def there() -> list[bool]:
        return [kept.find(SPACE + b"k%d" % number) is not None for number in range(5)]

    for number in (0, 0, 1, 1, 2):
        kept.read(SPACE + b"k%d" % number)
    for _ in range(ONE_IN - 1):
        kept.read(SPACE + b"k3")
    assert there() == [True, True, True, False, False]
    kept.read(SPACE + b"k4")
    assert there() == [False, True, True, False, True]


def test_a_closed_store_has_nothing_any_more(small: Store) -> None:
    small.namespace("acme").put("k", b"1")
    kept = kept_of(small)
    assert kept.read(SPACE + b"k") is not None
    small.close()
    assert kept.find(SPACE + b"k") is None


def test_nobody_is_told_what_was_replaced_before_they_asked(small: Store) -> None:
    space, kept = small.namespace("acme"), kept_of(small)
    space.put("k", b"0")
    written = [0]

    def write() -> None:
        for number in range(1, 400):
            space.put("k", b"%d" % number)
            written[0] = number
            if number % 20 == 0:
                absorb(small)

    writer = Thread(target=write)
    writer.start()
    while writer.is_alive():
        before = written[0]
        value = told(kept, "k")
        assert value is not None
        assert int(value) >= before
    writer.join()
    assert told(kept, "k") == b"399"


def test_a_view_that_changes_while_it_is_read_is_not_taken_for_the_one_before(
    small: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, kept = small.namespace("acme"), kept_of(small)
    space.put("k", b"1")
    absorb(small)
    (bucket,) = small.placement.directory
    look = bucket.load_now

    def look_and_lose(key: bytes) -> tuple[bytes, bytes | None] | None:
        found = look(key)
        space.put("k", b"2")
        absorb(small)
        return found

    monkeypatch.setattr(bucket, "load_now", look_and_lose)
    assert told(kept, "k") == b"1"
    monkeypatch.undo()
    assert kept.held_bytes > 0
    assert kept.find(SPACE + b"k") is None


def test_the_mark_of_the_view_changes_before_overlays_leave() -> None:
    class Watched(State):
        """Says what is set, in order."""

        def __setattr__(self, name: str, value: object) -> None:
            changed.append(name)
            super().__setattr__(name, value)

    changed: list[str] = []
    state = Watched(MemoryView())
    overlay = state.freeze()
    changed.clear()
    state.thaw([overlay])
    assert changed == ["base", "frozen"]
