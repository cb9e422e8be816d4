"""pg8000 over the connections of babar-tls."""

from __future__ import annotations

import io
import math
import pickle
import socket
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pg8000", reason="needs the extra pg8000")

import pg8000
import pg8000.dbapi
import pg8000.legacy
import pg8000.native

import babar_tls
from babar_tls.integrations import pg8000 as secure
from babar_tls.testing import TlsInterceptor

from .relay import Relay

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer

OPENERS = [
    pytest.param(secure.connect, id="dbapi"),
    pytest.param(secure.native, id="native"),
    pytest.param(secure.legacy, id="legacy"),
]


def target(server: PostgresServer, **overrides: Any) -> babar_tls.Config:
    return server.config(**{"user": "app", "password": "secret", "channel_binding": "require", **overrides})


def value(connection: Any, sql: str) -> Any:
    if isinstance(connection, pg8000.native.Connection):
        return connection.run(sql)[0][0]
    cursor = connection.cursor()
    cursor.execute(sql)
    return cursor.fetchone()[0]


@pytest.mark.parametrize("opener", OPENERS)
def test_every_interface_connects_over_bound_tls(server: PostgresServer, backend: str, opener: Any) -> None:
    with opener(target(server, tls_backend=backend)) as connection:
        assert value(connection, "select ssl from pg_stat_ssl where pid = pg_backend_pid()") is True
        assert connection.security.channel_binding_type is not None
        assert connection.security.backend == backend
        assert connection.parameter_statuses["server_version"].startswith(server.version)


def test_classes_are_those_of_pg8000(server: PostgresServer) -> None:
    for opener, module in ((secure.connect, pg8000.dbapi), (secure.native, pg8000.native), (secure.legacy, pg8000)):
        with opener(target(server)) as connection:
            assert type(connection) is module.Connection


def test_conninfo_with_overrides(server: PostgresServer) -> None:
    conninfo = server.conninfo(user="app", password="secret", channel_binding="require")
    with secure.connect(conninfo, application_name="shop", database="template1") as connection:
        row = value(connection, "select current_setting('application_name') || ' in ' || current_database()")
        assert row == "shop in template1"


def test_unix_socket(server: PostgresServer) -> None:
    config = babar_tls.Config(
        host=str(server.socket_dir),
        port=server.port,
        user="app",
        password="secret",
        database="postgres",
        tls_mode="disable",
    )
    with secure.connect(config) as connection:
        assert value(connection, "select 1") == 1
        assert not connection.security.tls


def test_large_values_and_copy(server: PostgresServer, backend: str) -> None:
    with secure.native(target(server, tls_backend=backend)) as connection:
        text = "x" * 3_000_000
        assert connection.run("select cast(:text as text)", text=text) == [[text]]
        connection.run("create temporary table numbers (n int)")
        connection.run("copy numbers from stdin", stream=[f"{n}\n" for n in range(10_000)])
        received = io.BytesIO()
        connection.run("copy numbers to stdout", stream=received)
        assert received.getvalue().split() == [b"%d" % n for n in range(10_000)]


def test_notifications_and_notices(server: PostgresServer) -> None:
    with secure.native(target(server)) as connection:
        connection.run("listen topic")
        connection.run("notify topic, 'hello'")
        connection.run("do $$ begin raise notice 'noticed'; end $$")
        connection.run("select 1")
        assert [entry[1:] for entry in connection.notifications] == [("topic", "hello")]
        assert connection.notices[0][b"M"] == b"noticed"


@pytest.mark.parametrize("opener", OPENERS)
def test_refused_password_is_an_error_of_both_libraries(server: PostgresServer, opener: Any) -> None:
    with pytest.raises(babar_tls.InvalidPassword) as caught:
        opener(target(server, password="wrong-7"))
    error: Any = caught.value
    assert isinstance(error, pg8000.ProgrammingError)
    assert isinstance(error, pg8000.native.DatabaseError)
    assert error.args[0]["C"] == "28P01"
    assert "password authentication failed" in error.args[0]["M"]
    assert 'password authentication failed for user "app"' in str(error)
    assert "wrong-7" not in repr(error)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - the test made the bytes
    assert isinstance(copy, pg8000.ProgrammingError)
    assert str(copy) == str(error)


def test_missing_database_and_missing_entry(server: PostgresServer) -> None:
    with pytest.raises(pg8000.DatabaseError) as caught:
        secure.connect(target(server, database="nowhere"))
    assert caught.value.args[0]["C"] == "3D000"
    previous = "host all all all scram-sha-256"
    server.set_hba(["hostssl all all all reject"])
    try:
        with pytest.raises(pg8000.InterfaceError) as refused:  # the class of pg8000.connect for SQLSTATE 28000
            secure.legacy(target(server))
        assert refused.value.args[0]["C"] == "28000"
    finally:
        server.set_hba([previous, "local all all scram-sha-256"])


def test_refused_port_is_an_interface_error(server: PostgresServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(babar_tls.Unreachable) as caught:
            secure.connect(target(server, port=unused.getsockname()[1]))
    error = caught.value
    assert isinstance(error, pg8000.InterfaceError)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - the test made the bytes
    assert copy.errno == error.errno is not None


def test_certificate_of_another_authority_is_refused(server: PostgresServer, backend: str) -> None:
    with pytest.raises(babar_tls.CertificateError) as caught:
        secure.connect(target(server, tls_backend=backend, tls_root_cert_path=None, tls_default_roots=True))
    assert isinstance(caught.value, pg8000.InterfaceError)


@pytest.mark.parametrize(
    "name", ["ssl_context", "ssl", "command_timeout", "sock", "unix_sock", "source_address", "replication"]
)
def test_parameters_that_cannot_be_honoured_are_refused(server: PostgresServer, name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}.*\\. "):
        secure.connect(target(server), **{name: "x"})


def test_startup_parameters(server: PostgresServer) -> None:
    parameters = {"DateStyle": "German", "application_name": b"jobs", "client_encoding": "UTF-8"}
    keywords = {"startup_params": parameters, "tcp_keepalive": False, "port": str(server.port)}
    with secure.connect(target(server), **keywords) as connection:
        assert value(connection, "select current_setting('DateStyle')") == "German, DMY"
        assert value(connection, "select current_setting('application_name')") == "jobs"
    secure.connect(target(server), startup_params={"client_encoding": None}).close()  # None means the default
    for wrong, message in (
        ({"client_encoding": "latin1"}, "client_encoding"),
        ({"jit": b"\xff"}, r"startup_params\['jit'\] is not UTF-8"),
        ({"jit": 1}, r"startup_params\['jit'\] must be a str"),
        ({1: "on"}, r"startup_params\[1\] must be a str"),
        (["jit"], "startup_params must be a mapping"),
    ):
        with pytest.raises(babar_tls.ConfigError, match=message):
            secure.connect(target(server), startup_params=wrong)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("timeout", [0, -1, math.inf, math.nan, 1e300, 3e6, "5", True])
def test_timeout_that_a_socket_refuses_is_refused_before_the_connect(timeout: Any) -> None:
    with pytest.raises(babar_tls.ConfigError, match="timeout"):
        secure.connect("host=192.0.2.1 user=u", timeout=timeout)


@pytest.mark.parametrize("name", ["connect", "native", "legacy"])
def test_unknown_arguments_are_refused_with_the_name_of_the_function(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'sslmode'\. Use tls_mode"):
        getattr(secure, name)("host=192.0.2.1 user=u", sslmode="require")


def test_connection_keeps_no_password(server: PostgresServer) -> None:
    with secure.connect(target(server)) as connection:
        connection_text = repr([vars(connection), vars(connection._usock), connection._usock._stream])
        assert connection.password is None
        assert "secret" not in connection_text


def test_nothing_is_sent_in_plain_text(server: PostgresServer, backend: str) -> None:
    with Relay(server) as relay:
        with secure.native(target(server, port=relay.port, tls_backend=backend)) as connection:
            connection.run("select 'needle'")
        assert relay.sent[:8] == bytes.fromhex("0000000804d2162f")  # one SSLRequest, then the ClientHello
        assert relay.sent[8] == 22
        assert relay.sent.count(bytes.fromhex("0000000804d2162f")) == 1
        assert b"needle" not in relay.sent
        assert b"app" not in relay.sent


def test_interceptor_is_detected(server: PostgresServer) -> None:
    certificate = server.ca.issue("127.0.0.1")
    with (
        TlsInterceptor("127.0.0.1", server.port, certificate) as interceptor,
        pytest.raises(babar_tls.ChannelBindingRefused),
    ):
        secure.connect(target(server, port=interceptor.port))
