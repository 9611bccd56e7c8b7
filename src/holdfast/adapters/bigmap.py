"""BigMap and BigSearch: the calls and conventions of dfinity/bigmap-poc on a namespace.

Keys are bytes; they become text by ISO 8859-1, which keeps order and prefixes. What is answered
where there is nothing (0, None, an empty list) is that program's; its mistakes are not kept:
lengths count once and are of any size, growth hides no key, a document that is indexed again
forgets its old words. A key has 1 to 1,024 bytes as UTF-8: bytes from 0x80 on take two.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.errors import HoldfastError, InvalidKey, NotFound, VersionMismatch
from holdfast.values import BucketStatus, IndexRule

if TYPE_CHECKING:
    from holdfast.store.namespace import Namespace

PAIRS: Final = 20  # that a search returns
LISTED: Final = 10_000  # keys that a list returns
Pair = tuple[bytes, bytes]


class Found(NamedTuple):
    """What a search found: how many objects, and the first of them."""

    total: int
    pairs: builtins.list[Pair]


class BigMap:
    """A namespace as BigMap shows it, the index and its data buckets in one.

    Args:
        ns: the namespace. From now on the words of its objects' keys are searched with
            their text, in English.

    Example:
        >>> import holdfast
        >>> with holdfast.open(":memory:") as store:
        ...     big = BigMap(store.namespace("big"))
        ...     big.put_and_fts_index(b"doc 1", "two foxes"), big.search("fox unheard")
        (9, Found(total=1, pairs=[(b'doc 1', b'two foxes')]))
    """

    def __init__(self, ns: Namespace) -> None:
        self._ns = ns
        self._store = ns._store  # noqa: SLF001 - the face of one namespace says nothing of buckets
        if not ns.index_rules().keys:
            ns.index_rules(builtins.list[IndexRule](), keys=True)

    # -- BigMap --------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """A value, or None; of what can be no key too."""
        try:
            return self._ns.get(_name(key))
        except (NotFound, InvalidKey):
            return None

    def put(self, key: bytes, value: bytes) -> int:
        """Store a value; its bytes, 0 where it could not be stored (and of an empty one)."""
        return self._put(key, value, None)

    def _put(self, key: bytes, value: bytes, index: bool | None) -> int:  # noqa: FBT001 - put's
        try:
            return self._ns.put(_name(key), value, index=index).size
        except HoldfastError:
            return 0

    def batch_put(self, pairs: Iterable[Pair]) -> int:
        """Store many values; how many were stored."""
        return sum(1 for key, value in pairs if self._stored(key, value))

    def _stored(self, key: bytes, value: bytes) -> bool:
        try:
            self._ns.put(_name(key), value)
        except HoldfastError:
            return False
        return True

    def append(self, key: bytes, value: bytes) -> int:
        """Add to a value; the bytes that it has then, 0 where it could not be."""
        try:
            return self._ns.append(_name(key), value)
        except HoldfastError:
            return 0

    def delete(self, key: bytes) -> int:
        """Remove a value; the bytes that it had, 0 where there was none."""
        try:
            size = self._ns.stat(_name(key)).size
            self._ns.delete(_name(key))
        except HoldfastError:
            return 0
        return size

    def list(self, prefix: bytes = b"") -> builtins.list[bytes]:
        """Keys that begin so, ascending, 10,000 at most."""
        found = filter(_is_ours, self._ns.list(prefix.decode("latin-1")))
        return [name.encode("latin-1") for name in islice(found, LISTED)]

    def lookup_data_bucket_for_get(self, key: bytes) -> str | None:
        """The bucket that holds a key; None where there is no such key."""
        place = self.lookup_data_bucket_for_put(key)
        return place if place is not None and self._ns.exists(_name(key)) else None

    def lookup_data_bucket_for_put(self, key: bytes) -> str | None:
        """The bucket that a key would be stored in; None of what can be no key."""
        try:
            return self._store.locate(self._ns.name, _name(key)).bucket
        except InvalidKey:
            return None

    # -- BigSearch -----------------------------------------------------------------------

    def put_and_fts_index(self, key: bytes, text: str) -> int:
        """Store a text and have it searched, with its key; its bytes, 0 where it was not."""
        return self._put(key, text.encode(errors="replace"), index=True)

    def batch_put_and_fts_index(self, pairs: Iterable[tuple[bytes, str]]) -> int:
        """Store many texts and have them searched; how many were given."""
        given = builtins.list(pairs)
        for key, text in given:
            self.put_and_fts_index(key, text)
        return len(given)

    def remove_from_fts_index(self, key: bytes, document: str = "") -> None:  # noqa: ARG002 - theirs
        """Search an object no longer; it stays. ``document`` says nothing."""
        name = _name(key)
        while True:
            try:
                version = self._ns.stat(name).version
                value = self._ns.get(name)
                self._ns.put(name, value, index=False, keep_ttl=True, if_version=version)
            except VersionMismatch:
                continue
            except NotFound:
                return
            return

    def search(self, query: str) -> Found:
        """How many objects have all known words of a query, and the first 20 by key.

        Words that no object has are passed over; without a known one nothing is found.
        """
        from holdfast.search.analysis import WORD  # noqa: PLC0415 - 150 ms, for who searches

        words = dict.fromkeys(WORD.findall(query))
        known = [word for word in words if self._ns.search(f'"{word}"', limit=0, rank="key").total]
        if not known:
            return Found(0, [])
        asked = " ".join(f'"{word}"' for word in known)
        found = self._ns.search(asked, limit=PAIRS, rank="key")
        keys = [hit.key.encode("latin-1") for hit in found.hits if _is_ours(hit.key)]
        values = [(key, self.get(key)) for key in keys]
        return Found(found.total, [(key, value) for key, value in values if value is not None])

    # -- the whole -----------------------------------------------------------------------

    def status(self) -> str:
        """Buckets and their bytes, as JSON."""
        return told(self._store.status().buckets)

    def maintenance(self) -> str:
        """Do what is due, whoever else does; what became of it, as JSON."""
        try:
            self._store.tick()
        except HoldfastError as error:
            return json.dumps({"status": "Unknown", "message": str(error)})
        return json.dumps({"status": "Good", "message": "Finished maintenance"})


def told(buckets: Iterable[BucketStatus]) -> str:
    """Buckets as BigMap's status tells them."""
    data = [{"canister_id": one.id, "used_bytes": one.live_bytes} for one in buckets]
    total = sum(one["used_bytes"] for one in data if isinstance(one["used_bytes"], int))
    return json.dumps({"data_buckets": data, "search_canisters": [], "used_bytes_total": total})


def _name(key: bytes) -> str:
    if not isinstance(key, bytes):
        raise InvalidKey(key=key, reason="not bytes")
    return key.decode("latin-1")


def _is_ours(name: str) -> bool:
    """Whether a key can be one of BigMap's: others may use the namespace too."""
    return all(char <= "\xff" for char in name)
