"""A process that writes until it is killed, and says what was acknowledged.

    python writer.py FOLDER ROUND [SYNC]

The operations follow from ROUND alone (``operations``); the number of each is
printed once the store has answered. Run by test_kill.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

import holdfast
from holdfast.bucket.settings import Sync

BUCKET_BYTES: Final = 64 << 10
WIDE_BYTES: Final = 16 << 20  # its segments are long enough for a window (engines/ahead.py)
KEYS: Final = 60
LARGE: Final = (1 << 20) + 5_000


class Operation(NamedTuple):
    """What one operation makes of keys (None is gone), and whether as a whole or not at all."""

    kind: str
    after: dict[str, bytes | None]


def operations(number: int) -> Iterator[Operation]:
    """What the writer of a round does, one after the other, for ever."""
    count = 0
    while True:
        count += 1
        key = f"key/{count * 7 % KEYS:02d}"
        value = f"{number}:{count}:".encode() * (1 + count * count % 300)
        if count % 11 == 0:
            yield Operation("delete", {key: None})
        elif count % 7 == 0:
            pair = {f"{key}/{half}": value for half in "ab"}
            yield Operation("batch", dict(pair))
        elif count % 97 == 0:
            yield Operation("large", {"large": (value * (LARGE // len(value) + 1))[:LARGE]})
        else:
            yield Operation("put", {key: value})


def main(folder: str, number: int, sync: Sync = "always") -> None:
    """Write until killed."""
    bound = BUCKET_BYTES if sync == "always" else WIDE_BYTES
    with holdfast.open(folder, sync=sync, bucket_bytes=bound) as store:
        space = store.namespace("n")
        for count, operation in enumerate(operations(number)):
            pairs = {key: value for key, value in operation.after.items() if value is not None}
            if operation.kind == "delete":
                for key in operation.after:
                    space.delete(key, missing_ok=True)
            elif operation.kind == "batch":
                space.put_many(pairs)
            else:
                for key, value in pairs.items():
                    space.put(key, value)
            os.write(1, f"{count}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])  # type: ignore[arg-type]
