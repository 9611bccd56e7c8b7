"""Whatever the document allows, and what it does not: the answers are as the document says."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Err, Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import holdfast
from holdfast.clock import SystemClock
from holdfast.identity.enclaves import AttestationSettings
from holdfast.testing.authority import MockAuthority, image
from holdfast.testing.clock import SeededEntropy
from holdfast.testing.enclave import MockEnclave
from holdfast.testing.serving import Serving

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Any]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
BARE = 5  # one of so many asks without a credential,
# others for what is there
HERE = {"namespace": "acme", "nsid": "org_0stor_ns"}
KNOWN = {2: HERE, 3: HERE | {"key": "a", "id": "a"}}
SDSTOR = ("/stats", "/namespaces/")  # paths of 0-stor


@schemathesis.serializer("application/msgpack")
def packed(_context: object, value: Any) -> bytes:  # noqa: ANN401 - whatever was drawn
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:  # msgpack has no such number: then it is not msgpack
        return msgspec.json.encode(value)


@schemathesis.deserializer("application/msgpack")
def unpacked(_context: object, response: schemathesis.Response) -> object:
    return msgspec.msgpack.decode(response.content)


class Target(NamedTuple):
    """A server, and who may ask it everything."""

    url: str
    token: str
    enclave: MockEnclave
    folder: Path
    asked: Counter[int]  # by status


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    clock = SystemClock()
    authority = MockAuthority(SeededEntropy(1), now_ns=clock.wall_ns())
    enclave = MockEnclave(authority, clock, SeededEntropy(2), image(1))
    believed = AttestationSettings(mode="bearer", roots=(authority.pem,))
    with (
        holdfast.open(tmp_path / "data", sync="never") as store,
        Serving(store, attestation=believed, tenant_requests=1000) as serving,
    ):
        for name in HERE.values():
            store.namespace(name).put("a", b"1")
        yield Target(serving.url, serving.token(), enclave, tmp_path, Counter())


def as_the_tool_reads(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """The same, not saying that nothing follows a pair: the tool takes that for an error."""
    if isinstance(schema, list):
        return [as_the_tool_reads(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: as_the_tool_reads(inner) for name, inner in schema.items()}
    if kept.get("items") is False:
        kept["items"] = kept.pop("prefixItems")[0]
    return kept


def operations_of(target: Target) -> list[Operation]:
    """What the served document tells of."""
    headers = {"Authorization": f"Bearer {target.token}"}
    told = requests.get(f"{target.url}/openapi.json", headers=headers, timeout=30).json()
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_dict(as_the_tool_reads(told), config=config)
    found = list(schema.get_all_operations())
    assert not [one for one in found if isinstance(one, Err)]
    return [one.ok() for one in found if isinstance(one, Ok)]


def ask(
    target: Target, operation: Operation, mode: GenerationMode, *, count: int, start: int
) -> None:
    """Ask one operation so many times, the same for the same start."""
    proof = base64.b64encode(target.enclave.document()).decode()
    credentials = {"Authorization": f"Bearer {target.token}", "Attestation": proof}
    session = requests.Session()
    numbers = Counter[str]()

    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def once(case: AnyCase) -> None:
        numbers["asked"] += 1
        turn = numbers["asked"] % BARE
        known = KNOWN.get(turn, {})
        case.path_parameters |= {
            name: known[name] for name in known if name in case.path_parameters
        }
        kept_inside(case, target.folder)
        response = case.call(
            base_url=target.url, session=session, headers=credentials if turn else {}, timeout=60
        )
        target.asked[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    with session:
        once()


def kept_inside(case: AnyCase, folder: Path) -> None:
    """A backup goes to the server's own disk: whatever its name, below this folder."""
    body: Any = case.body
    if case.path == "/v1/backup" and isinstance(body, dict) and isinstance(body.get("path"), str):
        name = body["path"].replace("/", "|").replace("..", "|")
        case.body = body | {"path": f"{folder}/backups/{name}"}


def ask_all(target: Target, count: int, below: str | tuple[str, ...] = "/") -> None:
    """Ask everything, so many times in all: half by the document, half against it."""
    found = [one for one in operations_of(target) if one.path.startswith(below)]
    most = sum(map(is_open, found)) * len(MODES)
    start = 0
    while (left := count - target.asked.total()) > 0:  # some have few inputs: others make it up
        for operation in found:
            if is_open(operation):
                for mode in MODES:
                    ask(target, operation, mode, count=-(-left // most), start=start)
            elif start == 0:
                ask(target, operation, GenerationMode.POSITIVE, count=1, start=start)
        start += 1


def is_open(operation: Operation) -> bool:
    """Whether there is anything in it that could be drawn, and be wrong."""
    return any(map(len, (operation.path_parameters, operation.query, operation.body)))


@pytest.mark.push
def test_answers_are_as_the_document_says(target: Target) -> None:
    ask_all(target, 600)
    assert target.asked[200] > 50


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
def test_by_night_answers_are_as_the_document_says(target: Target) -> None:
    ask_all(target, 20_000)
    assert target.asked[200] > 1_000


@pytest.mark.push
def test_so_are_those_of_0_stor(target: Target) -> None:
    ask_all(target, 200, SDSTOR)
    assert target.asked[200] > 10


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
def test_by_night_so_are_those_of_0_stor(target: Target) -> None:
    ask_all(target, 10_000, SDSTOR)
    assert target.asked[200] > 500
