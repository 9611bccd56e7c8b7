"""What the doors say to each other: the house's words as bytes, and back (docs/PROTOCOL.md).

Comes in: values, errors and put options from a door that answers or asks; bytes, header
texts and paths from the other side, who may be anybody.
Goes out: bytes, header texts and paths; checked values, options and errors.
Keeps: nothing.
Must never know: sockets, who asks, what a store is. It turns words into bytes, no more.
Invariants: what was encoded here decodes to an equal value; whatever else arrives is refused
with a typed error, before anything is done about it; bytes of values and of credentials never
appear in a problem document.
"""
