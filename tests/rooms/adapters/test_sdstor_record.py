"""Records of 0-stor: read and written exactly, and what its own code did wrong with them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.sdstor import Form, Record, crc32q, read_record, write_record
from holdfast.errors import Corrupt, InvalidValue, LimitExceeded
from holdfast.limits import VALUE_RECORD_BYTES

IDS = st.binary(min_size=1, max_size=16).filter(lambda one: not one.endswith(b"\0"))
HEAD = {"counted": 2565, "bare": 2564}
FORMS: tuple[Form, ...] = ("counted", "bare")


def by_hand(count: int | None, ids: list[bytes], payload: bytes) -> bytes:
    area = b"".join(one + bytes(16 - len(one)) for one in ids)
    area += bytes(2560 - len(area))
    head = b"" if count is None else struct.pack("B", count)
    return head + area + struct.pack("<I", crc32q(payload)) + payload


def test_bytes_of_the_design() -> None:
    data = by_hand(2, [b"alpha", b"0123456789abcdef"], b"payload")
    assert write_record(Record((b"alpha", b"0123456789abcdef"), b"payload")) == data
    assert read_record(data) == Record((b"alpha", b"0123456789abcdef"), b"payload")


def test_bytes_of_the_first_servers() -> None:
    data = by_hand(None, [b"alpha"], b"123456789")
    assert data[2560:2564] == bytes.fromhex("7981cca9")
    assert write_record(Record((b"alpha",), b"123456789"), "bare") == data
    assert read_record(data, "bare") == Record((b"alpha",), b"123456789")


def test_marked_and_permanent() -> None:
    assert read_record(by_hand(0, [], b"x")) == Record((), b"x")
    assert read_record(by_hand(255, [], b"x")) == Record((), b"x", permanent=True)
    held = Record((b"a", b"b"), b"x", permanent=True)
    assert read_record(by_hand(255, [b"a", b"b"], b"x")) == held
    assert write_record(held) == by_hand(255, [b"a", b"b"], b"x")


@given(
    ids=st.lists(IDS, max_size=160),
    payload=st.binary(max_size=300),
    permanent=st.booleans(),
    form=st.sampled_from(FORMS),
)
def test_every_record_comes_back(
    *, ids: list[bytes], payload: bytes, permanent: bool, form: Form
) -> None:
    record = Record(tuple(ids), payload, permanent and form == "counted")
    data = write_record(record, form)
    assert len(data) == HEAD[form] + len(payload)
    assert read_record(data, form) == record
    assert write_record(read_record(data, form), form) == data


@pytest.mark.parametrize("form", FORMS)
def test_full_lists_and_payloads(form: Form) -> None:
    record = Record((b"0123456789abcdef",) * 160, b"\xff" * VALUE_RECORD_BYTES)
    assert read_record(write_record(record, form), form) == record


@pytest.mark.parametrize("count", range(161, 255))
def test_counts_that_mean_nothing(count: int) -> None:
    with pytest.raises(Corrupt):
        read_record(by_hand(count, [b"a"] * 160, b"x"))


@pytest.mark.parametrize("count", [0, 1, 3, 160])
def test_a_count_that_is_not_that_of_the_ids(count: int) -> None:
    with pytest.raises(Corrupt):
        read_record(by_hand(count, [b"a", b"b"], b"x"))


@pytest.mark.parametrize("form", FORMS)
def test_every_byte_of_a_payload_counts(form: Form) -> None:
    data = bytearray(write_record(Record((b"a",), b"payload"), form))
    for at in range(HEAD[form] - 4, len(data)):
        data[at] ^= 0x20
        with pytest.raises(Corrupt):
            read_record(bytes(data), form)
        data[at] ^= 0x20


@pytest.mark.parametrize("form", FORMS)
def test_what_ends_too_early(form: Form) -> None:
    data = write_record(Record((), b""), form)
    for size in (0, 1, 16, HEAD[form] - 1):
        with pytest.raises(Corrupt):
            read_record(data[:size], form)


# -- what 0-stor's own code did --------------------------------------------------------


def test_more_ids_than_fit_do_not_panic() -> None:
    with pytest.raises(LimitExceeded):
        write_record(Record((b"a",) * 161, b""))


@pytest.mark.parametrize("consumer", [b"", b"0123456789abcdefg", b"a\0"])
def test_ids_are_not_cut_to_size(consumer: bytes) -> None:
    with pytest.raises(InvalidValue):
        write_record(Record((consumer,), b""))


def test_a_shorter_name_keeps_no_tail_of_the_old() -> None:
    longer = write_record(Record((b"a-long-name",), b""), "bare")
    shorter = write_record(Record((b"short",), b""), "bare")
    assert read_record(longer, "bare").consumers == (b"a-long-name",)
    assert shorter[:16] == b"short" + bytes(11)


@pytest.mark.parametrize("form", FORMS)
def test_stale_ids_behind_the_end_are_no_ids(form: Form) -> None:
    data = bytearray(write_record(Record((b"a",), b"x"), form))
    stale = HEAD[form] - 4 - 16 * 10
    data[stale : stale + 5] = b"stale"
    with pytest.raises(Corrupt) as refused:
        read_record(bytes(data), form)
    assert refused.value.position == HEAD[form] - 4 - 16 * 159


@pytest.mark.parametrize("form", FORMS)
def test_payloads_over_the_bound_are_refused(form: Form) -> None:
    payload = bytes(1025 * 1024)
    with pytest.raises(LimitExceeded):
        write_record(Record((), payload), form)
    head = by_hand(0 if form == "counted" else None, [], b"")
    with pytest.raises(LimitExceeded):
        read_record(head + payload, form)


def test_the_bare_form_cannot_say_permanent() -> None:
    with pytest.raises(InvalidValue):
        write_record(Record((), b"", permanent=True), "bare")
