"""Placement: where every key lives, and how that changes.

Comes in: from the ground, the buckets that exist; from ``request``, a bucket that is
full and the key that found it so; from ``upkeep``, the wish to shrink.
Goes out: the directory, which names exactly one bucket for every possible key.
Keeps: the open buckets, one sorted table of their ranges, replaced as a whole.
Must never know: values, callers, namespaces (a composite key is bytes in an order).
Invariants: the ranges tile the keyspace, from its lowest key to its highest, before,
during and after every change; the directory is a view of the records in the buckets'
logs and has no truth of its own; one change of ranges at a time; a bucket with one
key stays whole; two neighbours that cannot be merged are left as they are.

``placement`` opens, grows and merges; ``directory`` finds; ``choose`` says where to
cut; ``bounds`` how far a bound may be passed, and slows who passes it; ``merging`` says
which neighbours become one.
"""
