"""The code that header fields are packed in (RFC 7541, appendix B).

The code is canonical: the lengths of its words say all of it. Shorter words come first, those of
one length in the order of their symbols, each one more than the one before.
"""

from __future__ import annotations

from functools import cache
from typing import Final

# Of the words for the bytes 0 to 255, and of the end, which is never sent.
LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c"
    "060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
    "0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
    "1416141416161617161717171717181718181617181717171715161716171718"
    "1615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
    "1e"
)
END: Final = 256
PADDING_BITS: Final = 7  # at most, and ones only: the beginning of the end's word
NIBBLE, NIBBLE_BITS = 16, 4

Step = tuple[int, int | None]  # the node that four bits lead to, and the byte they complete


class Damaged(ValueError):
    """Bytes that are no text in this code."""


def words() -> list[int]:
    """The word of each symbol."""
    found = [0] * len(LENGTHS)
    word = length = 0
    for symbol in sorted(range(len(LENGTHS)), key=lambda one: (LENGTHS[one], one)):
        word <<= LENGTHS[symbol] - length
        length = LENGTHS[symbol]
        found[symbol] = word
        word += 1
    return found


@cache
def _steps() -> tuple[list[list[Step | None]], list[bool]]:
    """Where four bits lead from each node, and at which nodes a text may end."""
    tree = _tree()
    steps = [[_walk(tree, node, nibble) for nibble in range(NIBBLE)] for node in range(len(tree))]
    ends, node = [False] * len(tree), 0
    for _ in range(PADDING_BITS + 1):
        ends[node] = True
        node = tree[node][1]
    return steps, ends


def _tree() -> list[list[int]]:
    """Nodes by number: where 0 and 1 lead; a symbol is told as its complement."""
    tree: list[list[int]] = [[0, 0]]
    for symbol, word in enumerate(words()):
        node, last = 0, LENGTHS[symbol] - 1
        for at in range(last, -1, -1):
            bit = word >> at & 1
            if at == 0:
                tree[node][bit] = ~symbol
            elif not tree[node][bit]:
                tree.append([0, 0])
                tree[node][bit] = len(tree) - 1
            node = tree[node][bit]
    return tree


def _walk(tree: list[list[int]], node: int, nibble: int) -> Step | None:
    """Four bits from a node; None where they spell the end."""
    told: int | None = None
    for at in range(NIBBLE_BITS - 1, -1, -1):
        node = tree[node][nibble >> at & 1]
        if node < 0:
            told, node = ~node, 0
            if told == END:
                return None
    return node, told


def decode(packed: bytes) -> bytes:
    """The text that was packed.

    Raises:
        Damaged: there is none.

    Example:
        >>> decode(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff"))
        b'www.example.com'
    """
    steps, ends = _steps()
    text, node = bytearray(), 0
    for byte in packed:
        for nibble in (byte >> NIBBLE_BITS, byte & (NIBBLE - 1)):
            step = steps[node][nibble]
            if step is None:
                raise Damaged
            node, symbol = step
            if symbol is not None:
                text.append(symbol)
    if not ends[node]:
        raise Damaged
    return bytes(text)
