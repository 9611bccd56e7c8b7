"""The one decision, row by row, and against a plain model of it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.access.decide import ANONYMOUS, Ask, Given, decide, who
from holdfast.access.grants import inherited
from holdfast.access.policy import Allow, Deny, load_policies
from holdfast.access.rights import ADMINISTERS, DELETES, OF_STORE, OPEN, READS, RIGHT_OF, WRITES
from holdfast.errors import Forbidden, HoldfastError, Unauthenticated
from holdfast.values import Grant, Principal, Right
from tests.rooms.access.tenancies import PlainTenancy

ALL: tuple[Right, ...] = ("read", "write", "delete", "admin")


def token(*grants: Grant, until_ns: int | None = None) -> Principal:
    return Principal("token", "ci", grants, "5f" * 16, until_ns)


def refused(principal: Principal, ask: Ask, tenancy: PlainTenancy | None = None) -> str:
    """The reason of the refusal, or "" where it is allowed."""
    try:
        decide(principal, ask, tenancy or PlainTenancy())
    except (Forbidden, Unauthenticated) as error:
        return str(error.reason)
    return ""


@pytest.mark.parametrize("right", ALL)
@pytest.mark.parametrize("operation", sorted(READS | WRITES | DELETES | ADMINISTERS))
def test_a_right_allows_its_own_operations_and_admin_allows_all(
    right: Right, operation: str
) -> None:
    allowed = right in {"admin", RIGHT_OF[operation]}
    told = refused(token(Grant("acme", (right,))), Ask("acme", operation, "a"))
    assert told == ("" if allowed else "right")


def test_every_operation_has_one_place_in_the_table() -> None:
    kinds = [READS, WRITES, DELETES, ADMINISTERS, OF_STORE]
    assert sum(map(len, kinds)) == len(RIGHT_OF)
    assert set(OPEN) <= READS


def test_nothing_is_allowed_by_default() -> None:
    for operation in RIGHT_OF:
        assert refused(token(), Ask("acme", operation, "a")) == "namespace"
        assert refused(ANONYMOUS, Ask("acme", operation, "a")) == "missing"
    assert refused(token(Grant("acme", ALL)), Ask("acme", "invented", "a")) == "operation"


@pytest.mark.parametrize("operation", sorted(OF_STORE))
def test_the_whole_store_is_for_grants_over_every_namespace(operation: str) -> None:
    for namespace in ("", "acme"):  # a door that names one does not make it a tenant's business
        assert refused(token(Grant("acme", ALL)), Ask(namespace, operation)) == "namespace"
        assert not refused(token(Grant("*", ALL)), Ask(namespace, operation))
    told = refused(token(Grant("*", ("read",))), Ask("", operation))
    assert told == ("" if operation == "metrics" else "right")


@pytest.mark.parametrize(
    ("grant", "ask", "reason"),
    [
        (Grant("acme", ("read",)), Ask("acme2", "load", "a"), "namespace"),
        (Grant("acme", ("read",), prefix="a/"), Ask("acme", "load", "a/b"), ""),
        (Grant("acme", ("read",), prefix="a/"), Ask("acme", "load", "ab"), "prefix"),
        (Grant("acme", ("read",), prefix="a/"), Ask("acme", "list", "a/b"), ""),
        (Grant("acme", ("read",), prefix="a/"), Ask("acme", "list", "a"), "prefix"),
        (Grant("acme", ("read",), prefix="a/"), Ask("acme", "list", ""), "prefix"),
        (Grant("acme", ALL, prefix="a/"), Ask("acme", "drop"), "prefix"),
        (Grant("acme", ("read",), key="a"), Ask("acme", "load", "a"), ""),
        (Grant("acme", ("read",), key="a"), Ask("acme", "load", "ab"), "prefix"),
        (Grant("acme", ("read",), key="a"), Ask("acme", "list", "a"), "prefix"),
        (Grant("acme", ("read",), operations=("stat",)), Ask("acme", "load", "a"), "operation"),
        (Grant("acme", ("read",), operations=()), Ask("acme", "load", "a"), "operation"),
        (Grant("acme", ("read",), until_ns=1_001), Ask("acme", "load", "a"), ""),
        (Grant("acme", ("read",), until_ns=1_000), Ask("acme", "load", "a"), "expired"),
        (Grant("acme", ("write",), bytes_max=9), Ask("acme", "store", "a", 9), ""),
        (Grant("acme", ("write",), bytes_max=9), Ask("acme", "store", "a", 10), "bytes"),
        (Grant("acme", ("write",), bytes_max=9), Ask("acme", "store", "a", -1), "bytes"),
        (Grant("acme", ("write",), bytes_max=9), Ask("acme", "append", "a", 1), "bytes"),
        (Grant("acme", ("read",), bytes_max=9), Ask("acme", "load", "a"), ""),
        (Grant("acme", ("read",), networks=("10.0.0.0/8",)), Ask("acme", "load", "a"), "network"),
        (
            Grant("acme", ("read",), networks=("10.0.0.0/8",)),
            Ask("acme", "load", "a", 0, "10.1.2.3"),
            "",
        ),
        (
            Grant("acme", ("read",), networks=("10.0.0.0/8",)),
            Ask("acme", "load", "a", 0, "::ffff:10.1.2.3"),
            "",
        ),
        (
            Grant("acme", ("read",), networks=("10.0.0.0/8", "::1/128")),
            Ask("acme", "load", "a", 0, "11.1.2.3"),
            "network",
        ),
        (
            Grant("acme", ("read",), networks=("10.0.0.0/8",)),
            Ask("acme", "load", "a", 0, "nonsense"),
            "network",
        ),
    ],
)
def test_each_narrowing_narrows(grant: Grant, ask: Ask, reason: str) -> None:
    assert refused(token(grant), ask) == reason


def test_a_credential_is_looked_at_on_every_use() -> None:
    principal = token(Grant("acme", ALL), until_ns=1_000)
    assert not refused(principal, Ask("acme", "load", "a"), PlainTenancy(now=999))
    assert refused(principal, Ask("acme", "load", "a"), PlainTenancy(now=1_000)) == "expired"


def test_the_furthest_grant_names_the_refusal() -> None:
    grants = (Grant("other", ALL), Grant("acme", ("read",), prefix="a/"), Grant("acme", ("write",)))
    assert refused(token(*grants), Ask("acme", "load", "b")) == "prefix"


def test_what_is_published_is_readable_by_all_and_no_more() -> None:
    tenancy = PlainTenancy(open={"acme": ["open/"]})
    for principal in (ANONYMOUS, token(), token(Grant("other", ALL))):
        for operation in OPEN:
            assert not refused(principal, Ask("acme", operation, "open/a"), tenancy)
            assert refused(principal, Ask("acme", operation, "shut/a"), tenancy)
            assert refused(principal, Ask("acme2", operation, "open/a"), tenancy)
        for operation in sorted(RIGHT_OF.keys() - set(OPEN)):
            assert refused(principal, Ask("acme", operation, "open/a"), tenancy)


def test_what_is_for_whoever_is_known() -> None:
    for operation in ("namespaces", "openapi", "session"):
        assert refused(ANONYMOUS, Ask("", operation)) == "missing"
        assert not refused(token(Grant("acme", ("write",))), Ask("", operation))
    assert refused(token(Grant("acme", ("read",))), Ask("", "session")) == "right"


def test_a_namespace_gives_to_whom_nobody_else_can_be() -> None:
    ann = Principal("token", "https://id.example#ann", (), "https://id.example#7")
    image = Principal("enclave", "ab" * 32)
    assert who(ann) == "user:https://id.example#ann"
    assert who(image) == "enclave:" + "ab" * 32
    tenancy = PlainTenancy(
        gives={("acme", who(ann)): [Given("1", who(ann), Grant("acme", ("read",)))]}
    )
    assert not refused(ann, Ask("acme", "load", "a"), tenancy)
    assert refused(ann, Ask("acme", "store", "a"), tenancy) == "right"
    # A token of ours may have any free name; it is not who it says it is.
    for name in ("user:https://id.example#ann", "ann"):
        impostor = Principal("token", name.replace("#", ""), (), "77" * 16)
        assert refused(impostor, Ask("acme", "load", "a"), tenancy) == "namespace"


def test_a_counted_grant_is_used_last_and_never_too_often() -> None:
    counted = Grant("acme", ("read",), uses=2)
    tenancy = PlainTenancy()
    ask = Ask("acme", "load", "a")
    assert [refused(token(counted), ask, tenancy) for _ in range(3)] == ["", "", "uses"]
    assert not refused(token(counted, Grant("acme", ("read",))), ask, tenancy)
    assert tenancy.left == {"5f" * 16 + "/0": 0}
    two = token(counted, counted)
    again = PlainTenancy()
    assert [refused(two, ask, again) for _ in range(5)] == ["", "", "", "", "uses"]


# -- policies ------------------------------------------------------------------------


def test_a_policy_can_only_refuse() -> None:
    seen: list[object] = []

    def no_invoices(
        principal: Principal, operation: str, attributes: dict[str, object]
    ) -> Allow | Deny:
        seen.append((principal.name, operation, attributes))
        return Deny("invoices") if str(attributes["key"]).startswith("invoices/") else Allow()

    tenancy = PlainTenancy(policies=[no_invoices])  # type: ignore[list-item]
    granted = token(Grant("acme", ("read",), uses=1))
    with pytest.raises(Forbidden) as told:
        decide(granted, Ask("acme", "load", "invoices/1", 0, "::1"), tenancy)
    assert told.value.facts == {"reason": "policy", "policy": "invoices"}
    attributes = {"namespace": "acme", "key": "invoices/1", "size_bytes": 0, "address": "::1"}
    assert seen == [("ci", "load", attributes)]
    assert not tenancy.left  # refused, so not used
    assert not refused(granted, Ask("acme", "load", "a"), tenancy)
    assert (
        refused(token(), Ask("acme", "load", "a"), tenancy) == "namespace"
    )  # Allow grants nothing


@pytest.mark.parametrize("answer", [None, True, "allow", Allow, ValueError])
def test_a_policy_that_fails_refuses(answer: object) -> None:
    def policy(*_: object) -> object:
        if answer is ValueError:
            raise ValueError
        return answer

    tenancy = PlainTenancy(policies=[policy])  # type: ignore[list-item]
    assert refused(token(Grant("acme", ALL)), Ask("acme", "load", "a"), tenancy) == "policy"


class Point:
    name = "broken"

    @staticmethod
    def load() -> object:
        raise ImportError


def test_a_policy_that_cannot_be_loaded_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.access.policy.entry_points", lambda **_: [Point()])
    tenancy = PlainTenancy(policies=load_policies())
    assert refused(token(Grant("acme", ALL)), Ask("acme", "load", "a"), tenancy) == "policy"


def test_none_is_installed_here() -> None:
    assert load_policies() == ()


# -- against a model -------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "*"])
KEYS = st.sampled_from(["", "x", "x/", "x/y", "y"])
NETWORKS = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "::1/128"])
ADDRESSES = st.sampled_from(["", "10.1.0.1", "10.2.0.1", "::1", "1.1.1.1"])
OPERATIONS = st.sampled_from(sorted(RIGHT_OF))
GRANTS = st.builds(
    Grant,
    NAMES,
    st.lists(st.sampled_from(ALL), min_size=1, max_size=3, unique=True).map(tuple),
    prefix=KEYS,
    operations=st.none() | st.lists(OPERATIONS, max_size=9).map(tuple),
    until_ns=st.none() | st.integers(998, 1_002),
    bytes_max=st.none() | st.integers(0, 3),
    uses=st.none() | st.integers(1, 2),
    networks=st.lists(NETWORKS, max_size=2).map(tuple),
    key=st.none() | st.sampled_from(["x", "x/y"]),
)
ASKS = st.builds(
    Ask,
    st.sampled_from(["a", "b", ""]),
    OPERATIONS,
    st.none() | KEYS,
    st.integers(-1, 4),
    ADDRESSES,
)


def model_allows(grant: Grant, ask: Ask, now: int) -> bool:
    """Whether one grant allows an ask: every condition by itself, nothing shared."""
    of_store = ask.operation in OF_STORE
    conditions = [
        grant.namespace == "*" or (grant.namespace == ask.namespace and not of_store),
        RIGHT_OF[ask.operation] in grant.rights or "admin" in grant.rights,
        (ask.key or "").startswith(grant.prefix),
        grant.key is None or (grant.key == ask.key and ask.operation != "list"),
        grant.operations is None or ask.operation in grant.operations,
        grant.until_ns is None or now < grant.until_ns,
        grant.bytes_max is None
        or (0 <= ask.size_bytes <= grant.bytes_max and ask.operation != "append"),
        not grant.networks
        or any(
            bool(ask.address) and ip_address(ask.address) in ip_network(network)
            for network in grant.networks
        ),
    ]
    return all(conditions)


@given(st.lists(GRANTS, max_size=3), ASKS, st.lists(KEYS, max_size=2))
def test_a_decision_is_the_models(grants: list[Grant], ask: Ask, prefixes: list[str]) -> None:
    tenancy = PlainTenancy(open={ask.namespace: prefixes})
    open_to_all = (
        ask.operation in OPEN
        and ask.operation not in OF_STORE
        and any((ask.key or "").startswith(p) and (ask.key is not None or not p) for p in prefixes)
    )
    wanted = open_to_all or any(model_allows(grant, ask, 1_000) for grant in grants)
    assert (not refused(token(*grants), ask, tenancy)) == wanted


@given(GRANTS, GRANTS, ASKS)
def test_what_is_handed_on_is_never_more(held: Grant, wanted: Grant, ask: Ask) -> None:
    made = inherited(held, wanted)
    if made is not None and not refused(token(made), ask):
        assert not refused(token(held), ask)
        assert not refused(token(wanted), ask)


NARROWER = {
    "prefix": st.just("x/"),
    "key": st.just("x/y"),
    "operations": st.just(("load", "store")),
    "until_ns": st.integers(0, 1_002),
    "bytes_max": st.integers(0, 2),
    "networks": st.just(("10.1.0.0/16",)),
    "uses": st.just(1),
}


@given(GRANTS, st.sampled_from(sorted(NARROWER)), st.data(), ASKS)
def test_narrowing_only_takes_away(grant: Grant, field: str, data: st.DataObject, ask: Ask) -> None:
    value = data.draw(NARROWER[field])
    made = inherited(grant, Grant(grant.namespace, grant.rights, **{field: value}))  # type: ignore[arg-type]
    if made is not None and not refused(token(made), ask):
        assert not refused(token(grant), ask)


def test_reasons_are_errors_of_the_tree() -> None:
    with pytest.raises(HoldfastError):
        decide(ANONYMOUS, Ask("a", "load", "k"), PlainTenancy())
