"""Asking a server for proofs, and believing what they convince of; a part of the calls.

What checks a proof is loaded only with a client that has the key (trust.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from holdfast.client.asks import Ask, Work
from holdfast.client.attested import ASK, Told
from holdfast.client.line import Line
from holdfast.client.reading import read
from holdfast.errors import Changed, InvalidValue, NotFound, ProofInvalid, VersionMismatch
from holdfast.request import arguments
from holdfast.values import Proven, ProvenParts, Stat
from holdfast.wire.batch import Call
from holdfast.wire.headers import range_text
from holdfast.wire.paths import encode_key, encode_query
from holdfast.wire.proofs import Answered
from holdfast.wire.values import decode

if TYPE_CHECKING:
    from holdfast.certify import watch
    from holdfast.certify.parts import Parts
    from holdfast.certify.verify import Verified
    from holdfast.client.trust import Trust

MSGPACK: Final = "application/msgpack"
PLAIN: Final[Mapping[str, str]] = MappingProxyType({})
LOOKS: Final = 5  # at an object that changes between two looks at it


class ProvingCalls:
    """What can be asked of a namespace with a proof; a part of ``NamespaceCalls``."""

    name: str
    _line: Line
    _root: str

    if TYPE_CHECKING:

        def batch(self, calls: Sequence[Call]) -> Work[list[object]]:
            """Carry out operations in one request; of the calls that this is a part of."""

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
        how = "sealed" if arguments.flag(sealed, "sealed") else "1"
        answered, before = yield from self._answered(self._object(key), {"proof": how})
        if self._line.trust is not None:
            self._line.trust.whole((self.name, key), answered, before)
        return _proven(answered)

    def get_proven(
        self, key: str, span: tuple[int, int] | None, prove: object
    ) -> Work[Proven | ProvenParts]:
        """A value, or the parts of it that a range reaches into, with the proof.

        Raises:
            NotFound: there is no object, with the proof of it. ProofInvalid: it does not convince.
        """
        if prove not in {True, "sealed"}:
            raise InvalidValue(argument="prove", reason='True or "sealed"')
        sealed = prove == "sealed"
        proven: Proven | ProvenParts
        if span is None:
            proven = yield from self.prove(key, sealed=sealed)
        else:
            answered, _, _ = yield from self._parts(key, arguments.pair(span), sealed=sealed)
            proven = ProvenParts(*_proof_of(answered), answered.first, answered.paths)
        if proven.value is None:
            raise NotFound(key=key, proof=proven.proof)
        return proven

    def prove_list(self, prefix: str = "", *, sealed: bool = False) -> Work[Proven]:
        """The proof of everything below a prefix (``holdfast.verify_list``); no value.

        Where the client has the store's public key, it is checked before it is returned.

        Raises:
            ProofInvalid: it does not convince. LimitExceeded: it is over 8 MiB.
        """
        arguments.text(prefix, "prefix")
        how = "sealed" if arguments.flag(sealed, "sealed") else "1"
        query = {"prefix": prefix, "proof": how}
        answered, before = yield from self._answered(f"{self._root}/objects", query)
        if self._line.trust is not None:
            self._line.trust.page((self.name, prefix), None, answered, before)
        return _proven(answered)

    def _object(self, key: str) -> str:
        return f"{self._root}/objects/{encode_key(key)}"

    def _answered(
        self, target: str, query: Mapping[str, str], headers: Mapping[str, str] = PLAIN
    ) -> Work[tuple[Answered, watch.Seen | None]]:
        """An answer with its proof, and the newest root that was seen when it was asked for."""
        trust = self._line.trust
        if trust is not None and trust.wants_key:
            yield from self._learn(trust)
        before = None if trust is None else trust.seen
        since = {} if before is None else {"since": str(before.log_size)}
        asked = f"{target}?{encode_query({**query, **since})}"
        ask = Ask("GET", asked, {"accept": MSGPACK, **headers}, repeatable=True)
        answer = yield from self._line.exchange(ask)
        try:
            return decode(answer.body, Answered, "msgpack"), before
        except InvalidValue:
            raise ProofInvalid(reason="missing") from None

    def _learn(self, trust: Trust) -> Work[None]:
        """Have the server show whose key it signs with."""
        answer = yield from self._line.exchange(ASK)
        try:
            told = decode(answer.body, Told, "msgpack")
        except InvalidValue:
            raise ProofInvalid(reason="missing") from None
        trust.learn(told.attestation)

    def _trust(self) -> Trust:
        if self._line.trust is None:
            raise AssertionError("only a client with the key comes here")
        return self._line.trust

    # -- what a client with the key believes ------------------------------------------------------

    def _get_proven(self, key: str, span: tuple[int, int] | None) -> Work[bytes]:
        """A value that was proved, or bytes of it; NotFound where absence was."""
        if span is not None:
            return (yield from self._range_proven(key, span, None))
        proven = yield from self.prove(key)
        if proven.value is None:
            raise NotFound(key=key, proof=proven.proof)
        return proven.value

    def _range_proven(self, key: str, span: tuple[int, int], version: int | None) -> Work[bytes]:
        """Bytes of a value, of which only the parts that they lie in are sent and checked.

        Raises:
            VersionMismatch: ``version`` is given, and the object has another.
        """
        start, stop = arguments.pair(span)
        answered, said, held = yield from self._parts(key, (start, stop))
        if said is None:
            raise AssertionError("only a client with the key comes here")
        if said.size is None:
            raise NotFound(key=key, proof=answered.proof)
        if version is not None and said.version != version:
            raise VersionMismatch(key=key, version=said.version)
        start, stop = arguments.byte_range((start, stop), said.size)
        if held is None or not held.start <= start <= stop <= held.start + len(held.data):
            raise ProofInvalid(reason="parts")
        return held.data[start - held.start : stop - held.start]

    def _parts(
        self, key: str, span: tuple[int, int], *, sealed: bool = False
    ) -> Work[tuple[Answered, Verified | None, Parts | None]]:
        """The parts of a value that a range reaches into, and what they prove to who can check."""
        arguments.compose(b"", key)
        start, stop = span
        headers = {"range": range_text(start, max(stop, start + 1))}
        query = {"proof": "sealed" if sealed else "1"}
        answered, before = yield from self._answered(self._object(key), query, headers)
        if self._line.trust is None:
            return answered, None, None
        return answered, *self._line.trust.parts((self.name, key), answered, before)

    def _said_of(self, key: str) -> Work[tuple[Answered, Verified]]:
        """What is proved of an object, without its value."""
        arguments.compose(b"", key)
        query = {"proof": "1", "value": "false"}
        answered, before = yield from self._answered(self._object(key), query)
        return answered, self._trust().object((self.name, key), answered, before)

    def _exists_proven(self, key: str) -> Work[bool]:
        return (yield from self.object_proven(key)).size is not None

    def object_proven(self, key: str) -> Work[Verified]:
        """What is proved of an object; its value is not sent."""
        _, said = yield from self._said_of(key)
        return said

    def _stat_proven(self, key: str) -> Work[Stat]:
        """What is told of an object, once it is as it is proved.

        Proofs say nothing of consumers, ``state``, ``permanent``, ``crc32c`` and ``bucket``.

        Raises:
            Changed: what is told and what is proved are not of one object, several times over.
        """
        for _ in range(LOOKS):
            told = yield from self._told_of(key)
            answered, said = yield from self._said_of(key)
            if said.size is not None:
                if told is not None and told.terminal and agrees(told, said):
                    return told
                continue
            below, _ = yield from self.page_proven(f"{key.removesuffix('/')}/", None, 1)
            if below and told is not None and not told.terminal:
                return told
            if not below and told is None:
                raise NotFound(key=key, proof=answered.proof)
        raise Changed(key=key)

    def stats_proven(self, said: Mapping[str, Verified]) -> Work[dict[str, Stat]]:
        """What is told of objects, as far as it is as it is proved; without what has gone.

        What changed between a proof and the look at it is looked at by itself.
        """
        calls = [Call("stat", key) for key in said]
        if not calls:
            return {}
        told = yield from self.batch(calls)
        found: dict[str, Stat] = {}
        for key, one in zip(said, told, strict=True):
            if isinstance(one, Stat) and one.terminal and agrees(one, said[key]):
                found[key] = one
                continue
            with suppress(NotFound):
                found[key] = yield from self._stat_proven(key)
        return found

    def _told_of(self, key: str) -> Work[Stat | None]:
        ask = Ask("GET", f"{self._root}/stat/{encode_key(key)}", repeatable=True)
        try:
            return read((yield from self._line.exchange(ask)), Stat)
        except NotFound:
            return None

    def page_proven(
        self, prefix: str, after: str | None, most: int
    ) -> Work[tuple[dict[str, Verified], str | None]]:
        """A page of the objects below a prefix, all of them proved, and behind what the next is."""
        query = {"prefix": prefix, "limit": str(most), "proof": "1"}
        if after is not None:
            query["after"] = after
        answered, before = yield from self._answered(f"{self._root}/objects", query)
        said = self._trust().page((self.name, prefix), after, answered, before)
        return said, answered.next


def agrees(told: Stat, said: Verified) -> bool:
    """Whether what a server tells of an object is what was proved, as far as proofs go."""
    return (told.size, told.version, told.modified_ns, told.expires_ns, told.content_type) == (
        said.size,
        said.version,
        said.modified_ns,
        said.expires_ns,
        said.content_type,
    )


def _proven(answered: Answered) -> Proven:
    return Proven(*_proof_of(answered))


def _proof_of(answered: Answered) -> tuple[bytes | None, bytes, int, int]:
    return answered.value, answered.proof, answered.revision, answered.time_ns
