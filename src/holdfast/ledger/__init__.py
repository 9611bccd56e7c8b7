"""Ledger: the books. Who paid in, who paid whom, what was charged for what.

Comes in: deposits, transfers and rules (from an operator, through the store), and from each
bucket what it received, sent back and charged. Goes out: numbered transfers to buckets,
balances, entries, statements that anybody can compute again.

Keeps: pages of entries in the store itself, each naming the one before by its digest; in
memory, what they come to. It is history: nothing of it can be derived from anything else.

It must never know: keys, values, who asks, how a bucket keeps its float.

Invariants: an entry moves money, it never makes any: what accounts hold, what is under way to
buckets, what these hold and what was charged are together what was deposited, after every
entry; nothing is ever below zero; each account's entries form a chain of digests; a charge is
taken with everything that went into it, and only if that gives its amount.
"""
