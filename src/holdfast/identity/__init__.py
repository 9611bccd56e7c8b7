"""Identity: who asks.

In: tokens, attestation documents, signed requests of enclaves; from the doors.
Out: a ``Principal``, or an error that says why nobody is believed.
Keeps: the store's signing key, what was revoked, sessions of enclaves, and
verified credentials for as long as they hold.
Must never know: what a request does, where its bytes lie, what it costs, how it
travelled.
Invariants: nothing is believed in part; a cache never outlives what it caches;
time and chance are handed in.
"""
