"""Where results, remarks and errors go, and how they look.

Results go to standard output: text for people, or JSON (one document, or one
line for each item of a list). Remarks, progress and errors go to standard
error, so a pipe carries results only.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO

import msgspec
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from holdfast.cli.files import STANDARD, local_file, writing
from holdfast.errors import HoldfastError

_PIPE_COLUMNS = 120  # a pipe has no width; tables are drawn for this one
_WIDE_COLUMNS = 110
_STDOUT = "/dev/stdout"  # named where it cannot be written
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


class Output:
    """The two streams of one command.

    Args:
        as_json: JSON instead of text, on both streams.

    Example:
        >>> Output(as_json=True).document({"size": 7}, "7 bytes")
        {"size": 7}
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._is_within_line = False  # on a terminal, behind a value that does not end one

    def document(self, value: object, text: RenderableType) -> None:
        """Print the one result of a command."""
        self.item(value, text)

    def item(self, value: object, text: RenderableType) -> None:
        """Print one of many results: a line of JSON, or the text.

        Raises:
            InvalidValue: standard output cannot be written: its disk is full.
        """
        with local_file(_STDOUT):
            if self.as_json:
                sys.stdout.write(to_json(value, sys.stdout) + "\n")
            elif isinstance(text, str):
                sys.stdout.write(text + "\n")
            else:
                console(sys.stdout).print(text)

    def say(self, text: RenderableType) -> None:
        """Print a step of a result that grows on the way; nothing under JSON."""
        if self.as_json:
            return
        with local_file(_STDOUT):
            console(sys.stdout).print(Text(text) if isinstance(text, str) else text)
        flush_results()  # the steps of a demo are read while they happen, in a pipe too

    def remark(self, text: str) -> None:
        """Tell a person something beside the result; nothing under JSON."""
        if not self.as_json:
            sys.stderr.write(f"\n{text}\n" if self._is_within_line else f"{text}\n")
            self._is_within_line = False

    def error(self, error: BaseException) -> None:
        """Print what ended the command, or one part of it, on standard error."""
        code, message, facts = _told(error)
        if self.as_json:
            document = {"error": code, "message": message, **facts}
            sys.stderr.write(to_json(document, sys.stderr, default=_told_fact) + "\n")
            return
        plain = {name: fact for name, fact in facts.items() if not isinstance(fact, list)}
        sys.stderr.write(f"holdfast: {message}{_fact_text(plain)}\n")
        for each in _many(facts):
            sys.stderr.write(f"  {each}\n")

    def file(self, path: Path, data: bytes, value: object, text: str) -> None:
        """Write a result's file and tell what it is; - is standard output, which then has no JSON.

        Raises:
            InvalidValue: the file cannot be written.
        """
        if str(path) != STANDARD:
            with writing(path) as target:
                target.write(data)
            self.document(value, text)
        else:
            self.bytes([data])
            self.remark(text)

    def bytes(self, chunks: Iterable[bytes]) -> None:
        """Copy a value to standard output as it is."""
        stream: BinaryIO = sys.stdout.buffer
        last = b""
        for last in chunks:
            with local_file(_STDOUT):
                stream.write(last)
        flush_results()
        self._is_within_line = sys.stdout.isatty() and not last.endswith(b"\n")


def flush_results() -> None:
    """Write what standard output holds back.

    Raises:
        InvalidValue: it cannot be written: its disk is full.
    """
    with local_file(_STDOUT):
        sys.stdout.flush()


def console(stream: IO[str]) -> Console:
    """A rich console on ``stream`` that takes names literally (no markup, no guessing)."""
    width = None if stream.isatty() else _PIPE_COLUMNS
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table; a head that ends in ``>`` marks a column of figures."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        drawn.add_column(head.rstrip(">"), justify="right" if head.endswith(">") else "left")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def is_wide() -> bool:
    """Whether standard output has room for every column of a wide table."""
    return console(sys.stdout).width >= _WIDE_COLUMNS


def cut(text: str, columns: int) -> str:
    """The beginning of a text, as much as fits.

    Example:
        >>> cut("after test/test_list.py", 12)
        'after test..'
    """
    return text if cell_len(text) <= columns else f"{set_cell_size(text, columns - 2).rstrip()}.."


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Names and what they are, a line each."""
    drawn = Table(box=None, show_header=False, pad_edge=False)
    for name, fact in facts:
        drawn.add_row(Text(name), Text(fact, overflow="fold"))
    return drawn


def counted(amount: int, noun: str) -> str:
    """An amount of something.

    Example:
        >>> counted(1, "bucket"), counted(2_000, "bucket")
        ('1 bucket', '2,000 buckets')
    """
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def _plain(value: object) -> object:
    """What JSON has no word for, by its fields or as text; TypeError for a kind not known here.

    The text of any object would be a document too, of which a program learns nothing.
    """
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (bytes, bytearray)):
        return repr(value)
    kind = type(value).__name__
    message = f"no JSON is known for {kind}"
    raise TypeError(message)


def to_json(
    value: object,
    stream: IO[str] | None = None,
    *,
    default: Callable[[object], object] = _plain,
) -> str:
    """``value`` as one line of JSON; ``default`` says what it has no word for in words it has.

    Other scripts than ASCII stay readable where ``stream`` can carry them.
    """
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-")
    return json.dumps(value, ensure_ascii=encoding not in {"utf-8", "utf8"}, default=default)


def shown(name: str) -> str:
    r"""A name as one line of text: control characters are escaped.

    A key may hold a newline or a terminal's escape sequence; neither may reach
    a terminal. ``--json`` gives names exactly.

    Example:
        >>> shown("a\nb")
        'a\\nb'
    """
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def edge_text(edge: str) -> str:
    r"""Where a range begins, as one line of text.

    A bucket that was rolled begins right behind a key: at that key and one zero
    character, the least that can follow.

    Example:
        >>> edge_text("a/b\0")
        'after a/b'
    """
    return f"after {shown(edge[:-1])}" if edge.endswith("\0") else shown(edge)


def size_text(size_bytes: int) -> str:
    """Bytes for people, in powers of 1024.

    Example:
        >>> size_text(1536)
        '1.5 KiB'
    """
    amount = float(size_bytes)
    unit = "B"
    for larger in _UNITS:
        if amount < 1024:  # noqa: PLR2004 - the base of the units above
            break
        amount, unit = amount / 1024, larger
    return f"{size_bytes} B" if unit == "B" else f"{amount:.1f} {unit}"


def time_text(wall_ns: int | None) -> str:
    """Nanoseconds since 1970 as UTC to the second; ``-`` for None.

    Example:
        >>> time_text(0)
        '1970-01-01T00:00:00Z'
    """
    if wall_ns is None:
        return "-"
    moment = datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _told(error: BaseException) -> tuple[str, str, dict[str, object]]:
    if isinstance(error, HoldfastError):
        return error.code, error.message, error.facts
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "interrupted", {}
    return "unexpected", "unexpected failure", {"kind": type(error).__name__, "detail": str(error)}


def _fact_text(facts: dict[str, object]) -> str:
    if not facts:
        return ""
    return " (" + ", ".join(f"{name}={fact!r}" for name, fact in facts.items()) + ")"


def _many(facts: dict[str, object]) -> Iterator[str]:
    """Facts that are lists, such as refused names: a line for each entry."""
    for fact in facts.values():
        for entry in fact if isinstance(fact, list) else ():
            told = entry.values() if isinstance(entry, dict) else (entry,)
            yield ": ".join(shown(str(part)) for part in told)


def _told_fact(fact: object) -> object:
    """As ``_plain``, and any other fact by its text: an error is told whatever it carries."""
    try:
        return _plain(fact)
    except TypeError:
        return str(fact)
