"""Words of many ASCII texts at once, as the numbers of their terms.

Where words begin and end is found in the bytes of all texts together, and a word of up to 16
bytes is two integers: a table that both of them point into has its number. The table is a
cache. Longer words, and those of which it does not hold both integers, are looked up one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holdfast.search.prints import END_MASKS, FACTOR, WORD_BYTES, chunks_of

Numbers = NDArray[np.uint32]
Counts = NDArray[np.int64]
ZERO: Final = b"\x00"  # stands between two texts; none has one
RAW_WORDS: Final = bytes(  # as ASCII_WORDS of analysis.py, of bytes, and lower case
    code if not code or chr(code).isalnum() else 32 for code in bytes(range(128)).lower()
) + bytes(128)
SPACE: Final = 32
SHORT: Final = 2 * WORD_BYTES  # bytes of the longest word that the table holds
LEAST_BITS: Final = 14  # of the table's places
MOST_BITS: Final = 18
SPARSE: Final = 3  # bits of places for each word: those that push each other out are few
OTHER: Final = np.uint64(0xC2B2AE3D27D4EB4F)


class Vocabulary:
    """Numbers of the terms of ASCII words, found out once; ``terms`` has each number's.

    Words are numbered as they come and keep their numbers, so whoever has some may go on with
    them while others are added. Safe for threads.

    Args:
        term_of: what a word's term is.
    """

    def __init__(self, term_of: Callable[[str], str]) -> None:
        self.terms: list[str] = []
        self._term_of = term_of
        self._words: dict[bytes, int] = {}
        self._numbers: dict[str, int] = {}
        self._lock = Lock()
        self._make_table(LEAST_BITS)

    def __len__(self) -> int:
        return len(self._words)

    def _make_table(self, bits: int) -> None:
        self._bits = bits
        self._table = np.zeros((1 << bits, 3), dtype=np.uint64)  # of a word: both, its number

    def numbers(self, texts: Sequence[bytes]) -> tuple[Numbers, Counts] | None:
        """The numbers of the words of texts, in order, and how many each has.

        None where a text is not ASCII, or has a zero byte.
        """
        whole = ZERO.join([*texts, bytes(SHORT)])
        if not whole.isascii() or whole.count(ZERO) != len(texts) + SHORT:
            return None
        whole = whole.translate(RAW_WORDS)
        raw = np.frombuffer(whole, dtype=np.uint8)
        is_word = np.concatenate(([False], raw > SPACE))
        edges = np.flatnonzero(is_word[1:] != is_word[:-1])
        starts, lengths = edges[0::2], edges[1::2] - edges[0::2]
        ends = np.flatnonzero(raw == 0)[: len(texts)]
        sizes = np.diff(np.searchsorted(starts, ends), prepend=0)
        with self._lock:
            return self._looked_up(whole, starts, lengths), sizes

    def _looked_up(self, whole: bytes, starts: Counts, lengths: Counts) -> Numbers:
        chunks = chunks_of(whole)
        low = chunks[starts] & END_MASKS[np.minimum(lengths, WORD_BYTES)]
        high = np.zeros(len(low), dtype=np.uint64)
        wide = np.flatnonzero(lengths > WORD_BYTES)
        if len(wide):
            left = np.minimum(lengths[wide] - WORD_BYTES, WORD_BYTES)
            high[wide] = chunks[starts[wide] + WORD_BYTES] & END_MASKS[left]
        places = (low * FACTOR) ^ (high * OTHER)
        places = (places * FACTOR >> np.uint64(64 - self._bits)).astype(np.int64)
        rows = self._table.take(places, axis=0)
        found = rows[:, 2].astype(np.uint32)
        missed = (rows[:, 0] != low) | (rows[:, 1] != high) | (lengths > SHORT)
        at = np.flatnonzero(missed)
        if len(at):
            found[at] = self._one_by_one(whole, starts[at], lengths[at])
            at = at[lengths[at] <= SHORT]
            self._table[places[at]] = np.stack((low[at], high[at], found[at]), axis=1)
            if len(self) << SPARSE > 1 << self._bits and self._bits < MOST_BITS:
                self._make_table(min(self._bits + 2, MOST_BITS))
        return found

    def _one_by_one(self, whole: bytes, starts: Counts, lengths: Counts) -> list[int]:
        words, found = self._words, []
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            word = whole[start : start + length]
            number = words.get(word)
            found.append(self._numbered(word) if number is None else number)
        return found

    def _numbered(self, word: bytes) -> int:
        term = self._term_of(word.decode())
        number = self._words[word] = self._numbers.setdefault(term, len(self.terms))
        if number == len(self.terms):
            self.terms.append(term)
        return number
