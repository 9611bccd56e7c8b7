"""Reads docs/sdstor.raml and writes docs/sdstor.html from it.

Written anew by ``python -m tests.golden.raml``; a test sees to it that both are in step.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
SOURCE, PAGE = DOCS / "sdstor.raml", DOCS / "sdstor.html"
METHODS = ("get", "head", "post", "put", "delete")
Raml = dict[str, Any]
STYLE = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
code { font-size: 0.95em; overflow-wrap: anywhere; }
h2 { margin-top: 2em; border-top: 1px solid #888; padding-top: 1em; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { border: 1px solid #888; padding: 0.2em 0.6em; text-align: left; }
"""


class Method(NamedTuple):
    """One method of one path, its traits taken in."""

    path: str
    name: str
    described: Raml
    uri: Raml

    @property
    def responses(self) -> Raml:
        """By status, as text."""
        return {str(status): told or {} for status, told in self.described["responses"].items()}


def document() -> Raml:
    """The file as YAML has it."""
    text = SOURCE.read_text()
    if not text.startswith("#%RAML 1.0\n"):
        raise ValueError(text[:20])
    found: Raml = yaml.safe_load(text)
    return found


def methods(raml: Raml, path: str = "", uri: Raml | None = None) -> Iterator[Method]:
    """Every method, resource by resource."""
    known = (uri or {}) | raml.get("uriParameters", {}) if path else {}
    yield from (_method(raml, path, name, known) for name in METHODS if name in raml and path)
    for name, inner in raml.items():
        if name.startswith("/"):
            inner["traits"] = raml["traits"]
            yield from methods(inner, path + name, known)


def _method(resource: Raml, path: str, name: str, uri: Raml) -> Method:
    described: Raml = dict(resource[name])
    for trait in described.pop("is", ()):
        for facet, more in resource["traits"][trait].items():
            described[facet] = {**more, **described.get(facet, {})}
    return Method(path, name, described, uri)


def page(raml: Raml) -> str:
    """The HTML."""
    told = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(raml['title'])}</title>",
        f"<style>\n{STYLE}</style></head><body>",
        f"<h1>{escape(raml['title'])}</h1>",
        f"<p>{escape(raml['description'])}</p>",
        f"<p>{escape(raml['securitySchemes']['token']['description'])}</p>",
    ]
    for method in methods(raml):
        told += _told(method)
    told.append("<h2>Types</h2>")
    for name, kind in raml["types"].items():
        told.append(f'<h3 id="{escape(name)}"><code>{escape(name)}</code></h3>')
        told += _fields(kind["properties"]) if "properties" in kind else [_facets(kind)]
    return "\n".join((*told, "</body></html>", ""))


def _told(method: Method) -> Iterator[str]:
    yield f"<h2><code>{method.name.upper()} {escape(method.path)}</code></h2>"
    yield f"<p>{escape(method.described['description'])}</p>"
    parameters = method.uri | method.described.get("queryParameters", {})
    if parameters:
        yield from _fields(parameters)
    if "body" in method.described:
        yield f"<p>Takes {_kind(method.described['body']['type'])}.</p>"
    yield "<table><tr><th>status</th><th>body</th><th></th></tr>"
    for status, told in sorted(method.responses.items()):
        body = _kind(told["body"]["type"]) if "body" in told else ""
        yield f"<tr><td>{status}</td><td>{body}</td>"
        yield f"<td>{escape(told.get('description', ''))}</td></tr>"
    yield "</table>"


def _fields(properties: Raml) -> Iterator[str]:
    yield "<table><tr><th>name</th><th>type</th><th></th></tr>"
    for name, kind in properties.items():
        needed = "" if kind.get("required", True) else " (optional)"
        yield f"<tr><td><code>{escape(name)}</code>{needed}</td><td>{_facets(kind)}</td>"
        yield f"<td>{escape(kind.get('description', ''))}</td></tr>"
    yield "</table>"


def _facets(kind: Raml) -> str:
    facets = [
        f"{name} <code>{escape(str(value))}</code>"
        for name, value in kind.items()
        if name not in {"type", "description", "required"}
    ]
    return ", ".join((_kind(kind["type"]), *facets))


def _kind(text: str) -> str:
    return f"<code>{escape(text)}</code>"


if __name__ == "__main__":
    PAGE.write_text(page(document()))
