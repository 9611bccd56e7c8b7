"""What verifies may say what cannot be: whoever writes the disk can write checksums, too."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from holdfast.errors import Corrupt, HoldfastError

CANNOT_BE: Final = (msgspec.MsgspecError, struct.error, ValueError, LookupError, OverflowError)


@contextmanager
def doubted(bucket: str) -> Iterator[None]:
    """Read what a bucket's log says inside: Corrupt where it is no such thing.

    Example:
        >>> from holdfast.errors import Corrupt
        >>> try:
        ...     with doubted("00" * 8):
        ...         msgspec.msgpack.decode(b"no state")
        ... except Corrupt as error:
        ...     print(error.what)
        a record says what cannot be: DecodeError
    """
    try:
        yield
    except HoldfastError:  # some of them are ValueErrors, too
        raise
    except CANNOT_BE as error:
        what = f"a record says what cannot be: {type(error).__name__}"
        raise Corrupt(position=f"bucket {bucket}", what=what) from error
