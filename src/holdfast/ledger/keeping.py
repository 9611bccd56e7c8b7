"""What the books came to, as bytes: so that whoever opens them reads only the pages behind it.

It is derived, and judged by what follows: it names how many pages it has taken in and the digest
of the last, which the next page must name too. Lost or unreadable, it is made again from the pages.

    zlib of JSON: {"format": 1, "store", "pages", "digest", "number", "time_ns", "deposited",
    "accounts": [...], "lanes": [...], "terms": [...], "references": [...]}
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.charges import Terms
from holdfast.errors import Corrupt
from holdfast.ledger import entries
from holdfast.ledger.books import Account, Books, Lane
from holdfast.ledger.entries import Rule

FORMAT: Final = 1
PLAIN_BYTES: Final = 1 << 28


class Kept(NamedTuple):
    """Books as they were kept: behind how many pages, with which digest of the last."""

    books: Books
    pages: int
    digest: bytes


def encode(kept: Kept) -> bytes:
    """Books as bytes."""
    books = kept.books
    told = {
        "format": FORMAT,
        "store": books.store,
        "pages": kept.pages,
        "digest": kept.digest.hex(),
        "number": books.number,
        "time_ns": books.time_ns,
        "deposited": books.deposited,
        "accounts": [_account_object(account) for account in books.accounts.values()],
        "lanes": [[*place, *msgspec.structs.astuple(lane)] for place, lane in books.lanes.items()],
        "terms": [msgspec.structs.asdict(terms) for terms in books.terms.values()],
        "references": [[*key, entries.to_object(one)] for key, one in books.references.items()],
    }
    return zlib.compress(entries.canonical(told))


def decode(data: bytes, store: str) -> Kept | None:
    """Books from their bytes; None where they are not the books of this store, or cannot be read.

    Args:
        data: what was kept.
        store: the id of the store.
    """
    try:
        reader = zlib.decompressobj()
        told = json.loads(reader.decompress(data, PLAIN_BYTES))
        if not reader.eof or told["format"] != FORMAT or told["store"] != store:
            return None
        return _read(told)
    except (zlib.error, KeyError, TypeError, ValueError, RecursionError, Corrupt):
        return None


def _read(told: dict[str, Any]) -> Kept:
    books = Books(told["store"])
    books.number, books.time_ns = told["number"], told["time_ns"]
    books.deposited = told["deposited"]
    books.accounts = {one["name"]: _account_from(one) for one in told["accounts"]}
    for account, bucket, *lane in told["lanes"]:
        sent, returned, absorbed, pending = lane
        waiting = tuple((number, amount) for number, amount in pending)
        books.lanes[account, bucket] = Lane(sent, returned, absorbed, waiting)
    for fields in told["terms"]:
        terms = Terms(**fields)
        books.terms[terms.number] = terms
    for kind, reference, found in told["references"]:
        books.references[kind, reference] = entries.from_object(found)
    return Kept(books, told["pages"], bytes.fromhex(told["digest"]))


def _account_object(account: Account) -> dict[str, Any]:
    rule = account.rule
    return {
        **msgspec.structs.asdict(account),
        "head": account.head.hex(),
        "rule": None if rule is None else entries.to_object(rule),
    }


def _account_from(found: dict[str, Any]) -> Account:
    rule = None if found["rule"] is None else entries.from_object(found["rule"])
    if not isinstance(rule, Rule | None):
        raise TypeError
    return Account(**{**found, "head": bytes.fromhex(found["head"]), "rule": rule})
