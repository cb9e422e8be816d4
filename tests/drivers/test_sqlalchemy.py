"""SQLAlchemy with pg8000 over the connections of babar-tls."""

from __future__ import annotations

import os
import socket
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs the extra sqlalchemy")
pytest.importorskip("pg8000", reason="needs the extra pg8000")

import pg8000.legacy
import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import babar_tls
from babar_tls.integrations.sqlalchemy import create_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from babar_tls.testing import PostgresServer


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    tags: Mapped[Any] = mapped_column(sa.JSON)


def url(server: PostgresServer, drivername: str = "postgresql+babar", **changes: Any) -> URL:
    """Return a URL for the role `app`, which verifies the server and requires channel binding."""
    query = {"sslmode": "verify-full", "sslrootcert": str(server.root_cert_path), "channel_binding": "require"}
    password = changes.pop("password", "secret")
    return URL.create(drivername, "app", password, server.host, server.port, "postgres", {**query, **changes})


@pytest.fixture
def engine(server: PostgresServer, backend: str) -> Iterator[sa.Engine]:
    created = sa.create_engine(url(server, tls_backend=backend))
    yield created
    created.dispose()


def security(connection: sa.Connection) -> babar_tls.SecurityReport:
    driver_connection: Any = connection.connection.driver_connection
    report: babar_tls.SecurityReport = driver_connection.security
    return report


def test_url_with_tls_parameters_connects(engine: sa.Engine, backend: str) -> None:
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select ssl from pg_stat_ssl where pid = pg_backend_pid()")) is True
        assert security(connection).backend == backend
        assert security(connection).channel_binding_type is not None


def test_sync_dialect_uses_the_legacy_connection_class(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert type(connection.connection.driver_connection) is pg8000.legacy.Connection


def test_config_as_target(server: PostgresServer) -> None:
    config = server.config(user="app", password="secret", tls_pins=[])
    engine = create_engine(config, pool_size=1, connect_args={"application_name": "jobs", "timeout": 30})
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select current_setting('application_name')")) == "jobs"
    engine.dispose()


def test_orm_and_duplicate_key(server: PostgresServer, engine: sa.Engine) -> None:
    server.sql("grant all on schema public to app")
    Base.metadata.create_all(engine)
    try:
        with Session(engine) as session:
            session.add(Item(name="one", tags=["a", {"b": 1}]))
            session.commit()
            assert session.scalars(sa.select(Item)).one().tags == ["a", {"b": 1}]
            session.add(Item(name="one", tags=[]))
            with pytest.raises(sa.exc.IntegrityError):
                session.commit()
    finally:
        Base.metadata.drop_all(engine)


def test_refused_password_is_a_dbapi_error(server: PostgresServer) -> None:
    engine = sa.create_engine(url(server, password="wrong-7"))
    with pytest.raises(sa.exc.DBAPIError) as caught:
        engine.connect()
    assert isinstance(caught.value.orig, babar_tls.InvalidPassword)
    assert "password authentication failed" in str(caught.value)
    assert "wrong-7" not in str(caught.value)


def test_refused_port_is_a_dbapi_error(server: PostgresServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        engine = sa.create_engine(url(server).set(port=unused.getsockname()[1]))
        with pytest.raises(sa.exc.DBAPIError) as caught:
            engine.connect()
    assert isinstance(caught.value.orig, babar_tls.Unreachable)


def test_unverified_server_is_refused(server: PostgresServer, backend: str) -> None:
    engine = sa.create_engine(
        url(server, tls_backend=backend).set(
            host="localhost.localdomain",
            query={
                "hostaddr": "127.0.0.1",
                "sslmode": "verify-full",
                "sslrootcert": str(server.root_cert_path),
                "tls_backend": backend,
            },
        )
    )
    with pytest.raises(sa.exc.DBAPIError) as caught:
        engine.connect()
    assert isinstance(caught.value.orig, babar_tls.CertificateError)


@pytest.mark.parametrize("argument", ["ssl_context", "sock"])
def test_connect_args_that_bypass_verification_are_refused(server: PostgresServer, argument: str) -> None:
    engine = sa.create_engine(url(server), connect_args={argument: "x"})
    with pytest.raises(TypeError, match=argument):
        engine.connect()


def test_several_hosts_and_socket_directory(server: PostgresServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        hosts = url(server).set(host=None, port=None)
        for query in (
            {"host": (f"127.0.0.1:{port}", f"127.0.0.1:{server.port}")},
            {"host": "127.0.0.1,127.0.0.1", "port": f"{port},{server.port}"},
        ):
            engine = sa.create_engine(hosts.update_query_dict(query))
            with engine.connect() as connection:
                assert security(connection).tls
            engine.dispose()
    engine = sa.create_engine(
        f"postgresql+babar://app:secret@/postgres?host={server.socket_dir}&port={server.port}&sslmode=disable"
    )
    with engine.connect() as connection:
        assert not security(connection).tls
    engine.dispose()


def test_password_with_special_characters(server: PostgresServer) -> None:
    password = "a:b/c@d%e f'g\\h"
    server.add_role("special", password)
    target = url(server, password=password).set(username="special")
    engine = sa.create_engine(target.render_as_string(hide_password=False))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select current_user")) == "special"
    engine.dispose()


def test_password_from_password_file(server: PostgresServer, tmp_path: Path) -> None:
    file = tmp_path / "pgpass"
    file.write_text(f"{server.host}:{server.port}:*:app:secret\n")
    file.chmod(0o600)
    engine = sa.create_engine(url(server, password=None, passfile=str(file)))
    with engine.connect():
        pass
    engine.dispose()


def test_password_from_do_connect_event(server: PostgresServer) -> None:
    engine = sa.create_engine(url(server, password=None, passfile=os.devnull))

    @sa.event.listens_for(engine, "do_connect")
    def provide(dialect: Any, record: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        keywords["password"] = "secret"

    with engine.connect():
        pass
    engine.dispose()


def test_password_from_a_function_is_requested_for_each_connection(server: PostgresServer) -> None:
    calls = []

    def token() -> str:
        calls.append(1)
        return "secret"

    for engine in (
        create_engine(server.config(user="app", password=token), poolclass=sa.NullPool),
        sa.create_engine(url(server, password=None), poolclass=sa.NullPool, connect_args={"password": token}),
    ):
        calls.clear()
        for _ in range(2):
            with engine.connect():
                pass
        assert len(calls) == 2


def test_pool_replaces_terminated_connections(server: PostgresServer, backend: str) -> None:
    engine = sa.create_engine(url(server, tls_backend=backend), pool_pre_ping=True, pool_size=1)
    with engine.connect() as connection:
        pid = connection.scalar(sa.text("select pg_backend_pid()"))
    server.sql(f"select pg_terminate_backend({pid}, 5000)")
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select pg_backend_pid()")) != pid
    engine.dispose()


def test_disconnect_during_a_query_invalidates_the_connection(server: PostgresServer, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        pid = connection.scalar(sa.text("select pg_backend_pid()"))
        server.sql(f"select pg_terminate_backend({pid}, 5000)")
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.execute(sa.text("select 1"))
        assert caught.value.connection_invalidated
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select 1")) == 1


def test_pool_hands_connections_from_thread_to_thread(engine: sa.Engine) -> None:
    def work(number: int) -> Any:
        with engine.connect() as connection:
            return connection.scalar(sa.text("select :n * 2"), {"n": number})

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(200))) == [2 * number for number in range(200)]


def test_server_side_cursor(engine: sa.Engine) -> None:
    with engine.connect().execution_options(stream_results=True) as connection:
        rows = connection.execute(sa.text("select n from generate_series(1, 2000) n"))
        assert sum(row.n for row in rows) == 2001000


def test_isolation_levels(engine: sa.Engine) -> None:
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        assert connection.scalar(sa.text("show transaction_isolation")) == "serializable"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert connection.scalar(sa.text("select 1")) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_fork_with_dispose_without_close(server: PostgresServer) -> None:
    engine = sa.create_engine(url(server), pool_size=1)
    with engine.connect() as connection:
        pid = connection.scalar(sa.text("select pg_backend_pid()"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other tests may have left threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            engine.dispose(close=False)
            with engine.connect() as connection:
                status = int(connection.scalar(sa.text("select pg_backend_pid()")) == pid)
            engine.dispose()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select pg_backend_pid()")) == pid
    engine.dispose()
