"""20,000 single bits turned in documents that verify: none is accepted, and none surprises."""

from __future__ import annotations

import random

import pytest

from holdfast.errors import AttestationInvalid
from holdfast.identity.attestation import AWS, verify
from holdfast.limits import SECOND_NS
from holdfast.testing.authority import MockAuthority
from holdfast.testing.clock import SeededEntropy
from tests.rooms.identity import vectors

pytestmark = pytest.mark.push

FLIPS = 20_000
NOW_NS = 1_700_000_000 * SECOND_NS


def documents() -> list[tuple[bytes, int, tuple[bytes, ...]]]:
    """Document, its time, its roots: one of ours, and the public ones that are there."""
    authority = MockAuthority(SeededEntropy(1), now_ns=NOW_NS)
    found = [(authority.document(NOW_NS, nonce=b"n" * 32), NOW_NS, authority.roots)]
    if vectors.FOLDER.exists():
        found += [(vectors.document(name), vectors.SIGNED_NS[name], AWS) for name in vectors.IMAGES]
    return found


def flipped(document: bytes, bit: int) -> bytes:
    changed = bytearray(document)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_no_bit_may_be_turned() -> None:
    accepted: list[tuple[int, int]] = []
    found = documents()
    chance = random.Random(7)
    for number in range(FLIPS):
        which = number % len(found)
        document, now_ns, roots = found[which]
        bit = chance.randrange(len(document) * 8)
        try:
            verify(flipped(document, bit), now_ns=now_ns, roots=roots)
        except AttestationInvalid:
            continue
        accepted.append((which, bit))
    assert accepted == []
    for document, now_ns, roots in found:
        verify(document, now_ns=now_ns, roots=roots)


def test_no_piece_may_be_cut_out_put_twice_or_cut_off() -> None:
    document, now_ns, roots = documents()[0]
    chance = random.Random(8)
    for _ in range(2_000):
        start, stop = sorted(chance.sample(range(len(document)), 2))
        for changed in (
            document[:start] + document[stop:],
            document[:stop] + document[start:],
            document[:start],
        ):
            with pytest.raises(AttestationInvalid):
                verify(changed, now_ns=now_ns, roots=roots)
