"""Measurements of Holdfast beside what a user would pick instead.

Comes in: the rows of ``rows``, a scale, and engines behind one face
(``compare``). Each figure is taken by a fresh child process (``job``) that
runs one workload (``workloads``) on one engine, because threads, heap and
caches that one engine leaves behind would be billed to the next.

Goes out: ``results.json`` and the table that ``report`` draws from it.

Keeps: nothing but results; stores are made in a temporary folder and removed.

Must never know: how an engine works inside. What it may ask of Holdfast beyond
the public face is in one place, ``compare/ours.py``.

Invariants: engines alternate (ours, rival, ours, rival); a ratio is the lowest
of its pairs, never the best; a time on its own is never a claim; the keys and
values are functions of their number, so every engine gets the same bytes.
"""
