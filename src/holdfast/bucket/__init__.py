"""The bucket: one bounded unit of storage with one owner, which decides and remembers.

Comes in: from ``request`` and ``upkeep``, batches of operations with composite keys,
reads and pages; from ``placement``, where to fork and whom to merge with; from
whoever opens the store, the ground, the clocks and the bounds (``settings``).
Goes out: receipts, values, index entries, pages; the errors that refuse an
operation, each changing nothing; Moved for what lies outside its range.
Keeps: its range, its one counter of versions and fences, what groups not yet
durable will change, who holds which lock; the log is its memory, the view its index.
Must never know: callers' spelling of keys beyond telling them back, other buckets'
keys (but for a child's parent while it borrows, and a neighbour during a merge),
threads but those that call it.
Invariants: a change is decided, gathered, written, synced and published in that
order, and what was decided on a group that failed fails with it; records carry
effects, never requests; versions only grow; of a key's records the highest version
wins, whatever the order in the log; what it answers lies inside its range; one
record in one log is the commit point of a split and of a merge; whatever a crash
leaves between a decision and its last step is done again by whoever opens it.

Begin with ``bucket``; ``deciding`` takes a batch in and ``plan`` (``plain`` is its quick
way) decides each operation, ``group`` gathers, ``commit`` brings to disk (``behind`` later,
beside the writers), ``read`` answers, ``birth`` creates and recovers (``replay`` applies
what the log says), ``dormant`` stands for one that nobody asked yet, ``checkpoint`` and
``seal`` bound what recovery reads, ``collect`` gives space back and ``rewrite`` writes
records again for it, ``fork`` splits, rolls and merges, ``sharing`` bounds long keys,
``locks`` and ``rows`` are what their names say.
"""
