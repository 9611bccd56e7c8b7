"""Formats of later versions are refused by name, and nothing is written; what may grow, may."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import msgspec
import pytest
from crc32c import crc32c
from xxhash import xxh3_64_intdigest

from holdfast.bucket.sessions import Sessions, new_session
from holdfast.errors import FormatTooNew, SessionUnknown
from holdfast.log.entry import ATTRIBUTES, Attributes
from holdfast.log.header import Identity, LogState, PursedState, decode_state, encode_state
from holdfast.operations import Once
from holdfast.testing import ManualClock, SeededEntropy
from tests.golden.making import PURSED, STATE
from tests.golden.old import open_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with open_store(tmp_path / "store", ManualClock()) as store:
        store.namespace("acme").put("a", b"hello")
    return tmp_path / "store"


def contents(folder: Path) -> dict[Path, bytes]:
    """What counts of a store's folder: not who owns it, and not what is derived."""
    kept = [folder / "HOLDFAST", *folder.glob("log/*/*.seg")]
    return {path: path.read_bytes() for path in kept}


def refused(folder: Path) -> FormatTooNew:
    """Open the store in vain; nothing in it has changed."""
    before = contents(folder)
    with pytest.raises(FormatTooNew) as told:
        open_store(folder, ManualClock())
    assert contents(folder) == before
    return told.value


def test_a_store_file_of_a_later_format(folder: Path) -> None:
    path = folder / "HOLDFAST"
    told = {"more": [1], **json.loads(path.read_text()), "format": 2, "crc": 0}
    bare = json.dumps(told, separators=(",", ":")).encode()
    path.write_bytes(bare[: -len("0}")] + b"%d}" % crc32c(bare))
    assert refused(folder).version == 2


def test_a_segment_of_a_later_format(folder: Path) -> None:
    (path,) = folder.glob("log/*/*.seg")
    data = bytearray(path.read_bytes())
    data[8:10] = struct.pack("<H", 2)
    data[80:88] = struct.pack("<Q", xxh3_64_intdigest(bytes(data[:80])))
    path.write_bytes(data)
    assert refused(folder).version == 2


def test_a_state_may_grow_and_may_lack_what_came_later() -> None:
    listed = msgspec.msgpack.decode(encode_state(PURSED))
    longer = msgspec.msgpack.encode([*listed, "what a later version adds"])
    assert decode_state(longer) == PURSED
    shorter = msgspec.msgpack.encode(listed[:4])
    first = LogState(STATE.start, STATE.stop, STATE.version, STATE.time_ns)
    assert decode_state(shorter) == PursedState(**msgspec.structs.asdict(first))


def test_a_state_without_sessions_ends_those_begun_before_it() -> None:
    listed = msgspec.msgpack.decode(encode_state(STATE))
    identity = Identity(bytes(16), 1)
    sessions = Sessions(identity)
    sessions.take_in(decode_state(msgspec.msgpack.encode(listed)).numbers, STATE.time_ns)
    before = new_session(identity, STATE.time_ns - 1, SeededEntropy(1))
    with pytest.raises(SessionUnknown):
        sessions.admit(b"acme", Once(before, 1), STATE.time_ns)
    after = new_session(identity, STATE.time_ns, SeededEntropy(1))
    assert sessions.admit(b"acme", Once(after, 1), STATE.time_ns).numbers() == 0


def test_attributes_may_lack_and_may_not_grow() -> None:
    assert ATTRIBUTES.decode(msgspec.msgpack.encode(["text/plain"])) == Attributes("text/plain")
    with pytest.raises(msgspec.ValidationError):
        ATTRIBUTES.decode(msgspec.msgpack.encode([None, None, 0, 0, None, None, 0, "more"]))
