"""What can be asked, as a tree; ``parse.py`` makes it of text, ``matching.py`` answers it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Element(msgspec.Struct, frozen=True):
    """One word of a phrase: its term, its distance from the first, whether more may follow."""

    term: str
    at: int
    open: bool = False


class Everything(msgspec.Struct, frozen=True):
    """All documents."""


class Nothing(msgspec.Struct, frozen=True):
    """What is left of a query of nothing but stop words: no document."""


class Words(msgspec.Struct, frozen=True):
    """Elements in a row; one of several rows (one for each language) is enough."""

    rows: tuple[tuple[Element, ...], ...]


class Mark(msgspec.Struct, frozen=True):
    """What has no position: ``open`` where it is only the beginning that is asked."""

    term: str
    open: bool = False


class Range(msgspec.Struct, frozen=True):
    """Numbers of a field; a side that is not ``closed`` leaves its bound out."""

    field: str
    low: float
    high: float
    closed: tuple[bool, bool] = (True, True)


class Key(msgspec.Struct, frozen=True):
    """A key itself, or with ``open`` what begins with it."""

    key: bytes
    open: bool


class KeyWords(msgspec.Struct, frozen=True):
    """The same question, asked of the words of the keys."""

    words: Words


class And(msgspec.Struct, frozen=True):
    """All of these, and none of those that are negated."""

    parts: tuple[Query, ...]


class Or(msgspec.Struct, frozen=True):
    """At least one of these."""

    parts: tuple[Query, ...]


class Not(msgspec.Struct, frozen=True):
    """Everything else."""

    part: Query


Leaf = Words | Mark | Range | Key | KeyWords
Query = Everything | Nothing | Leaf | And | Or | Not


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """The first so many documents that have all of several terms; ``name`` says both."""

    terms: tuple[str, ...]
    most: int
    name: str


def scored(query: Query) -> Iterator[Words]:
    """The words that a ranking counts: those that are asked for, not those that are excluded."""
    if isinstance(query, Words):
        yield query
    elif isinstance(query, And | Or):
        for part in query.parts:
            yield from scored(part)


def beginnings(query: Query) -> Iterator[str]:
    """The beginnings of words, and of what has no position, that a query asks for."""
    if isinstance(query, And | Or):
        for part in query.parts:
            yield from beginnings(part)
    elif isinstance(query, Not):
        yield from beginnings(query.part)
    elif isinstance(query, Words):
        yield from (one.term for row in query.rows for one in row if one.open)
    elif isinstance(query, Mark) and query.open:
        yield query.term


def all_of_several(query: Query, most: int) -> Wanted | None:
    """What a query wants that asks for all of several words and nothing else; else None."""
    if not isinstance(query, And):
        return None
    terms = []
    for part in query.parts:
        if not isinstance(part, Words) or len(part.rows) != 1 or len(part.rows[0]) != 1:
            return None
        element = part.rows[0][0]
        if element.open:
            return None
        terms.append(element.term)
    return Wanted(tuple(terms), most, f"{most} {' '.join(terms)}")
