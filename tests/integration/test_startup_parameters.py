"""Startup parameters of a driver or a proxy, and the notices of a login, on a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from babar_tls import Config, ConfigError, ServerError, Session
from babar_tls.net.blocking import BlockingConnection
from babar_tls.net.deadline import Meter
from babar_tls.net.establish import Ready, establish
from babar_tls.protocol.messages import parse_fields

from .conftest import require_version

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer

NOTIFYING = """
    create function greet() returns event_trigger language plpgsql as $$ begin
        raise notice 'first'; raise warning 'second';
    end $$;
    create event trigger greeting on login execute function greet();
"""


def ready(config: Config, startup: list[tuple[str, str]]) -> Ready:
    return establish(config, Meter(config.connect_timeout), BlockingConnection, startup=startup)


def test_supplied_parameters_reach_the_server(tls_server: PostgresServer) -> None:
    config = tls_server.config(application_name="configured", server_settings={"DateStyle": "ISO"})
    supplied = [
        ("application_name", "supplied"),
        ("datestyle", "German"),
        ("client_encoding", "LATIN1"),
        ("options", "-c extra_float_digits=2"),
        ("user", config.user),
    ]
    with Session(config, ready(config, supplied)) as session:
        for name, value in [
            ("application_name", "supplied"),
            ("DateStyle", "German, DMY"),
            ("client_encoding", "LATIN1"),
            ("extra_float_digits", "2"),
        ]:
            assert session.query(f"show {name}") == [(value,)]


def test_supplied_replication_reaches_the_server(tls_server: PostgresServer) -> None:
    """The server of the tests allows no WAL senders."""
    with pytest.raises(ServerError, match='exceeds "max_wal_senders"'):
        ready(tls_server.config(database="postgres"), [("replication", "database")])


def test_supplied_unknown_setting_is_refused_by_the_server(tls_server: PostgresServer) -> None:
    with pytest.raises(ServerError, match='unrecognized configuration parameter "no_such_setting"'):
        ready(tls_server.config(), [("no_such_setting", "1")])


def test_supplied_other_user_is_refused(tls_server: PostgresServer) -> None:
    with pytest.raises(ConfigError, match="'user' contradicts the configuration"):
        ready(tls_server.config(), [("user", "another")])


def test_notices_of_a_login_trigger_are_kept(tls_server: PostgresServer) -> None:
    require_version(tls_server, 17, "login event triggers")
    tls_server.sql("create database greeting")
    config = tls_server.config(database="greeting")
    with Session.connect(config) as session:
        session.query(NOTIFYING)
    result = ready(config, [])
    with Session(config, result):
        assert [parse_fields(notice)["M"] for notice in result.established.notices] == ["first", "second"]
