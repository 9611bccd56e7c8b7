"""What a put may be asked, checked once for every door."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.bucket.rows import encode_ids
from holdfast.errors import InvalidExpiry
from holdfast.operations import StoreOptions
from holdfast.request import arguments


def put_options(  # noqa: PLR0917 - the face
    ttl: object = None,
    keep_ttl: object = False,  # noqa: FBT002
    if_absent: object = False,  # noqa: FBT002
    if_version: object = None,
    fence: object = None,
    consumers: Iterable[str | bytes] | None = None,
    permanent: object = False,  # noqa: FBT002
    content_type: object = None,
    index: object = None,
    tags: object = None,
) -> StoreOptions:
    """The options of a put, checked.

    Raises:
        InvalidExpiry, InvalidValue, LimitExceeded: an option is not valid.
    """
    options = StoreOptions(
        None if ttl is None else arguments.duration_ns(ttl),
        arguments.flag(keep_ttl, "keep_ttl"),
        arguments.flag(if_absent, "if_absent"),
        arguments.optional_integer(if_version, "if_version"),
        arguments.optional_integer(fence, "fence"),
        None if consumers is None else encode_ids(consumers),
        arguments.flag(permanent, "permanent"),
        arguments.content_type(content_type),
        index=arguments.index(index),
        tags=arguments.tags(tags),
    )
    if options.ttl_ns is not None and (options.keep_ttl or options.permanent):
        raise InvalidExpiry(ttl=ttl, reason="excluded by keep_ttl or permanent")
    return options


OPTIONS = frozenset(
    (
        "ttl",
        "keep_ttl",
        "if_absent",
        "if_version",
        "fence",
        "consumers",
        "permanent",
        "content_type",
        "index",
        "tags",
    )
)


def known(options: dict[str, object]) -> dict[str, object]:
    """Options by name, none of them unknown; TypeError otherwise, as a call would have it."""
    unknown = set(options) - OPTIONS
    if unknown:
        message = f"put_many() got an unexpected keyword argument {min(unknown)!r}"
        raise TypeError(message)
    return options
