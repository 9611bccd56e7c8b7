"""How a namespace finds what it loads: the bucket that was asked last, and what counts there."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.bucket import counted
from holdfast.errors import Changed, InvalidValue, Moved, NotFound
from holdfast.request import arguments, large

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.counted import Reads
    from holdfast.log.entry import Entry
    from holdfast.placement.directory import Directory
    from holdfast.request import describe
    from holdfast.request.corridor import Corridor

    Near = tuple[Bucket, Reads | None]
    Loaded = tuple[Bucket, Reads | None, bytes | Entry]


class Loading:
    """What ``get`` needs beside the common case; a part of ``Namespace``."""

    _corridor: Corridor
    _directory: Directory
    _payer: bytes  # as purses call it
    _space: bytes
    # The bucket that was asked last, and what counts loads there if somebody pays for them. One
    # tuple, so that threads see one bucket's or another's.
    _near: Near

    def _find(self, composite: bytes) -> Near:
        """The bucket that holds a key now; keys near it are likely to be asked for next."""
        while True:
            bucket = self._directory.find(composite)
            self._near = near = bucket, bucket.reads.get(self._payer)
            if bucket.start <= composite < bucket.stop:
                return near
            self._directory.look_again()

    def _begin_to_count(self, bucket: Bucket, size_bytes: int) -> None:
        """Count a load in a bucket that has a purse: from the next one on, it may be known which.

        Raises:
            BalanceEmpty: reads are refused too.
        """
        counted.load(bucket, self._payer, size_bytes)
        reads = bucket.reads.get(self._payer)
        if reads is not None:
            self._near = bucket, reads

    def _load_again(self, key: str, error: Exception) -> Loaded:
        """The value from the bucket that holds a key now, where it moved meanwhile.

        Raises:
            NotFound, InvalidKey.
        """
        composite = arguments.compose(self._space, key)  # what was found had a valid key
        if isinstance(error, Moved):
            with suppress(NotFound):
                return self._corridor.read(composite, lambda b: (b, None, b.load(composite)))
        elif not isinstance(error, NotFound):
            raise error
        self._enter()
        raise NotFound(key=key) from None

    def _enter(self) -> None:
        """Count a request that will not be counted as a read, because it fails.

        Raises:
            LimitExceeded: there were too many.
        """
        gates = self._corridor.placement.settings.gates
        if gates.windows:
            gates.enter(self._payer)

    def _cut(self, key: str, value: bytes | Entry, span: tuple[int, int] | None) -> bytes:
        """The part of a value that is asked for; what lies in several places is put together.

        Raises:
            InvalidValue: it starts past the end.
        """
        if isinstance(value, bytes):
            start, stop = self._span(span, len(value))
            return value[start:stop]
        composite = self._space + key.encode()
        while True:
            entry = self._object(key, composite).entry
            start, stop = (0, entry.size) if span is None else self._span(span, entry.size)
            try:
                return b"".join(large.pieces(self._corridor, composite, key, entry, start, stop))
            except Changed:
                continue  # replaced meanwhile: the new one, then

    def _span(self, span: tuple[int, int] | None, size_bytes: int) -> tuple[int, int]:
        try:
            return arguments.byte_range(span, size_bytes)
        except InvalidValue:
            self._enter()
            raise

    def _object(self, key: str, composite: bytes) -> describe.Object:
        try:
            return self._corridor.read(composite, lambda bucket: bucket.object(composite))
        except NotFound:
            raise NotFound(key=key) from None
