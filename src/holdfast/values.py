"""The values that cross the public face: frozen, with units in their names.

They are ``msgspec.Struct`` because one is made per operation on the hot path
(0.1 us against 0.5 us for a dataclass).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Final, Literal, TypeVar, overload

import msgspec

from holdfast.limits import NAMESPACE_CHARS

NAMESPACE_NAME: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{NAMESPACE_CHARS}}}")
ATTO_DIGITS: Final = 18  # of money behind the point
State = Literal["unmanaged", "managed", "marked"]


Kind = TypeVar("Kind", bound=type[msgspec.Struct])


def planned(kind: Kind) -> Kind:
    """Decorate a class that bytes are decoded as: msgspec's plan for it is made here and now.

    It is made when first needed otherwise, without a lock: two threads that need it at once end
    the process (SIGSEGV, seen with msgspec 0.22 where threads woke buckets of a store just opened).
    """
    msgspec.msgpack.Decoder(kind)
    return kind


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What a write returns.

    ``version`` grows with every write to the bucket; ``expires_ns`` is bucket
    time or None; ``bucket`` is the id of the bucket that took it; ``cost_atto``
    is the charge in 10^-18 USD.
    """

    key: str
    version: int
    size: int
    expires_ns: int | None
    bucket: str
    cost_atto: int = 0


class Receipts(Sequence[Receipt]):
    """Those of stores that one bucket took together, without an object for each.

    Args:
        names: keys, as they were given.
        versions: one after the other.
        sizes: of the values, in bytes.
        bucket: the id of the bucket.
        cost_atto: the charge of each.

    Example:
        >>> told = Receipts(["a", "b"], range(7, 9), [1, 2], "0f")
        >>> told[1], len(told[:1])
        (Receipt(key='b', version=8, size=2, expires_ns=None, bucket='0f', cost_atto=0), 1)
    """

    __slots__ = ("bucket", "cost_atto", "names", "sizes", "versions")

    def __init__(  # noqa: PLR0917 - as a receipt
        self,
        names: Sequence[str],
        versions: range,
        sizes: Sequence[int],
        bucket: str,
        cost_atto: int = 0,
    ) -> None:
        self.names = names
        self.versions = versions
        self.sizes = sizes
        self.bucket = bucket
        self.cost_atto = cost_atto

    def __len__(self) -> int:
        """How many there are."""
        return len(self.versions)

    @overload
    def __getitem__(self, at: int) -> Receipt: ...
    @overload
    def __getitem__(self, at: slice) -> Receipts: ...
    def __getitem__(self, at: int | slice) -> Receipt | Receipts:
        """One of them, or some that follow one another."""
        names, versions, sizes = self.names, self.versions, self.sizes
        if isinstance(at, slice):
            return Receipts(names[at], versions[at], sizes[at], self.bucket, self.cost_atto)
        return Receipt(names[at], versions[at], sizes[at], None, self.bucket, self.cost_atto)

    def __iter__(self) -> Iterator[Receipt]:
        """Each of them."""
        told = (self.names, self.versions, self.sizes, repeat(None), repeat(self.bucket))
        return map(Receipt, *told, repeat(self.cost_atto))


class IndexRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which objects of a namespace are searched, and what of them.

    ``prefix`` is what their keys begin with; ``content_type`` one media type, or all of a
    kind, ``text/*``; None takes any. ``fields`` name paths of JSON documents
    (``{"title": "title", "city": "address.city"}``); without them the whole value is text.
    ``language`` is that of the text (ISO 639-1, or "none"), None the namespace's.
    """

    prefix: str = ""
    content_type: str | None = None
    fields: dict[str, str] = {}
    language: str | None = None


class SearchRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is searched of a namespace: the first rule that fits an object decides.

    ``language`` is that of what no rule says; with ``keys`` the words of an object's key
    count as words of its text.
    """

    rules: tuple[IndexRule, ...] = ()
    language: str = "en"
    keys: bool = False


class Hit(msgspec.Struct, frozen=True, gc=False):
    """An object that a search found; ``score`` is 0 in the order of keys."""

    key: str
    score: float = 0.0
    snippet: str | None = None
    namespace: str | None = None


class Hits(msgspec.Struct, frozen=True):
    """What a search found.

    ``total`` counts all matches, exactly; ``next`` goes on behind the last hit, None where
    nothing is left; ``behind`` says how many records of the namespace, below the prefixes, the
    index lacked (of what it never read 100,000 or so at most), 0 of a fresh one; ``facets``
    counts the matches by the values of each tag that was asked for.
    """

    total: int
    hits: tuple[Hit, ...]
    next: str | None = None
    behind: int = 0
    facets: dict[str, dict[str, int]] = {}

    @property
    def told_bytes(self) -> int:
        """Bytes of keys and snippets: what is sent, for who pays by it."""
        return sum(len(hit.key.encode()) + len((hit.snippet or "").encode()) for hit in self.hits)


class SearchStatus(msgspec.Struct, frozen=True):
    """How a namespace's index stands.

    ``documents`` are searched; ``behind`` records are not absorbed; ``runs`` pieces of
    ``size_bytes`` hold the postings. ``cut``, ``no_text`` and ``replaced`` count what this
    process met: longer than is read, no text at all, not quite UTF-8.
    """

    documents: int
    behind: int
    runs: int
    size_bytes: int
    cut: int
    no_text: int
    replaced: int


class Stat(msgspec.Struct, frozen=True, gc=False):
    """What is known of one object without reading it.

    ``terminal`` is False for a name that only other keys lie below ("dir" when
    only "dir/x" exists): then every other field is empty. ``consumers`` counts
    the reference list; ``state`` is "unmanaged" (never had a consumer),
    "managed" or "marked" (lost its last one: readable until collected).
    ``crc32c`` is the CRC-32C of the whole value.
    """

    key: str
    size: int
    modified_ns: int
    expires_ns: int | None
    version: int
    terminal: bool
    consumers: int
    permanent: bool
    state: State
    content_type: str | None
    crc32c: int
    bucket: str


class Configured(msgspec.Struct, frozen=True, array_like=True):
    """How a namespace is metered; None where there is no bound, "" where there is no tariff.

    ``grace_ns``: for how long reads go on when it cannot pay; ``retention_ns``: for how long
    what it holds is kept then at least, None for ever.
    """

    tariff: str = ""
    version: int = 0
    bytes_max: int | None = None
    objects_max: int | None = None
    requests_per_s: int | None = None
    concurrent_max: int | None = None
    grace_ns: int = 0
    retention_ns: int | None = None


class Usage(msgspec.Struct, frozen=True):
    """What a namespace holds, and all that it was charged for since it is metered.

    ``objects`` and ``live_bytes`` (of keys and values) are what is there; ``byte_seconds``
    what was paid, less what was given back; ``requests`` counts operations by their class;
    ``cost_atto`` is the charge in 10^-18 USD. What is shown is what bounds and bills go by.
    """

    objects: int
    live_bytes: int
    byte_seconds: int = 0
    requests: dict[str, int] = {}
    egress_bytes: int = 0
    cost_atto: int = 0


class Hour(msgspec.Struct, frozen=True):
    """A namespace's usage as it was at ``time_ns`` of bucket time; the rest as of ``Usage``."""

    time_ns: int
    objects: int
    live_bytes: int
    byte_seconds: int
    requests: dict[str, int]
    egress_bytes: int
    cost_atto: int


class Cost(msgspec.Struct, frozen=True):
    """What an operation costs, in 10^-18 USD: ``str()`` of it is dollars.

    ``kind`` is the class of the operation (A, B or C), ``tariff`` and ``version`` say by
    which prices ("" and 0: none, so it is free). ``back_atto`` is given back for what an
    object that was there has paid for and not used.
    """

    kind: str
    tariff: str
    version: int
    operation_atto: int = 0
    storage_atto: int = 0
    egress_atto: int = 0
    back_atto: int = 0

    @property
    def atto(self) -> int:
        """The whole; below zero where more is given back than asked for."""
        return self.operation_atto + self.storage_atto + self.egress_atto - self.back_atto

    def __str__(self) -> str:
        return dollars(self.atto)


def dollars(atto: int) -> str:
    """An amount for people: two significant digits of what is small, cents of what is large.

    Args:
        atto: 10^-18 USD.

    Example:
        >>> dollars(34_000_679_102_054), dollars(24_480_488_953_479_168_000), dollars(0)
        ('$0.000034', '$24.48', '$0')
    """
    if not atto:
        return "$0"
    size = abs(atto)
    digits = min(ATTO_DIGITS, max(2, ATTO_DIGITS + 2 - len(str(size))))  # behind the point
    step: int = 10 ** (ATTO_DIGITS - digits)
    cents = (size + step // 2) // step
    whole, fraction = divmod(cents, 10**digits)
    return f"{'-' if atto < 0 else ''}${whole}.{fraction:0{digits}}"


Prove = Literal[True, "sealed"]  # a seal that is made for the call, or the newest there is


class Proven(msgspec.Struct, frozen=True):
    """An object's value, None where there is none, and the proof of it (``holdfast.verify``).

    ``revision`` is the store's revision that the proof is of, ``time_ns`` when it was signed.
    """

    value: bytes | None
    proof: bytes
    revision: int
    time_ns: int


class ProvenParts(msgspec.Struct, frozen=True):
    """Parts of an object's value, and the proof of the object and of each of them.

    ``value`` are the parts of 1 MiB that a range reaches into, None where there is no object;
    ``first`` is the place of the first of them; ``paths`` are for each the hashes that lead to
    the digest in the proof.
    """

    value: bytes | None
    proof: bytes
    revision: int
    time_ns: int
    first: int
    paths: tuple[tuple[bytes, ...], ...]


class ProvenPage(msgspec.Struct, frozen=True):
    """The proof of one page of a list; ``next`` goes into ``after``, None at the end."""

    proof: bytes
    revision: int
    time_ns: int
    next: str | None


class Place(msgspec.Struct, frozen=True):
    """Where a key lives: the bucket, its range cut to the namespace, its address.

    ``start`` is inclusive and ``stop`` exclusive, each ``(namespace, key)`` or
    None where the bucket's range goes on. ``version`` is the directory's.
    """

    bucket: str
    start: tuple[str, str] | None
    stop: tuple[str, str] | None
    address: str
    version: int


class BucketStatus(msgspec.Struct, frozen=True):
    """One bucket's figures: counts of keys and bytes; ``state`` names what it is doing.

    ``keys`` counts all that its index has: objects, each part of 1 MiB of a larger one, and
    what the store notes for itself (rights, prices, accounts). ``start`` and ``stop`` are
    (namespace, key); among parts the key is the object's, as ``"film (part 7)"``.
    ``search_behind``: records that its search index, where it has one, has not absorbed.
    """

    id: str
    start: tuple[str, str] | None
    stop: tuple[str, str] | None
    state: str
    keys: int
    live_bytes: int
    dead_bytes: int
    disk_bytes: int
    heap_bytes: int
    search_behind: int = 0


class Problem(msgspec.Struct, frozen=True):
    """One thing that ``check`` or the scrub found: where, what, and what repair did about it."""

    bucket: str
    position: str
    what: str
    repaired: bool = False


class Status(msgspec.Struct, frozen=True):
    """The store's figures: every bucket, and their sums in bytes.

    ``problems`` are what the scrub found since the store was opened, the newest 100.
    """

    buckets: tuple[BucketStatus, ...]
    live_bytes: int
    dead_bytes: int
    disk_bytes: int
    dead_letters: int
    search_behind: int = 0
    problems: tuple[Problem, ...] = ()


class CheckReport(msgspec.Struct, frozen=True):
    """What ``check`` found; ``ok`` means nothing was wrong."""

    ok: bool
    problems: tuple[Problem, ...]
    buckets: int = 0
    records: int = 0


class CollectReport(msgspec.Struct, frozen=True):
    """What a collection did.

    ``bytes_freed`` counts files that are gone from the disk, one that buckets shared once;
    ``bytes_moved`` live bytes copied, ``seconds`` wall time.
    """

    bytes_freed: int
    bytes_moved: int
    segments: int
    mode: str
    seconds: float
    removed: int = 0


class Progress(msgspec.Struct):
    """How far long work is: hand one in, and look at it from another thread, or on the loop.

    ``total`` is 0 until it is known, and may grow; ``done`` reaches it. The units are the
    call's: bytes of a backup and of a restore, segments and indexes of a check, buckets
    of a collection and of a rebuild. Through a server each is one step: it tells nothing before
    its end. Nothing of the caller's runs inside the store.

    Example:
        >>> import holdfast
        >>> with holdfast.open(":memory:") as store:
        ...     progress = holdfast.Progress()
        ...     store.rebuild(progress=progress)
        ...     progress
        Progress(done=1, total=1)
    """

    done: int = 0
    total: int = 0


Right = Literal["read", "write", "delete", "admin"]


class Grant(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What somebody may do in a namespace ("*" is every namespace).

    Each further field narrows it: keys below ``prefix``, one ``key``, some ``operations``,
    until ``until_ns`` (nanoseconds since 1970), values of at most ``bytes_max`` bytes,
    ``uses`` times in all, from the ``networks`` given ("10.0.0.0/8"). A field that this version
    does not know could narrow it further, so it is refused when it is read.
    """

    namespace: str
    rights: tuple[Right, ...]
    prefix: str = ""
    operations: tuple[str, ...] | None = None
    until_ns: int | None = None
    bytes_max: int | None = None
    uses: int | None = None
    networks: tuple[str, ...] = ()
    key: str | None = None


class Principal(msgspec.Struct, frozen=True):
    """Who asks, once that is settled: a name, and what was granted to it.

    ``kind`` is how it was settled; ``credential`` identifies the token or link, so that its
    uses can be counted and it can be revoked; ``until_ns`` is when the credential ends.
    """

    kind: Literal["token", "enclave", "operator", "link", "anonymous"]
    name: str
    grants: tuple[Grant, ...] = ()
    credential: str = ""
    until_ns: int | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    """A ``put_soon`` that could not be stored: which key, and why (an error code)."""

    namespace: str
    key: str
    code: str
    reason: str
