"""Engines: the ground, where the bytes of every log live.

Comes in: from ``log``, buffers to append to a numbered segment of a bucket and
spans to read back; from whoever opens the store, a disk and the folders on it.
Goes out: segments that are durable when they say so; bytes as they were
written, or OSError as the kernel named it.
Keeps: one file per segment, ``<folder>/<bucket>/<number:016x>.seg``; a bounded
number of descriptors; per folder a ``reserve`` file of bytes set aside.
Must never know: what a record, a key or a value is; time; chance; who asks.
Invariants: a number is taken once (put-if-absent); what ``begin``, ``share``,
``drop`` and ``retire`` did is durable when they return; a failed append leaves
the size as it was; a failed sync is never followed by one that succeeds on the
same segment; no file is shortened but by zeros set aside behind its last byte, before
anybody maps it, so no map of one can lose its ground.

``port`` says what is asked of any ground (``Segments``) and of any operating
system (``Disk``); ``files`` keeps segments in files of any disk; ``disk`` is
the machine's own disk, ``ahead`` the same with zeros ahead of small writes, and
``memory`` one that lasts as long as the process; ``cached`` says what of a file is in memory,
``heap`` gives back what was freed, and ``whole`` writes files that are there whole or not at all.
"""
