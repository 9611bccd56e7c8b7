"""Which documents come first: by key, or by BM25 with the counts of all buckets.

Okapi BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009), k1 = 1.2 and
b = 0.75, with the idf that is never negative, ln(1 + (N - n + 0.5) / (n + 0.5)). N, n and the
mean length are those of all documents that count, wherever they lie (rule 16); equal scores are
in the order of their keys. So neither bounds of buckets nor runs decide anything.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec
import numpy as np
from pyroaring import BitMap

from holdfast.search.run import Posting, Run
from holdfast.search.shelf import Part

K1: Final = 1.2
B: Final = 0.75

Scored = tuple[float, bytes]  # minus the score, the key: ascending is the order of an answer


class Weights(msgspec.Struct, frozen=True):
    """What a ranking takes from all buckets: the mean length, and each word's idf."""

    mean_length: float
    idf: tuple[float, ...]


class Counts(msgspec.Struct):
    """What one bucket or all of them count: documents, their words, and those of each word."""

    documents: int
    words: int
    of: list[int]

    def add(self, other: Counts) -> None:
        """Take another's in."""
        self.documents += other.documents
        self.words += other.words
        self.of = [mine + theirs for mine, theirs in zip(self.of, other.of, strict=True)]

    def weights(self) -> Weights:
        """The weights that follow from them."""
        total = self.documents
        idf = tuple(math.log(1 + (total - n + 0.5) / (n + 0.5)) for n in self.of)
        return Weights(self.words / total if total and self.words else 1.0, idf)


class Found(msgspec.Struct):
    """What a query found in one part: its documents that count, and the lists of its words."""

    run: Run
    bits: BitMap
    postings: Sequence[Posting]

    def best(self, most: int, weights: Weights, after: Scored | None) -> Iterator[Scored]:
        """The best documents behind one, in order."""
        if not self.bits:
            return
        documents = np.array(self.bits.to_array(), dtype=np.int64)
        scores = self._scores(documents, weights)
        if after is not None:
            first = _behind(self.run, after[1])
            kept = (scores < -after[0]) | ((scores == -after[0]) & (documents >= first))
            documents, scores = documents[kept], scores[kept]
        if len(documents) > most:
            least = np.partition(scores, len(scores) - most)[len(scores) - most]
            kept = scores >= least
            documents, scores = documents[kept], scores[kept]
        order = np.argsort(-scores, kind="stable")[:most]
        keys = self.run.keys
        for document, score in zip(documents[order].tolist(), scores[order].tolist(), strict=True):
            yield -score, keys[document]

    def _scores(self, documents: np.ndarray, weights: Weights) -> np.ndarray:
        scores = np.zeros(len(documents))
        lengths = self.run.lengths[documents]
        norm = K1 * (1 - B + B * lengths / weights.mean_length)
        for posting, idf in zip(self.postings, weights.idf, strict=True):
            listed = posting.documents
            if not len(listed):
                continue
            at = np.searchsorted(listed, documents)
            at[at == len(listed)] = 0
            there = listed[at] == documents
            often = 1.0 if posting.counts is None else posting.counts[at].astype(np.float64)
            scores += np.where(there, idf * often * (K1 + 1) / (often + norm), 0.0)
        return scores


def first(run: Run, bits: BitMap, most: int, after: bytes | None) -> Iterable[int]:
    """The first documents behind a key."""
    if after is not None:
        bits = bits & BitMap(range(_behind(run, after), run.count))
    return islice(bits, most)


def _behind(run: Run, key: bytes) -> int:
    """The first document behind a key."""
    return bisect_right(run.keys, key)


def counts_of(part: Part, postings: Sequence[Posting], allowed: BitMap | None = None) -> Counts:
    """What one part counts: of each word the documents that are not hidden.

    ``allowed``: the only ones that its asker may know of; scores would tell of others.
    """
    if allowed is not None:
        seen = part.seen(allowed)
        lengths = part.run.lengths[np.array(seen.to_array(), dtype=np.int64)]
        of = [one.bits.intersection_cardinality(seen) for one in postings]
        return Counts(len(seen), int(lengths.sum()), of)
    hidden = part.hidden
    of = [
        len(one.bits) - (one.bits.intersection_cardinality(hidden) if hidden else 0)
        for one in postings
    ]
    return Counts(part.count, part.words, of)
