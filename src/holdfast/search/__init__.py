"""Search: what was stored is found by its words, under the same rights, at once.

Comes in: from ``store``, queries and the rules of namespaces; from each bucket's log, what was
stored and removed. Goes out: matching keys in order, exact totals, facets. Keeps: per bucket and
namespace immutable runs of postings, in memory and beside the view on disk, up to a position of
the bucket's log. Must never know: who asks, what it costs, how it is transported; it never calls
the way.
Invariants: an index is a view: it is thrown away and made again from the log without loss; what
was removed, replaced or expired is counted nowhere; the order of an answer does not depend on
how the keys are cut into buckets; no write waits for it.
"""
