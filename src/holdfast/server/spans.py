"""Spans of OpenTelemetry for requests, where its API is installed; else nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.server.answers import Answer
    from holdfast.server.requests import Request

Span = Callable[["Request", "Answer", int, int], None]


def span_maker() -> Span | None:
    """What tells of an answered request; None where nobody would hear it."""
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None  # nobody has set one up
    tracer = trace.get_tracer("holdfast")

    def tell(request: Request, answer: Answer, ended_ns: int, took_ns: int) -> None:
        span = tracer.start_span(
            f"holdfast.{request.operation}",
            kind=trace.SpanKind.SERVER,
            start_time=ended_ns - took_ns,
            attributes={
                "http.request.method": request.method,
                "http.response.status_code": answer.status,
                "holdfast.namespace": request.tenant.name if request.tenant is not None else "",
                "holdfast.cost_atto": str(answer.cost_atto),
            },
        )
        span.end(ended_ns)

    return tell
