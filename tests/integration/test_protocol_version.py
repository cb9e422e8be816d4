"""Versions of PostgreSQL's protocol on a real server: 18 and later support 3.2, older ones only 3.0."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from babar_tls import ProtocolError, ServerError, Session
from babar_tls.net.blocking import BlockingConnection
from babar_tls.net.deadline import Meter
from babar_tls.net.establish import establish

from .conftest import major_version, require_version
from .drivers import BACKENDS, STYLES, connected

if TYPE_CHECKING:
    from babar_tls import AsyncSession, Config
    from babar_tls.net.establish import Ready
    from babar_tls.testing import PostgresServer


def newest(server: PostgresServer) -> str:
    return "3.2" if major_version(server) >= 18 else "3.0"


def ready(config: Config, *startup: tuple[str, str]) -> Ready:
    return establish(config, Meter(config.connect_timeout), BlockingConnection, startup=startup)


@pytest.mark.parametrize("style", STYLES)
def test_default_version_is_3_0(tls_server: PostgresServer, style: str) -> None:
    with connected(tls_server.config(), style) as session:
        assert session.protocol_version == "3.0"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("channel_binding", ["require", "prefer"])  # the first one is pipelined
def test_newest_common_version_is_selected(
    tls_server: PostgresServer, backend: str, style: str, channel_binding: str
) -> None:
    config = tls_server.config(
        tls_backend=backend, channel_binding=channel_binding, max_protocol_version="latest", tls_mode="require"
    )
    with connected(config, style) as session:
        assert session.protocol_version == newest(tls_server)
        assert session.query("select 1") == [("1",)]


def test_key_for_cancel_requests_is_long_in_version_3_2(tls_server: PostgresServer) -> None:
    config = tls_server.config(max_protocol_version="3.2")
    result = ready(config)
    with Session(config, result):
        assert len(result.established.secret_key) == {"3.2": 32, "3.0": 4}[newest(tls_server)]


@pytest.mark.parametrize("tls_mode", ["disable", "require"])
def test_query_is_cancelled_in_the_newest_version(tls_server: PostgresServer, tls_mode: str) -> None:
    config = tls_server.config(max_protocol_version="latest", tls_mode=tls_mode)
    with Session.connect(config) as session:
        canceller = threading.Thread(target=lambda: (_wait_until_active(tls_server, session), session.cancel()))
        canceller.start()
        with pytest.raises(ServerError) as caught:
            session.query("select pg_sleep(60)")
        canceller.join()
        assert caught.value.code == "57014"
        assert session.query("select 1") == [("1",)]


def _wait_until_active(server: PostgresServer, session: Session | AsyncSession) -> None:
    sleeping = f"select 1 from pg_stat_activity where pid = {session.backend_pid} and wait_event = 'PgSleep'"
    with Session.connect(server.config()) as observer:
        while observer.query(sleeping) != [("1",)]:
            time.sleep(0.01)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("tls_mode", ["require", "prefer", "allow"])
def test_older_server_is_refused_by_the_minimum(tls_server: PostgresServer, style: str, tls_mode: str) -> None:
    config = tls_server.config(min_protocol_version="3.2", max_protocol_version="latest", tls_mode=tls_mode)
    if newest(tls_server) == "3.2":
        with connected(config, style) as session:
            assert session.protocol_version == "3.2"
        return
    text = 'server only supports protocol version 3.0, but "min_protocol_version" was set to 3.2'
    with pytest.raises(ProtocolError, match=text) as caught, connected(config, style):
        pass
    assert not caught.value.earlier


@pytest.mark.parametrize("maximum", ["3.0", "3.2"])
def test_unsupported_protocol_options_are_reported(tls_server: PostgresServer, maximum: str) -> None:
    config = tls_server.config(max_protocol_version=maximum)
    result = ready(config, ("_pq_.one", "1"), ("_pq_.two", ""))
    with Session(config, result) as session:
        assert set(result.established.unsupported_options) == {"_pq_.one", "_pq_.two"}
        assert session.protocol_version == min(maximum, newest(tls_server))


def test_minimum_of_the_connection_string_requests_the_latest_version(tls_server: PostgresServer) -> None:
    require_version(tls_server, 18, "protocol 3.2")
    conninfo = tls_server.conninfo(sslmode="require", min_protocol_version="3.2")
    with Session.connect(tls_server.config().from_conninfo(conninfo)) as session:
        assert session.protocol_version == "3.2"
