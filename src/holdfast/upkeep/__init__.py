"""Upkeep: bounded steps on a tick that keep a store small, quick to open and sound.

Comes in: from the clock, that it is time; from ``store``, a budget, or the wish to
check, collect or back up now; from ``request``, that a writer waits for memory.
Goes out: checkpoints, key blocks, time marks, removals of what expired, freed space,
merged buckets, a backup; reports and a list of what failed.
Keeps: one thread, if it was asked for, and one that only syncs, where writes do not wait
for that; where a round stopped; when each sealed segment was last found good.
Must never know: what a value says, who a caller is; it never runs on the thread that
commits for others.
Invariants: between two slices of work it sleeps at least as long as it worked, unless
somebody waits for it; one bucket's failure is that bucket's; a segment is dropped only
when the view has absorbed it, nothing in it is alive and no backup still copies it;
what cannot be done now is done in a later round.

``upkeep`` says what is due and when; ``expire`` removes what nobody can see;
``reclaim`` and ``space`` choose segments to collect; ``scrub`` reads what nobody
reads; ``syncing`` syncs beside writers; ``pacing`` sleeps; ``check`` reads everything;
``backup`` copies one moment; ``status`` tells.
"""
