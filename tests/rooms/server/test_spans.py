"""Requests are told to OpenTelemetry where somebody has set it up, by its own SDK."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import holdfast
from holdfast.server.spans import span_maker
from holdfast.testing.serving import Serving


def test_nobody_is_told_where_nobody_listens() -> None:
    assert span_maker() is None


def test_each_request_is_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(heard))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with (
        holdfast.open(":memory:", upkeep=False) as store,
        Serving(store) as serving,
        holdfast.connect(serving.url, token=serving.token()) as client,
    ):
        client.namespace("acme").put("secret-key", b"value")
        with pytest.raises(holdfast.NotFound):
            client.namespace("acme").get("absent")
    provider.shutdown()
    told = {span.name: span for span in heard.get_finished_spans()}
    stored, loaded = told["holdfast.store"], told["holdfast.load"]
    assert stored.kind is trace.SpanKind.SERVER
    assert stored.attributes is not None
    assert loaded.attributes is not None
    assert stored.attributes["http.response.status_code"] == 200
    assert stored.attributes["holdfast.namespace"] == "acme"
    assert loaded.attributes["http.response.status_code"] == 404
    assert stored.start_time is not None
    assert stored.end_time is not None
    assert stored.start_time <= stored.end_time
    assert "secret-key" not in str([span.to_json() for span in told.values()])
