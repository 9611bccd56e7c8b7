"""A key in a path is that key, whatever it is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidKey, InvalidValue
from holdfast.wire.paths import decode_key, decode_query, encode_key, encode_query

TEXT = st.text(st.characters(codec="utf-8"), max_size=50)
KEYS = st.one_of(
    TEXT.filter(bool),
    st.lists(st.sampled_from(["", ".", "..", "a", "%2F", "+", "?", "#", "é"]), min_size=2).map(
        "/".join
    ),
)


@given(KEYS)
def test_a_key_survives(key: str) -> None:
    path = encode_key(key)
    assert decode_key(path.encode("ascii")) == key
    assert not {".", ".."} & set(path.split("/"))
    assert "//" not in f"/{path}/"


@given(KEYS)
def test_a_key_as_it_is_is_that_key(key: str) -> None:
    assert decode_key(key.replace("%", "%25").encode()) == key


@pytest.mark.parametrize(
    "raw", [b"", b"%", b"a%2", b"%zz", b"%ff", b"\xff", b"%ed%a0%80", b"a" * 1025, b"%41" * 1025]
)
def test_what_is_no_key_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidKey):
        decode_key(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_refused(raw: bytes) -> None:
    try:
        key = decode_key(raw)
    except InvalidKey:
        return
    assert decode_key(encode_key(key).encode()) == key


@pytest.mark.parametrize("key", ["", "a" * 1025, "\ud800"])
def test_what_is_no_key_is_not_sent(key: str) -> None:
    with pytest.raises(InvalidKey):
        encode_key(key)


@given(st.dictionaries(TEXT, TEXT, max_size=10))
def test_a_query_survives(fields: dict[str, str]) -> None:
    assert decode_query(encode_query(fields).encode()) == {
        name: value for name, value in fields.items() if name or value
    } | ({"": ""} if fields.get("") == "" else {})


def test_a_plus_is_a_space_as_forms_have_it() -> None:
    assert decode_query(b"prefix=a+b%2Bc&&x") == {"prefix": "a b+c", "x": ""}


@pytest.mark.parametrize("raw", [b"a=%", b"a=%ff", b"\xff=1", b"a&" * 65])
def test_what_is_no_query_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidValue):
        decode_query(raw)
