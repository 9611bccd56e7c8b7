"""Views: what is derived from a bucket's log, in memory and on disk, so that asking is quick.

Comes in: from ``bucket``, rows of ordered tables to put, delete and clear, in one
commit at a time; a folder to live in.
Goes out: rows as they were put, in byte order, each page of one snapshot; counts
of objects and of live bytes by segment; Corrupt wherever something does not verify.
Keeps: the overlays (the newest rows, in memory), one LMDB environment or ordered
map per bucket, the fingerprints in front of it, a bounded number of read
transactions.
Must never know: how a log is laid out or read, what an operation is, where other
buckets are.
Invariants: readers ask the overlays first, newest first, and the view last, and an
overlay leaves only after the view's commit, so no row is missed on its way down; a
commit shows whole or not at all; every row on disk carries a check over its table,
key and content; a damaged file is refused before LMDB maps it, and what is read before
that was judged page by page; a fingerprint is a guess that the record itself must
confirm; nothing here is needed to keep data: a view that is gone, old or damaged is
derived again.

``port`` is what is asked of any view; ``lmdb_view`` (with its ``lmdb_*`` files and
``long_keys``) and ``memory_view`` are the two; ``state`` layers overlays over one;
``prints`` is the short cut of a get, ``presence`` of who asks what a store replaces.
"""
