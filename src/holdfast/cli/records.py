"""Items of an import and export as records of 0-stor, where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from holdfast.adapters.sdstor import (
    Form,
    Record,
    read_record,
    record_of,
    store_record,
    write_record,
)
from holdfast.cli.names import Refusal
from holdfast.cli.output import shown
from holdfast.cli.progress import Advance
from holdfast.cli.sources import Item
from holdfast.errors import Corrupt, InvalidValue, LimitExceeded, NotFound
from holdfast.limits import MIB

if TYPE_CHECKING:
    from holdfast.store import Namespace

Format = Literal["files", "sdstor", "sdstor-bare"]
RECORDS: Final[dict[Format, Form]] = {"sdstor": "counted", "sdstor-bare": "bare"}
READ_BYTES: Final = 2 * MIB  # more than any record has, so that a longer one is noticed
RecordFormat = Annotated[
    Format,
    typer.Option("--format", help="What each item is: the bytes alone, or a record of 0-stor."),
]


def unreadable(items: Iterable[Item], form: Form) -> list[Refusal]:
    """The items that are no records, and why: looked for before the first is stored."""
    refused = []
    for item in items:
        try:
            _record(item, form)
        except (Corrupt, LimitExceeded) as error:
            refused.append(Refusal(item.name, str(error)))
    return refused


def store_records(objects: Namespace, items: Iterable[Item], form: Form, advance: Advance) -> int:
    """Store what each item is a record of; how many bytes that is without what is around them."""
    size = 0
    for item in items:
        record = _record(item, form)
        store_record(objects, item.name, record, form)
        size += len(record.payload)
        advance(item.size, shown(item.name)[-40:])
    return size


def _record(item: Item, form: Form) -> Record:
    with item.opened() as source:
        return read_record(source.read(READ_BYTES), form)


def record_bytes(objects: Namespace, key: str, form: Form) -> tuple[bytes | str, int] | None:
    """An object as the bytes of a record, or why it has none, and when it was changed.

    None where the object is gone by now.
    """
    try:
        modified_ns = objects.stat(key).modified_ns
        return write_record(record_of(objects, key, form), form), modified_ns
    except NotFound:
        return None
    except (InvalidValue, LimitExceeded) as error:
        return str(error), 0
