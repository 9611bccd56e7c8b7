"""The house's words as protobuf: one schema, of which the ``.proto`` is a printed copy.

Comes in: values, calls and results from a door; serialized messages from the other side.
Goes out: messages; checked values, calls and results.
Keeps: the message classes, made once from the schema.
Must never know: gRPC, sockets, who asks.
Invariants: every field stands for an argument of wire/batch.py or a field of values.py, so that
no operation can be said in one form and not in the other; a field's number never changes; what
``holdfast.proto`` says is what is spoken.
"""
