"""Certify: proofs that need no trust in who gives them.

Comes in: changes of a bucket's objects, read from what it holds (from the store), and bytes
that somebody claims to prove something (from anybody). Goes out: roots, signed roots, proofs,
receipts; and from the verifiers what a proof convinces of, or ``ProofInvalid``.

Keeps: nothing of its own that cannot be made again, but the log of signed roots, which is
history. The trees of buckets lie in pages beside their views, and are thrown away where
they do not verify or stand at no position of the log. The way of a request must never know
of it: a write pays nothing for it.

It must never know who asks, or what anything costs. ``verify``, ``merkle``, ``receipts`` and
all they need know nothing of the store: they stand alone, checked by an import contract.

Invariants: the same objects make the same tree whatever happened before; a proof that fails
convinces of nothing, neither presence nor absence; depth and bytes are bounded before
anything is hashed; only typed errors leave this room.
"""
