"""Commands on tokens: token create, list, revoke."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from holdfast.cli.opening import holds_store, opened
from holdfast.cli.options import (
    DEFAULT_PATH,
    AsJson,
    StoreFolder,
    StoreOptions,
    output_of,
    parse_size,
    parse_ttl,
    settings_of,
)
from holdfast.cli.output import Output, shown, table, time_text
from holdfast.cli.remote import Token, Url, ask, opened_alone, token_for
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import InUse
from holdfast.identity.tokens import Issued, Noted
from holdfast.limits import SECOND_NS
from holdfast.request.arguments import duration_ns
from holdfast.store.tenancy import signing_alone
from holdfast.values import Grant

token_app: Final = typer.Typer(no_args_is_help=True, help="Make, list and revoke tokens.")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command, name in ((create, "create"), (listed, "list"), (revoke, "revoke")):
        token_app.command(name)(command)
    app.add_typer(token_app, name="token")


def create(
    context: typer.Context,
    *,
    path: StoreFolder = DEFAULT_PATH,
    namespace: Annotated[str, typer.Option(help="Where it counts; * is everywhere.")],
    grant: Annotated[
        str, typer.Option(metavar="RIGHTS", help="Of read, write, delete, admin; with commas.")
    ],
    ttl: Annotated[str, typer.Option(metavar="TTL", help="How long it counts.")],
    name: Annotated[str, typer.Option(help="Whom it is for; for people to read.")] = "cli",
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Only keys below it.")] = "",
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only this key.")] = None,
    operations: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these, as load,stat.")
    ] = None,
    uses: Annotated[int | None, typer.Option(metavar="N", help="Only so many requests.")] = None,
    size: Annotated[
        str | None, typer.Option("--bytes", metavar="SIZE", help="Only values up to it.")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="Only from there; may be repeated.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it; it counts at once, also where a server has the store open."""
    output = output_of(context, as_json=as_json)
    wanted = Grant(
        namespace,
        _names(grant),  # type: ignore[arg-type] # checked when it is signed
        prefix=prefix,
        operations=None if operations is None else _names(operations),
        bytes_max=None if size is None else parse_size(size),
        uses=uses,
        networks=tuple(network or ()),
        key=key,
    )
    ttl_s = duration_ns(parse_ttl(ttl)) / SECOND_NS
    if url is not None:
        made = _made_there(url, token_for(path, token), (name, wanted, ttl_s))
    else:
        made = _made(path, settings_of(context).store, output, (name, wanted, ttl_s))
    document = {"token": made.token, "id": made.id, "name": name, "until_ns": made.until_ns}
    output.document(document, made.token)
    output.remark(f"id {made.id}, until {time_text(made.until_ns)}")


def _made(
    path: Path, options: StoreOptions, output: Output, wanted: tuple[str, Grant, float]
) -> Issued:
    """A token, noted in the store, or only signed where another process has that open."""
    name, grant, ttl_s = wanted
    try:
        with opened(path, options) as store:
            return store.tokens.mint(name, [grant], ttl_s)
    except InUse:
        output.remark(
            "a server has the store open: the token counts, but is in no list; with --url it is"
        )
    return signing_alone(str(path), SystemClock(), SystemEntropy()).mint(name, [grant], ttl_s)


def _made_there(url: str, credential: str, wanted: tuple[str, Grant, float]) -> Issued:
    """A token of the server that has the store open."""
    name, grant, ttl_s = wanted
    body = {**msgspec.to_builtins(grant), "name": name, "ttl": ttl_s}
    told = ask("POST", url, "/v1/tokens", token=credential, body=body)
    return Issued(told["token"], told["id"], name, (grant,), told["until_ns"])


def listed(
    context: typer.Context,
    *,
    path: StoreFolder = DEFAULT_PATH,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List tokens and links that have not ended; where a server has the store, say --url."""
    output = output_of(context, as_json=as_json)
    if url is not None:
        told = ask("GET", url, "/v1/tokens", token=token_for(path, token))
        found = msgspec.convert(told["tokens"], list[Noted])
    else:
        with opened_alone(path, settings_of(context).store) as store:
            found = store.tokens.issued()
    if output.as_json:
        for one in found:
            output.item(one, "")
    elif found:
        heads = ("id", "kind", "name", "until", "namespace", "rights", "revoked")
        output.say(table(heads, [_row(one) for one in found]))


def _row(one: Noted) -> tuple[str, ...]:
    return (
        one.id,
        one.kind,
        shown(one.name),
        time_text(one.until_ns),
        ",".join(grant.namespace for grant in one.grants),
        " ".join(",".join(grant.rights) for grant in one.grants),
        "yes" if one.revoked else "",
    )


def revoke(
    context: typer.Context,
    *,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as list shows it.")],
    path: StoreFolder = DEFAULT_PATH,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """End a token, and all that was handed on by it."""
    output = output_of(context, as_json=as_json)
    is_noted = None  # a server does not say
    if url is not None:
        ask("DELETE", url, f"/v1/tokens/{token_id}", token=token_for(path, token))
    else:
        if not holds_store(path):
            message = f"there is no store at {str(path)!r}"
            raise typer.BadParameter(message, param_hint="PATH")
        with opened_alone(path, settings_of(context).store) as store:
            is_noted = store.tokens.revoke(token_id)
    document = {"id": token_id, "revoked": True, "noted": is_noted}
    output.document(document, f"{shown(token_id)}: revoked")
    if is_noted is False:
        output.remark(
            "no list has a token with this id; if there is one, it is refused from now on"
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
