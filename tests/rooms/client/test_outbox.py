"""The outbox keeps what it was given, whatever a crash cuts off, and refuses what is damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.client.box import Queued
from holdfast.client.outbox import COMPACT_BYTES, FILE, Outbox
from holdfast.errors import Corrupt, FormatTooNew, InUse, InvalidValue, StorageFailed
from holdfast.values import DeadLetter

SESSION = bytes(range(16))
LETTER = DeadLetter("acme", "b", "permanent", "the object is permanent")
GOLDEN = bytes.fromhex(
    "48464f5554424f5801000000"  # "HFOUTBOX", version 1, zeros
)

GOLDEN_FILE = (
    "48464f5554424f5801000000804e4d1cda153da81800000001010000000000000000010203040506"
    "0708090a0b0c0d0e0f228f870d160000000201000000000000000461636d650200c3a976616c7565"
    "4d34d29b2b000000040461636d65010062097065726d616e656e741700746865206f626a65637420"
    "6973207065726d616e656e74c64a577d0c00000003010000000100000000000000"
)


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "out")
    box.begin(SESSION, 1)
    for number, key in enumerate(["a", "b", "é" * 512], 1):
        assert box.write("acme", key, b"\x00" * number).number == number
    box.settle([2], [LETTER])
    box.close()
    box = Outbox(tmp_path / "out")
    assert list(box.pending.values()) == [
        Queued(1, "acme", "a", b"\x00"),
        Queued(3, "acme", "é" * 512, b"\x00\x00\x00"),
    ]
    assert (box.next, list(box.letters), box.sessions) == (4, [LETTER], [(1, SESSION)])
    assert box.write("acme", "c", b"").number == 4
    box.close()


def test_the_file_begins_as_it_is_drawn(tmp_path: Path) -> None:
    Outbox(tmp_path / "out").close()
    written = (tmp_path / "out").read_bytes()
    assert written[:12] == GOLDEN
    assert len(written) == FILE.size
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


def test_every_record_is_as_it_is_drawn(tmp_path: Path) -> None:
    """The bytes of version 1: a change of them is a new version, and this stays as it is."""
    box = Outbox(tmp_path / "out")
    box.begin(SESSION, 1)
    box.write("acme", "é", b"value")
    box.settle([1], [LETTER])
    box.close()
    assert (tmp_path / "out").read_bytes().hex() == GOLDEN_FILE


def test_a_number_belongs_to_the_last_session_before_it(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "out")
    assert box.session_of(1) is None
    box.begin(SESSION, 5)
    box.begin(SESSION[::-1], 9)
    found = [box.session_of(number) for number in (4, 5, 8, 9, 10)]
    assert found == [None, SESSION, SESSION, SESSION[::-1], SESSION[::-1]]
    box.close()


def filled(path: Path) -> list[tuple[int, list[int]]]:
    """Where the file ended after each step, and what was pending then."""
    box = Outbox(path)
    steps = [(FILE.size, list[int]())]

    def note() -> None:
        steps.append((path.stat().st_size, sorted(box.pending)))

    box.begin(SESSION, 1)
    note()
    for key in "abc":
        box.write("acme", key, key.encode() * 3)
        note()
    box.settle([1, 2], [])
    note()
    box.write("acme", "d", b"")
    note()
    box.close()
    return steps


def test_every_cut_leaves_what_was_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    steps = filled(path)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        box = Outbox(path)
        held = [pending for end, pending in steps if end <= cut]
        assert sorted(box.pending) == (held[-1] if held else [])
        box.write("acme", "again", b"1")
        box.close()
        box = Outbox(path)
        assert [queued.key for queued in box.pending.values()][-1] == "again"
        box.close()


def test_zeros_behind_the_end_are_what_a_crash_leaves(tmp_path: Path) -> None:
    path = tmp_path / "out"
    filled(path)
    path.write_bytes(path.read_bytes() + bytes(4096))
    box = Outbox(path)
    assert sorted(box.pending) == [3, 4]
    box.close()


def test_a_flipped_bit_is_damage_or_cuts_the_last_record(tmp_path: Path) -> None:
    path = tmp_path / "out"
    steps = filled(path)
    whole = path.read_bytes()
    last = steps[-2][0]
    for at in range(len(whole)):
        bent = bytearray(whole)
        bent[at] ^= 1 << at % 8
        path.write_bytes(bent)
        try:
            box = Outbox(path)
        except (Corrupt, FormatTooNew):
            assert path.read_bytes() == bent
        else:
            assert at >= last  # a crash may have cut that one off, and no other
            assert sorted(box.pending) == steps[-2][1]
            box.close()


def test_an_outbox_is_of_one_process(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "out")
    with pytest.raises(InUse):
        Outbox(tmp_path / "out")
    box.close()
    Outbox(tmp_path / "out").close()


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    Outbox(path).close()
    head = bytearray(path.read_bytes())
    head[8] = 9
    path.write_bytes(head)
    with pytest.raises((FormatTooNew, Corrupt)):
        Outbox(path)


def test_what_is_no_outbox_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, this is not an outbox")
    with pytest.raises(Corrupt):
        Outbox(path)
    assert path.read_text() == "dear diary, this is not an outbox"
    path.write_text("short")
    with pytest.raises(Corrupt):
        Outbox(path)
    assert path.read_text() == "short"


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed) as caught:
        Outbox(tmp_path / "absent" / "out")
    assert caught.value.errno == "ENOENT"


def test_what_is_settled_gives_its_space_back(tmp_path: Path) -> None:
    path = tmp_path / "out"
    box = Outbox(path)
    box.begin(SESSION, 1)
    value = os.urandom(1 << 20)
    for _ in range(COMPACT_BYTES // len(value)):
        queued = box.write("acme", "k", value)
        box.settle([queued.number], [LETTER] if queued.number == 2 else [])
    assert path.stat().st_size < 1000
    assert not (tmp_path / "out.new").exists()
    with pytest.raises(InUse):
        Outbox(path)
    after = box.write("acme", "last", b"1")
    box.sync()
    box.close()
    box = Outbox(path)
    assert box.pending == {after.number: after}
    assert list(box.letters) == [LETTER]
    assert box.session_of(after.number) == SESSION
    box.close()


def watch_syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long the file was at each sync of it, as they come."""
    lengths: list[int] = []
    really = os.fdatasync

    def sync(file: int) -> None:
        length = os.fstat(file).st_size
        really(file)
        lengths.append(length)

    monkeypatch.setattr(os, "fdatasync", sync)
    return lengths


def test_what_counts_as_kept_was_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that it is in the file: a power cut takes what the disk was not told to keep."""
    synced = watch_syncs(monkeypatch)
    box = Outbox(tmp_path / "out")
    acts: list[Callable[[], None]] = [
        lambda: box.begin(SESSION, 1),
        lambda: box.settle([1], []),
        lambda: box.settle([], [LETTER]),
    ]
    for act in acts:
        act()
        assert synced[-1] == (tmp_path / "out").stat().st_size
    box.close()


def test_a_folder_is_no_outbox(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as refused:
        Outbox(tmp_path)
    assert refused.value.argument == "outbox"
    assert list(tmp_path.iterdir()) == []
