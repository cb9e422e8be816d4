"""Record connects with OpenTelemetry: spans, their phases, and a histogram.

Run it with ``python examples/opentelemetry_connect.py``; it needs the extras ``demo`` and ``otel``, and the package
``opentelemetry-sdk``. An application sends spans and metrics to a collector. This example prints them.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from babar_tls import InvalidPassword, Session, telemetry
from babar_tls.testing import PostgresServer


def show(span: ReadableSpan) -> str:
    """Return one line for a span: its name, its milliseconds, and what was negotiated."""
    duration = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    attributes = span.attributes or {}
    names = ("tls.protocol.version", "babar_tls.auth_method", "error.type", "db.response.status_code")
    facts = [f"{name}={attributes[name]}" for name in names if name in attributes]
    return " ".join([f"{span.name:10}", f"{duration:7.1f} ms", *facts]) + "\n"


def main() -> None:
    """Connect twice, once with a wrong password."""
    tracer_provider = TracerProvider()
    tracer_provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=show)))
    reader = InMemoryMetricReader()
    trace.set_tracer_provider(tracer_provider)

    with PostgresServer(roles={"app": "secret"}) as server:
        uninstrument = telemetry.instrument(meter_provider=MeterProvider([reader]), child_spans=True)
        config = server.config(user="app", password="secret")
        with trace.get_tracer("example").start_as_current_span("request"):
            Session.connect(config).close()
            try:
                Session.connect(config.replace(password="wrong"))
            except InvalidPassword as error:
                print(error.message)
        uninstrument()

    data = reader.get_metrics_data()
    for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
        for point in metric.data.data_points:
            print(metric.name, "count:", getattr(point, "count", None), (point.attributes or {}).get("error.type", ""))


if __name__ == "__main__":
    main()
