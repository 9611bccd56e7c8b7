"""How a namespace proves what it holds; loaded when the first proof is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import InvalidValue, NotFound
from holdfast.request import arguments
from holdfast.values import Proven, ProvenParts

if TYPE_CHECKING:
    from holdfast.charges import Kind
    from holdfast.store.store import Store


class Proving:
    """How a namespace proves what it holds; a part of ``Namespace``."""

    name: str
    _store: Store
    _space: bytes

    if TYPE_CHECKING:

        def _count(self, composite: bytes, kind: Kind, sent_bytes: int) -> bool:
            """Count a read; of the namespace that this is a part of."""

    def prove(self, key: str, *, sealed: bool = False) -> Proven:
        """The value of a key, or None where there is no object, and the proof of either.

        Args:
            key: the object's key.
            sealed: take the newest seal where it still says what is there; it may be older
                than the call. Else a seal is made that holds all that was visible before it.

        Raises:
            Changed: the object changed each time it was looked at.

        Example:
            >>> import holdfast
            >>> with holdfast.open(":memory:") as store:
            ...     acme = store.namespace("acme")
            ...     key = store.public_key()
            ...     receipt = acme.put("a", b"1")
            ...     one, none = acme.prove("a"), acme.prove("b")
            >>> holdfast.verify("acme", "a", b"1", one.proof, public_key=key).size
            1
            >>> holdfast.verify("acme", "b", None, none.proof, public_key=key).size is None
            True
        """
        proven = self._store.certifier.prove(self.name, key, sealed=sealed)
        self._proved(key, proven)
        return proven

    def prove_list(self, prefix: str = "", *, sealed: bool = False) -> Proven:
        """The proof of everything below a prefix (``holdfast.verify_list``); no value.

        Raises:
            Changed: an object changed each time it was looked at.
        """
        proven = self._store.certifier.prove_list(self.name, prefix, sealed=sealed)
        self._count(self._space, "A", len(proven.proof))
        return proven

    def _get_proven(
        self,
        key: str,
        prove: object,
        range: object,  # noqa: A002 - the face
    ) -> Proven | ProvenParts:
        """``get`` with a proof; NotFound carries the proof of absence."""
        if prove not in {True, "sealed"}:
            raise InvalidValue(argument="prove", reason='True or "sealed"')
        certifier, sealed = self._store.certifier, prove == "sealed"
        proven: Proven | ProvenParts
        if range is None:
            proven = certifier.prove(self.name, key, sealed=sealed)
        else:
            span = arguments.pair(range)
            proven = certifier.prove_parts(self.name, key, span, sealed=sealed)
        if proven.value is None:
            raise NotFound(key=key, proof=proven.proof)
        self._proved(key, proven)
        return proven

    def _proved(self, key: str, proven: Proven | ProvenParts) -> None:
        sent_bytes = len(proven.value or b"") + len(proven.proof)
        self._count(arguments.compose(self._space, key), "C", sent_bytes)
