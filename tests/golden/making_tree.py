"""The files of a tree of proofs, of a few labels: a page and the index that names it."""

from __future__ import annotations

from hashlib import sha256

from holdfast.certify import pages, trie
from holdfast.certify.pages import FORMAT, Kept, Row
from holdfast.log.log import Position

LABELS = (b"a", b"a\x00", "k\u00e9".encode(), b"z" * 300)


def tree_files() -> dict[str, bytes]:
    """A page of ``tree-1.pages``, and the ``tree.index`` of a bucket that has no other."""
    digests = [sha256(label).digest() for label in LABELS]
    page = trie.page_of(LABELS, b"".join(digests), trie.partings(LABELS))
    block = pages.pack(page.columns)
    row = Row(1, 0, len(block), page.count, page.first, page.last, page.digest)
    at = Position(3, 88, 4_096, 0x0123456789ABCDEF)
    kept = Kept(FORMAT, "00112233445566ff", b"", b"\xff", at, [(b"acme", [row])])
    return {"page": block, "index": pages.encode_index(kept)}
