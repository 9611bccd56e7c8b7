"""A search without an index: every document is looked at, every word of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from holdfast.search.analysis import analyzer
from holdfast.search.parse import Schema, parse
from holdfast.search.query import (
    And,
    Element,
    Everything,
    Not,
    Nothing,
    Or,
    Query,
    Words,
    scored,
)

K1, B = 1.2, 0.75


class Oracle:
    """Documents as rows of terms.

    Args:
        texts: text by key.
        language: of all of them.
    """

    def __init__(self, texts: dict[str, str], language: str = "en") -> None:
        self.terms = {key: analyzer(language).terms(text) for key, text in texts.items()}
        self.schema = Schema((language,))

    def keys(self, query: str) -> list[str]:
        """What a query finds, in the order of the keys."""
        tree = parse(query, self.schema)
        return sorted((key for key in self.terms if self._holds(tree, key)), key=str.encode)

    def best(self, query: str) -> list[str]:
        """What a query finds, the best first; ties in the order of the keys."""
        tree = parse(query, self.schema)
        words = list(scored(tree))
        score = {key: self._score(words, key) for key in self.keys(query)}
        return sorted(score, key=lambda key: (-score[key], key.encode()))

    def _holds(self, tree: Query, key: str) -> bool:
        match tree:
            case And(parts):
                return all(self._holds(part, key) for part in parts)
            case Or(parts):
                return any(self._holds(part, key) for part in parts)
            case Not(part):
                return not self._holds(part, key)
            case Words():
                return bool(self._count(tree, key))
            case Everything():
                return True
            case Nothing():
                return False
        raise AssertionError(tree)

    def _count(self, words: Words, key: str) -> int:
        return len({at for row in words.rows for at in self._places(row, self.terms[key])})

    def _places(self, row: tuple[Element, ...], terms: list[str]) -> Iterator[int]:
        for start in range(len(terms)):
            if all(_stands(element, terms, start) for element in row):
                yield start

    def _score(self, words: list[Words], key: str) -> float:
        total = len(self.terms)
        lengths = {name: len(row) - row.count("") for name, row in self.terms.items()}
        mean = (sum(lengths.values()) / total) or 1.0
        score = 0.0
        for one in words:
            count = self._count(one, key)
            held = sum(1 for name in self.terms if self._count(one, name))
            idf = math.log(1 + (total - held + 0.5) / (held + 0.5))
            norm = K1 * (1 - B + B * lengths[key] / mean)
            score += idf * count * (K1 + 1) / (count + norm) if count else 0.0
        return score


def _stands(element: Element, terms: list[str], start: int) -> bool:
    at = start + element.at
    if at >= len(terms):
        return False
    wanted = element.term
    if element.open:
        return bool(terms[at]) and terms[at].startswith(wanted)
    return terms[at] == wanted
