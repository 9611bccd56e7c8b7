"""Whatever is sent to the paths of enclaves, the server answers by the protocol and stays up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.clock import SystemClock
from holdfast.identity.enclaves import AttestationSettings
from holdfast.testing.authority import MockAuthority, image
from holdfast.testing.clock import SeededEntropy
from holdfast.testing.enclave import MockEnclave
from holdfast.testing.serving import Serving
from tests.rooms.server.enclaves import Caller, dialled

pytestmark = pytest.mark.push

CLOCK = SystemClock()
AUTHORITY = MockAuthority(SeededEntropy(1), now_ns=CLOCK.wall_ns())
DATA = ["load", "store", "exists", "list", "stat", "delete", "lock", "unlock"]
OURS = ["challenge", "session", "handover", "owner"]
NAMES = ["key", "data", "value", "expiry", "encoding", "prefix", "is_recursive", "limit", "after"]
NAMES += ["lock_id", "document", "namespace", "image_id", "to", "keep", "from", "number"]
NAMES += ["signature", "public_key"]

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 300),
    st.sampled_from([10**9, 1 << 62, 1 << 64, -(1 << 70)]),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(["a", "a/b", "base64", "AAAA", "0" * 63, "*", "\ud800"]),
    st.lists(st.integers(-1, 256), max_size=21),
)
fields = st.dictionaries(st.sampled_from(NAMES), leaves, max_size=5)
bodies = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda told: json.dumps(told).encode(), fields),
    st.builds(lambda told: json.dumps({"data": told}).encode(), fields),
)


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    roots = AttestationSettings(roots=(AUTHORITY.pem,))
    with (
        holdfast.open(":memory:", in_place=False) as store,
        Serving(store, attestation=roots) as serving,
        dialled(serving) as raw,
    ):
        enclave = MockEnclave(AUTHORITY, CLOCK, SeededEntropy(2), image(1))
        made = Caller(raw, enclave)
        assert made.begin().status == 200
        yield made


@settings(
    max_examples=1500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.sampled_from(DATA + OURS), bodies, st.booleans())
def test_no_body_breaks_the_server(caller: Caller, path: str, body: bytes, marked: bool) -> None:  # noqa: FBT001
    target = f"/{path}"
    headers: Any = caller.headers(target, body) if marked else {}
    told = caller.raw.ask("POST", target, body, **headers)
    assert told.status < 500
    if told.status >= 400:
        problem = json.loads(told.body)
        assert problem["status"] == told.status
        assert told.headers["content-type"] == "application/problem+json"
    elif told.body:
        assert isinstance(json.loads(told.body), dict)
    if not marked and path in DATA:
        assert told.status == 401


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=120))
def test_no_mark_breaks_the_server(caller: Caller, mark: str) -> None:
    told = caller.raw.ask("POST", "/load", b'{"key": "a"}', Holdfast_Enclave=mark)
    assert told.status == 401
