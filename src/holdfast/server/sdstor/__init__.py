"""The faces of 0-stor: what its REST and gRPC clients ask, answered from namespaces.

Comes in: requests that are allowed to be asked, from the connections of this house.
Goes out: calls on a namespace; answers and refusals in 0-stor's own words.
Keeps: nothing. The figures of a namespace are the site's.
Must never know: sockets, tokens, how an object is kept.
Invariants: a label is an organisation's (identity/scopes.py), or nothing is done; what is
refused has changed nothing; both faces mean the same by an object and its reference list.
"""
