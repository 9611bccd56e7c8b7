"""A query's text becomes a tree; what cannot be understood says where.

query    and ("OR" and)*                         OR, AND and NOT are capital letters
and      not (["AND"] not)*                      words side by side: all of them
not      ("NOT" | "-")* one
one      "(" query ")"  |  field? what           a field belongs to what follows it
field    name ":"                                a field of the rules, key, type or tag
what     "a phrase"  |  word  |  word*  |  *  |  "(" query ")"  |  range
         a number below zero follows its field at once: balance:-5
range    [low TO high]  |  {low TO high}  |  >n  |  >=n  |  <n  |  <=n
         numbers, or dates (2024-05-01, 2024-05-01T12:00:00Z); * leaves a side open; a
         bound at a round bracket's place does not count: {1 TO 5]
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from holdfast.errors import InvalidQuery
from holdfast.limits import SEARCH_QUERY_CHARS, SEARCH_QUERY_DEPTH, SEARCH_QUERY_PARTS
from holdfast.search.analysis import GAP, Analyzer, analyzer, fold, is_dense
from holdfast.search.build import END, FIELD, MARK
from holdfast.search.fields import as_number
from holdfast.search.query import (
    And,
    Element,
    Everything,
    Key,
    KeyWords,
    Mark,
    Not,
    Nothing,
    Or,
    Query,
    Range,
    Words,
)

TOKEN: Final = re.compile(
    r"""\s*(?:(?P<open>\()|(?P<close>\))|(?P<quoted>"(?:[^"\\]|\\.)*")
    |(?P<range>[\[{]\s*(?P<low>\S+)\s+TO\s+(?P<high>[^\s\]}]+)\s*[\]}])
    |(?P<compare>[<>]=?)\s*(?P<bound>[^\s()"]+)
    |(?P<below>(?<=:)-[\d.][^\s()"]*)|(?P<not>-(?=[^\s-]))|(?P<field>[^\W\d][\w.-]*):(?=\S)
    |(?P<word>[^\s()"]+))""",
    re.VERBOSE,
)
PLAIN: Final = re.compile(r"[a-z0-9]+(?: [a-z0-9]+)*")  # nothing but words
KEY, TYPE, TAG = "key", "type", "tag"
OWN_FIELDS: Final = frozenset((KEY, TYPE, TAG))


class Schema(msgspec.Struct, frozen=True):
    """What a query may speak of: the languages of what is indexed, the fields of its rules."""

    languages: tuple[str, ...] = ("en",)
    fields: frozenset[str] = frozenset()


def parse(text: str, schema: Schema) -> Query:
    """The tree of a query.

    Raises:
        InvalidQuery: it cannot be understood; ``position`` says where, counted from 0.

    Example:
        >>> parse("cats -dogs", Schema(("none",))).parts[1].part.rows[0][0].term
        'dogs'
    """
    if len(text) > SEARCH_QUERY_CHARS:
        raise InvalidQuery(position=SEARCH_QUERY_CHARS, reason="too long")
    words = text.split(" ")
    if PLAIN.fullmatch(text) and len(words) <= SEARCH_QUERY_PARTS:
        return _all_of(words, [analyzer(language).words for language in schema.languages])
    parser = _Parser(text, schema)
    found = parser.query(None, 0)
    parser.finish()
    return Nothing() if found is None else found


def _all_of(words: Sequence[str], languages: Sequence[Mapping[str, str]]) -> Query:
    """What the parser makes of nothing but words."""
    parts = []
    for word in words:
        terms = dict.fromkeys([terms[word] for terms in languages])
        rows = tuple([(Element(term, 0),) for term in terms if term != GAP])
        if rows:
            parts.append(Words(rows))
    return parts[0] if len(parts) == 1 else And(tuple(parts)) if parts else Nothing()


class _Parser:
    """Goes through the tokens once; a part that holds nothing but stop words is None."""

    def __init__(self, text: str, schema: Schema) -> None:
        self._text = text
        self._analyzers = [analyzer(language) for language in schema.languages]
        self._fields = schema.fields | OWN_FIELDS
        self._tokens: list[re.Match[str]] = []
        self._next = self._parts = 0
        at, end = 0, len(text.rstrip())
        while at < end:
            found = TOKEN.match(text, at)
            if found is None:
                skipped = len(text[at:]) - len(text[at:].lstrip())
                raise InvalidQuery(position=at + skipped, reason="a quotation mark is not closed")
            self._tokens.append(found)
            at = found.end()

    def finish(self) -> None:
        """Nothing may be left over."""
        if self._next < len(self._tokens):
            raise self._refused("a bracket closes that was not opened")

    def query(self, field: str | None, depth: int) -> Query | None:
        """Alternatives."""
        if depth > SEARCH_QUERY_DEPTH:
            raise self._refused("brackets are nested too deeply")
        parts = [self._all(field, depth)]
        while self._is_word("OR"):
            self._next += 1
            parts.append(self._all(field, depth))
        kept = tuple(part for part in parts if part is not None)
        return kept[0] if len(kept) == 1 else Or(kept) if kept else None

    def _all(self, field: str | None, depth: int) -> Query | None:
        parts = [self._negated(field, depth)]
        while self._goes_on():
            if self._is_word("AND"):
                self._next += 1
            parts.append(self._negated(field, depth))
        kept = tuple(part for part in parts if part is not None)
        return kept[0] if len(kept) == 1 else And(kept) if kept else None

    def _goes_on(self) -> bool:
        token = self._peek()
        return token is not None and token.lastgroup != "close" and not self._is_word("OR")

    def _negated(self, field: str | None, depth: int) -> Query | None:
        negated = False
        while self._is_word("NOT") or self._is_kind("not"):
            negated = not negated
            self._next += 1
        found = self._one(field, depth)
        return Not(found) if negated and found is not None else found

    def _one(self, field: str | None, depth: int) -> Query | None:
        token = self._peek()
        if token is None or token.lastgroup == "close" or self._is_word("OR", "AND"):
            raise self._refused("a word is missing")
        self._next += 1
        self._parts += 1
        if self._parts > SEARCH_QUERY_PARTS:
            raise self._refused("too many words", token)
        if token["open"]:
            return self._inside(field, depth)
        if token["field"]:
            return self._of_field(token, depth)
        if token["range"] or token["compare"]:
            return self._range(token, field)
        if token["quoted"]:
            quoted = re.sub(r"\\(.)", r"\1", token["quoted"][1:-1])
            return self._leaf(field, quoted, token)
        return self._word(field, token["word"] or token["below"], token)

    def _inside(self, field: str | None, depth: int) -> Query | None:
        found = self.query(field, depth + 1)
        if not self._is_kind("close"):
            raise self._refused("a bracket is not closed")
        self._next += 1
        return found

    def _of_field(self, token: re.Match[str], depth: int) -> Query | None:
        name = token["field"]
        if name not in self._fields:
            raise self._refused("no such field", token)
        following = self._peek()
        if following is None or following["field"] or following["not"]:
            raise self._refused("a field has no value", token)
        return self._one(name, depth)

    def _word(self, field: str | None, word: str, token: re.Match[str]) -> Query | None:
        if word == "*" and field is None:
            return Everything()
        if field is not None and word[0] in "<>[{":
            raise self._refused("a range is not whole", token)
        if word[-1] == ":" and word[:-1] in self._fields:
            raise self._refused("a field has no value", token)
        if not word.endswith("*"):
            return self._leaf(field, word, token)
        beginning = word[:-1]
        if field == KEY:
            return Key(beginning.encode(), open=True)
        if field in {TYPE, TAG}:
            return Mark(_marked(field, beginning), open=True)
        return self._prefix(field, beginning, token)

    def _leaf(self, field: str | None, text: str, token: re.Match[str]) -> Query | None:
        """Words that stand in a row, of the text or of a field."""
        if field in {TYPE, TAG}:
            return Mark(_marked(field, text))
        rows = [row for one in self._analyzers if (row := _row(one, text, ""))]
        if field == KEY:
            exact = Key(text.encode(), open=False)
            return Or((exact, KeyWords(Words(tuple(rows))))) if rows else exact
        if field is not None:
            return self._valued(field, text, rows, token)
        return Words(tuple(dict.fromkeys(rows))) if rows else None

    def _valued(
        self,
        field: str,
        text: str,
        rows: list[tuple[Element, ...]],
        token: re.Match[str],
    ) -> Query | None:
        """A field's value: its words, yes or no, or the number."""
        scoped = [
            tuple(Element(_scoped(field, one.term), one.at, one.open) for one in row)
            for row in rows
        ]
        parts: list[Query] = [Words(tuple(dict.fromkeys(scoped)))] if scoped else []
        if text in {"true", "false"}:
            parts.append(Mark(_marked(field, text)))
        number = as_number(text)
        if number is not None and not token["quoted"]:
            parts.append(Range(field, number, number))
        return None if not parts else parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _prefix(self, field: str | None, beginning: str, token: re.Match[str]) -> Query | None:
        """Terms that begin so; terms are stems, so the stem of the beginning counts too."""
        rows = []
        for one in self._analyzers:
            words = one.split(beginning)
            if not words:
                raise self._refused("nothing stands before the star", token)
            scope = "" if field is None else field
            if is_dense(words[-1]):
                rows.append(_row(one, beginning, scope))
                continue
            term = fold(words[-1])
            head = _row(one, " ".join(words[:-1]), scope)
            last = Element(_scoped(scope, term), len(words) - 1, open=True)
            rows.append((*head, last))
            if one.words[words[-1]] not in {GAP, term}:
                stem = Element(_scoped(scope, one.words[words[-1]]), len(words) - 1)
                rows.append((*head, stem))
        return Words(tuple(dict.fromkeys(_begun(row) for row in rows)))

    def _range(self, token: re.Match[str], field: str | None) -> Query:
        if field is None or field in OWN_FIELDS:
            raise self._refused("a range needs a field of numbers", token)
        if token["compare"]:
            bound = self._bound(token["bound"], token)
            above, closed = token["compare"][0] == ">", len(token["compare"]) > 1
            sides = (bound, math.inf) if above else (-math.inf, bound)
            return Range(field, *sides, (closed or not above, closed or above))
        whole = token["range"]
        low = -math.inf if token["low"] == "*" else self._bound(token["low"], token)
        high = math.inf if token["high"] == "*" else self._bound(token["high"], token)
        return Range(field, low, high, (whole[0] == "[", whole[-1] == "]"))

    def _bound(self, text: str, token: re.Match[str]) -> float:
        number = as_number(text)
        if number is None:
            raise self._refused("neither a number nor a date", token)
        return number

    def _peek(self) -> re.Match[str] | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _is_word(self, *words: str) -> bool:
        token = self._peek()
        return token is not None and token["word"] in words

    def _is_kind(self, kind: str) -> bool:
        token = self._peek()
        return token is not None and bool(token[kind])

    def _refused(self, reason: str, token: re.Match[str] | None = None) -> InvalidQuery:
        at = token or self._peek()
        if at is None:
            return InvalidQuery(position=len(self._text), reason=reason)
        skipped = len(at.group()) - len(at.group().lstrip())
        return InvalidQuery(position=at.start() + skipped, reason=reason)


def _scoped(field: str, term: str) -> str:
    return f"{FIELD}{field}{END}{term}" if field else term


def _marked(field: str, value: str) -> str:
    return f"{MARK}{field}{END}{value}"


def _row(one: Analyzer, text: str, scope: str) -> tuple[Element, ...]:
    """The elements of words that stand in a row; none where all are stop words."""
    words = one.split(text)
    row = []
    for at, word in enumerate(words):
        single = len(word) == 1 and is_dense(word)
        if single and at and words[at - 1][1:] == word and is_dense(words[at - 1]):
            continue  # the end of what its pair has said already
        term = one.words[word]
        if term != GAP:
            row.append(Element(_scoped(scope, term), at, single))
    return _begun(tuple(row))


def _begun(row: tuple[Element, ...]) -> tuple[Element, ...]:
    """The same with distances from the first."""
    first = row[0].at if row else 0
    return tuple(Element(one.term, one.at - first, one.open) for one in row)
