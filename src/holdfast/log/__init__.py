"""The log: the truth, and how a bucket finds its end again.

Comes in: from ``bucket``, groups of encoded records to append, key blocks to put
behind ended segments, and what a segment's beginning must say; from the ground
(``engines/port.py``), segments.
Goes out: positions (segment, place, chain digest); verified groups, records and
values; key blocks; Corrupt with the position, FormatTooNew, or the OSError of the
ground.
Keeps: which segment is active, where its groups end and up to where they are
durable; what ended segments exist, where each ends and under which name it was
written; maps of sealed segments and the key blocks that were asked for.
Must never know: what a record means to an object (``entry.fold`` says it once, and
``bucket`` calls it), who asks, what time it is, whether a view exists.
Invariants: a group is there whole or not at all; what lies behind the end that the
next segment names is no part of the log, whatever it looks like; an ended segment
changes no byte of its groups; only the key block is ever written behind them;
nothing is shortened in place; no acknowledged byte depends on a view.

``records``, ``group`` and ``header`` draw the bytes from the inside outwards,
``entry`` is what an index says of an object, ``keyblock`` a sealed segment's own
index; ``log`` appends and reads, ``recovery`` opens. docs/FORMAT.md is the same,
for whoever reads the bytes without this package. ``runs`` takes plain
stores out of both by columns, ``ordering`` sorts in short calls. ``sealed`` is for the few files
that are JSON.
"""
