"""Access: may they? One decision for every door, from what was granted.

Comes in: from a door, who asks (``Principal``) and what (``Ask``); from whoever
administers a namespace, grants, published prefixes and origins.
Goes out: nothing where it is allowed; ``Unauthenticated`` or ``Forbidden``
with its reason where it is not; an audit line for what was refused and for
what an administrator did.
Keeps: per namespace one record of grants, published prefixes and origins, and
how often counted grants were used, in the store itself, under a name that no
caller can spell; all but the counters in memory too.
Must never know: how it was settled who asks; what a token or a wire looks
like; how an operation is carried out.
Invariants: nothing is allowed that no grant allows; a policy can only refuse,
and one that fails refuses; a counted grant is never used more often than
granted, across any crash; what was changed is durable before the answer.
"""
