"""Other programs' formats and faces, spoken on top of the store.

Comes in: bytes and folders that other programs wrote, from the command line and from
whoever uses the package. Goes out: the same bytes, and objects of a namespace.
Keeps nothing. Must never know: how a store keeps what it is given, nor who asks for it.
Invariants: what is read and written again is the same to the byte; what cannot be read for
certain is refused and changes nothing; one adapter does not know another.
"""
