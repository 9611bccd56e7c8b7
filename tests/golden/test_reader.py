"""The document is enough: a reader written from it sees in any store what the product sees.

Stores are driven by a seed through everything that changes them; at some moments
their folder is copied as it is, and the copy is read without the product.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast import Namespace, Store
from holdfast.errors import HoldfastError
from holdfast.testing import ManualClock, SeededEntropy
from tests.golden.reader import PERMANENT, StoreReader

pytestmark = pytest.mark.push

STEPS = 400
LOOKS = 4
SECOND_NS = 1_000_000_000
LISTS: list[list[str | bytes] | None] = [None, [], ["a"], ["a", b"b"]]
Seen = dict[tuple[str, str], tuple[object, ...]]


class Driven:
    """A store that is driven by a seed.

    Args:
        folder: where it lives.
        seed: of all that is drawn.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = Random(seed)
        self.clock = ManualClock()
        self.store = self.opened()
        self.session = self.store.begin_session()
        self.number = 0

    def opened(self) -> Store:
        """Open it again."""
        return holdfast.open(
            self.folder,
            sync=self.random.choice(("always", "never")),
            clock=self.clock,
            entropy=SeededEntropy(self.random.randrange(1 << 32)),
            bucket_bytes=1 << 16,
            upkeep=False,
        )

    def step(self) -> None:
        """Do one thing, which may be refused."""
        random = self.random
        ns = self.store.namespace(random.choice(("a", "bb")))
        key = f"{random.choice('xyz')}/{random.randrange(60)}"
        ways = random.choices(*zip(*WAYS, strict=True))
        try:
            ways[0](self, ns, key)
        except HoldfastError:
            return

    def reopen(self, _ns: Namespace, _key: str) -> None:
        """End one life and begin the next."""
        self.store.close()
        self.store = self.opened()


def _put(driven: Driven, ns: Namespace, key: str) -> None:
    ns.put(key, bytes([driven.random.randrange(256)]) * driven.random.choice((0, 10, 500, 3000)))


def _put_with_options(driven: Driven, ns: Namespace, key: str) -> None:
    random = driven.random
    ns.put(
        key,
        b"o" * random.randrange(100),
        ttl=random.choice((None, 5, 500)),
        consumers=random.choice(LISTS),
        content_type=random.choice((None, "text/plain")),
    )


def _put_large(driven: Driven, ns: Namespace, key: str) -> None:
    ns.put(key, bytes(driven.random.randrange(1 << 20, 3 << 20)))


def _append(driven: Driven, ns: Namespace, key: str) -> None:
    ns.append(key, b"more" * driven.random.randrange(50))


def _pass_time(driven: Driven, _ns: Namespace, _key: str) -> None:
    driven.clock.advance(driven.random.randrange(3 * SECOND_NS))


def _collect(driven: Driven, _ns: Namespace, _key: str) -> None:
    driven.store.collect(driven.random.choice(("auto", "compacting")))


def _numbered(driven: Driven, ns: Namespace, key: str) -> None:
    number = driven.number + driven.random.choice((1, 1, 1, 0, -1))
    driven.number = max(driven.number, number)
    floor = max(0, number - driven.random.choice((3, 20)))
    space = ns.numbered(driven.session, max(number, 0), floor)
    driven.random.choice((_append, _put, lambda _, to, name: to.delete(name)))(driven, space, key)


WAYS: list[tuple[Callable[[Driven, Namespace, str], object], int]] = [
    (_put, 40),
    (_put_with_options, 10),
    (_put_large, 2),
    (_append, 12),
    (lambda _, ns, key: ns.delete(key), 13),
    (lambda _, ns, key: ns.consumers(key).remove(["a"]), 5),
    (lambda _, ns, key: ns.put(key, b"kept", permanent=True), 2),
    (lambda _, ns, key: ns.release(key), 3),
    (lambda _, ns, key: ns.lock(key, ttl=5), 2),
    (_numbered, 15),
    (lambda driven, _ns, _key: driven.store.tick(1), 3),
    (_collect, 3),
    (_pass_time, 3),
    (Driven.reopen, 2),
]


def seen(store: Store) -> Seen:
    """What the product says."""
    return dict(_objects(store))


def _objects(store: Store) -> Iterator[tuple[tuple[str, str], tuple[object, ...]]]:
    for name in store.namespaces():
        ns = store.namespace(name)
        for stat in ns.entries():
            listed = [
                c.encode() if isinstance(c, str) else c for c in ns.consumers(stat.key).list()
            ]
            yield (
                (name, stat.key),
                (
                    *(stat.version, stat.modified_ns, stat.expires_ns, stat.permanent),
                    *(stat.content_type, stat.crc32c, listed, ns.get(stat.key)),
                ),
            )


def read(folder: Path, now_ns: int) -> Seen:
    """What the second reader finds."""
    return {
        place: (
            *(known.version, known.modified_ns, known.expires_ns or None),
            *(bool(known.flags & PERMANENT), known.attributes[0], known.crc),
            *(list(known.consumers), value),
        )
        for place, (known, value) in StoreReader(folder).values().items()
        if not known.expires_ns or known.expires_ns > now_ns
    }


def hold_numbers(folder: Path, store: Store) -> int:
    """The reader finds every number that the product knows; how many sessions there are."""
    count = 0
    for found, bucket in zip(StoreReader(folder).buckets, store.placement.directory, strict=True):
        told = bucket.sessions.told(0)
        known = {(s.namespace, one.session): one for s in told.spaces for one in s.sessions}
        assert known.keys() == found.numbers.keys()
        for whose, one in known.items():
            floor, kept = found.numbers[whose]
            assert floor <= one.floor  # a floor alone is not worth a record
            assert dict(one.kept) == {n: o for n, o in kept.items() if n >= one.floor}
            count += 1
    return count


@pytest.mark.parametrize("seed", range(3))
def test_the_reader_sees_what_the_product_sees(seed: int, tmp_path: Path) -> None:
    driven = Driven(tmp_path / "store", seed)
    for step in range(1, STEPS + 1):
        driven.step()
        if step % (STEPS // LOOKS) == 0:
            copied = Path(shutil.copytree(driven.folder, tmp_path / str(step)))
            now_ns = driven.store.placement.settings.time.now_ns()
            assert read(copied, now_ns) == seen(driven.store)
            assert hold_numbers(copied, driven.store)
    driven.store.close()
    assert StoreReader(driven.folder).buckets
