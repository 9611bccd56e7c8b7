"""Put the golden bytes down anew, when the format is to change: ``python -m tests.golden.write``.

Run it from the root of the checkout, with the product on the path, and read the
diff: each line that differs is a byte on somebody's disk. What older versions
wrote stays where it is, under ``stores``, and must still open; with the word
``store`` such a store is written by this version, in place of one of the same.

A golden file is text: a name, then its bytes as indented lines of hex.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.golden.making import pieces, tiny_store
from tests.golden.making_tree import tree_files
from tests.golden.old import write_store

BYTES = Path(__file__).resolve().parent / "bytes"
MAKERS: dict[str, Callable[[], dict[str, bytes]]] = {
    "layouts.txt": pieces,
    "tiny-store.txt": tiny_store,
    "tree.txt": tree_files,
}
INDENT = "  "
LINE = 96  # hex digits of one line


def written(named: dict[str, bytes]) -> str:
    """Named bytes as the text of a golden file."""
    lines = []
    for name, data in named.items():
        digits = data.hex()
        lines.append(name)
        lines += [INDENT + digits[at : at + LINE] for at in range(0, len(digits), LINE)]
    return "\n".join(lines) + "\n"


def read(file: str) -> dict[str, bytes]:
    """The named bytes of a golden file."""
    digits: dict[str, str] = {}
    name = ""
    for line in (BYTES / file).read_text().splitlines():
        if line.startswith(INDENT):
            digits[name] += line.strip()
        else:
            name = line
            digits[name] = ""
    return {name: bytes.fromhex(told) for name, told in digits.items()}


def main(words: list[str]) -> None:
    """Write the golden files, or a store of this version."""
    if words == ["store"]:
        print(write_store())
        return
    BYTES.mkdir(exist_ok=True)
    for file, make in MAKERS.items():
        (BYTES / file).write_text(written(make()))


if __name__ == "__main__":
    main(sys.argv[1:])
