"""Commands that guard objects: lock, unlock, consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from holdfast.cli.opening import opened, refuse_invalid
from holdfast.cli.options import (
    AsJson,
    KeyName,
    NamespaceName,
    StorePath,
    output_of,
    parse_ttl,
    settings_of,
)
from holdfast.cli.output import shown
from holdfast.limits import LOCK_TTL_S
from holdfast.request import arguments

if TYPE_CHECKING:
    from holdfast.store import Namespace


Change = Literal["list", "set", "append", "remove"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (lock, unlock, consumers):
        app.command()(command)


def lock(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    key: KeyName,
    ttl: Annotated[str, typer.Option(metavar="TTL", help="How long it holds.")] = str(LOCK_TTL_S),
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for it.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Take the lock of a key; prints its id (for unlock) and its fence (for put --fence).

    The time to live of a lock runs while some process has the store open, so
    waiting as long as that always takes over the lock of a holder that died.
    """
    output = output_of(context, as_json=as_json)
    wait, life = arguments.seconds(wait, "wait"), parse_ttl(ttl)
    refuse_invalid(namespace, [key], {"ttl": life})
    with opened(path, settings_of(context).store, create=True, output=output) as store:
        held = store.namespace(namespace).lock(key, ttl=life, wait=wait)
        found = {"key": key, "id": held.id, "fence": held.fence}
    output.document(found, f"id {found['id']}\nfence {found['fence']}")


def unlock(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    key: KeyName,
    lock_id: Annotated[str, typer.Argument(metavar="ID", help="What lock printed.")],
    as_json: AsJson = False,
) -> None:
    """Give a lock back."""
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store, output=output) as store:
        store.namespace(namespace).unlock(key, lock_id)
    output.document({"key": key, "unlocked": True}, f"{shown(key)}: unlocked")


def consumers(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    key: KeyName,
    change: Annotated[
        Change, typer.Argument(metavar="CHANGE", help="list, set, append or remove.")
    ] = "list",
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="At most 16 bytes each.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List or change who refers to an object; prints the list as it is then."""
    output = output_of(context, as_json=as_json)
    if change == "list" and ids:
        raise typer.BadParameter("list takes no ids", param_hint="ID")
    with opened(path, settings_of(context).store, output=output) as store:
        objects = store.namespace(namespace)
        absent = [_text(consumer) for consumer in _change(objects, key, change, ids or [])]
        listed = [_text(consumer) for consumer in objects.consumers(key).list()]
        state = objects.stat(key).state
    for consumer in absent:
        output.remark(f"not in the list: {shown(consumer)}")
    document: dict[str, object] = {"key": key, "consumers": listed}
    if change != "list" and state == "marked":
        output.remark(f"{shown(key)}: marked: collected by the next collect")
        document["marked"] = True
    if change == "remove":
        document["not_found"] = absent
    if output.as_json or listed:
        output.document(document, "\n".join(shown(consumer) for consumer in listed))


def _change(objects: Namespace, key: str, change: Change, ids: list[str]) -> list[str | bytes]:
    """Carry the change out; returns the ids that were to go and were not there."""
    referring = objects.consumers(key)
    if change == "set":
        referring.set(ids)
    elif change == "append":
        referring.append(ids)
    elif change == "remove":
        return list(referring.remove(ids))
    return []


def _text(consumer: str | bytes) -> str:
    return consumer if isinstance(consumer, str) else consumer.decode("utf-8", "backslashreplace")
