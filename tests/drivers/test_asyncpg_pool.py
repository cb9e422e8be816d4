"""Pools of asyncpg over babar-tls, and connectors for the hooks of other libraries."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("asyncpg", reason="needs the extra asyncpg")

import asyncpg

import babar_tls
from babar_tls.integrations import asyncpg as secured

from .asyncpg_clients import both_loops, config, resources, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls import Config
    from babar_tls.testing import PostgresServer

#: What a library passes on from its own configuration; the target of a connector determines it.
IGNORED = {
    "host": "nowhere.invalid",
    "port": 1,
    "user": "nobody",
    "password": "wrong",
    "passfile": "/nonexistent",
    "ssl": "disable",
    "direct_tls": True,
}


class OwnConnection(secured.Connection):
    __slots__ = ()


class OwnRecord(asyncpg.Record):  # type: ignore[misc]  # asyncpg is untyped
    pass


@both_loops
def test_pool_serves_many_queries_with_few_connections(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        async with secured.create_pool(config(server, backend), min_size=2, max_size=5) as pool:
            assert pool.get_size() == 2
            query = "select $1::int, pg_backend_pid(), pg_sleep(0.002)"
            rows = await asyncio.gather(*[pool.fetchrow(query, number) for number in range(50)])
            assert [row[0] for row in rows] == list(range(50))
            assert len({row[1] for row in rows}) == pool.get_size() == 5
            async with pool.acquire() as connection:
                assert connection.security.channel_binding_type is not None
                assert connection.security.backend == backend

    run(main, loop)


@both_loops
def test_timeouts_of_many_queries_leave_the_pool_usable(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        before = resources()
        async with secured.create_pool(config(server, backend), min_size=3, max_size=3) as pool:
            queries = [pool.fetchval("select pg_sleep(30)", timeout=0.02) for _ in range(6)]
            queries += [pool.fetchval("select 1") for _ in range(6)]
            results = await asyncio.gather(*queries, return_exceptions=True)
            assert Counter(map(type, results)) == {TimeoutError: 6, int: 6}
            assert pool.get_size() == 3
        await asyncio.sleep(0.01)  # the event loop closes the sockets
        assert resources() == before

    run(main, loop)


@both_loops
def test_terminated_pool_closes_its_connections(server: PostgresServer, loop: str) -> None:
    async def main() -> None:
        before = resources()
        pool = await secured.create_pool(config(server), min_size=3, max_size=3)
        query = asyncio.ensure_future(pool.fetchval("select pg_sleep(30)"))
        await asyncio.sleep(0.02)
        pool.terminate()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await query
        await asyncio.sleep(0.01)  # the event loop closes the sockets
        assert resources() == before

    run(main, loop)


def test_expired_and_used_up_connections_are_replaced(server: PostgresServer, backend: str) -> None:
    async def main() -> None:
        async with secured.create_pool(config(server, backend), min_size=1, max_size=1, max_queries=2) as pool:
            pids = [await pool.fetchval("select pg_backend_pid()") for _ in range(6)]
            assert len(set(pids)) > 2
            await pool.expire_connections()
            assert await pool.fetchval("select pg_backend_pid()") not in pids

    run(main)


def test_callbacks_and_arguments_of_a_pool(server: PostgresServer) -> None:
    calls: list[str] = []

    def callback(name: str) -> Any:
        async def record(connection: Any) -> None:
            calls.append(name)
            assert connection.security.tls

        return record

    async def main() -> None:
        pool = secured.create_pool(
            config(server),
            min_size=1,
            max_size=1,
            init=callback("init"),
            setup=callback("setup"),
            reset=callback("reset"),
            connection_class=OwnConnection,
            record_class=OwnRecord,
            server_settings={"application_name": "shop"},
            command_timeout=9,
            database="template1",
            loop=asyncio.get_running_loop(),
            max_inactive_connection_lifetime=0,
        )
        async with pool:
            for _ in range(2):
                row = await pool.fetchrow("select current_setting('application_name'), current_database()::text")
                assert type(row) is OwnRecord
                assert tuple(row) == ("shop", "template1")
            async with pool.acquire() as connection:
                assert isinstance(connection._con, OwnConnection)
                assert connection._con._config.command_timeout == 9
        assert calls == ["init", *["setup", "reset"] * 3]

    run(main)


def test_pool_of_an_invalid_target_is_refused_at_once(server: PostgresServer) -> None:
    with pytest.raises(babar_tls.ConfigError):
        secured.create_pool("host=localhost sslmode=bogus")
    with pytest.raises(babar_tls.ConfigError):
        secured.create_pool(config(server), tls_mode="bogus")


@both_loops
def test_pool_raises_the_error_of_the_driver(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        before = resources()
        with pytest.raises(asyncpg.InvalidPasswordError) as caught:
            await secured.create_pool(config(server, backend, password="wrong"), min_size=2)
        assert isinstance(caught.value, babar_tls.InvalidPassword)
        await asyncio.sleep(0.01)
        assert resources()[0] == before[0]

    run(main, loop)


# -- callable targets and passwords


def _sync(target: Config, calls: list[object]) -> Callable[[], Any]:
    def get() -> Config:
        calls.append(None)
        return target

    return get


def _async(target: Config, calls: list[object]) -> Callable[[], Any]:
    async def get() -> Config:
        await asyncio.sleep(0)
        return _sync(target, calls)()

    return get


def _conninfo(target: Config, calls: list[object]) -> Callable[[], Any]:
    return lambda: _sync(target, calls)().to_conninfo()


@both_loops
@pytest.mark.parametrize("source", [_sync, _async, _conninfo])
def test_callable_target_is_called_for_each_connection(
    server: PostgresServer, loop: str, source: Callable[..., Any]
) -> None:
    calls: list[object] = []

    async def main() -> None:
        target = source(config(server), calls)
        async with secured.create_pool(target, min_size=3, max_size=3, application_name="shop") as pool:
            assert len(calls) == 3
            names = await asyncio.gather(*[pool.fetchval("show application_name") for _ in range(9)])
            assert names == ["shop"] * 9
            await pool.expire_connections()
            await pool.fetchval("select 1")
            assert len(calls) == 4

    run(main, loop)


def test_error_of_a_callable_target_is_raised(server: PostgresServer) -> None:
    def unavailable() -> Config:
        raise LookupError("the vault is sealed")

    async def main() -> None:
        with pytest.raises(LookupError, match="sealed"):
            await secured.create_pool(unavailable, min_size=1)
        with pytest.raises(LookupError, match="sealed"):
            await secured.connector(unavailable)()

    run(main)


@both_loops
@pytest.mark.parametrize("is_async", [False, True])
def test_callable_password_is_called_once_for_each_connect(server: PostgresServer, loop: str, is_async: bool) -> None:
    calls: list[int] = []

    def get_password() -> str:
        calls.append(threading.get_ident())
        return "secret"

    async def get_password_async() -> str:
        await asyncio.sleep(0)
        return get_password()

    async def main() -> None:
        target = config(server, password=get_password_async if is_async else get_password)
        connection = await secured.connect(target)
        assert len(calls) == 1
        with pytest.raises(TimeoutError):
            await connection.fetchval("select pg_sleep(30)", timeout=0.02)
        assert await connection.fetchval("select 1") == 1
        await connection.close()
        assert len(calls) == 1  # a cancel request needs no password
        async with secured.create_pool(target, min_size=2, max_size=2) as pool:
            assert len(calls) == 3
            await asyncio.gather(*[pool.fetchval("select 1") for _ in range(10)])
            await pool.expire_connections()
            await pool.fetchval("select 1")
            assert len(calls) == 4
        assert (threading.get_ident() in calls) is is_async

    run(main, loop)


# -- connectors


@both_loops
def test_connector_ignores_what_its_target_determines(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        connect = secured.connector(config(server, backend), application_name="ours", command_timeout=7)
        pool = asyncpg.create_pool(
            "postgres://nobody:wrong@nowhere.invalid:1/nowhere",
            connect=connect,
            connection_class=secured.Connection,
            min_size=1,
            max_size=2,
            database="template1",
            server_settings={"search_path": "there"},
            **IGNORED,
        )
        async with pool:
            row = await pool.fetchrow(
                "select current_user::text, current_database()::text, current_setting('search_path'),"
                " current_setting('application_name'), ssl from pg_stat_ssl where pid = pg_backend_pid()"
            )
            assert tuple(row) == ("app", "template1", "there", "ours", True)
            async with pool.acquire() as connection:
                assert connection.security.backend == backend
                assert connection._con._config.command_timeout == 7

    run(main, loop)


def test_arguments_replace_the_options_of_a_connector(server: PostgresServer) -> None:
    async def main() -> None:
        connect = secured.connector(config(server), command_timeout=7, database="postgres")
        connection = await connect(database="template1", command_timeout=8, timeout=20, record_class=OwnRecord)
        assert type(connection) is secured.Connection
        assert await connection.fetchval("select current_database()::text") == "template1"
        assert connection._config.command_timeout == 8
        assert type(await connection.fetchrow("select 1")) is OwnRecord
        await connection.close()
        with pytest.raises(TypeError, match="GSSAPI"):
            await connect(gsslib="gssapi")

    run(main)


def test_pool_of_asyncpg_accepts_a_connector_with_its_default_class(server: PostgresServer) -> None:
    async def main() -> None:
        connect = secured.connector(config(server))
        async with asyncpg.create_pool(connect=connect, min_size=1, max_size=1) as pool, pool.acquire() as connection:
            assert connection.security.tls

    run(main)
