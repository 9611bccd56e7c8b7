"""The commands that find objects by what they say: search, index-rules."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import typer

from holdfast.cli.opening import opened
from holdfast.cli.options import AsJson, NamespaceName, StorePath, output_of, settings_of
from holdfast.cli.output import shown, table
from holdfast.errors import InvalidValue
from holdfast.values import Hits, IndexRule

EVERY = "*"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(search)
    app.command("index-rules")(index_rules)


def search(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: Annotated[
        str, typer.Argument(metavar="NAMESPACE", help='Where to look; "*": in every namespace.')
    ],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="As 'cat \"black dog\" -bird'.")],
    limit: Annotated[int, typer.Option(min=0, help="At most so many.")] = 20,
    after: Annotated[str | None, typer.Option(help="Go on behind an earlier answer.")] = None,
    rank: Annotated[Literal["bm25", "key"], typer.Option(help="The best first, or by key.")] = (
        "bm25"
    ),
    prefix: Annotated[str, typer.Option(help="Only keys that begin so.")] = "",
    as_json: AsJson = False,
) -> None:
    """Find objects by the words of what was made searchable (index-rules, or with their put)."""
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store, output=output) as store:
        prefixes = [prefix] if prefix else None
        if namespace == EVERY:
            found = store.search(query, limit=limit, rank=rank)
        else:
            found = store.namespace(namespace).search(
                query, limit=limit, after=after, rank=rank, highlight=True, prefixes=prefixes
            )
    output.document(found, table(("score>", "key", "text"), _rows(found)))
    more = f", go on with --after {found.next}" if found.next else ""
    output.remark(f"{_matches(found.total)}{more}")


def _matches(total: int) -> str:
    return "1 match" if total == 1 else f"{total:,} matches"


def _rows(found: Hits) -> list[tuple[str, str, str]]:
    return [
        (
            f"{hit.score:.3f}",
            shown(hit.key if hit.namespace is None else f"{hit.namespace} {hit.key}"),
            shown(hit.snippet or ""),
        )
        for hit in found.hits
    ]


def index_rules(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    rules: Annotated[
        str | None,
        typer.Argument(metavar="RULES", help='JSON, as \'[{"prefix": "docs/"}]\'; shows without.'),
    ] = None,
    language: Annotated[str, typer.Option(help="Of the texts: en, de, ... or none.")] = "en",
    keys: Annotated[bool, typer.Option(help="Words of keys count as text.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say, or show, which objects of a namespace are searched."""
    output = output_of(context, as_json=as_json)
    told = None
    if rules is not None:
        try:
            told = msgspec.json.decode(rules, type=list[IndexRule])
        except msgspec.DecodeError as error:
            raise InvalidValue(argument="RULES", reason=str(error)) from None
    with opened(path, settings_of(context).store, output=output) as store:
        found = store.namespace(namespace).index_rules(told, language=language, keys=keys)
    text = msgspec.json.encode(found).decode()
    output.document(found, text)
