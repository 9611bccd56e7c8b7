"""Identity: who asks.

In: tokens, attestation documents, signed requests of enclaves, from the doors;
whose signatures count (issuers, roots), from the operator; where small durable
records lie, from ``access``.
Out: a ``Principal``, or an error that says why nobody is believed; tokens and links.
Keeps: the store's signing key, in a file of its own that no backup holds; what
was revoked; sessions of enclaves; verified credentials for as long as they hold.
Must never know: what a request does, where its bytes lie, what it costs, how it
travelled.
Invariants: nothing is believed in part; a cache never outlives what it caches;
the algorithm is the key's, never the token's; a signing key leaves its file only
as signatures; time and chance are handed in.
"""
