"""Records of 0-stor as objects of a namespace, and objects as records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.adapters.sdstor.record import Form, Record
from holdfast.errors import Changed, InvalidValue, LimitExceeded
from holdfast.limits import VALUE_RECORD_BYTES

if TYPE_CHECKING:
    from holdfast.store.namespace import Namespace

HELD: Final = "import"  # the consumer that an object has until it is marked
TRIES: Final = 8


def store_record(objects: Namespace, key: str, record: Record, form: Form = "counted") -> None:
    """Store a record as an object.

    Its ids become the object's reference list. A counted record without any was marked for
    deletion, and so is the object: readable until it is collected. A bare one never says that.

    Args:
        objects: the namespace to store into.
        key: the object's key.
        record: what is stored.
        form: what the record was read as.

    Raises:
        Permanent: an object is there that must stay. Nothing was stored.
    """
    ids = [_as_text(one) for one in record.consumers]
    marked = form == "counted" and not ids and not record.permanent
    held = [HELD] if marked else ids
    objects.put(key, record.payload, consumers=held, permanent=record.permanent)
    if marked:
        objects.consumers(key).set([])


def _as_text(consumer: bytes) -> str | bytes:
    """An id as text where it is some: other programs of 0-stor know no others."""
    try:
        return consumer.decode()
    except UnicodeDecodeError:
        return consumer


def record_of(objects: Namespace, key: str, form: Form = "counted") -> Record:
    """An object as a record.

    Args:
        objects: the namespace that it lies in.
        key: the object's key.
        form: what the record will be written as.

    Raises:
        NotFound: there is no such object.
        LimitExceeded: its value is over 1 MiB.
        InvalidValue: an object without consumers cannot be written as counted, unless it is
            marked or permanent: nothing there would tell it from one that is to be deleted.
        Changed: it was changed each time that it was read.
    """
    for _ in range(TRIES):
        found = objects.stat(key)
        if found.size > VALUE_RECORD_BYTES:
            limit = "VALUE_RECORD_BYTES"
            raise LimitExceeded(limit=limit, most=VALUE_RECORD_BYTES, asked=found.size)
        payload, ids = objects.get(key), objects.consumers(key).list()
        if form == "counted" and not ids and not (found.permanent or found.state == "marked"):
            raise InvalidValue(argument="consumers", reason="it has none and is not marked")
        if objects.stat(key) == found:
            consumers = tuple(one.encode() if isinstance(one, str) else one for one in ids)
            return Record(consumers, payload, permanent=found.permanent and form == "counted")
    raise Changed(key=key)
