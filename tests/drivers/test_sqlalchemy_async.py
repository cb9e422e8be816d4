"""SQLAlchemy with asyncpg over the connections of babar-tls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs the extra sqlalchemy")
pytest.importorskip("asyncpg", reason="needs the extra asyncpg")

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, async_engine_from_config
from sqlalchemy.ext.asyncio import create_async_engine as sa_create

import babar_tls
from babar_tls.integrations.sqlalchemy import create_async_engine

from .test_sqlalchemy import url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from babar_tls.testing import PostgresServer


def run(engine: AsyncEngine, work: Callable[[AsyncEngine], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(main())


async def scalar(engine: AsyncEngine, sql: str) -> Any:
    async with engine.connect() as connection:
        return await connection.scalar(sa.text(sql))


def test_url_with_tls_parameters_connects(server: PostgresServer, backend: str) -> None:
    async def work(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            assert raw.security.backend == backend
            assert raw.security.channel_binding_type is not None
            assert await connection.scalar(sa.text("select ssl from pg_stat_ssl where pid = pg_backend_pid()")) is True

    run(sa_create(url(server, tls_backend=backend)), work)


def test_connect_args_reach_asyncpg(server: PostgresServer) -> None:
    engine = sa_create(
        url(server, prepared_statement_cache_size="0"),
        connect_args={
            "server_settings": {"application_name": "jobs", "DateStyle": "German"},
            "statement_cache_size": 0,
            "timeout": 30,
            "command_timeout": 20,
            "prepared_statement_name_func": lambda: "",
        },
    )

    async def work(engine: AsyncEngine) -> None:
        assert await scalar(engine, "select current_setting('application_name')") == "jobs"
        assert await scalar(engine, "select current_setting('DateStyle')") == "German, DMY"
        async with engine.connect() as connection:
            adapted: Any = (await connection.get_raw_connection()).dbapi_connection
            assert adapted._prepared_statement_cache is None
            assert adapted.driver_connection._config.command_timeout == 20

    run(engine, work)


@pytest.mark.parametrize("argument", ["ssl", "dsn", "direct_tls"])
def test_connect_args_that_bypass_verification_are_refused(server: PostgresServer, argument: str) -> None:
    async def work(engine: AsyncEngine) -> None:
        with pytest.raises(TypeError, match=argument):
            await scalar(engine, "select 1")

    run(sa_create(url(server), connect_args={argument: "x"}), work)


def test_config_as_target(server: PostgresServer) -> None:
    engine = create_async_engine(server.config(user="app", password="secret"), pool_size=1)
    assert run(engine, lambda engine: scalar(engine, "select current_user")) == "app"


def test_password_from_a_coroutine_function(server: PostgresServer) -> None:
    async def token() -> str:
        return "secret"

    engine = create_async_engine(server.config(user="app", password=token))
    assert run(engine, lambda engine: scalar(engine, "select current_user")) == "app"


def test_engine_from_configuration(server: PostgresServer) -> None:
    settings = {"sqlalchemy.url": url(server).render_as_string(hide_password=False), "sqlalchemy.pool_size": "1"}
    engine = async_engine_from_config(settings)
    assert run(engine, lambda engine: scalar(engine, "select current_user")) == "app"


def test_refused_password(server: PostgresServer, backend: str) -> None:
    async def work(engine: AsyncEngine) -> None:
        # Before 2.1 SQLAlchemy does not translate asyncpg's errors of connects.
        with pytest.raises((sa.exc.DBAPIError, asyncpg.InvalidPasswordError)) as caught:
            await scalar(engine, "select 1")
        error: Any = caught.value
        if not sa.__version__.startswith("2.0."):
            assert isinstance(error, sa.exc.DBAPIError)
            error = error.orig.__cause__
        assert isinstance(error, babar_tls.InvalidPassword)
        assert "wrong-7" not in str(caught.value)

    run(sa_create(url(server, password="wrong-7", tls_backend=backend)), work)


def test_duplicate_key_is_an_integrity_error(server: PostgresServer) -> None:
    async def work(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await connection.execute(sa.text("create temporary table t (n int primary key)"))
            await connection.execute(sa.text("insert into t values (1)"))
            with pytest.raises(sa.exc.IntegrityError):
                await connection.execute(sa.text("insert into t values (1)"))

    run(sa_create(url(server)), work)


def test_pool_replaces_terminated_connections(server: PostgresServer, backend: str) -> None:
    async def work(engine: AsyncEngine) -> None:
        pid = await scalar(engine, "select pg_backend_pid()")
        await asyncio.to_thread(server.sql, f"select pg_terminate_backend({pid}, 5000)")
        assert await scalar(engine, "select pg_backend_pid()") != pid

    run(sa_create(url(server, tls_backend=backend), pool_pre_ping=True, pool_size=1), work)


def test_cancelled_query_leaves_the_pool_usable(server: PostgresServer, backend: str) -> None:
    async def work(engine: AsyncEngine) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(scalar(engine, "select pg_sleep(60)"), 0.3)
        assert await scalar(engine, "select 1") == 1

    run(sa_create(url(server, tls_backend=backend), pool_size=1, max_overflow=0), work)


def test_stream_of_rows(server: PostgresServer) -> None:
    async def work(engine: AsyncEngine) -> int:
        async with engine.connect() as connection:
            result = await connection.stream(sa.text("select n from generate_series(1, 2000) n"))
            return sum([row.n async for row in result])

    assert run(sa_create(url(server)), work) == 2001000
