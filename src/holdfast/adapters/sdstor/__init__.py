"""The records of 0-stor (SDStor): their bytes, their checksum, and objects made of them.

Comes in: records as 0-stor kept them, one to a file. Goes out: objects with their reference
lists, and records of objects. Keeps nothing. Must never know: buckets, logs, doors.
Invariants: a record that is read and written again is the same to the byte; one that
contradicts itself is refused, with the place where it does; a payload is never taken whose
checksum fails.
"""

from __future__ import annotations

from holdfast.adapters.sdstor.crc32q import crc32q
from holdfast.adapters.sdstor.objects import record_of, store_record
from holdfast.adapters.sdstor.record import Form, Record, read_record, write_record

__all__ = ["Form", "Record", "crc32q", "read_record", "record_of", "store_record", "write_record"]
