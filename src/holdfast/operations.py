"""The verbs that change something, as values: what a bucket applies in batches.

``key`` is a composite key (log/records.py), ``name`` the caller's own spelling
of it. Requests become effects in bucket/plan.py; ``cost_atto`` is what the bucket
charged for it, in 10^-18 USD, once it has taken it.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Parts(msgspec.Struct, frozen=True, array_like=True):
    """The first bytes of a large object: ``length`` bytes in parts of ``upload``.

    ``crc`` is the CRC-32C of the whole value, what the record itself holds included.
    """

    upload: bytes
    length: int
    crc: int


class StoreOptions(msgspec.Struct, frozen=True, gc=False):
    """What a put may ask besides storing; times are nanoseconds.

    ``expect`` is the index entry that must still stand (optimistic rewrite of
    an object by the house itself); a mismatch is ``Changed``. ``index`` says what is
    searched: the value (True), a text, nothing (False), or what the rules say (None).
    ``terms``: the number of those by which it is paid ahead, where it expires.
    """

    ttl_ns: int | None = None
    keep_ttl: bool = False
    if_absent: bool = False
    if_version: int | None = None
    fence: int | None = None
    consumers: tuple[bytes, ...] | None = None
    permanent: bool = False
    content_type: str | None = None
    parts: Parts | None = None
    expect: bytes | None = None
    index: str | bool | None = None
    tags: dict[str, str] | None = None
    terms: int = 0


class Once(msgspec.Struct, frozen=True, gc=False):
    """A write's number in its session: applied once, however often it is asked for (rule 9).

    ``session`` are the 16 bytes of its id; every number below ``floor`` is settled:
    whoever asks wants no answer to it any more.
    """

    session: bytes
    number: int
    floor: int = 0


class Store(msgspec.Struct, gc=False):
    """Create or replace an object."""

    key: bytes
    name: str
    value: bytes | memoryview
    options: StoreOptions | None = None
    once: Once | None = None
    cost_atto: int = 0


class Append(msgspec.Struct, gc=False):
    """Add bytes to a value. ``more``: they go on from an append of the same call."""

    key: bytes
    name: str
    value: bytes | memoryview
    once: Once | None = None
    cost_atto: int = 0
    more: bool = False


class Delete(msgspec.Struct, gc=False):
    """Remove an object.

    ``why``: "asked" by a caller; "expired" and "unreferenced" remove only what
    is so; "dropped" goes past ``permanent`` (parts, dropped namespaces).
    ``if_version``: only what was seen, not what came since (parts that are garbage).
    """

    key: bytes
    name: str
    why: Literal["asked", "expired", "unreferenced", "dropped"] = "asked"
    once: Once | None = None
    cost_atto: int = 0
    if_version: int | None = None


class Release(msgspec.Struct, gc=False):
    """Lift ``permanent``."""

    key: bytes
    name: str
    once: Once | None = None
    cost_atto: int = 0


class Consumers(msgspec.Struct, gc=False):
    """Change an object's reference list; ids are encoded (bucket/consumers.py)."""

    key: bytes
    name: str
    action: Literal["set", "append", "remove"]
    ids: tuple[bytes, ...]
    once: Once | None = None
    cost_atto: int = 0


class Lock(msgspec.Struct, gc=False):
    """Take a lease of ``ttl_ns`` under the 20-byte ``lock_id``; ``again``: it was asked before."""

    key: bytes
    name: str
    lock_id: bytes
    ttl_ns: int
    once: Once | None = None
    cost_atto: int = 0
    again: bool = False


class Unlock(msgspec.Struct, gc=False):
    """Give a lease back: compare and delete in one step."""

    key: bytes
    name: str
    lock_id: bytes
    once: Once | None = None
    cost_atto: int = 0


class Renew(msgspec.Struct, gc=False):
    """Begin a lease's time anew; the fence stays."""

    key: bytes
    name: str
    lock_id: bytes
    once: Once | None = None
    cost_atto: int = 0


class Upload(msgspec.Struct, gc=False):
    """Say that a large object's parts are being written, or that they no longer count."""

    key: bytes
    name: str
    upload: bytes
    state: Literal["begun", "given_up"]
    once: Once | None = None
    cost_atto: int = 0


class Evacuate(msgspec.Struct, gc=False):
    """Write a live record again, unchanged, into the active segment (collectors)."""

    key: bytes
    type: int
    flags: int
    attrs: bytes
    value: bytes
    version: int
    modified_ns: int
    expires_ns: int
    segment: int
    once: Once | None = None
    cost_atto: int = 0


Operation = (
    Store | Append | Delete | Release | Consumers | Lock | Unlock | Renew | Upload | Evacuate
)
