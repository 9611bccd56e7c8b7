"""HTTP/2 as gRPC uses it: connections, header blocks, flow control, calls (RFC 9113, 7541).

Comes in: bytes of a connection, from anybody; methods, from whoever adds them to the server.
Goes out: calls, to their methods; messages and trailers, to the caller.
Keeps: connections and the calls under way on each; header blocks that it has read before.
Must never know: what a method does, who may call it, what anything costs.
Invariants: what a caller makes it keep is bounded by numbers that stand in ``bounds.py``; what
breaks the protocol ends its call or its connection and nothing else; messages of a call arrive and
leave in order.
"""
