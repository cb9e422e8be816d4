"""Uses of the integrations and of `babar_tls.testing` that type checkers must accept without an error.

The drivers are not fully annotated, so pyright does not check this file in strict mode.
"""

# pyright: standard

from __future__ import annotations

from datetime import UTC, datetime
from typing import Unpack, assert_type

from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from babar_tls import Config, ConfigOptions, Session
from babar_tls.integrations import asyncpg, pg8000
from babar_tls.integrations.asyncpg import connector
from babar_tls.integrations.sqlalchemy import create_async_engine, create_engine
from babar_tls.testing import CertificateAuthority, PgBouncer, PostgresServer, Role, ScramServer, check_backend

DSN = "postgresql://app@db.example.com/shop?sslmode=verify-full&channel_binding=require"


async def target() -> Config:
    return Config(host="db.example.com")


async def with_asyncpg() -> None:
    connection = await asyncpg.connect(
        DSN, password="secret", tls_mode="require", timeout=5, server_settings={"search_path": "x"}
    )
    assert_type(connection, asyncpg.Connection)
    assert_type(connection.security.tls_version, str | None)
    print(await connection.fetch("select 1"))
    async with asyncpg.create_pool("service=shop") as pool, pool.acquire() as pooled:
        print(await pooled.fetch("select 1"), pooled.security.auth_method)
    asyncpg.create_pool("service=shop", min_size=2, max_size=20, password=lambda: "secret", command_timeout=3)
    asyncpg.create_pool(target, init_size=1)
    secure = connector(DSN, application_name="shop", server_settings={"search_path": "x"}, statement_cache_size=0)
    assert_type(await secure(), asyncpg.Connection)


async def pass_on(**overrides: Unpack[ConfigOptions]) -> None:
    await asyncpg.connect("service=shop", **overrides)
    await asyncpg.connect("service=shop", timeout=5, server_settings=None)
    asyncpg.create_pool("service=shop", min_size=2, **overrides)
    connector("service=shop", command_timeout=3, **overrides)
    pg8000.connect("service=shop", **overrides)
    pg8000.native("service=shop", timeout=3, **overrides)


def with_pg8000() -> None:
    connection = pg8000.connect(DSN, timeout=3, tcp_keepalive=True, startup_params={"search_path": "x"}, port="5433")
    print(connection.security)
    connection.close()
    with pg8000.connect(DSN) as other:
        print(other.security)
    print(pg8000.native(Config(host="db.example.com"), tls_verify="ca").security.group)
    print(pg8000.legacy("service=shop").security.pin)


def with_sqlalchemy() -> None:
    config = Config(host="db.example.com", user="app", tls_root_cert_path="/etc/ssl/our-ca.pem")
    assert_type(create_engine("service=shop", pool_pre_ping=True), Engine)
    assert_type(create_async_engine(config, connect_args={"password": lambda: "secret"}), AsyncEngine)


def with_servers(my_driver: object) -> None:
    with PostgresServer(
        roles={"app": "secret", "old": Role(password="secret", encryption="md5")},
        hba=["hostssl all app all scram-sha-256"],
        settings={"log_connections": "on"},
    ) as server:
        assert_type(server.config(user="app", password="secret", tls_verify="ca"), Config)
        assert_type(server.conninfo(user="app"), str)
        server.set_certificate(server.ca.issue("db.example.com", hash="sha384"))
        server.set_hba(["host all all all reject"])
        with (
            Session.connect(server.config()) as session,
            PgBouncer(server, settings={"pool_mode": "session"}) as pooler,
        ):
            print(session, pooler.config(port=str(pooler.port)).targets, server.sql("select 1"), server.log())
    authority = CertificateAuthority(key="rsa2048")
    authority.issue("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    client = authority.issue(common_name="app", usage="client")
    print(client.pkcs12(b"password"), authority.revocation_list([client]))
    with ScramServer({"app": "secret"}, authority.issue("localhost")) as scram:
        print(scram.host, scram.port, scram.logins, scram.refusals)
    print(check_backend("stdlib"))
