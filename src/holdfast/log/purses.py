"""What a log says of purses: the values of STATE, SPLIT, MERGE and PURSE records (bucket/purse.py).

Arrays of MessagePack, fields in this order; a number that may be larger than MessagePack
holds is ``Wide`` (charges.py).
"""

from __future__ import annotations

from typing import Final

import msgspec

from holdfast.charges import Terms, Wide
from holdfast.values import planned

FREELY: Final = (Terms(0),)
Lines = tuple[tuple[int, tuple[object, ...]], ...]
"""Charges, each with how often it was made, as arrays (charges.py)."""


class Posting(msgspec.Struct, frozen=True, array_like=True):
    """Charges of one bucket, added up: those behind version ``since`` up to ``until``.

    Bucket, namespace and the two versions name it: the ledger takes it once.
    """

    bucket: str
    since: int
    until: int
    lines: Lines = ()


class Line(msgspec.Struct, frozen=True, array_like=True):
    """What a bucket and the ledger know of each other; one is kept of each bucket merged in.

    ``received`` numbers the last transfer that came, ``given`` the last that went back:
    ``gift`` is what that one carried, in 10^-18 USD. ``open`` adds up what is
    charged now, ``closed`` what waits for the ledger to take it.
    """

    bucket: str
    received: int = 0
    given: int = 0
    gift: Wide = 0
    open: Posting | None = None
    closed: Posting | None = None


class Rent(msgspec.Struct, frozen=True, array_like=True):
    """Bytes that pay by the time they are kept, since when, and byte-nanoseconds due before."""

    size_bytes: int = 0
    since_ns: int = 0
    due: Wide = 0


@planned
class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A purse as it stands on disk.

    ``terms`` are all that were ever in force here, the last one is; ``allotted`` are bytes
    and objects, -1 for no bound; ``owed`` is what was used and could not be paid.
    ``empty_ns`` is the bucket time since which it could not, 0 where it can; reads go on
    for ``grace_ns`` from there. ``totals`` count what was ever charged in this bucket:
    operations of class A, B and C, byte-seconds, bytes sent.
    ``version`` is that of the last record that is counted in.
    """

    namespace: bytes
    version: int
    terms: tuple[Terms, ...] = FREELY
    float_atto: Wide = 0
    charged_atto: Wide = 0
    allotted: tuple[int, int] = (-1, -1)
    used: tuple[int, int] = (0, 0)
    rent: Rent = Rent()
    lines: tuple[Line, ...] = ()
    owed: Lines = ()
    grace_ns: int = 0
    empty_ns: int = 0
    totals: tuple[Wide, Wide, Wide, Wide, Wide] = (0, 0, 0, 0, 0)

    def __post_init__(self) -> None:
        """What was read is none where the last of its terms is missing, or a unit is zero."""
        units = ((one.storage_unit, one.egress_unit, one.early_den) for one in self.terms)
        if not self.terms or any(min(those) < 1 for those in units):
            raise ValueError("a purse without terms")


class Share(msgspec.Struct, frozen=True, array_like=True):
    """What a child of a split has got of its parent's purses."""

    child: str
    purses: tuple[Kept, ...]


def decode_purses(data: bytes) -> tuple[Kept, ...]:
    """The purses that a backup tells of a bucket; raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=tuple[Kept, ...])
