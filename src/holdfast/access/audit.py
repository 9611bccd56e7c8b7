"""One line in the log ``holdfast.audit`` per refused or administrative request.

The message is JSON; the same fields are at ``record.audit`` for formatters that bring
their own form. No credential is ever in it, only its id.
"""

from __future__ import annotations

import logging

import msgspec

from holdfast.access.grants import Ask
from holdfast.values import Principal

LOGGER = "holdfast.audit"
_audit = logging.getLogger(LOGGER)
_audit.addHandler(logging.NullHandler())  # a program that listens nowhere is not written to


def tell(event: str, principal: Principal, ask: Ask, **facts: object) -> None:
    """Write the line of one request.

    Args:
        event: "allowed" or "refused".
        principal: who asked.
        ask: for what.
        **facts: what else there is to say, such as the ``reason`` of a refusal.
    """
    level = logging.WARNING if event == "refused" else logging.INFO
    if not _audit.isEnabledFor(level):
        return
    line = {
        "event": event,
        "kind": principal.kind,
        "principal": principal.name,
        "credential": principal.credential,
        "operation": ask.operation,
        "namespace": ask.namespace,
        "key": ask.key,
        "address": ask.address,
        **facts,
    }
    _audit.log(level, "%s", msgspec.json.encode(line).decode(), extra={"audit": line})
