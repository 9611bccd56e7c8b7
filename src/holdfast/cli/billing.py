"""Commands on prices and money: tariff, account, statement. ``statement verify`` needs no store."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import typer

from holdfast.certify import cose
from holdfast.cli.files import local_file
from holdfast.cli.opening import opened
from holdfast.cli.options import (
    AsJson,
    NamespaceName,
    StorePath,
    output_of,
    parse_size,
    settings_of,
)
from holdfast.cli.output import Output, counted, facts_table, shown, size_text, table, time_text
from holdfast.ledger import entries, export
from holdfast.ledger import statement as statements
from holdfast.ledger.books import RESERVE
from holdfast.ledger.entries import Entry
from holdfast.metering.tariffs import Tariff
from holdfast.values import ATTO_DIGITS, Configured, dollars

MONEY: Final = re.compile(r"\$?(\d{1,30})(?:\.(\d{1,18}))?")
ATTO: Final = re.compile(r"(\d{1,60})atto")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
AGES_NS: Final = 1 << 62
Form = Literal["table", "csv", "events"]

tariff_app: Final = typer.Typer(no_args_is_help=True, help="Set and list tariffs.")
account_app: Final = typer.Typer(no_args_is_help=True, help="Who has which money.")
statement_app: Final = typer.Typer(no_args_is_help=True, help="Make and check statements.")

AccountName = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="Whose money.", show_default=False)
]
Amount = Annotated[
    str,
    typer.Argument(metavar="AMOUNT", help="In USD as 1.50, or as 5atto.", show_default=False),
]
Reference = Annotated[
    str,
    typer.Option(metavar="TEXT", help="Where it can be looked up; counts once."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    tariff_app.command("set")(set_tariff)
    tariff_app.command("list")(list_tariffs)
    tariff_app.command("use")(use_tariff)
    app.command("usage")(usage)
    app.command("quote")(quote)
    for command in (deposit, transfer, rule, release):
        account_app.command(command.__name__)(command)
    account_app.command("list")(list_accounts)
    account_app.command("entries")(list_entries)
    statement_app.command("create")(create)
    statement_app.command("verify")(verify)
    app.add_typer(tariff_app, name="tariff")
    app.add_typer(account_app, name="account")
    app.add_typer(statement_app, name="statement")


def parse_money(text: str) -> int:
    """10^-18 USD from "1.50", "$1.50" or "5atto".

    Raises:
        typer.BadParameter: it is none of these.

    Example:
        >>> parse_money("$0.000000000000000001"), parse_money("2atto")
        (1, 2)
    """
    small = ATTO.fullmatch(text)
    if small is not None:
        return int(small[1])
    found = MONEY.fullmatch(text)
    if found is None:
        message = f"{text!r} is no amount; write USD as 1.50, or 10^-18 of it as 5atto"
        raise typer.BadParameter(message)
    return int(found[1] + (found[2] or "").ljust(ATTO_DIGITS, "0"))


def parse_moment(text: str) -> int:
    """Nanoseconds since 1970 from a date or a moment, in UTC where no zone is said.

    Raises:
        typer.BadParameter: it is none.

    Example:
        >>> parse_moment("1970-01-02")
        86400000000000
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is no moment; write 2026-11-01, or 2026-11-01T12:00:00"
        raise typer.BadParameter(message) from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return (at - EPOCH) // timedelta(microseconds=1) * 1_000


# -- tariffs -------------------------------------------------------------------------


def set_tariff(
    context: typer.Context,
    *,
    path: StorePath,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The TOML.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Set a tariff from a TOML file, as the next version of its name."""
    output = output_of(context, as_json=as_json)
    with local_file(file):
        toml = file.read_text("utf-8", errors="replace")
    with opened(path, settings_of(context).store) as store:
        made = store.tariffs.set(name, toml)
    output.document(_told_tariff(made), f"{made.name}: version {made.version}")


def list_tariffs(context: typer.Context, *, path: StorePath, as_json: AsJson = False) -> None:
    """List every version of every tariff, with prices in 10^-18 USD."""
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store) as store:
        found = store.tariffs.all()
    if as_json or output.as_json:
        for one in found:
            output.item(_told_tariff(one), "")
        return
    heads = ("name", "version>", "A>", "B>", "C>", "storage>", "egress>", "early")
    output.item(None, table(heads, (_tariff_row(one) for one in found)))


def use_tariff(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The tariff; none: it is free.")
    ] = None,
    bytes_max: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of keys and values it may hold.")
    ] = None,
    objects_max: Annotated[int | None, typer.Option(metavar="N", help="It may hold.")] = None,
    requests_per_s: Annotated[
        int | None, typer.Option(metavar="N", help="Through the doors of a server.")
    ] = None,
    concurrent_max: Annotated[
        int | None, typer.Option(metavar="N", help="Requests at once, through the doors.")
    ] = None,
    grace: Annotated[
        str | None, typer.Option(metavar="TIME", help="Reads go on so long when it cannot pay.")
    ] = None,
    retention: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="What it holds is kept so long then; none: for ever."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set what a namespace pays and may hold; a tariff or a bound that is not said ends."""
    output = output_of(context, as_json=as_json)
    size = None if bytes_max is None else parse_size(bytes_max)
    with opened(path, settings_of(context).store) as store:
        space = store.namespace(namespace)
        before = space.configured()
        made = space.configure(
            tariff=name,
            bytes_max=size,
            objects_max=objects_max,
            requests_per_s=requests_per_s,
            concurrent_max=concurrent_max,
            grace=grace or 0,
            retention=retention,
        )
    told = f"{made.tariff}, version {made.version}" if made.tariff else "free"
    ended = _ended(before, made)
    over = f"; ended: {', '.join(ended)}" if ended else ""
    document = msgspec.structs.asdict(made) | {"ended": ended}
    output.document(document, f"{shown(namespace)}: {told}{over}")


def _ended(before: Configured | None, made: Configured) -> list[str]:
    """What was set and is not any more, by its name."""
    if before is None:
        return []
    unset = Configured()
    return [
        name.removesuffix("_ns")
        for name in made.__struct_fields__
        if name != "version"
        and getattr(made, name) == getattr(unset, name) != getattr(before, name)
    ]


def usage(
    context: typer.Context, *, path: StorePath, namespace: NamespaceName, as_json: AsJson = False
) -> None:
    """Show what a namespace holds, what it was charged, and what it can still spend."""
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store) as store:
        space = store.namespace(namespace)
        used, balance = space.usage(), space.balance_atto
    requests = ", ".join(f"{count} {kind}" for kind, count in used.requests.items())
    facts = [
        ("objects", str(used.objects)),
        ("bytes", size_text(used.live_bytes)),
        ("requests", requests or "none charged"),
        ("sent", size_text(used.egress_bytes)),
        ("charged", dollars(used.cost_atto)),
        ("balance", dollars(balance)),
    ]
    amounts = {"cost_atto": str(used.cost_atto), "balance_atto": str(balance)}
    output.document(msgspec.structs.asdict(used) | amounts, facts_table(facts))


def quote(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    operation: Annotated[
        str, typer.Argument(metavar="OPERATION", help="As store, load, list, lock.")
    ],
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Of which object.")] = None,
    size: Annotated[
        str, typer.Option(metavar="SIZE", help="Of the value that is stored, added or sent.")
    ] = "0",
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it is to live, as 30d.")
    ] = None,
    keep_ttl: Annotated[
        bool, typer.Option("--keep-ttl", help="It lives as long as what is there now.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what an operation would cost now; nothing is done."""
    output = output_of(context, as_json=as_json)
    size_bytes = parse_size(size)
    with opened(path, settings_of(context).store) as store:
        made = store.namespace(namespace).quote(
            operation, key=key, size_bytes=size_bytes, ttl=ttl, keep_ttl=keep_ttl
        )
    amounts = {
        name: str(value)
        for name, value in [*msgspec.structs.asdict(made).items(), ("atto", made.atto)]
        if name.endswith("atto")
    }
    output.document(msgspec.structs.asdict(made) | amounts, str(made))


def _tariff_row(tariff: Tariff) -> tuple[str, ...]:
    terms = tariff.terms
    prices = (
        _fraction(terms.storage_atto, terms.storage_unit),
        _fraction(terms.egress_atto, terms.egress_unit),
        _fraction(terms.early_num, terms.early_den),
    )
    operations = (str(terms.a), str(terms.b), str(terms.c))
    return (tariff.name, str(tariff.version), *operations, *prices)


def _fraction(above: int, below: int) -> str:
    return str(above) if below == 1 else f"{above}/{below}"


def _told_tariff(tariff: Tariff) -> dict[str, object]:
    terms = msgspec.structs.asdict(tariff.terms)
    return {"name": tariff.name, "version": tariff.version, "terms": terms}


# -- accounts ------------------------------------------------------------------------


def deposit(
    context: typer.Context,
    *,
    path: StorePath,
    account: AccountName,
    amount: Amount,
    reference: Reference,
    as_json: AsJson = False,
) -> None:
    """Note that money came in, once for a reference."""
    output = output_of(context, as_json=as_json)
    atto = parse_money(amount)
    with opened(path, settings_of(context).store) as store:
        made = store.accounts.deposit(account, atto, reference)
        _tell_entry(output, made, account, store.accounts.balance(account))


def transfer(
    context: typer.Context,
    *,
    path: StorePath,
    source: Annotated[str, typer.Argument(metavar="SOURCE", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="TARGET", show_default=False)],
    amount: Amount,
    reference: Reference,
    as_json: AsJson = False,
) -> None:
    """Move money from one account to another, once for a reference."""
    output = output_of(context, as_json=as_json)
    atto = parse_money(amount)
    with opened(path, settings_of(context).store) as store:
        made = store.accounts.transfer(source, target, atto, reference)
        _tell_entry(output, made, target, store.accounts.balance(target))


def rule(
    context: typer.Context,
    *,
    path: StorePath,
    account: AccountName,
    below: Annotated[str, typer.Option(metavar="AMOUNT", help="When it has less than this.")],
    draw: Annotated[str, typer.Option(metavar="AMOUNT", help="How much it draws.")],
    per_day: Annotated[int, typer.Option(metavar="N", help="How often in a day; 0: no more.")],
    parent: Annotated[str, typer.Option(metavar="ACCOUNT", help="From which account.")] = RESERVE,
    as_json: AsJson = False,
) -> None:
    """Top an account up by itself from another one."""
    output = output_of(context, as_json=as_json)
    threshold, amount = parse_money(below), parse_money(draw)
    with opened(path, settings_of(context).store) as store:
        made = store.accounts.rule(account, threshold, amount, per_day, parent=parent)
    output.document(entries.to_object(made), f"{account}: {export.about_of(made, account)}")


def _tell_entry(output: Output, made: Entry, account: str, balance: int) -> None:
    told = entries.to_object(made) | {"balance": str(balance)}
    output.document(told, f"{account}: {dollars(balance)}")


def list_accounts(context: typer.Context, *, path: StorePath, as_json: AsJson = False) -> None:
    """List every account: what it can spend, what was charged, its top-up rule."""
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store) as store:
        found = [store.accounts.get(name) for name in store.accounts.names()]
    if output.as_json:
        for one in found:
            told = {"account": one.name, "funds": str(one.funds), "charged": str(one.charged)}
            output.item(told, "")
        return
    rows = [
        (
            shown(one.name),
            dollars(one.funds),
            dollars(one.charged),
            export.about_of(one.rule, one.name) if one.rule is not None else "",
        )
        for one in found
    ]
    output.item(None, table(("account", "funds>", "charged>", "tops up"), rows))


def list_entries(
    context: typer.Context, *, path: StorePath, account: AccountName, as_json: AsJson = False
) -> None:
    """List the entries of an account, the first one first."""
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store) as store:
        found = store.accounts.entries(account)
    for entry in found:
        by = entries.effect(entry, account)
        amount = dollars(by.balance + by.transit + by.float_)
        about = export.about_of(entry, account)
        told = f"{time_text(entry.time_ns)}  {entry.kind}  {about}  {amount}"
        output.item(entries.to_object(entry), told)


def release(
    context: typer.Context, *, path: StorePath, namespace: NamespaceName, as_json: AsJson = False
) -> None:
    """Give up what a namespace holds, once nobody has paid for it for its retention."""
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store) as store:
        store.meters.release(namespace)
    output.document({"namespace": namespace}, f"{shown(namespace)}: given up")


# -- statements ----------------------------------------------------------------------


def create(
    context: typer.Context,
    *,
    path: StorePath,
    account: AccountName,
    file: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where the statement goes; - is standard output."
        ),
    ],
    since: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="As 2026-11-01; the beginning if not said.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="Exclusive; now if not said.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a signed statement of an account: for whoever has the store's public key."""
    output = output_of(context, as_json=as_json)
    start_ns = parse_moment(since) if since is not None else 0
    stop_ns = parse_moment(until) if until is not None else AGES_NS
    with opened(path, settings_of(context).store) as store:
        made = store.statement(account, start_ns, stop_ns)
    told = f"{account}: {counted(len(made), 'byte')}"
    output.file(file, made, {"account": account, "bytes": len(made)}, told)


def verify(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    key: Annotated[Path, typer.Option("--key", metavar="PUB", help="The store's key, PEM.")],
    form: Annotated[
        Form, typer.Option("--as", help="A table, CSV, or CloudEvents, one a line.")
    ] = "table",
    as_json: AsJson = False,
) -> None:
    """Compute a statement again with the public key and nothing else; exit code 6 if it fails."""
    output = output_of(context, as_json=as_json)
    with local_file(file):
        data = file.read_bytes()
    with local_file(key):
        public = cose.public_key(key.read_bytes())
    held = statements.verify(data, public_key=public)
    if output.as_json:
        output.document(statements.to_object(held), "")
    elif form == "table":
        output.say(facts_table([("it holds", f"{len(held.entries)} entries computed again")]))
        output.document(None, export.table(held))
    else:
        text = export.to_csv(held) if form == "csv" else export.to_events(held)
        output.bytes([text.encode()])
