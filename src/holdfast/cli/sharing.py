"""Commands that open objects to others: share, publish."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.access.links import USUAL_BASE
from holdfast.cli.opening import opened
from holdfast.cli.options import (
    AsJson,
    KeyName,
    NamespaceName,
    StoreOptions,
    StorePath,
    output_of,
    parse_ttl,
    settings_of,
)
from holdfast.cli.output import Output, shown
from holdfast.cli.remote import Token, Url, ask, opened_alone, token_for
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import InUse
from holdfast.request.arguments import namespace_bytes
from holdfast.store.tenancy import linked, object_grant, signing_alone
from holdfast.values import Grant


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (share, publish):
        app.command()(command)


def share(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    key: KeyName,
    ttl: Annotated[str, typer.Option(metavar="TTL", help="How long the link is good.")] = "1h",
    grant: Annotated[
        str, typer.Option(metavar="RIGHTS", help="Of read, write, delete; with commas.")
    ] = "read",
    uses: Annotated[int | None, typer.Option(metavar="N", help="Only so many requests.")] = None,
    base: Annotated[
        str,
        typer.Option(envvar="HOLDFAST_URL", metavar="URL", help="Where the store is served."),
    ] = USUAL_BASE,
    as_json: AsJson = False,
) -> None:
    """Print a link to one object, good for whoever has it; a server may have the store open."""
    output = output_of(context, as_json=as_json)
    namespace_bytes(namespace)
    rights = tuple(name.strip() for name in grant.split(","))
    wanted = object_grant(namespace, key, rights, uses)  # type: ignore[arg-type] # checked there
    url = _link(path, settings_of(context).store, output, (wanted, parse_ttl(ttl), base))
    output.document({"key": key, "url": url}, url)


def _link(
    path: Path, options: StoreOptions, output: Output, wanted: tuple[Grant, float | str, str]
) -> str:
    """A link, noted in the store, or only signed where another process has that open."""
    grant, ttl, base = wanted
    try:
        with opened(path, options) as store:
            return linked(store.tokens, grant, ttl, base=base)
    except InUse:
        output.remark("the store is open elsewhere: the link counts, but is in no list")
    tokens = signing_alone(str(path), SystemClock(), SystemEntropy())
    return linked(tokens, grant, ttl, base=base)


def publish(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    prefix: Annotated[
        str | None, typer.Argument(metavar="PREFIX", help='Keys below it; "" is all.')
    ] = None,
    end: Annotated[bool, typer.Option("--end", help="No longer publish it.")] = False,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Let anyone read what is below a prefix; prints the prefixes that are published then."""
    output = output_of(context, as_json=as_json)
    if url is not None:
        told = _published_there(url, token_for(path, token), namespace, (prefix, end))
    else:
        with opened_alone(path, settings_of(context).store) as store:
            objects = store.namespace(namespace)
            if prefix is not None:
                (objects.unpublish if end else objects.publish)(prefix)
            told = list(objects.published())
    text = "\n".join(shown(one) or "(all)" for one in told)
    if output.as_json or told:
        output.document({"namespace": namespace, "published": told}, text)


def _published_there(
    url: str, token: str, namespace: str, change: tuple[str | None, bool]
) -> list[str]:
    """The same, by the server that has the store open."""
    prefix, end = change
    namespace_bytes(namespace)
    path = f"/v1/namespaces/{namespace}/published"
    told = [str(one) for one in ask("GET", url, path, token=token)["prefixes"]]
    if prefix is None:
        return told
    wanted = [one for one in told if one != prefix] + ([] if end else [prefix])
    ask("PUT", url, path, token=token, body={"prefixes": wanted})
    return wanted
