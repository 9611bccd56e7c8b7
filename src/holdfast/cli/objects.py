"""Commands on objects: put, get, append, rm, ls, stat."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from holdfast.cli.exits import ExitCode, exit_code
from holdfast.cli.files import STANDARD, Readable, pieces, reading, writing
from holdfast.cli.opening import opened, refuse_invalid
from holdfast.cli.options import (
    AsJson,
    Fence,
    InlineText,
    KeyName,
    Matching,
    NamespaceName,
    Source,
    StorePath,
    Ttl,
    output_of,
    parse_range,
    parse_ttl,
    settings_of,
)
from holdfast.cli.output import counted, facts_table, shown, size_text, time_text
from holdfast.cli.streams import PutOptions, put_stream
from holdfast.errors import Correctable, NotFound
from holdfast.values import Stat

if TYPE_CHECKING:
    from holdfast.store import Namespace

_SIZE_WIDTH = 12


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (put, get, append, rm, ls, stat):
        app.command()(command)


def put(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    key: KeyName,
    file: Source = "-",
    text: InlineText = None,
    ttl: Ttl = None,
    keep_ttl: Annotated[
        bool, typer.Option("--keep-ttl", help="Keep the expiry the object has.")
    ] = False,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Only if there is no such object.")
    ] = False,
    if_version: Annotated[
        int | None, typer.Option(metavar="N", help="Only over this version.")
    ] = None,
    fence: Fence = None,
    consumer: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Who refers to it; may be repeated.")
    ] = None,
    permanent: Annotated[
        bool, typer.Option("--permanent", help="Refuse changes; rm --release deletes it.")
    ] = False,
    content_type: Annotated[str | None, typer.Option(help="A media type to keep with it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Store a file, standard input or a text; makes the store if there is none."""
    output = output_of(context, as_json=as_json)
    said = {
        "ttl": None if ttl is None else parse_ttl(ttl),
        "keep_ttl": keep_ttl or None,
        "if_absent": if_absent or None,
        "if_version": if_version,
        "fence": fence,
        "consumers": consumer,
        "permanent": permanent or None,
        "content_type": content_type,
    }
    options = cast("PutOptions", {name: value for name, value in said.items() if value is not None})
    refuse_invalid(namespace, [key], options)
    with (
        _source(file, text) as source,  # first: where it is missing, no store is made
        opened(path, settings_of(context).store, create=True, output=output) as store,
    ):
        receipt = put_stream(store.namespace(namespace), key, source, options)
    lives = f", expires {time_text(receipt.expires_ns)}" if receipt.expires_ns else ""
    told = f"{shown(key)}: {counted(receipt.size, 'byte')}, version {receipt.version}{lives}"
    output.document(receipt, told)


def get(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    key: KeyName,
    file: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"),
            metavar="FILE",
            help="Write to this file, whole or not at all; - is standard output.",
        ),
    ] = None,
    part: Annotated[
        str | None, typer.Option("--range", help="Only bytes START:STOP, STOP not included.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a value to standard output or to a file."""
    output = output_of(context, as_json=as_json)
    span = parse_range(part) if part is not None else None
    with opened(path, settings_of(context).store, output=output) as store:
        value = _value(store.namespace(namespace), key, span)
        if file is not None and str(file) != STANDARD:
            size = _write_to(file, value)
            told = f"{shown(key)}: {counted(size, 'byte')} to {shown(str(file))}"
            output.document({"key": key, "size": size, "file": str(file)}, told)
        elif output.as_json:
            output.document({"key": key, **_in_json(b"".join(value))}, "")
        else:
            output.bytes(value)


def append(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    key: KeyName,
    file: Source = "-",
    text: InlineText = None,
    as_json: AsJson = False,
) -> None:
    """Add a file, standard input or a text to the end of a value."""
    output = output_of(context, as_json=as_json)
    refuse_invalid(namespace, [key], {})
    with (
        _source(file, text) as source,
        opened(path, settings_of(context).store, create=True, output=output) as store,
    ):
        size = store.namespace(namespace).append(key, source.read(-1))
    output.document({"key": key, "size": size}, f"{shown(key)}: {counted(size, 'byte')} now")


def rm(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    keys: Annotated[list[str], typer.Argument(metavar="KEY", help="What to delete.")],
    missing_ok: Annotated[
        bool, typer.Option("--missing-ok", help="An absent key is no failure.")
    ] = False,
    release: Annotated[
        bool, typer.Option("--release", help="Release permanent objects first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete objects; goes on after a key that it must refuse, and fails at the end."""
    output = output_of(context, as_json=as_json)
    worst = ExitCode.OK
    with opened(path, settings_of(context).store, output=output) as store:
        objects = store.namespace(namespace)
        for key in keys:
            try:
                was_there = _delete(objects, key, missing_ok=missing_ok, release=release)
            except Correctable as error:
                output.error(error)
                worst = worst or exit_code(error)
            else:
                told = "deleted" if was_there else "not there"
                output.item({"key": key, "deleted": was_there}, f"{shown(key)}: {told}")
    if worst:
        raise typer.Exit(worst)


def ls(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: Annotated[
        str | None,
        typer.Argument(
            metavar="NAMESPACE", help="Whose keys; without it, the namespaces are listed."
        ),
    ] = None,
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="Only keys that begin so.")] = "",
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Size, time, expiry, version and state too.")
    ] = False,
    recursive: Annotated[bool, typer.Option(help="Or one level, deeper ones as NAME/.")] = True,
    by: Annotated[Matching, typer.Option(help="How the prefix is read.")] = "text",
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many.")] = None,
    after: Annotated[str | None, typer.Option(help="Only keys behind this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List keys in byte order; without a namespace, the namespaces."""
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store, output=output) as store:
        if namespace is None:
            for name in store.namespaces():
                output.item({"namespace": name}, name)
            return
        objects = store.namespace(namespace)
        show = objects.entries if long else objects.list
        found = show(prefix, recursive=recursive, by=by, limit=limit, after=after)
        for each in found:
            if isinstance(each, str):
                output.item({"key": each}, shown(each))
            else:
                output.item(each, _entry_text(each))


def stat(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    key: KeyName,
    as_json: AsJson = False,
) -> None:
    """Tell what is known of an object without reading it."""
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store, output=output) as store:
        found = store.namespace(namespace).stat(key)
    output.document(found, facts_table(_stat_rows(found)))


def _source(file: str, text: str | None) -> AbstractContextManager[Readable]:
    if text is not None and file != STANDARD:
        raise typer.BadParameter("give a FILE or --text, not both", param_hint="FILE")
    return reading(file) if text is None else nullcontext(io.BytesIO(os.fsencode(text)))


def _value(objects: Namespace, key: str, span: tuple[int, int] | None) -> Iterator[bytes]:
    """The value in pieces; what is wrong with the key shows before the first of them."""
    if span is not None:
        return iter((objects.get(key, range=span),))
    return _read(objects, key)


def _read(objects: Namespace, key: str) -> Iterator[bytes]:
    with objects.open(key, "rb") as source:
        yield from pieces(source)


def _write_to(file: Path, value: Iterable[bytes]) -> int:
    with writing(file) as target:
        return sum(target.write(piece) for piece in value)


def _in_json(value: bytes) -> dict[str, object]:
    try:
        return {"size": len(value), "encoding": "utf-8", "value": value.decode()}
    except UnicodeDecodeError:
        packed = base64.b64encode(value).decode()
        return {"size": len(value), "encoding": "base64", "value": packed}


def _delete(objects: Namespace, key: str, *, missing_ok: bool, release: bool) -> bool:
    """Delete an object; whether it was there, where it may be absent."""
    if release and objects.exists(key):
        objects.release(key)
    try:
        objects.delete(key)
    except NotFound:
        if missing_ok:
            return False
        raise
    return True


def _entry_text(entry: Stat) -> str:
    """One line, columns apart by blanks; the key last, because it may hold blanks."""
    if not entry.terminal:
        return f"{'-':>{_SIZE_WIDTH}}  {'-':20}  {'-':20}  {'-':>8}  {'-':9}  {shown(entry.key)}"
    modified, expires = time_text(entry.modified_ns), time_text(entry.expires_ns)
    state = "permanent" if entry.permanent else entry.state
    columns = f"{entry.size:>{_SIZE_WIDTH}}  {modified:20}  {expires:20}  {entry.version:>8}"
    return f"{columns}  {state:9}  {shown(entry.key)}"


def _stat_rows(found: Stat) -> list[tuple[str, str]]:
    if not found.terminal:
        return [("key", shown(found.key)), ("kind", "only other keys lie below it")]
    return [
        ("key", shown(found.key)),
        ("size", f"{counted(found.size, 'byte')} ({size_text(found.size)})"),
        ("modified", time_text(found.modified_ns)),
        ("expires", time_text(found.expires_ns)),
        ("version", str(found.version)),
        ("state", found.state),
        ("consumers", str(found.consumers)),
        ("permanent", "yes" if found.permanent else "no"),
        ("content type", found.content_type or "-"),
        ("crc32c", f"{found.crc32c:08x}"),
        ("bucket", found.bucket),
    ]
