"""Where a page of an answer ended, as a text that its asker brings back.

    by key      the last hit's key
    by score    its score, the mean length and each word's idf, f64 big-endian; then its key

Both are in base64 without padding. The weights of a ranking go with its cursor, so all pages are
in one order however much is written meanwhile: what stays as it is is told once.
"""

from __future__ import annotations

import base64
import struct
from functools import lru_cache
from typing import Final

from holdfast.errors import InvalidValue
from holdfast.search.ranking import Scored, Weights

RANKS: Final = ("bm25", "key")
KNOWN_CURSORS: Final = 4_096
FIXED: Final = 2  # numbers before the idf of words
MOST: Final = 1e9  # of any of them


@lru_cache(maxsize=KNOWN_CURSORS)
def key_cursor(key: str) -> str:
    """What goes on behind a key, in the order of keys."""
    return _text(key.encode())


def score_cursor(last: Scored, weights: Weights) -> str:
    """What goes on behind a hit, in the order of scores by these weights."""
    score, key = last
    numbers = (score, weights.mean_length, *weights.idf)
    return _text(struct.pack(f">{len(numbers)}d", *numbers) + key)


def read_cursor(after: object, rank: str, words: int) -> tuple[Scored | None, Weights | None]:
    """Where an earlier page ended, and by which weights.

    Args:
        after: the cursor.
        rank: "bm25" or "key".
        words: how many a ranking weighs.

    Raises:
        InvalidValue: it is no cursor of such a search, or there is no such rank.
    """
    if rank not in RANKS:
        raise InvalidValue(argument="rank", reason="bm25 or key")
    if after is None:
        return None, None
    if isinstance(after, str):
        try:
            raw = base64.urlsafe_b64decode(after + "=" * (-len(after) % 4))
            if rank == "key":
                raw.decode()
                return (0.0, raw), None
            return _scored(raw, struct.Struct(f">{FIXED + words}d"))
        except (ValueError, struct.error):
            pass
    raise InvalidValue(argument="after", reason="not the next of an earlier search")


def _scored(raw: bytes, numbers: struct.Struct) -> tuple[Scored, Weights]:
    score, mean_length, *idf = numbers.unpack_from(raw)
    key = raw[numbers.size :]
    key.decode()
    if mean_length <= 0 or not all(abs(one) < MOST for one in (score, mean_length, *idf)):
        raise ValueError
    return (score, key), Weights(mean_length, tuple(idf))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
