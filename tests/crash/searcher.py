"""A process that writes, searches and writes its index down, until it is killed.

    python searcher.py FOLDER ROUND

Prints the number of each change once all that led to it is answered. Run by test_search.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Final

import holdfast
from holdfast import IndexRule

KEYS: Final = 90
BUCKET_BYTES: Final = 64 << 10


def changes(number: int) -> Iterator[tuple[str, bytes | None]]:
    """What the writer of a round does, one after the other, for ever."""
    count = 0
    while True:
        count += 1
        key = f"key/{count * 7 % KEYS:02d}"
        text = f"round{number} change{count % 10} fox ".encode() * (1 + count % 50)
        yield key, None if count % 11 == 0 else text


def main(folder: str, number: int) -> None:
    """Write until killed."""
    with holdfast.open(folder, bucket_bytes=BUCKET_BYTES, sync="never") as store:
        space = store.namespace("n")
        if not space.index_rules().rules:
            space.index_rules([IndexRule()])
        for count, (key, text) in enumerate(changes(number)):
            if text is None:
                space.delete(key, missing_ok=True)
            else:
                space.put(key, text)
            if count % 5 == 0:
                space.search("fox")
                for index in store.searcher.gathered(b"n").indexes:
                    index.save()
            os.write(1, f"{count}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
