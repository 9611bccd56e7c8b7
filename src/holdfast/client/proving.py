"""Asking a server for proofs, and believing what they convince of; a part of the calls.

What checks a proof is loaded when the first is asked for.
"""

from __future__ import annotations

from holdfast.client.asks import Ask, Work
from holdfast.client.line import Line
from holdfast.errors import InvalidValue, NotFound, ProofInvalid
from holdfast.request import arguments
from holdfast.values import Proven
from holdfast.wire.paths import encode_key
from holdfast.wire.values import decode

MSGPACK = "application/msgpack"


class ProvingCalls:
    """What can be asked of a namespace with a proof; a part of ``NamespaceCalls``."""

    name: str
    _line: Line
    _root: str

    def prove(self, key: str, *, sealed: bool = False) -> Work[Proven]:
        """The value of a key, or None where there is no object, and the proof of either.

        Where the client has the store's public key, it is checked before it is returned.

        Args:
            key: the object's key.
            sealed: take the newest seal, which may be older than the call.

        Raises:
            ProofInvalid: it does not convince. LimitExceeded: the value is over 64 MiB.
        """
        arguments.compose(b"", key)
        trust = self._line.trust
        least = 0 if trust is None else trust.revision
        how = "sealed" if arguments.flag(sealed, "sealed") else "1"
        target = f"{self._root}/objects/{encode_key(key)}?proof={how}"
        ask = Ask("GET", target, {"accept": MSGPACK}, repeatable=True)
        answer = yield from self._line.exchange(ask)
        try:
            proven = decode(answer.body, Proven, "msgpack")
        except InvalidValue:
            raise ProofInvalid(reason="missing") from None
        if trust is not None:
            trust.check((self.name, key), proven, least)
        return proven

    def _get_proven(self, key: str, span: tuple[int, int] | None) -> Work[bytes]:
        """A value that was proved, or bytes of it; NotFound where absence was."""
        proven = yield from self.prove(key)
        value = proven.value
        if value is None:
            raise NotFound(key=key, proof=proven.proof)
        if span is None:
            return value
        start, stop = arguments.byte_range(span, len(value))
        return value[start:stop]
