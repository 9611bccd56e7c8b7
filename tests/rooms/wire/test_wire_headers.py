"""Options survive as headers; what is none is refused by its name."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bucket.rows import encode_ids
from holdfast.errors import HoldfastError, InvalidExpiry, InvalidValue, LimitExceeded
from holdfast.limits import TTL_NS
from holdfast.operations import StoreOptions
from holdfast.wire.headers import (
    Numbered,
    headers_of,
    numbered_of,
    numbered_text,
    options_of,
    range_of,
    range_text,
    seconds_text,
    timeout_ns,
    ttl_ns,
    version_of,
)

IDS = st.lists(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
    | st.binary(min_size=1, max_size=16),
    max_size=8,
)
TYPES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]),
    min_size=1,
    max_size=60,
)
OPTIONS = st.builds(
    StoreOptions,
    ttl_ns=st.none() | st.integers(1, TTL_NS // 10**6),
    if_absent=st.booleans(),
    if_version=st.none() | st.integers(0, 2**63),
    fence=st.none() | st.integers(0, 2**63),
    consumers=st.none() | IDS.map(encode_ids),
    content_type=st.none() | TYPES,
) | st.builds(StoreOptions, keep_ttl=st.booleans(), permanent=st.booleans())


@given(OPTIONS)
def test_options_survive(options: StoreOptions) -> None:
    headers = headers_of(options)
    assert all(name == name.lower() for name in headers)
    assert all(text.encode("latin-1") for text in headers.values())
    assert (options_of(headers) or StoreOptions()) == options


def test_no_options_are_none() -> None:
    assert options_of({"host": "x", "content-length": "1"}) is None


@pytest.mark.parametrize(
    ("text", "ns"),
    [("30", 30 * 10**9), ("0.5", 5 * 10**8), ("1.000000001", 10**9 + 1), ("30d", 2592000 * 10**9)],
)
def test_a_time_to_live(text: str, ns: int) -> None:
    assert ttl_ns(text) == ns


@given(st.integers(1, 10**20))
def test_nanoseconds_survive_as_seconds(ns: int) -> None:
    assert ttl_ns(seconds_text(ns)) == ns if ns <= TTL_NS else True


@pytest.mark.parametrize("text", ["", "0", "-1", "1e3", "nan", "1.0000000001", "9" * 12, "٣"])
def test_what_is_no_time_to_live_is_refused(text: str) -> None:
    with pytest.raises(InvalidExpiry):
        options_of({"holdfast-ttl": text})


def test_a_time_to_live_that_is_too_long_names_the_bound() -> None:
    with pytest.raises(InvalidExpiry) as refused:
        options_of({"holdfast-ttl": "9" * 12})
    assert refused.value.facts == {"ttl": "9" * 12, "limit": "TTL_NS", "most": TTL_NS}


@pytest.mark.parametrize(
    "headers",
    [
        {"holdfast-keep-ttl": "yes"},
        {"holdfast-permanent": "True"},
        {"holdfast-fence": "-1"},
        {"holdfast-fence": "٣"},
        {"if-match": "7"},
        {"if-match": "*"},
        {"if-match": '"7", "8"'},
        {"if-none-match": '"7"'},
        {"holdfast-consumers": "a"},
        {"holdfast-consumers": '{"a": 1}'},
        {"holdfast-consumers": '[{"base64": "?"}]'},
        {"holdfast-consumers": '[{"base65": "YQ=="}]'},
        {"holdfast-consumers": '[""]'},
        {"holdfast-consumers": "[" * 100_000},
        {"content-type": "\xff"},
    ],
    ids=str,
)
def test_what_is_no_option_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidValue):
        options_of(headers)


def test_too_many_consumers_name_the_limit() -> None:
    with pytest.raises(LimitExceeded):
        options_of({"holdfast-consumers": str(["a"] * 161).replace("'", '"')})


def test_options_that_exclude_each_other() -> None:
    with pytest.raises(InvalidExpiry):
        options_of({"holdfast-ttl": "1", "holdfast-keep-ttl": "true"})


@given(
    st.dictionaries(
        st.sampled_from(
            ["holdfast-ttl", "holdfast-fence", "holdfast-consumers", "if-match", "content-type"]
        ),
        st.text(st.characters(max_codepoint=255)),
    )
)
def test_any_headers_are_options_or_refused(headers: dict[str, str]) -> None:
    try:
        options_of(headers)
    except HoldfastError:
        return


@pytest.mark.parametrize("text", ["a\r\nb", "a\x00", " a", "a "])
def test_a_content_type_that_a_header_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        headers_of(StoreOptions(content_type=text))


def test_a_content_type_comes_back_as_it_was() -> None:
    headers = headers_of(StoreOptions(content_type="text/é"))
    assert headers["content-type"].encode("latin-1").decode() == "text/é"


@given(st.binary(min_size=16, max_size=16), st.integers(0, 10**18), st.integers(0, 10**18))
def test_numbers_survive(session: bytes, number: int, floor: int) -> None:
    numbered = Numbered(session, number, floor)
    assert numbered_of({"holdfast-session": numbered_text(numbered)}) == numbered


@pytest.mark.parametrize(
    "text", ["", "1;2;3", f"{'g' * 32};1;1", f"{'0' * 32};-1;0", f"{'0' * 32};1"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        numbered_of({"holdfast-session": text})


def test_ranges() -> None:
    assert range_of(range_text(0, 1)) == (0, 0)
    assert range_of("bytes=5-") == (5, None)
    assert range_of("bytes=-5") == (None, 5)
    for text in ("", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "items=0-1", "bytes=٣-"):
        with pytest.raises(InvalidValue):
            range_of(text)


def test_timeouts_and_versions() -> None:
    assert timeout_ns({}) is None
    assert timeout_ns({"holdfast-timeout": "0.25"}) == 250_000_000
    with pytest.raises(InvalidValue):
        timeout_ns({"holdfast-timeout": "soon"})
    assert version_of({"if-match": '"12"'}, "if-match") == 12
    assert version_of({}, "if-match") is None


@pytest.mark.parametrize("name", ["if_version", "fence"])
@pytest.mark.parametrize("number", [-1, 1 << 64, 1 << 70])
def test_a_number_that_no_version_has_is_refused_by_its_argument(name: str, number: int) -> None:
    with pytest.raises(InvalidValue) as refused:
        headers_of(msgspec.structs.replace(StoreOptions(), **{name: number}))
    assert refused.value.facts == {"argument": name, "reason": "out of range"}


@pytest.mark.parametrize(
    ("name", "text"), [("if-match", f'"{1 << 64}"'), ("holdfast-fence", f"{1 << 64}")]
)
def test_a_header_of_more_than_64_bits_is_refused(name: str, text: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        options_of({name: text})
    assert refused.value.facts == {"argument": name, "reason": "out of range"}
