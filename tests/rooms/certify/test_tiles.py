"""A log in tiles says what one in memory says, and goes on from what was kept."""

from __future__ import annotations

from random import Random

import pytest

from holdfast.certify.merkle import MerkleLog, leaf_hash, verify_consistency, verify_inclusion
from holdfast.certify.tiles import CACHED, TiledLog


class Shelf:
    """Tiles in memory, which notes what is read."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.reads = 0

    def read(self, level: int, number: int) -> bytes | None:
        self.reads += 1
        return self.tiles.get((level, number))

    def write(self, level: int, number: int, hashes: bytes) -> None:
        assert self.tiles.get((level, number), hashes) == hashes
        self.tiles[level, number] = hashes


def same(log: TiledLog, plain: MerkleLog, chance: Random) -> None:
    assert (len(log), log.root()) == (len(plain), plain.root())
    for _ in range(6 if len(log) else 0):
        size = chance.randint(1, len(log))
        index, older = chance.randrange(size), chance.randint(1, size)
        assert log.root(size) == plain.root(size)
        path = log.prove_inclusion(index, size)
        verify_inclusion(index, size, leaf_hash(b"%d" % index), path, plain.root(size))
        proof = log.prove_consistency(older, size)
        verify_consistency(older, size, plain.root(older), plain.root(size), proof)
        assert path == plain.prove_inclusion(index, size)
        assert proof == plain.prove_consistency(older, size)


@pytest.mark.parametrize("height", [1, 2, 3])
def test_a_log_in_tiles_is_the_log_in_memory(height: int) -> None:
    chance, shelf, plain = Random(height), Shelf(), MerkleLog()
    log = TiledLog(shelf, height=height)
    for number in range(300):
        same(log, plain, chance)
        log.append(b"%d" % number)
        plain.append(b"%d" % number)
        if chance.random() < 0.1:
            kept = len(log) >> height << height
            if chance.random() < 0.5 and shelf.tiles:
                shelf.tiles = {at: one for at, one in shelf.tiles.items() if not at[0]}
            log = TiledLog(shelf, kept, height=height)
            for again in range(kept, number + 1):
                log.append(b"%d" % again)


@pytest.mark.push
def test_what_is_kept_is_read_when_it_is_asked_for() -> None:
    shelf, plain = Shelf(), MerkleLog()
    log = TiledLog(shelf)
    for number in range(70_000):
        log.append(b"%d" % number)
        plain.append(b"%d" % number)
    log = TiledLog(shelf, 70_000 >> 8 << 8)
    assert shelf.reads == 1 + (70_000 >> 8) - 256  # the roots of what no tile of level 1 holds
    for number in range(70_000 >> 8 << 8, 70_000):
        log.append(b"%d" % number)
    before = shelf.reads
    same(log, plain, Random(1))
    assert shelf.reads - before < 60
    for number in range(0, 70_000, 97):
        log.prove_inclusion(number)
    assert len(log._known) <= CACHED
    assert sum(len(edge) for _, edge in log._levels) <= 3 * 256 * 32


def test_a_tile_that_is_missing_below_all_others_is_told() -> None:
    with pytest.raises(LookupError):
        TiledLog(Shelf(), 512)
