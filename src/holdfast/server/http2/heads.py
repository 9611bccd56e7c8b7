"""Headers of a connection: put together, decoded in their order, and known again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.server.http2 import frames
from holdfast.server.http2.bounds import BLOCK_BYTES, BLOCKS_KEPT, FRAGMENTS
from holdfast.server.http2.coding import Decoder
from holdfast.server.http2.frames import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    Broken,
)
from holdfast.server.http2.opening import Opening, read
from holdfast.wire.protobuf.statuses import RESOURCE_EXHAUSTED

if TYPE_CHECKING:
    from holdfast.server.http2.bounds import Bounds
    from holdfast.server.http2.methods import Methods

Head = tuple[int, int, bytes]  # the stream, the flags of its first frame, the block
TOLERATED: Final = 4  # times what a header may have: is read, and its call alone refused
TOO_LARGE: Final = (RESOURCE_EXHAUSTED, "metadata larger than they may be")


class Heads:
    """What a connection knows of headers.

    Args:
        bounds: say how large one may be.
        methods: that calls are for.
    """

    def __init__(self, bounds: Bounds, methods: Methods) -> None:
        self._most_bytes = bounds.header_bytes
        self._methods = methods
        self._decoder = Decoder(bounds.header_bytes, bounds.header_count)
        self._block: list[bytes] = []  # of a header whose end has not come
        self._begun = (0, 0)  # its stream and its flags
        self._known: dict[bytes, Opening] = {}
        self._known_at = 0  # changes of the decoder's table by then

    @property
    def is_open(self) -> bool:
        """Whether the end of a header has not come: nothing else may come before it."""
        return bool(self._block)

    def begin(self, flags: int, stream: int, payload: bytes) -> Head | None:
        """Take a header's first frame; the header if that is all of it."""
        block = frames.unpadded(payload, flags)
        if flags & frames.PRIORITIZED:
            if len(block) < frames.PRIORITY_BYTES:
                raise Broken(FRAME_SIZE_ERROR)
            block = block[frames.PRIORITY_BYTES :]
        if flags & frames.END_HEADERS:
            return stream, flags, block
        self._block, self._begun = [block], (stream, flags)
        return None

    def go_on(self, flags: int, stream: int, payload: bytes) -> Head | None:
        """Take a header's next frame; the header if it was the last."""
        if not self._block or stream != self._begun[0]:
            raise Broken(PROTOCOL_ERROR)
        self._block.append(payload)
        size = sum(map(len, self._block))
        if len(self._block) > FRAGMENTS or size > TOLERATED * self._most_bytes:
            raise Broken(ENHANCE_YOUR_CALM)
        if not flags & frames.END_HEADERS:
            return None
        block, self._block = b"".join(self._block), []
        return *self._begun, block

    def skip(self, block: bytes) -> None:
        """Take a header that means nothing; the table must know it all the same."""
        self._decoder.decode(block)

    def opening(self, block: bytes) -> Opening:
        """What a header says; the same block says the same until the table changes.

        Raises:
            Broken: it cannot be decoded. Malformed: it is no request's.
        """
        decoder = self._decoder
        before = decoder.changes
        if self._known_at == before:
            known = self._known.get(block)
            if known is not None:
                return known
        fields = decoder.decode(block)
        if decoder.is_exceeded:
            begun = Opening(None, ())
            begun.refusal = TOO_LARGE
            return begun
        begun = read(fields, self._methods)
        if decoder.changes != self._known_at or len(self._known) >= BLOCKS_KEPT:
            self._known.clear()
            self._known_at = decoder.changes
        if decoder.changes == before and len(block) <= BLOCK_BYTES:
            self._known[block] = begun
        return begun
