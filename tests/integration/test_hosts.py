"""Several hosts, on real servers: the order, the timeouts, and the attempts in the error."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import (
    AuthError,
    AuthRefused,
    Config,
    Host,
    InvalidPassword,
    TargetSessionError,
    TimeoutError,
    TlsMode,
    TlsRefused,
    Unreachable,
)
from babar_tls.testing import PostgresServer, ScriptedServer

from .conftest import PASSWORD
from .drivers import BACKENDS, STYLES, connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from babar_tls.testing import ScriptedPeer


@pytest.fixture
def closed_port() -> int:
    """Return a port on which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Return a port of a server that sends nothing."""

    def script(peer: ScriptedPeer) -> None:
        while peer.receive():
            pass

    with ScriptedServer(script) as server:
        yield server.port


def config_for(server: PostgresServer, *ports: int, **overrides: Any) -> Config:
    hosts = [Host("127.0.0.1", port) for port in ports]
    return server.config(user="scram_role", password=PASSWORD).replace(hosts=hosts, **overrides)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", STYLES)
def test_second_host_is_used_if_the_first_does_not_listen(
    tls_server: PostgresServer, closed_port: int, backend: str, style: str
) -> None:
    """The report names the second host, and cancel requests go to it."""
    config = config_for(tls_server, closed_port, tls_server.port, tls_backend=backend)
    with connected(config, style) as session:
        assert session.query("select current_user") == [("scram_role",)]
        assert session.host == Host("127.0.0.1", tls_server.port)
        assert session.config == config
        assert session.security.verified == "full"
        session.cancel()
        assert session.query("select 1") == [("1",)]


@pytest.mark.parametrize("style", STYLES)
def test_error_lists_every_host_with_its_reason(tls_server: PostgresServer, closed_port: int, style: str) -> None:
    hosts = [Host("127.0.0.1", closed_port), Host("localhost", closed_port, "127.0.0.1"), Host("no-such-host.invalid")]
    with (
        pytest.raises(Unreachable) as caught,
        connected(config_for(tls_server, closed_port).replace(hosts=hosts), style),
    ):
        pass
    refused = f'connection to server at "127.0.0.1", port {closed_port} failed: Connection refused'
    named = f'connection to server at "localhost" (127.0.0.1), port {closed_port} failed: Connection refused'
    lines = str(caught.value).splitlines()
    assert lines[:2] == [refused, named]
    assert lines[2].startswith(
        'connection to server at "no-such-host.invalid", port 5432 failed: could not translate host name'
    )
    assert len(caught.value.attempts) == 3


@pytest.mark.parametrize("style", STYLES)
def test_refusal_ends_the_search(
    tls_server: PostgresServer, plain_server: PostgresServer, closed_port: int, style: str
) -> None:
    """A wrong password and a missing support of TLS are refusals."""
    config = config_for(tls_server, closed_port, tls_server.port, tls_server.port, password="wrong")
    before = tls_server.log().count("password authentication failed")
    with pytest.raises(InvalidPassword) as caught, connected(config, style):
        pass
    assert tls_server.log().count("password authentication failed") == before + 1
    assert [type(attempt) for attempt in caught.value.attempts] == [Unreachable, InvalidPassword]
    with pytest.raises(TlsRefused), connected(config_for(tls_server, plain_server.port, tls_server.port), style):
        pass


@pytest.mark.parametrize("style", STYLES)
def test_connect_timeout_applies_to_each_host(tls_server: PostgresServer, silent_port: int, style: str) -> None:
    config = config_for(tls_server, silent_port, silent_port, tls_server.port, connect_timeout=1.5)
    start = time.monotonic()
    with connected(config, style) as session:
        assert session.host.port == tls_server.port
        assert sum(session.security.timings.values()) > 3
    assert time.monotonic() - start > 3
    with (
        pytest.raises(TimeoutError) as caught,
        connected(config_for(tls_server, silent_port, silent_port, connect_timeout=0.2), style),
    ):
        pass
    assert len(caught.value.attempts) == 2


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("wanted", "settings", "text"),
    [
        ("read-write", "-c default_transaction_read_only=off", None),
        ("read-write", "-c default_transaction_read_only=on", "session is read-only"),
        ("read-only", "-c default_transaction_read_only=on", None),
        ("read-only", "", "session is not read-only"),
        ("primary", "", None),
        ("standby", "", "server is not in hot standby mode"),
        ("prefer-standby", "", None),
    ],
)
def test_target_session_attrs_selects_the_session(
    tls_server: PostgresServer, style: str, wanted: str, settings: str, text: str | None
) -> None:
    """The error comes after all hosts were tried."""
    config = config_for(tls_server, tls_server.port, tls_server.port, target_session_attrs=wanted, options=settings)
    if text is None:
        with connected(config, style) as session:
            assert session.query("select 1") == [("1",)]
        return
    with pytest.raises(TargetSessionError, match=text) as caught, connected(config, style):
        pass
    assert len(caught.value.attempts) == 2


@pytest.fixture(scope="module")
def standby() -> Iterator[PostgresServer]:
    """Start a hot standby. It has no primary; it has replayed all of its WAL."""
    settings = {"wal_level": "replica", "max_wal_senders": "10", "hot_standby": "on"}  # as initdb had them
    with PostgresServer(settings=settings, files={"standby.signal": b""}) as server:
        yield server


#: What is wanted, and which of a standby and a primary is taken: by the order in which they are tried.
WANTED = [
    ("any", "standby", "primary"),
    ("read-write", "primary", "primary"),
    ("read-only", "standby", "standby"),
    ("primary", "primary", "primary"),
    ("standby", "standby", "standby"),
    ("prefer-standby", "standby", "standby"),
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("wanted", "standby_first", "primary_first"), WANTED)
def test_choice_between_primary_and_standby_is_that_of_libpq(  # noqa: PLR0917 - pytest passes them by name
    tls_server: PostgresServer,
    standby: PostgresServer,
    tmp_path: Path,
    style: str,
    wanted: str,
    standby_first: str,
    primary_first: str,
) -> None:
    """Each server has another password."""
    pq = pytest.importorskip("psycopg.pq", reason="compares with libpq: pip install psycopg[binary]")
    servers = {"standby": standby, "primary": tls_server}
    passfile = tmp_path / "pgpass"
    passfile.write_text("".join(f"*:{server.port}:*:*:{server.password}\n" for server in servers.values()))
    passfile.chmod(0o600)
    for order, expected in (("standby", "primary"), standby_first), (("primary", "standby"), primary_first):
        ports = ",".join(str(servers[name].port) for name in order)
        conninfo = (
            f"host=127.0.0.1,127.0.0.1 port={ports} user=postgres dbname=postgres sslmode=require "
            f"target_session_attrs={wanted} passfile={passfile}"
        )
        with connected(Config.from_conninfo(conninfo, environ={}), style) as session:
            assert session.host.port == servers[expected].port
            assert session.query("select pg_is_in_recovery()") == [("t" if expected == "standby" else "f",)]
        connection = pq.PGconn.connect(conninfo.encode())
        assert connection.port == str(servers[expected].port).encode(), connection.error_message
        connection.finish()


@pytest.mark.parametrize("style", STYLES)
def test_fallback_connects_to_the_same_address(
    tls_server: PostgresServer, closed_port: int, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection without TLS does not look the name up again."""
    lookups = []

    def look_up(*arguments: Any, **_: Any) -> list[Any]:
        lookups.append(arguments)
        places = [("127.0.0.1", closed_port), ("127.0.0.1", tls_server.port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", place) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    config = config_for(tls_server).replace(
        host="db.example", user="nosuch", tls_mode=TlsMode.PREFER, tls_fallback=True, tls_verify="none"
    )
    with pytest.raises(AuthRefused) as caught, connected(config, style):
        pass
    assert len(lookups) == 1
    assert [attempt.endpoint for attempt in caught.value.attempts] == [
        f'server at "db.example" (127.0.0.1), port {tls_server.port}',
    ] * 2
    assert ["no encryption" in str(attempt.message) for attempt in caught.value.attempts] == [False, True]


@pytest.mark.parametrize("style", STYLES)
def test_password_file_is_read_for_each_host(tls_server: PostgresServer, style: str, tmp_path: Path) -> None:
    """The error about a wrong password names the file."""
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"127.0.0.1:{tls_server.port}:*:scram_role:{PASSWORD}\n127.0.0.1:*:*:*:wrong\n")
    passfile.chmod(0o600)
    config = config_for(tls_server, tls_server.port, password=None, passfile=str(passfile))
    with connected(config, style) as session:
        assert session.security.channel_bound
        assert session.config.password is None
    passfile.write_text("*:*:*:*:wrong\n")
    with pytest.raises(InvalidPassword) as caught, connected(config, style):
        pass
    assert f'password retrieved from file "{passfile}"' in str(caught.value)
    passfile.chmod(0o644)
    with pytest.raises(AuthError, match="no password supplied"), connected(config, style):
        pass


@pytest.mark.skipif(
    not hasattr(socket, "SO_PEERCRED"), reason="this system does not report the owner of a socket's peer"
)
@pytest.mark.parametrize("style", STYLES)
def test_server_of_another_user_is_refused_before_anything_is_sent(tls_server: PostgresServer, style: str) -> None:
    owner = tls_server.data_dir.owner()
    config = config_for(tls_server).replace(host=str(tls_server.socket_dir), port=tls_server.port, require_peer=owner)
    with connected(config, style) as session:
        assert session.query("select 1") == [("1",)]
    other = config.replace(require_peer="another user")
    with pytest.raises(AuthError) as caught, connected(other, style):
        pass
    assert f'requirepeer specifies "another user", but actual peer user name is "{owner}"' in str(caught.value)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system does not support TCP_USER_TIMEOUT")
@pytest.mark.parametrize("style", STYLES)
def test_timers_are_set_on_the_socket(tls_server: PostgresServer, style: str) -> None:
    timers = {"keepalives_idle": 11, "keepalives_interval": 7, "keepalives_count": 3, "tcp_user_timeout": 4321}
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    with connected(config_for(tls_server, tls_server.port, **timers), style) as session:
        sock = getattr(session, "inner", session)._connection._socket
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        found = [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
        assert found == list(timers.values())
