"""Logs as lines of JSON: what the server says, and what was asked of it.

    {"time": 1767225600.123, "level": "info", "log": "holdfast.requests",
     "request": "5f0c-1a", "operation": "load", "namespace": "acme", "status": 200,
     "cost_atto": 0, "took_ms": 0.2, "address": "10.0.0.7"}

``time`` is in seconds since 1970. Keys of objects, values and credentials are never in them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

import msgspec

from holdfast.access.audit import LOGGER as AUDIT

if TYPE_CHECKING:
    from holdfast.server.answers import Answer
    from holdfast.server.requests import Request
    from holdfast.server.settings import Logged

REQUESTS = logging.getLogger("holdfast.requests")
REFUSED = 400
# What callers ask to find out, and find out many times a second, is no problem of the server's.
EXPECTED = frozenset((404, 409, 412, 416, 421, 423))


class JsonLines(logging.Formatter):
    """Each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "log": record.name,
        }
        told = getattr(record, "told", None) or getattr(record, "audit", None)
        line |= told if isinstance(told, dict) else {"message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def write_to(stream: TextIO) -> None:
    """Send every log of Holdfast to a stream, as JSON."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger("holdfast")
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False
    logging.getLogger(AUDIT).setLevel(logging.INFO)


def request_logger(logged: Logged) -> Callable[[Request, Answer, int, str], None] | None:
    """What logs an answered request; None where nothing of the kind is logged.

    Args:
        logged: "none", "problems" or "all".
    """
    if logged == "none":
        return None
    everything = logged == "all"

    def log(request: Request, answer: Answer, took_ns: int, name: str) -> None:
        if not everything and (answer.status < REFUSED or answer.status in EXPECTED):
            return
        if not REQUESTS.isEnabledFor(logging.INFO):
            return
        told = {
            "request": name,
            "operation": request.operation,
            "namespace": request.tenant.name if request.tenant is not None else "",
            "status": answer.status,
            "code": answer.code,
            "cost_atto": answer.cost_atto,
            "took_ms": round(took_ns / 1e6, 3),
            "address": request.address,
        }
        REQUESTS.info("%s", name, extra={"told": told})

    return log
