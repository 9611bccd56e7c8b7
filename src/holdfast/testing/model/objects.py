"""What the model remembers: objects, locks, and how a put changes an object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crc32c import crc32c

from holdfast.errors import InvalidExpiry, NotFound
from holdfast.testing.face import PutOptions
from holdfast.testing.model import arguments
from holdfast.values import Stat, State

BUCKET = "model"  # the one bucket that everything lives in


@dataclass(frozen=True)
class Object:
    """One stored object. ``consumers`` is None until it has its first one."""

    value: bytes
    version: int
    modified_ns: int
    expires_ns: int | None = None
    consumers: tuple[str | bytes, ...] | None = None
    permanent: bool = False
    content_type: str | None = None

    @property
    def state(self) -> State:
        """Managed while it has consumers, marked when it has lost the last."""
        if self.consumers is None:
            return "unmanaged"
        return "managed" if self.consumers else "marked"

    def with_consumers(self, ids: Iterable[str | bytes]) -> tuple[str | bytes, ...] | None:
        """The list to keep when it becomes ``ids``: none at all stays unmanaged."""
        given = tuple(ids)
        return None if self.consumers is None and not given else given


@dataclass(frozen=True)
class Lock:
    """A lease as the model keeps it: who, since which version, until when."""

    id: str
    fence: int
    ttl_ns: int
    until_ns: int


@dataclass(frozen=True)
class Options:
    """The options of a put, checked."""

    ttl_ns: int | None
    keep_ttl: bool
    if_absent: bool
    if_version: int | None
    fence: int | None
    consumers: tuple[str | bytes, ...] | None
    permanent: bool
    content_type: str | None


def put_options(given: PutOptions) -> Options:
    """Check the options of a put, each alone and against each other."""
    ttl, consumers = given.get("ttl"), given.get("consumers")
    keep_ttl, permanent = given.get("keep_ttl", False), given.get("permanent", False)
    if ttl is not None and (keep_ttl or permanent):
        raise InvalidExpiry(ttl=ttl)
    return Options(
        ttl_ns=None if ttl is None else arguments.duration_ns(ttl),
        keep_ttl=keep_ttl,
        if_absent=given.get("if_absent", False),
        if_version=arguments.optional_integer(given.get("if_version"), "if_version"),
        fence=arguments.optional_integer(given.get("fence"), "fence"),
        consumers=None if consumers is None else tuple(arguments.consumer_list(consumers)),
        permanent=permanent,
        content_type=arguments.content_type_name(given.get("content_type")),
    )


def new_expiry(before: Object | None, options: Options, now_ns: int) -> int | None:
    """When the object that a put makes expires: kept, set anew, or never."""
    if not options.keep_ttl:
        return None if options.ttl_ns is None else now_ns + options.ttl_ns
    if before is None:
        raise NotFound
    if options.permanent and before.expires_ns is not None:
        raise InvalidExpiry
    return before.expires_ns


def new_consumers(before: Object | None, options: Options) -> tuple[str | bytes, ...] | None:
    """The reference list of the object that a put makes: as it was unless one is given."""
    if options.consumers is None:
        return None if before is None else before.consumers
    if before is None:
        return options.consumers or None
    return before.with_consumers(options.consumers)


def told(key: str, found: Object) -> Stat:
    """What stat says of an object."""
    return Stat(
        key=key,
        size=len(found.value),
        modified_ns=found.modified_ns,
        expires_ns=found.expires_ns,
        version=found.version,
        terminal=True,
        consumers=len(found.consumers or ()),
        permanent=found.permanent,
        state=found.state,
        content_type=found.content_type,
        crc32c=crc32c(found.value),
        bucket=BUCKET,
    )


def told_of_directory(name: str) -> Stat:
    """What stat says of a name that only other keys lie below."""
    return Stat(
        key=name,
        size=0,
        modified_ns=0,
        expires_ns=None,
        version=0,
        terminal=False,
        consumers=0,
        permanent=False,
        state="unmanaged",
        content_type=None,
        crc32c=0,
        bucket=BUCKET,
    )
