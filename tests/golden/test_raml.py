"""docs/sdstor.raml says the same as the served OpenAPI document, and as its HTML."""

from __future__ import annotations

from typing import Any

import pytest

import holdfast
from holdfast.server.openapi import SDSTOR, document
from holdfast.testing.serving import Serving
from tests.golden import raml

Schema = dict[str, Any]
FACETS = ("minLength", "maxLength", "pattern", "minimum", "maximum", "maxItems", "enum", "default")
TYPES: Schema = raml.document()["types"]
SAID = {(one.path, one.name): one for one in raml.methods(raml.document())}


@pytest.fixture(scope="module")
def served() -> Schema:
    with holdfast.open(":memory:") as store, Serving(store) as serving:
        site = serving.server._site
        assert site is not None
        return document(site.routes)


def operations(served: Schema) -> dict[tuple[str, str], Schema]:
    return {
        (path, name): told
        for path, methods in served["paths"].items()
        if path.startswith(SDSTOR)
        for name, told in methods.items()
    }


# -- both as one: a kind is (type, facets, fields or items) ----------------------------------


def of_raml(kind: Any) -> Any:  # noqa: ANN401 - YAML
    """A type of RAML, its names resolved."""
    described: Schema = {"type": kind} if isinstance(kind, str) else dict(kind)
    name = described.get("type", "object")
    if "|" in name:
        return sorted((of_raml(one.strip()) for one in name.split("|")), key=str)
    facets = {facet: described[facet] for facet in FACETS if facet in described}
    if name.endswith("[]"):
        return ("array", facets, of_raml(name[:-2]))
    if name in TYPES:
        return of_raml(TYPES[name])
    fields = {
        field: (inner.get("required", True), of_raml(inner))
        for field, inner in described.get("properties", {}).items()
    }
    return (name, facets, fields)


def of_schema(schema: Schema, served: Schema) -> Any:  # noqa: ANN401 - JSON
    """A JSON schema, its references resolved; what may be null is what may be left out."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return of_schema(served["components"]["schemas"][name], served)
    if "anyOf" in schema:
        kinds = [one for one in schema["anyOf"] if one.get("type") != "null"]
        told = sorted((of_schema(one, served) for one in kinds), key=str)
        return told if len(told) > 1 else told[0]
    facets = {facet: schema[facet] for facet in FACETS if facet in schema}
    if "enum" in facets:
        facets["enum"] = sorted(facets["enum"])
    kind = schema.get("type", "string" if "enum" in schema else "object")
    if kind == "array":
        return ("array", facets, of_schema(schema["items"], served))
    required = schema.get("required", ())
    fields = {
        field: (field in required, of_schema(inner, served))
        for field, inner in schema.get("properties", {}).items()
    }
    return (kind, facets, fields)


def settled(kind: Any) -> Any:  # noqa: ANN401 - as it is
    """Without what only says the order."""
    if isinstance(kind, tuple) and "enum" in kind[1]:
        return (kind[0], {**kind[1], "enum": sorted(kind[1]["enum"])}, kind[2])
    if isinstance(kind, tuple):
        kind = tuple(settled(one) for one in kind)
    if isinstance(kind, dict):
        return {name: settled(inner) for name, inner in kind.items()}
    return [settled(one) for one in kind] if isinstance(kind, list) else kind


def body_of(told: Schema | None, served: Schema) -> Any:  # noqa: ANN401 - as it is
    if not told or "content" not in told:
        return None
    (content,) = told["content"].values()
    return settled(of_schema(content["schema"], served))


def said_body(told: Schema) -> Any:  # noqa: ANN401 - as it is
    return settled(of_raml(told["body"])) if "body" in told else None


def test_the_same_methods_of_the_same_paths(served: Schema) -> None:
    assert set(SAID) == set(operations(served))


@pytest.mark.parametrize("named", SAID, ids=lambda named: f"{named[1]} {named[0]}")
def test_the_same_of_each(served: Schema, named: tuple[str, str]) -> None:
    said, told = SAID[named], operations(served)[named]
    assert said_body(said.described) == body_of(told.get("requestBody"), served)
    for status, answer in said.responses.items():
        if int(status) < 400:
            assert said_body(answer) == body_of(told["responses"][status], served)
        else:
            assert told["responses"][status] == {"$ref": "#/components/responses/Error"}
    succeeds = {status for status in told["responses"] if int(status) < 400}
    assert succeeds == {status for status in said.responses if int(status) < 400}
    parameters = {
        "path": {name: settled(of_raml(one)) for name, one in said.uri.items()},
        "query": {
            name: settled(of_raml(one))
            for name, one in said.described.get("queryParameters", {}).items()
        },
    }
    for where, wanted in parameters.items():
        found = {
            one["name"]: settled(of_schema(one["schema"], served))
            for one in told["parameters"]
            if one["in"] == where
        }
        assert found == wanted


def test_refusals_have_the_same_shape(served: Schema) -> None:
    told = served["components"]["responses"]["Error"]
    assert body_of(told, served) == settled(of_raml("Error"))


def test_the_page_is_written_from_it() -> None:
    assert raml.PAGE.read_text() == raml.page(raml.document())


def test_a_difference_is_noticed(served: Schema) -> None:
    other = dict(TYPES["Object"]["properties"])
    del other["referenceList"]
    wanted = body_of({"content": {"x": {"schema": {"$ref": "/Object"}}}}, served)
    assert settled(of_raml({"properties": other})) != wanted
    assert settled(of_raml("Object")) == wanted
