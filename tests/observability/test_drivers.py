"""The driver integrations report their connects, one event for each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from babar_tls import ConnectEvent, InvalidPassword

if TYPE_CHECKING:
    from babar_tls import Config


def check(events: list[ConnectEvent], config: Config) -> None:
    (event,) = events
    assert event.error is None
    assert event.security is not None
    assert event.security.channel_bound
    assert event.host == config.targets[0]
    assert event.config.password is None


def test_asyncpg(config: Config, events: list[ConnectEvent]) -> None:
    pytest.importorskip("asyncpg", reason="needs the extra asyncpg")
    from babar_tls.integrations import asyncpg

    async def main() -> None:
        async with asyncpg.create_pool(config, min_size=1, max_size=1) as pool:
            assert await pool.fetchval("select 1") == 1

    asyncio.run(main())
    check(events, config)


def test_asyncpg_failure(config: Config, events: list[ConnectEvent]) -> None:
    pytest.importorskip("asyncpg", reason="needs the extra asyncpg")
    from babar_tls.integrations import asyncpg

    with pytest.raises(InvalidPassword) as caught:
        asyncio.run(asyncpg.connect(config, password="wrong"))
    (event,) = events
    assert event.error is caught.value


def test_pg8000(config: Config, events: list[ConnectEvent]) -> None:
    pytest.importorskip("pg8000", reason="needs the extra pg8000")
    from babar_tls.integrations import pg8000

    pg8000.connect(config).close()
    check(events, config)


def test_sqlalchemy(config: Config, events: list[ConnectEvent]) -> None:
    for module in ("sqlalchemy", "pg8000"):
        pytest.importorskip(module, reason="needs the extra sqlalchemy")
    from babar_tls.integrations.sqlalchemy import create_engine

    engine = create_engine(config)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select 1").scalar() == 1
    engine.dispose()
    check(events, config)


def test_sqlalchemy_async(config: Config, events: list[ConnectEvent]) -> None:
    for module in ("sqlalchemy", "asyncpg", "greenlet"):
        pytest.importorskip(module, reason="needs the extra sqlalchemy")
    from babar_tls.integrations.sqlalchemy import create_async_engine

    async def main() -> None:
        engine = create_async_engine(config)
        async with engine.connect() as connection:
            assert (await connection.exec_driver_sql("select 1")).scalar() == 1
        await engine.dispose()

    asyncio.run(main())
    check(events, config)
