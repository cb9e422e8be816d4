"""OpenTelemetry spans and metrics of connects.

::

    from babar_tls import telemetry

    uninstrument = telemetry.instrument()

The names are those of OpenTelemetry's semantic conventions for databases and TLS. There is no convention for a connect
itself. `docs/observability.md` lists all spans and attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import __version__
from .errors import Error, ServerError
from .hooks import ConnectEvent, on_connect
from .protocol.requests import Phase
from .tls.algorithms import iana_suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from .config import Config
    from .config.host import Host
    from .security import SecurityReport

__all__ = ["instrument"]

_SCOPE = "babar_tls"
_SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
_METRIC = "db.client.connection.create_time"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_CONNECT = "connect"
_SYSTEM = "postgresql"
_PHASES = tuple(phase.value for phase in Phase if phase is not Phase.QUERY)
_SQLSTATE_LENGTH = 5


def instrument(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    child_spans: bool = False,
) -> Callable[[], None]:
    """Record each connect as a span and in a histogram, from now on.

    The span ``connect`` is a child of the span that is current where `connect` was called. It is created after the
    connect, with the times of its begin and its end. Instrumenting twice records every connect twice.

    Args:
        tracer_provider: The provider of spans, by default OpenTelemetry's global one.
        meter_provider: The provider of metrics, by default OpenTelemetry's global one.
        child_spans: Also record a child span for each phase.

    Returns:
        A function without arguments that ends the instrumentation.

    Raises:
        ImportError: opentelemetry-api is not installed.
    """
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise ImportError("opentelemetry-api is not installed: pip install 'babar-tls[otel]'") from exc

    tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider, _SCHEMA)
    histogram = metrics.get_meter(_SCOPE, __version__, meter_provider, _SCHEMA).create_histogram(
        _METRIC,
        unit="s",
        description="The time it took to create a new connection.",
        explicit_bucket_boundaries_advisory=_BUCKETS,
    )
    return on_connect(_Recorder(tracer, histogram, child_spans=child_spans))


class _Recorder:
    """The callback that records a connect."""

    def __init__(self, tracer: Tracer, histogram: Histogram, *, child_spans: bool) -> None:
        self._tracer = tracer
        self._histogram = histogram
        self._child_spans = child_spans

    def __call__(self, event: ConnectEvent) -> None:
        if _is_suppressed():
            return
        failure = {} if event.error is None else {"error.type": type(event.error).__name__}
        self._record_span(event, failure)
        pool = {"db.client.connection.pool.name": _pool_name(event.config), "db.system.name": _SYSTEM}
        self._histogram.record(event.duration, {**pool, **failure})

    def _record_span(self, event: ConnectEvent, failure: dict[str, str]) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - an extra

        start = round(event.started * 1e9)
        span = self._tracer.start_span(
            _CONNECT, kind=trace.SpanKind.CLIENT, attributes=dict(_target(event)), start_time=start
        )
        if span.is_recording():
            span.set_attributes(dict(_outcome(event)))
            span.set_attributes(failure)
            if event.error is not None:
                span.set_status(trace.StatusCode.ERROR, _description(event.error))
            if self._child_spans:
                context, begin = trace.set_span_in_context(span), start
                for phase in _PHASES:
                    seconds = event.timings.get(phase, 0.0)
                    if seconds:
                        child = self._tracer.start_span(phase, context, start_time=begin)
                        begin += round(seconds * 1e9)
                        child.end(begin)
        span.end(start + round(event.duration * 1e9))


def _is_suppressed() -> bool:
    """Return True if the current context suppresses instrumentation, as in the SDK's threads that export.

    An exporter that connects would otherwise cause spans without end. The API has no public name for the key. Programs
    also set the key without the suffix that makes it unique.
    """
    from opentelemetry import context  # noqa: PLC0415 - an extra

    keys = ("suppress_instrumentation", getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", None))
    return any(key is not None and context.get_value(key) for key in keys)


def _target(event: ConnectEvent) -> Iterator[tuple[str, AttributeValue]]:
    """Yield the attributes that samplers may use."""
    host = event.host or event.config.targets[0]
    yield "db.system.name", _SYSTEM
    yield "db.namespace", event.config.database or event.config.user
    yield "server.address", _address(host)
    if not host.is_unix_socket:
        yield "server.port", host.port
        if event.address is not None:
            yield "network.peer.address", event.address
            yield "network.peer.port", host.port


def _outcome(event: ConnectEvent) -> Iterator[tuple[str, AttributeValue]]:
    """Yield the attributes of the result."""
    yield "babar_tls.round_trips", event.round_trips
    if event.security is not None:
        yield from _security(event.security)
    if isinstance(event.error, ServerError) and _is_sqlstate(event.error.code):
        yield "db.response.status_code", event.error.code


def _security(security: SecurityReport) -> Iterator[tuple[str, AttributeValue]]:
    yield "tls.established", security.tls
    if security.tls_version is not None:
        yield "tls.protocol.name", "tls"
        yield "tls.protocol.version", security.tls_version.removeprefix("TLSv")
    if security.cipher is not None:
        yield "tls.cipher", iana_suite(security.cipher)
    if security.group is not None:
        yield "tls.curve", security.group
    if security.alpn is not None:
        yield "tls.next_protocol", security.alpn
    if security.backend is not None:
        yield "babar_tls.backend", security.backend
    yield "babar_tls.verified", security.verified
    yield "babar_tls.channel_bound", security.channel_bound
    yield "babar_tls.auth_method", security.auth_method


def _description(error: BaseException) -> str | None:
    """Return the text of an error of this library. The text of another exception may contain a secret."""
    return str(error) if isinstance(error, Error) else None


def _is_sqlstate(code: str) -> bool:
    """Return True if a server, which may not be authenticated, has sent a valid SQLSTATE."""
    return len(code) == _SQLSTATE_LENGTH and code.isascii() and code.isalnum()


def _pool_name(config: Config) -> str:
    """Return a name for the connections of a configuration. It does not depend on the host that was selected."""
    host = config.targets[0]
    port = "" if host.is_unix_socket else f":{host.port}"
    return f"{_address(host)}{port}/{config.database or config.user}"


def _address(host: Host) -> str:
    return host.shown_path if host.is_unix_socket else host.host
