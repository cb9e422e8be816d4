"""Arguments of the asyncpg integration that come from asyncpg, from a pool, or from a library between them."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("asyncpg", reason="needs the extra asyncpg")

import asyncpg

from babar_tls import ConfigError, TargetSessionError
from babar_tls.integrations import asyncpg as ours

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from babar_tls.testing import PostgresServer

#: Parameters of asyncpg whose default is None; `database` is another one.
NONE_BY_DEFAULT = [
    *("host", "port", "user", "password", "passfile", "service", "servicefile", "ssl", "direct_tls"),
    *("target_session_attrs", "krbsrvname", "gsslib", "server_settings", "command_timeout"),
]


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.conninfo(user="app", password="secret", dbname="template1", channel_binding="require")


def database_of(connecting: Callable[[], Awaitable[Any]]) -> str:
    async def main() -> str:
        connection = await connecting()
        try:
            return str(await connection.fetchval("select current_database()"))
        finally:
            await connection.close()

    return asyncio.run(main())


def test_none_has_no_effect_as_in_asyncpg(url: str) -> None:
    nothing: dict[str, Any] = dict.fromkeys([*NONE_BY_DEFAULT, "database"])
    assert database_of(lambda: ours.connect(url, **nothing)) == "template1"
    assert database_of(lambda: ours.connector(url)(None, **nothing)) == "template1"


def test_connector_keeps_its_options_if_the_library_passes_none(url: str) -> None:
    secure = ours.connector(url, server_settings={"application_name": "kept"})

    async def main() -> str:
        connection = await secure(server_settings=None)
        try:
            return str(await connection.fetchval("show application_name"))
        finally:
            await connection.close()

    assert asyncio.run(main()) == "kept"


@pytest.mark.parametrize("as_callable", [False, True], ids=["string", "callable"])
def test_connector_uses_an_iterator_of_server_settings_for_each_connection(url: str, as_callable: bool) -> None:
    settings = iter([("search_path", "here")])
    secure = ours.connector((lambda: url) if as_callable else url, server_settings=settings)

    async def main() -> None:
        for _ in range(2):
            connection = await secure()
            try:
                assert await connection.fetchval("show search_path") == "here"
            finally:
                await connection.close()

    asyncio.run(main())


@pytest.mark.parametrize("function", [ours.create_pool, ours.connector])
def test_server_settings_of_a_wrong_type_are_refused_before_a_connect(
    url: str, function: Callable[..., object]
) -> None:
    with pytest.raises(ConfigError, match=r"server_settings\['work_mem'\] must be a str"):
        function(url, server_settings={"work_mem": 64})


@pytest.mark.parametrize(
    ("dsn", "arguments"), [("postgresql://elsewhere", {}), (None, {"user": "x"}), (None, {"password": "x"})]
)
def test_pool_refuses_arguments_that_would_replace_its_target(
    url: str, dsn: str | None, arguments: dict[str, str]
) -> None:
    async def main() -> None:
        async with ours.create_pool(url, min_size=1, max_size=1) as pool:
            pool.set_connect_args(dsn, **arguments)
            await pool.expire_connections()
            with pytest.raises(TypeError, match="a callable that returns the target"):
                await pool.fetchval("select 1")

    asyncio.run(main())


def test_pool_accepts_options_of_connect_later(url: str) -> None:
    async def main() -> str:
        async with ours.create_pool(url, min_size=1, max_size=1) as pool:
            pool.set_connect_args(server_settings={"application_name": "later"})
            await pool.expire_connections()
            return str(await pool.fetchval("show application_name"))

    assert asyncio.run(main()) == "later"


def test_unmet_target_session_attrs_is_an_error_of_both_libraries(url: str) -> None:
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched) as caught:
        asyncio.run(ours.connect(url, target_session_attrs="standby"))
    assert isinstance(caught.value, TargetSessionError)


@pytest.mark.parametrize("function", [ours.create_pool, ours.connector])
def test_error_of_an_argument_shows_no_secret(url: str, function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        function(url, password="hunter2", port="x")
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours_only = [frame for frame in shown.stack if "babar_tls" in frame.filename]
    assert ours_only
    assert "hunter2" not in repr([frame.locals for frame in ours_only])


def test_refused_login_of_a_connector_shows_no_secret(url: str) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError) as caught:
        asyncio.run(ours.connector(url, password="hunter2")())
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in shown.stack if "babar_tls" in frame.filename]
    assert "hunter2" not in repr([frame.locals for frame in frames])
