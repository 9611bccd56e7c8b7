"""A process that reads until it is killed, and says how many reads were answered.

    python reader.py FOLDER

Once a hundred reads are on disk without a tick or another read, it says so: "charged".
Run by test_reads.py.
"""

from __future__ import annotations

import sys
from typing import Final

import holdfast
from holdfast.store import Store

KEYS: Final = 40
FIRST: Final = 100
TOLD: Final = 250
PAUSE_S: Final = 0.02


def charged(store: Store) -> int:
    """Operations that are paid for, durably."""
    return sum(purse.totals[2] for b in store.placement.directory for purse in b.purses.values())


def main(folder: str) -> None:
    """Read until killed."""
    with holdfast.open(folder) as store:
        space = store.namespace("acme")
        keys = list(space.list())
        for number in range(FIRST):
            space.get(keys[number % KEYS])
        while charged(store) < KEYS + FIRST:
            store.clock.sleep(PAUSE_S)
        print("charged", flush=True)
        count = FIRST
        while True:
            for number in range(TOLD):
                space.get(keys[number % KEYS])
            count += TOLD
            print(count, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
