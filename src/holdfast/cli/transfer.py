"""Commands that carry many objects in and out: import, export."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.files import is_folder, pieces
from holdfast.cli.names import Refusal, told
from holdfast.cli.opening import lies_in, opened, own_folders, refuse_invalid
from holdfast.cli.options import (
    AsJson,
    NamespaceName,
    Prefix,
    Skip,
    StorePath,
    Ttl,
    folder,
    output_of,
    parse_ttl,
    settings_of,
)
from holdfast.cli.output import Output, counted, shown, size_text
from holdfast.cli.progress import Advance, progress
from holdfast.cli.records import (
    RECORDS,
    Format,
    RecordFormat,
    record_bytes,
    store_records,
    unreadable,
)
from holdfast.cli.sources import NO_TEXT, Item, Plan, planned
from holdfast.cli.streams import PutOptions, put_stream
from holdfast.cli.targets import Form, Target, form_of, target_at
from holdfast.errors import InvalidKey, InvalidValue, NotFound

if TYPE_CHECKING:
    from holdfast.store import Namespace

_BATCH_ITEMS = 256
_BATCH_BYTES = 4 << 20
_SMALL_BYTES = 256 << 10  # larger ones are stored one by one


def register(app: typer.Typer) -> None:
    """Add the commands of this file; ``import`` is a word of Python's own."""
    app.command("import")(bring_in)
    app.command("export")(take_out)


def bring_in(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="A folder, a zip, or a JSON object of texts.", parser=folder
        ),
    ],
    prefix: Prefix = "",
    ttl: Ttl = None,
    record: RecordFormat = "files",
    skip: Skip = False,
    as_json: AsJson = False,
) -> None:
    """Store every file of a folder or zip, or every text of a JSON object, under its name."""
    output = output_of(context, as_json=as_json)
    options: PutOptions = {} if ttl is None else {"ttl": parse_ttl(ttl)}
    if record != "files" and options:
        raise InvalidValue(argument="--ttl", reason="a record of 0-stor lives until it is removed")
    refuse_invalid(namespace, (), options)  # the plan looks at the keys
    own = own_folders(path, settings_of(context).store)
    if is_folder(source) and lies_in(source, own):
        raise InvalidValue(argument="SOURCE", path=str(source), reason="it lies in the store")
    with planned(source, prefix=prefix, apart=own) as found:
        is_named_wrong = all(one.reason != NO_TEXT for one in found.refused)
        _refuse_unless(
            found.refused, skip=skip, error=InvalidKey if is_named_wrong else InvalidValue
        )
        _refuse_too_large(found, path)
        plan = _records_of(found, record, skip=skip)
        with (
            opened(path, settings_of(context).store, create=True, output=output) as store,
            progress(output, "importing", plan.size, in_bytes=True) as advance,
        ):
            objects = store.namespace(namespace)
            if record == "files":
                size = _store_all(objects, plan, options, advance)
            else:
                size = store_records(objects, plan.items, RECORDS[record], advance)
        _tell(output, "imported", (len(plan.items), size), [*plan.refused, *plan.passed])


def take_out(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", help="A new or empty folder, or a new file.", parser=folder
        ),
    ],
    prefix: Prefix = "",
    form: Annotated[
        Form | None,
        typer.Option("--as", help="What to write; else told by .zip, .json or neither."),
    ] = None,
    record: RecordFormat = "files",
    skip: Skip = False,
    as_json: AsJson = False,
) -> None:
    """Write the values of all keys into a folder, a zip or a JSON object; whole or not at all."""
    output = output_of(context, as_json=as_json)
    if lies_in(target, own_folders(path, settings_of(context).store)):
        raise InvalidValue(argument="TARGET", path=str(target), reason="it lies in the store")
    with opened(path, settings_of(context).store, output=output) as store:
        objects = store.namespace(namespace)
        with target_at(target, form_of(target, form)) as writer:
            done, refused = _write_all(output, objects, writer, (prefix, record))
            _refuse_unless(refused, skip=skip, error=InvalidValue)
    _tell(output, "exported", done, refused)


# -- in ------------------------------------------------------------------------


def _store_all(objects: Namespace, plan: Plan, options: PutOptions, advance: Advance) -> int:
    """Small items go together, so that one sync carries many; large ones by themselves.

    Returns how many bytes were stored: what a zip says of a member, or a folder of a file,
    is not yet what is read of it.
    """
    size = 0
    for batch in _batches(plan.items):
        if len(batch) == 1:
            with batch[0].opened() as source:
                size += put_stream(objects, batch[0].name, source, options).size
        else:
            stored = objects.put_many([_loaded(item) for item in batch], **options)
            size += sum(receipt.size for receipt in stored)
        advance(sum(item.size for item in batch), shown(batch[-1].name)[-40:])
    return size


def _records_of(found: Plan, record: Format, *, skip: bool) -> Plan:
    """The plan without what is no record, where records are asked for."""
    if record == "files":
        return found
    refused = unreadable(found.items, RECORDS[record])
    _refuse_unless(refused, skip=skip, error=InvalidValue)
    names = {one.name for one in refused}
    items = [item for item in found.items if item.name not in names]
    return Plan(items, [*found.refused, *refused], found.passed)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    size = 0
    for item in items:
        if item.size > _SMALL_BYTES:
            yield [item]
            continue
        batch.append(item)
        size += item.size
        if len(batch) == _BATCH_ITEMS or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _loaded(item: Item) -> tuple[str, bytes]:
    with item.opened() as source:
        return item.name, source.read(-1)


def _refuse_too_large(plan: Plan, path: Path) -> None:
    """A zip of a few KiB can claim terabytes: compare with the disk before the first byte."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if plan.size > free:
        reason = "more bytes than the disk has free"
        raise InvalidValue(argument="SOURCE", reason=reason, size=plan.size, free=free)


# -- out -----------------------------------------------------------------------


def _write_all(
    output: Output, objects: Namespace, target: Target, asked: tuple[str, Format]
) -> tuple[tuple[int, int], list[Refusal]]:
    """Write what the target can take; returns (objects, bytes) written, and the rest by name."""
    prefix, record = asked
    names = [key[len(prefix) :] for key in objects.list(prefix)]
    reasons = target.refusals(names)
    refused = [Refusal(name, reasons[name]) for name in names if name in reasons]
    count = size = 0
    with progress(output, "exporting", len(names)) as advance:
        for name in names:
            if name not in reasons:
                write = _write_one if record == "files" else partial(_write_record, record)
                wrote = write(objects, target, (prefix, name), refused)
                count, size = count + (wrote is not None), size + (wrote or 0)
            advance(1, shown(name)[-40:])
    return (count, size), refused


def _write_one(
    objects: Namespace, target: Target, key: tuple[str, str], refused: list[Refusal]
) -> int | None:
    """Bytes written, or None where the target refused or the object is gone by now."""
    prefix, name = key
    try:
        found = objects.stat(prefix + name)
        source = objects.open(prefix + name, "rb")
    except NotFound:  # it expired since it was listed
        return None
    with source:
        reason = target.take(name, found.modified_ns, pieces(source))
    if reason:
        refused.append(Refusal(name, reason))
        return None
    return found.size


def _write_record(  # noqa: PLR0917 - an object, where it goes, and as what
    record: Format,
    objects: Namespace,
    target: Target,
    key: tuple[str, str],
    refused: list[Refusal],
) -> int | None:
    """The same, of the record that the object is."""
    prefix, name = key
    found = record_bytes(objects, prefix + name, RECORDS[record])
    if found is None:
        return None
    data, modified_ns = found
    reason = data if isinstance(data, str) else target.take(name, modified_ns, [data])
    if reason:
        refused.append(Refusal(name, reason))
        return None
    return len(data)


# -- both ----------------------------------------------------------------------


def _refuse_unless(
    refused: list[Refusal], *, skip: bool, error: type[InvalidKey | InvalidValue]
) -> None:
    if refused and not skip:
        raise error(reason="what follows cannot be taken; --skip passes over it", **told(refused))


def _tell(output: Output, verb: str, done: tuple[int, int], left: list[Refusal]) -> None:
    count, size = done
    for one in left:
        output.remark(f"left out {one}")
    document = {verb: count, "bytes": size, "left_out": told(left)["refused"]}
    output.document(document, f"{verb} {counted(count, 'object')}, {size_text(size)}")
