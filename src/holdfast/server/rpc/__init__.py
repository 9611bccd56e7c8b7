"""The gRPC door: docs/PROTOCOL.md, section 8, beside HTTP in the same event loop.

Comes in: calls over HTTP/2, from anybody; the site that the HTTP door has made.
Goes out: calls down the way of a request, by the same admission, lanes, limits and counters as
those of HTTP; answers, with what they cost in their trailers.
Keeps: what is under way, and nothing that outlives the process.
Must never know: how objects are stored; HTTP's own words.
Invariants: a caller who may not ask over HTTP may not ask here; no call makes the server keep
more than a few messages of it in memory; the event loop never waits for the disk.
"""
