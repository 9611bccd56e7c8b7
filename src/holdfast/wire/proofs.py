"""An answer with a proof, as msgpack: of an object, of parts of one, or of a page of a list.

{"value", "proof", "revision", "time_ns"}     an object; what follows only where it says something
"first", "paths"                              of parts: the place of the first, each one's siblings
"next"                                        of a page: what goes into ``after``
"consistency", "inclusion"                    what leads here from the root that the caller knows
"""

from __future__ import annotations

import msgspec


class Answered(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer with a proof; docs/PROTOCOL.md section 6."""

    value: bytes | None
    proof: bytes
    revision: int
    time_ns: int
    first: int = 0
    paths: tuple[tuple[bytes, ...], ...] = ()
    next: str | None = None
    consistency: tuple[bytes, ...] = ()
    inclusion: tuple[bytes, ...] = ()

    @property
    def sent_bytes(self) -> int:
        """Bytes of value and proof: what whoever pays by it is sent, in any form."""
        return len(self.value or b"") + len(self.proof)
