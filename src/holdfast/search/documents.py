"""What of an object is searched: by the rules of its namespace, or as its put asked.

A value is read as UTF-8 text; what is not is replaced, and a value with a zero byte is no text.
Of a long one the first ``SEARCH_TEXT_BYTES`` count. Both are counted, and refuse nothing: what
was stored is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from holdfast.limits import SEARCH_TEXT_BYTES
from holdfast.log.entry import Attributes
from holdfast.search.analysis import GAP, Analyzer, analyzer
from holdfast.search.build import END, FIELD, MARK, Document
from holdfast.search.fields import as_number, at_path, texts
from holdfast.search.parse import TAG, TYPE, Schema, parse
from holdfast.search.query import Query
from holdfast.values import IndexRule, SearchRules

PARSED: Final = 1_024  # queries of one namespace
NO_TEXT: Final = IndexRule()


class Reading(msgspec.Struct):
    """What could not be read as it stands: cut to the bound, not text, not UTF-8."""

    cut: int = 0
    no_text: int = 0
    replaced: int = 0


class Maker:
    """Makes documents of a namespace's objects.

    Args:
        rules: those of the namespace.
    """

    def __init__(self, rules: SearchRules) -> None:
        self.rules = rules
        self.reading = Reading()
        self.parsed: dict[str, Query] = {}
        self._decode = msgspec.json.Decoder()

    @cached_property
    def digest(self) -> int:
        """Tells these rules from others: of whatever was read by others nothing is kept."""
        return xxh3_64_intdigest(msgspec.json.encode(self.rules))

    @cached_property
    def schema(self) -> Schema:
        """What queries may speak of."""
        languages = [self.rules.language, *(rule.language for rule in self.rules.rules)]
        fields = frozenset(name for rule in self.rules.rules for name in rule.fields)
        return Schema(tuple(dict.fromkeys(one for one in languages if one)), fields)

    def parse(self, query: str) -> Query:
        """A query's tree; InvalidQuery. It is kept for who asks again."""
        tree = parse(query, self.schema)
        if len(self.parsed) >= PARSED:
            self.parsed.clear()
        self.parsed[query] = tree
        return tree

    @cached_property
    def whole(self) -> IndexRule | None:
        """The rule of every object without a content type, where one rule has them all."""
        rules = self.rules.rules
        if len(rules) == 1 and not rules[0].prefix and rules[0].content_type is None:
            return rules[0]
        return None

    @cached_property
    def plain(self) -> Analyzer | None:
        """Of objects that are a text and nothing else: whose words, where one rule has them all."""
        rule = self.whole
        if rule is None or rule.fields or self.rules.keys:
            return None
        return analyzer(rule.language or self.rules.language)

    def rule(self, key: bytes, attributes: Attributes) -> IndexRule | None:
        """What to read of an object; None where it is not searched."""
        asked = attributes.index
        if asked is False:
            return None
        for rule in self.rules.rules:
            if key.startswith(rule.prefix.encode()) and _fits(rule, attributes.content_type):
                return rule
        return NO_TEXT if asked is not None else None

    def document(
        self, key: bytes, value: bytes | memoryview, rule: IndexRule, attributes: Attributes | None
    ) -> tuple[Document, Analyzer]:
        """The document of an object, and what its words are of."""
        one = analyzer(rule.language or self.rules.language)
        asked = None if attributes is None else attributes.index
        text = asked if isinstance(asked, str) else self._text(value)
        words: list[str] = []
        if self.rules.keys:
            words = [*one.split(key.decode()), GAP]
        if not rule.fields or isinstance(asked, str):
            made = Document(words + one.split(text) if words else one.split(text))
        else:
            made = self._of_fields(words, text, rule, one)
        if attributes is not None:
            made.marks = [*made.marks, *_marks(attributes)]
        return made, one

    def _text(self, value: bytes | memoryview) -> str:
        if len(value) > SEARCH_TEXT_BYTES:
            self.reading.cut += 1
            value = value[:SEARCH_TEXT_BYTES]
        raw = bytes(value) if type(value) is not bytes else value
        if b"\x00" in raw:
            self.reading.no_text += 1
            return ""
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.reading.replaced += 1
            return raw.decode(errors="replace")

    def _of_fields(self, words: list[str], text: str, rule: IndexRule, one: Analyzer) -> Document:
        """A JSON document's: words of all fields, each found in its field too; numbers, dates."""
        try:
            whole = self._decode.decode(text)
        except (msgspec.DecodeError, RecursionError):
            self.reading.no_text += 1
            return Document(words)
        placed: list[tuple[str, int]] = []
        marks: list[str] = []
        numbers: list[tuple[str, float]] = []
        for field, path in rule.fields.items():
            for value in at_path(whole, path):
                if isinstance(value, bool):
                    marks.append(f"{MARK}{field}{END}{str(value).lower()}")
                elif isinstance(value, int | float):
                    numbers.append((field, float(value)))
                for piece in texts(value):
                    date = as_number(piece.strip())
                    if date is not None:
                        numbers.append((field, date))
                    found = one.split(piece)
                    pairs = zip(found, map(one.words.__getitem__, found), strict=True)
                    _place(words, placed, field, pairs)
        return Document(words, placed, marks, numbers)


def digest_of(maker: Maker | None) -> int:
    """That of a namespace's rules; 0 where nothing of it is searched."""
    return 0 if maker is None else maker.digest


def _place(
    words: list[str], placed: list[tuple[str, int]], field: str, found: Iterable[tuple[str, str]]
) -> None:
    """Put words, each with its term, behind the others, and into their field."""
    for word, term in found:
        if term != GAP:
            placed.append((f"{FIELD}{field}{END}{term}", len(words)))
        words.append(word)
    words.append(GAP)  # a phrase does not reach into the next value


def _marks(attributes: Attributes) -> list[str]:
    marks = [f"{MARK}{TAG}{END}{name}={value}" for name, value in (attributes.tags or {}).items()]
    if attributes.content_type is not None:
        marks.append(f"{MARK}{TYPE}{END}{attributes.content_type}")
    return marks


def _fits(rule: IndexRule, content_type: str | None) -> bool:
    wanted = rule.content_type
    if wanted is None:
        return True
    if content_type is None:
        return False
    plain = content_type.partition(";")[0].strip().lower()
    return plain.startswith(wanted[:-1]) if wanted.endswith("/*") else plain == wanted
