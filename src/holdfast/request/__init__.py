"""The way of a request: the one corridor between what callers ask and the buckets.

Comes in: from ``store``, operations and reads with checked arguments; from
``upkeep``, the same; from ``placement``, the directory.
Goes out: results and typed errors, in the order asked; streams, lists, locks,
reference lists and mappings that walk the same corridor.
Keeps: what ``put_soon`` has queued and what of it failed. Nothing else: a list's
cursor is its last key, a large object's state lies in the bucket of its key.
Must never know: how records and rows are laid out in files, which thread commits.
Invariants: what callers hand in is checked before anything is touched; an operation
that meets Moved is asked again of the key's new bucket and applied once; a batch is
cut by bucket, and each piece commits as a whole; a manifest is written after its
parts; memory comes before waiting, waiting before refusing.

``corridor`` carries; ``arguments`` checks; ``large`` cuts and joins objects over
1 MiB; ``shared`` bounds long keys over the borders of buckets; ``listing``,
``describe``, ``streams``, ``handles`` and ``soon`` are what a namespace hands out.
"""
