"""Organisation scopes: 0-stor's own matrix and labels, and the holes it left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.access.decide import Ask, decide
from holdfast.errors import Forbidden
from holdfast.identity.scopes import MEMBER, grant_of, grants_of, is_label
from holdfast.values import Principal
from tests.rooms.access.tenancies import PlainTenancy


def scope_of(label: str) -> str:
    """The scope of a namespace's owner, without "user:memberof:"."""
    return label.replace("_0stor_", ".0stor.", 1)


OPERATIONS = {"read": "load", "write": "store", "delete": "delete", "admin": "drop"}


@pytest.mark.parametrize(
    "label", ["org_0stor_namespace", "first_0stor_gig", "a_0stor_b", "_a_0stor__b_"]
)
def test_good_labels(label: str) -> None:
    assert is_label(label)
    found = grant_of(MEMBER + scope_of(label))
    assert found is not None
    assert found.namespace == label


@pytest.mark.parametrize(
    "label",
    [
        "just a simple string",
        "org.0stor.namespace",
        "org_0-stor_namespace",
        "org_0stor_",
        "0stor",
        "_0stor_",
        "org_0stor",
        "_0stor_ns",  # upstream took it: an organisation without a name
        "a_0stor_0stor_b",  # twice, sharing a character
        "a_0stor_b_0stor_c",
        "a_0stor_b.read",  # its owner's scope would be the reader's of a_0stor_b
        "a.b_0stor_c",
        "a_0stor_b-c",
        "",
        "a" * 122 + "_0stor_",
        "a" * 122 + "_0stor_b",  # longer than a namespace's name
    ],
)
def test_bad_labels(label: str) -> None:
    assert not is_label(label)


@pytest.mark.parametrize(
    ("scopes", "methods"),
    [
        (["user:memberof:org.0stor.ns"], {"read", "write", "delete", "admin"}),
        (["org.0stor.ns"], {"read", "write", "delete", "admin"}),
        (["user:org.0stor.ns"], set()),
        (["user:memberof:org.0stor.ns.read"], {"read"}),
        (["user:memberof:org.0stor.ns.write"], {"write"}),
        (["user:memberof:org.0stor.ns.delete"], {"delete"}),
        (
            ["org.0stor.ns.read", "org.0stor.ns.write", "org.0stor.ns.delete"],
            {"read", "write", "delete"},
        ),
        (["user:memberof:user:memberof:org.0stor.ns"], set()),
        (["user:memberof:org.0stor.ns.admin"], set()),
        (["user:memberof:org.0stor.ns.read.write"], set()),
        (["user:memberof:org.0stor.nsx"], set()),
        (["user:memberof:xorg.0stor.ns"], set()),
        (["user:memberof:org_0stor_ns"], set()),
        (["user:memberof:org"], set()),
        (["user:memberof:.0stor.ns", "user:memberof:org.0stor."], set()),
        ([" org.0stor.ns", "org.0stor.ns\n", ""], set()),
        ([], set()),
    ],
)
def test_the_matrix(scopes: list[str], methods: set[str]) -> None:
    principal = Principal("token", "https://id.example#ann", grants_of(scopes), "#7")
    allowed = set()
    for method, operation in OPERATIONS.items():
        try:
            decide(principal, Ask("org_0stor_ns", operation, "a"), PlainTenancy())
        except Forbidden:
            continue
        allowed.add(method)
    assert allowed == methods


def test_a_space_may_be_called_like_a_right() -> None:
    owner, reader = grants_of(["org.0stor.read", "org.0stor.read.read"])
    assert (owner.namespace, reader.namespace) == ("org_0stor_read", "org_0stor_read")
    assert ("admin" in owner.rights, reader.rights) == (True, ("read",))


WORD = st.text("ab_0stor", min_size=1, max_size=12)


@given(WORD, WORD, WORD, WORD)
def test_no_two_namespaces_share_a_scope(a: str, b: str, c: str, d: str) -> None:
    one, other = f"{a}_0stor_{b}", f"{c}_0stor_{d}"
    if is_label(one) and is_label(other) and one != other:
        assert scope_of(one) != scope_of(other)
