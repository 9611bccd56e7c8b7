"""The workloads, one file each: a sentence of the issue's "Fast" made executable.

Comes in: a ``Job``. Goes out: an ``Outcome``. Each file offers ``measure`` and,
where the store must exist before the clock starts, ``prepare``; each step runs
in a process of its own.

Must never know: which engine it drives (only ``upkeep``, ``proofs`` and ``counts``
name ours), or what the target is.

Invariants: keys, values and batches are made before the clock starts; reads are
warmed by the same reads once; what was written is read back and compared after
the clock has stopped, so an engine that drops writes cannot win.
"""
