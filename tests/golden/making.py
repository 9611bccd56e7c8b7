"""What the golden bytes are made of: values of every kind, packed by the product.

Everything here is fixed: identities, times, keys. So the bytes change only when
the format does, and then on purpose: ``python -m tests.golden.write`` puts them
down anew, and the diff shows what changed.
"""

from __future__ import annotations

import tempfile
from array import array
from pathlib import Path

import msgspec

from holdfast.bucket import commit, rows
from holdfast.bucket.checkpoint import Checkpoint, expiry_row
from holdfast.bucket.hidden import part_key
from holdfast.bucket.seal import seal_all
from holdfast.charges import Back, Terms, charge, row, wide
from holdfast.engines.memory import MemoryDisk
from holdfast.log.entry import EXTENSION, Attributes, Entry, Extent, encode_attributes, pack
from holdfast.log.group import Kind, seal_head
from holdfast.log.header import (
    Birth,
    Identity,
    KeptNumbers,
    KeptSession,
    KeptSpace,
    LogState,
    Merge,
    NumberedState,
    PursedMerge,
    PursedState,
    SegmentInfo,
    SessionRecord,
    encode_birth,
    encode_merge,
    encode_state,
    pack_head,
)
from holdfast.log.keyblock import Row, build, columns
from holdfast.log.log import Position
from holdfast.log.purses import Kept, Line, Lines, Posting, Rent, Share
from holdfast.log.records import Flag, Type, encode
from holdfast.store.folders import NAME as OWNER
from holdfast.store.opening import open_on
from holdfast.store.ownership import StoreFile, write_store_file
from holdfast.store.store import Store
from holdfast.testing import ManualClock, SeededEntropy
from holdfast.upkeep.manifest import BackupBucket, BackupFile, Manifest
from holdfast.views import lmdb_sums, long_keys
from holdfast.views.lmdb_file import EMPTY, INTEGER_KEYS, Meta, Tree
from holdfast.views.lmdb_rows import (
    HOUSE,
    RUN,
    SEEDS,
    LongCount,
    commit_row,
    format_row,
    seal,
)
from holdfast.views.port import Table
from tests.segments import segments

NOW = 1_700_000_000_000_000_000
KEY = b"acme\x00a"
CHILD, PARENT = "00000000000000aa", "00000000000000bb"
INFO = SegmentInfo(1, PARENT, 3, 4096, 0x0123456789ABCDEF)
STATE = LogState(
    b"", b"\xff", 7, NOW, (INFO,), (Birth(CHILD, b"m", b"\xff", 7, NOW, (INFO,)),), (CHILD,), KEY
)
SESSION = bytes(range(16))
KEPT = ((6, b"\x94\x00\x07\x05\xc0"), (8, b"\x92\x01\xc0"))
NUMBERED = NumberedState(
    **msgspec.structs.asdict(STATE),
    numbers=KeptNumbers(
        NOW - 7, (KeptSpace(b"acme", NOW - 5, (KeptSession(SESSION, 6, NOW, KEPT),)),)
    ),
)

UPLOAD = b"uploaded"
UPLOADS = (
    rows.UploadNote(UPLOAD, rows.BEGUN, 9, NOW),
    rows.UploadNote(b"replaced", rows.REPLACED, 8, NOW - 1),
)
LOCK_ID = bytes(range(20))
TERMS = Terms(3, 10, 2, 1, 8_796, 1_000, 90, 1, 1, 5)
STORED = charge(TERMS, "C", size_bytes=10, seconds=60, back=Back(3, 4, 5, early=False))
TAKEN: Lines = ((2, tuple(row(STORED))),)
PURSE = Kept(
    b"acme",
    9,
    (Terms(0), TERMS),
    wide(1 << 64),
    1_060,
    (1_000, -1),
    (20, 2),
    Rent(13, NOW, 5),
    (
        Line(PARENT, 4, 1, 7, Posting(PARENT, 7, 9, TAKEN)),
        Line(CHILD, 2, 0, 0, None, Posting(CHILD, 0, 5, TAKEN)),
    ),
    (),
    60_000_000_000,
    NOW,
)
PURSED = PursedState(
    **msgspec.structs.asdict(NUMBERED), purses=(PURSE,), shares=(Share(CHILD, (PURSE,)),)
)

VALUES: dict[Type, bytes] = {
    Type.STORE: b"hello",
    Type.APPEND: b", world",
    Type.DELETE: b"",
    Type.EXPIRE: b"",
    Type.UNREFERENCED: b"",
    Type.CONSUMERS: b"".join(rows.encode_ids(["job-7", b"\x00\x01"])),
    Type.LOCK: rows.LOCK.pack(LOCK_ID, 30_000_000_000),
    Type.UNLOCK: b"",
    Type.UPLOAD: rows.pack_uploads(UPLOADS),
    Type.RELEASE: b"",
    Type.JOIN: b"hello, world",
    Type.SESSION: msgspec.msgpack.encode(SessionRecord(SESSION, 6, KEPT)),
    Type.CHARGE: msgspec.msgpack.encode([[[2, row(STORED)]], 20, 2, -7]),
    Type.PURSE: msgspec.msgpack.encode(PURSE),
    Type.STATE: encode_state(NUMBERED),
    Type.SPLIT: msgspec.msgpack.encode(STATE.births[0]),
    Type.BORN: CHILD.encode(),
    Type.MERGE: msgspec.msgpack.encode(
        Merge(CHILD, b"m", b"\xff", 7, NOW, (INFO,), KEY, NUMBERED.numbers)
    ),
    Type.RETIRED: CHILD.encode(),
    Type.DROP: msgspec.msgpack.encode([3]),
    Type.TIME: b"",
    Type.CLOSE: b"",
    Type.INTEND: msgspec.msgpack.encode((INFO,)),
}
ATTRS = {
    Type.STORE: encode_attributes(Attributes("text/plain")),
    Type.APPEND: EXTENSION.pack(12, 0xC99465AA, 0),
    Type.JOIN: EXTENSION.pack(12, 0xC99465AA, 7),
}
FLAGS = {Type.STORE: Flag.PERMANENT | Flag.MANAGED | Flag.FRESH}
EXPIRES = {Type.STORE: NOW + 60_000_000_000}


def pieces() -> dict[str, bytes]:
    """Every layout by itself, by its name."""
    return _log_pieces() | _entry_pieces() | _row_pieces() | _view_pieces() | _file_pieces()


def _log_pieces() -> dict[str, bytes]:
    identity = Identity(bytes(range(16)), 2)
    head, digest = pack_head(identity, PARENT, 4, INFO)
    first, _ = pack_head(identity, CHILD, 1, None)
    group, _ = seal_head(Kind.RECORDS, 2, 100, 0xDEADBEEF, 88, digest)
    found = {"segment-head": head, "segment-head-first": first, "group-head": group}
    for kind, value in VALUES.items():
        buffers = encode(
            kind,
            b"" if kind >= Type.STATE else KEY,
            value,
            (3 << 32) + 7,  # so that both halves of the version are in the check
            NOW,
            flags=FLAGS.get(kind, 0),
            expires_ns=EXPIRES.get(kind, 0),
            attrs=ATTRS.get(kind, b""),
        )
        found[f"record-{kind.name.lower()}"] = b"".join(buffers)
    found["state-purses"] = encode_state(PURSED)
    found["birth-purses"] = encode_birth(STATE.births[0], (PURSE,))
    merge = Merge(CHILD, b"m", b"\xff", 7, NOW, (INFO,), KEY, NUMBERED.numbers)
    found["merge-purses"] = encode_merge(
        PursedMerge(**msgspec.structs.asdict(merge), purses=(PURSE,))
    )
    return found


def _entry_pieces() -> dict[str, bytes]:
    plain = Entry(7, NOW, 0, 5, 0x9A71BB4C, 0, b"", (Extent(7, 2, 300, 5),))
    told = msgspec.structs.replace(
        plain, flags=int(Flag.PERMANENT), expires_ns=NOW + 1, attrs=ATTRS[Type.STORE]
    )
    spread = msgspec.structs.replace(
        told, version=9, size=12, extents=(Extent(7, 2, 300, 5), Extent(9, 3, 400, 7))
    )
    attrs = encode_attributes(Attributes(None, UPLOAD, 2 << 20, 0xC99465AA))
    large = Entry(
        7, NOW, 0, (2 << 20) + 5, 0xC99465AA, int(Flag.LARGE), attrs, (Extent(7, 2, 300, 5),)
    )
    listed = [
        Row(KEY, 7, Type.STORE, pack(plain)),
        Row(KEY, 9, Type.DELETE, pack(msgspec.structs.replace(plain, version=9))),
        Row(b"acme\x00b", 8, Type.STORE, pack(told)),
    ]
    paid = msgspec.structs.replace(told, attrs=encode_attributes(Attributes(terms=3)))
    return {
        "entry-paid": pack(paid),
        "entry-plain": pack(plain),
        "entry-attributes": pack(told),
        "entry-extents": pack(spread),
        "entry-large": pack(large),
        "key-block": build([columns(listed)])[0],
        "hidden-key": part_key(KEY, UPLOAD, 258),
    }


def _row_pieces() -> dict[str, bytes]:
    position = Position(2, 400, 500, 0x0123456789ABCDEF)
    mark = Checkpoint(position, 9, NOW, 3, 1, {1: 100, 2: 200}, b"", b"\xff", PARENT, 1)
    return {
        "row-side": rows.pack_row(7, 2, 60, b"payload"),
        "row-expiry-key": expiry_row(NOW, KEY),
        "row-checkpoint": msgspec.msgpack.encode(mark),
        "row-scrub": msgspec.msgpack.encode({1: NOW, 2: NOW + 1}),
    }


def _view_pieces() -> dict[str, bytes]:
    run = long_keys.pack([(b"1", b"one"), (b"22", b"")])
    long_key = long_keys.run_key(b"k" * 600)
    stored = {
        "view-row": seal(SEEDS[Table.KEYS], [(KEY, b"content")]),
        "view-run": seal(SEEDS[Table.KEYS | RUN], [(long_key, run)]),
        "view-house-format": seal(SEEDS[HOUSE], [format_row()]),
        "view-house-commit": seal(SEEDS[HOUSE], [commit_row(7)]),
        "view-house-long": seal(SEEDS[HOUSE], [LongCount(2, 5).row(Table.KEYS)]),
    }
    return {name: key + value for name, ((key, value),) in stored.items()}


def _file_pieces() -> dict[str, bytes]:
    disk = MemoryDisk()
    disk.make_folder("s")
    write_store_file(disk, "s", StoreFile(1, bytes(range(16)).hex(), 1, ("log",), "index"))
    manifest = Manifest(
        1,
        bytes(range(16)).hex(),
        1,
        7,
        (BackupBucket(PARENT, STATE),),
        (BackupFile(PARENT, 1, 4096, "00" * 32),),
    )
    return {
        "store-file": content(disk, "s/HOLDFAST"),
        "manifest-without-crc": msgspec.json.encode(manifest),
        "page-sums": _sums(),
    }


def _sums() -> bytes:
    empty = Tree(4096, INTEGER_KEYS, 0, 0, 0, 0, 0, EMPTY)
    meta = Meta(7, 2, 4096, empty, empty._replace(padding=0, flags=0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.sum")
        lmdb_sums.write(path, meta, array("I", [1, 2, 3]))
        return path.read_bytes()


# -- stores that are always the same ---------------------------------------------------


def content(disk: MemoryDisk, path: str) -> bytes:
    """A file's bytes."""
    file = disk.open(path)
    return file.read(0, file.size())


def files(disk: MemoryDisk, root: str) -> dict[str, bytes]:
    """The files of a store that are part of the format, by their paths."""
    found = {"HOLDFAST": content(disk, f"{root}/HOLDFAST")}
    for path in (f"log/{OWNER}", *(path.removeprefix(f"{root}/") for path in segments(disk))):
        found[path] = content(disk, f"{root}/{path}")
    return found


def opened(disk: MemoryDisk, clock: ManualClock) -> Store:
    """A store whose every byte is told beforehand."""
    return open_on(
        disk, "store", clock=clock, entropy=SeededEntropy(1), bucket_bytes=1 << 16, upkeep=False
    )


def example_segment() -> bytes:
    """A sealed segment with one object: the example of docs/FORMAT.md."""
    disk = MemoryDisk()
    with opened(disk, ManualClock(NOW)) as store:
        store.namespace("acme").put("a", b"hello")
        (bucket,) = store.placement.directory
        with commit.alone(bucket):
            bucket.log.switch(bucket.segment_state())
        seal_all(bucket)
        name = f"store/log/{bucket.id}/{1:016x}.seg"
        return content(disk, name)


def tiny_store() -> dict[str, bytes]:
    """A store that has seen every kind of change a caller can ask for."""
    disk, clock = MemoryDisk(), ManualClock(NOW)
    with opened(disk, clock) as store:
        ns = store.namespace("acme")
        ns.put("a", b"hello")
        ns.append("a", b", world")
        clock.advance(1_000_000_000)
        ns.put("b", b"for a minute", ttl=60, content_type="text/plain")
        ns.put("c", b"held", consumers=["job-7", b"\x00\x01"])
        ns.consumers("c").remove(["job-7"])
        ns.put("d", b"kept", permanent=True)
        ns.release("d")
        ns.delete("d")
        with ns.lock("e", ttl=30) as lock:
            ns.put("e", b"fenced", fence=lock.fence)
        ns.lock("f", ttl=1)
        ns.put_many([("g", b"1"), ("h", b"2")], atomic=True)
        ns.put("joined", b"-" * 100)
        for _ in range(65):
            ns.append("joined", b".")
        clock.advance(1_000_000_000)
        store.namespace("other").put("a", b"")
    return files(disk, "store")
