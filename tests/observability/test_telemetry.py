"""Spans and metrics of connects, with OpenTelemetry's SDK in memory."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv._incubating.attributes import db_attributes, tls_attributes
from opentelemetry.semconv._incubating.metrics import db_metrics
from opentelemetry.semconv.attributes import error_attributes, network_attributes, server_attributes
from opentelemetry.trace import SpanKind, StatusCode

import babar_tls
from babar_tls import Config, Host, InvalidPassword, PasswordUnavailable, Unreachable, telemetry
from babar_tls.tls.algorithms import iana_suite, openssl_name

from .opening import connect, connect_async

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from babar_tls.testing import PostgresServer

SECRET = "hunter2-secret"
PHASES = ["tcp", "negotiate", "tls", "auth", "ready"]


class Recorded:
    """The spans and the metrics of a test."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader])

    def instrument(self, **options: Any) -> Callable[[], None]:
        return telemetry.instrument(self.tracer_provider, self.meter_provider, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def points(self) -> list[Any]:
        """Return the data points of the histogram."""
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        found = [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
        assert {(metric.name, metric.unit) for metric in found} == {("db.client.connection.create_time", "s")}
        return list(found[0].data.data_points)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    found = Recorded()
    yield found
    found.tracer_provider.shutdown()
    found.meter_provider.shutdown()


@pytest.fixture
def instrumented(recorded: Recorded) -> Iterator[Recorded]:
    uninstrument = recorded.instrument()
    yield recorded
    uninstrument()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_connect_is_a_client_span(config: Config, style: str, instrumented: Recorded) -> None:
    connect(config, style)
    (span,) = instrumented.spans
    assert (span.name, span.kind, span.status.status_code) == ("connect", SpanKind.CLIENT, StatusCode.UNSET)
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time > span.start_time
    assert span.instrumentation_scope is not None
    assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == (
        "babar_tls",
        babar_tls.__version__,
    )
    assert span.events == ()
    found = attributes(span)
    assert found.pop("babar_tls.round_trips") > 3
    assert found.pop("tls.cipher").startswith("TLS_")
    assert found.pop("tls.curve", None) != ""
    assert found == {
        "db.system.name": "postgresql",
        "db.namespace": config.database,
        "server.address": "127.0.0.1",
        "server.port": config.port,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": config.port,
        "tls.established": True,
        "tls.protocol.name": "tls",
        "tls.protocol.version": "1.3",
        "tls.next_protocol": "postgresql",
        "babar_tls.backend": "stdlib",
        "babar_tls.verified": "full",
        "babar_tls.channel_bound": True,
        "babar_tls.auth_method": "scram-sha-256-plus",
    }


def test_names_are_those_of_the_conventions() -> None:
    assert telemetry._METRIC == db_metrics.DB_CLIENT_CONNECTION_CREATE_TIME
    source = Path(telemetry.__file__).read_text(encoding="utf-8")
    for module in (db_attributes, tls_attributes, error_attributes, network_attributes, server_attributes):
        known = {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}
        namespaces = {value.partition(".")[0] for value in known}
        written = {
            text
            for text in source.split('"')[1::2]
            if text.partition(".")[0] in namespaces and "." in text and text != telemetry._METRIC
        }
        assert written <= known
        assert written


def test_span_is_a_child_of_the_current_span(config: Config, style: str, instrumented: Recorded) -> None:
    tracer = instrumented.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("request") as parent:
        connect(config, style)
    span, outer = instrumented.spans
    assert outer.name == "request"
    assert span.parent is not None
    assert span.parent.span_id == parent.get_span_context().span_id
    assert outer.start_time is not None
    assert span.start_time is not None
    assert span.end_time is not None
    assert outer.end_time is not None
    tolerance = 1_000_000_000  # the clock of the operating system may be set meanwhile
    assert outer.start_time - tolerance <= span.start_time <= span.end_time <= outer.end_time + tolerance


def test_spans_of_concurrent_tasks_have_their_own_parents(config: Config, instrumented: Recorded) -> None:
    tracer = instrumented.tracer_provider.get_tracer("test")
    parents = {}

    async def request(number: int) -> None:
        with tracer.start_as_current_span("request") as parent:
            parents[parent.get_span_context().span_id] = number
            await connect_async(config.replace(database=None, application_name=str(number), host="127.0.0.1"))

    async def main() -> None:
        await asyncio.gather(*(request(number) for number in range(5)), return_exceptions=True)

    asyncio.run(main())
    connects = [span for span in instrumented.spans if span.name == "connect"]
    assert {span.parent.span_id for span in connects if span.parent is not None} == set(parents)


def test_phases_are_child_spans_on_request(config: Config, style: str, recorded: Recorded) -> None:
    uninstrument = recorded.instrument(child_spans=True)
    try:
        connect(config, style)
    finally:
        uninstrument()
    *children, span = recorded.spans
    names = [child.name for child in children]
    # Without a wait after the authentication, the last phase takes no time.
    assert names in (PHASES, PHASES[:-1])
    assert {child.parent.span_id for child in children if child.parent is not None} == {span.context.span_id}
    assert children[0].start_time == span.start_time
    for first, second in pairwise(children):
        assert first.end_time == second.start_time
    assert span.end_time is not None
    assert children[-1].end_time is not None
    assert children[-1].end_time <= span.end_time + 1000  # nanoseconds, from rounding


def test_refused_login_is_an_error(config: Config, style: str, instrumented: Recorded) -> None:
    with pytest.raises(InvalidPassword):
        connect(config.replace(password=SECRET), style)
    (span,) = instrumented.spans
    assert span.status.status_code is StatusCode.ERROR
    assert "password authentication failed" in (span.status.description or "")
    found = attributes(span)
    assert (found["error.type"], found["db.response.status_code"]) == ("InvalidPassword", "28P01")
    assert found["network.peer.address"] == "127.0.0.1"
    assert "tls.established" not in found
    assert SECRET not in span.to_json()


def test_unreachable_server_is_an_error(refused: Config, style: str, instrumented: Recorded) -> None:
    with pytest.raises(Unreachable):
        connect(refused, style)
    (span,) = instrumented.spans
    found = attributes(span)
    assert found["error.type"] == "Unreachable"
    assert "db.response.status_code" not in found
    (point,) = instrumented.points()
    assert point.attributes["error.type"] == "Unreachable"


def test_exception_of_a_password_callable_is_not_shown(refused: Config, instrumented: Recorded) -> None:
    class StopNow(BaseException):
        pass

    def fail() -> str:
        raise (ValueError if len(instrumented.spans) == 0 else StopNow)(SECRET)

    for expected in (PasswordUnavailable, StopNow):
        with pytest.raises(expected):
            connect(refused.replace(password=fail), "blocking")
    first, second = instrumented.spans
    assert attributes(first)["error.type"] == "PasswordUnavailable"
    assert attributes(second)["error.type"] == "StopNow"
    assert second.status.description is None
    assert SECRET not in first.to_json() + second.to_json()
    assert "network.peer.address" not in attributes(first)
    assert attributes(first)["server.address"] == "127.0.0.1"


def test_metric_counts_connects_of_a_pool(config: Config, style: str, instrumented: Recorded) -> None:
    for _ in range(3):
        connect(config, style)
    (point,) = instrumented.points()
    assert point.count == 3
    assert dict(point.attributes) == {
        "db.client.connection.pool.name": f"127.0.0.1:{config.port}/{config.database}",
        "db.system.name": "postgresql",
    }
    assert 0.001 in point.explicit_bounds
    assert 0 < point.sum < 60


def test_address_is_that_of_the_selected_host_and_the_pool_name_is_not(
    config: Config, refused: Config, instrumented: Recorded
) -> None:
    hosts = (Host("127.0.0.1", refused.port), config.targets[0])
    connect(config.replace(hosts=hosts), "blocking")
    (span,) = instrumented.spans
    assert attributes(span)["server.port"] == config.port
    (point,) = instrumented.points()
    assert point.attributes["db.client.connection.pool.name"] == f"127.0.0.1:{refused.port}/{config.database}"


def test_unix_socket_has_no_port(server: PostgresServer, instrumented: Recorded) -> None:
    config = Config(host=str(server.socket_dir), port=server.port, user="app", password="secret", database="postgres")
    connect(config, "blocking")
    (span,) = instrumented.spans
    found = attributes(span)
    assert found["server.address"] == f"{server.socket_dir}/.s.PGSQL.{server.port}"
    assert found["tls.established"] is False
    assert not {"server.port", "network.peer.address", "tls.cipher"} & set(found)


def test_spans_that_are_not_sampled_cost_no_attributes(config: Config, recorded: Recorded) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF)
    uninstrument = telemetry.instrument(provider, recorded.meter_provider, child_spans=True)
    try:
        connect(config, "blocking")
    finally:
        uninstrument()
    assert len(recorded.points()) == 1


def test_uninstrument_ends_the_recording(config: Config, recorded: Recorded) -> None:
    uninstrument = recorded.instrument()
    uninstrument()
    uninstrument()
    connect(config, "blocking")
    assert recorded.spans == []


def test_no_error_is_logged(config: Config, instrumented: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    connect(config, "blocking")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_global_providers_are_the_default(refused: Config) -> None:
    """Without a provider, the API does nothing."""
    uninstrument = telemetry.instrument()
    try:
        with pytest.raises(Unreachable):
            connect(refused, "blocking")
    finally:
        uninstrument()


def test_missing_package_is_named() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(babar_tls.__file__).parents[1])!r})\n"
        "sys.modules['opentelemetry'] = None\n"
        "from babar_tls import telemetry\n"
        "try: telemetry.instrument()\n"
        "except ImportError as exc: print(exc)"
    )
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - this Python
    assert run.stdout.strip() == "opentelemetry-api is not installed: pip install 'babar-tls[otel]'"


def test_suites_have_the_names_of_iana() -> None:
    assert iana_suite("ECDHE-RSA-AES128-GCM-SHA256") == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    assert iana_suite("ECDHE-ECDSA-AES256-SHA384") == "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"
    assert iana_suite("AES256-SHA") == "TLS_RSA_WITH_AES_256_CBC_SHA"
    assert iana_suite("TLS_AES_256_GCM_SHA384") == "TLS_AES_256_GCM_SHA384"
    for suite in ssl.create_default_context().get_ciphers():
        name = iana_suite(suite["name"])
        assert name.startswith("TLS_")
        assert openssl_name(name) == suite["name"]
