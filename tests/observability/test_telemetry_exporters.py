"""Exporters of OpenTelemetry that use this library themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry import context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from babar_tls import Config, ConnectEvent, telemetry

from .opening import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan


class ConnectingExporter(SpanExporter):
    """An exporter that writes to a database."""

    def __init__(self, config: Config, style: str) -> None:
        self._config, self._style = config, style
        self.exported: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.exported += [span.name for span in spans]
        connect(self._config, self._style)
        return SpanExportResult.SUCCESS


def test_connects_of_an_exporter_are_not_recorded(config: Config, style: str, events: list[ConnectEvent]) -> None:
    exporter = ConnectingExporter(config, style)
    provider, reader = TracerProvider(), InMemoryMetricReader()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    meters = MeterProvider([reader])
    uninstrument = telemetry.instrument(provider, meters)
    try:
        connect(config, "blocking")
        for _ in range(3):
            assert provider.force_flush()
    finally:
        uninstrument()
        provider.shutdown()
    assert exporter.exported == ["connect"]
    assert len(events) == 2  # other callbacks are called
    data: Any = reader.get_metrics_data()
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert point.count == 1
    meters.shutdown()


@pytest.mark.parametrize(
    "key", [context._SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation"], ids=["sdk", "plain"]
)
def test_nothing_is_recorded_if_the_context_suppresses_instrumentation(config: Config, style: str, key: str) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    uninstrument = telemetry.instrument(provider)
    token = context.attach(context.set_value(key, True))
    try:
        connect(config, style)
    finally:
        context.detach(token)
        uninstrument()
        provider.shutdown()
    assert exporter.get_finished_spans() == ()
