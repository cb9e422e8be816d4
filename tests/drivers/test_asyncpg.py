"""asyncpg over the connections of babar-tls: how it connects, and what it refuses."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import socket
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("asyncpg", reason="needs the extra asyncpg")

import asyncpg

import babar_tls
from babar_tls.config.host import Host
from babar_tls.integrations import asyncpg as secured

from .asyncpg_clients import both_loops, config, run
from .detached_clients import reachable_texts

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.testing import PostgresServer

PASSWORD = "secret-Kuh8-of-asyncpg"
IDENTITY = "select ssl, current_user::text, current_database()::text from pg_stat_ssl where pid = pg_backend_pid()"


class Slotted(asyncpg.Connection):  # type: ignore[misc]  # asyncpg is untyped
    __slots__ = ()


class WithDict(asyncpg.Connection):  # type: ignore[misc]  # asyncpg is untyped
    pass


class Derived(secured.Connection):
    __slots__ = ("extra",)


@both_loops
def test_connection_is_encrypted_and_bound(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend))
        assert type(connection) is secured.Connection
        assert tuple(await connection.fetchrow(IDENTITY)) == (True, "app", "postgres")
        assert connection.security.channel_binding_type is not None
        assert connection.security.backend == backend
        assert connection.get_server_version()[0] == int(server.version.split(".")[0])
        assert connection.get_settings().TimeZone
        assert connection.get_server_pid() == await connection.fetchval("select pg_backend_pid()")
        await connection.close()

    run(main, loop)


@both_loops
def test_settings_are_those_of_plain_asyncpg(server: PostgresServer, loop: str) -> None:
    async def main() -> None:
        plain = await asyncpg.connect(
            host=server.host, port=server.port, user="app", password="secret", database="postgres", ssl=False
        )
        secure = await secured.connect(config(server))
        async with await babar_tls.AsyncSession.connect(config(server)) as session:
            names = set(session.params)
        assert len(names) > 10
        for name in names:
            assert getattr(secure.get_settings(), name) == getattr(plain.get_settings(), name)
        assert secure.get_server_version() == plain.get_server_version()
        assert secure._server_caps == plain._server_caps
        await plain.close()
        await secure.close()

    run(main, loop)


@both_loops
def test_environment_and_files_of_asyncpg_have_no_effect(
    server: PostgresServer, loop: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:*:wrong\n")  # of a mode that asyncpg warns about
    passfile.chmod(0o644)
    variables = {
        "SSLNEGOTIATION": "direct",
        "GSSLIB": "bogus",
        "KRBSRVNAME": "bogus",
        "TARGETSESSIONATTRS": "standby",
        "SSLMODE": "disable",
        "SSLROOTCERT": "/nonexistent",
        "SSLKEY": "/nonexistent",
        "SERVICE": "nonexistent",
        "SERVICEFILE": "/nonexistent",
        "PASSFILE": str(passfile),
        "PASSWORD": "wrong",
        "HOST": "nowhere.invalid",
        "PORT": "1",
        "USER": "nobody",
        "DATABASE": "nowhere",
    }
    for name, value in variables.items():
        monkeypatch.setenv("PG" + name, value)

    async def main() -> None:
        connection = await secured.connect(config(server))
        assert tuple(await connection.fetchrow(IDENTITY)) == (True, "app", "postgres")
        await connection.close()

    run(main, loop)


def test_server_settings_are_added_to_those_of_the_target(server: PostgresServer) -> None:
    async def main() -> None:
        target = config(server, application_name="ours", server_settings={"search_path": "here", "TimeZone": "UTC"})
        settings = {
            "application_name": "shop",
            "options": "-c work_mem=7MB",
            "search_path": "there",
            "client_encoding": "utf-8",
        }
        connection = await secured.connect(target, server_settings=settings)
        names = ["application_name", "work_mem", "search_path", "client_encoding", "TimeZone"]
        values = [await connection.fetchval("select current_setting($1)", name) for name in names]
        assert values == ["shop", "7MB", "there", "UTF8", "UTC"]
        await connection.close()
        with pytest.raises(babar_tls.ConfigError, match="client_encoding"):
            await secured.connect(target, server_settings={"client_encoding": "latin1"})

    run(main)


def test_conninfo_with_overrides(server: PostgresServer) -> None:
    async def main() -> None:
        conninfo = server.conninfo(user="app", password="wrong", channel_binding="require")
        connection = await secured.connect(conninfo, password="secret", database="template1", application_name="shop")
        assert tuple(await connection.fetchrow(IDENTITY)) == (True, "app", "template1")
        assert await connection.fetchval("show application_name") == "shop"
        await connection.close()

    run(main)


@pytest.mark.parametrize("is_callable", [False, True])
def test_connection_refers_to_no_password(server: PostgresServer, backend: str, is_callable: bool) -> None:
    async def main() -> None:
        server.sql(f"alter role app password '{PASSWORD}'")
        try:
            password = (lambda: PASSWORD) if is_callable else PASSWORD
            connection = await secured.connect(config(server, backend, password=password))
        finally:
            server.sql("alter role app password 'secret'")
        await connection.fetchval("select 1")
        texts = reachable_texts(connection, without=[asyncio.get_running_loop()])
        assert b"app" in texts
        assert not [text for text in texts if PASSWORD.encode() in text]
        await connection.close()

    run(main)


# -- where it connects to


@pytest.mark.parametrize("kind", ["ipv6", "hostaddr", "several hosts"])
def test_kinds_of_addresses(server: PostgresServer, kind: str) -> None:
    if kind == "ipv6" and not _has_ipv6():
        pytest.skip("needs IPv6")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        hosts = (Host("127.0.0.1", unused.getsockname()[1]), Host("localhost", server.port))
        changes: dict[str, dict[str, Any]] = {
            "ipv6": {"host": "::1"},
            "hostaddr": {"host": "localhost", "hostaddr": "127.0.0.1"},
            "several hosts": {"hosts": hosts},
        }

        async def main() -> None:
            connection = await secured.connect(config(server).replace(**changes[kind]))
            assert tuple(await connection.fetchrow(IDENTITY)) == (True, "app", "postgres")
            with pytest.raises(TimeoutError):
                await connection.fetchval("select pg_sleep(30)", timeout=0.05)
            assert await connection.fetchval("select 1") == 1
            await connection.close()

        run(main)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@both_loops
@pytest.mark.parametrize("host", ["socket", "address"])
def test_connection_without_tls(server: PostgresServer, loop: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Unix socket; and an address without a host name, for which asyncpg must not use PGHOST."""
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    where = {"host": str(server.socket_dir)} if host == "socket" else {"hostaddr": "127.0.0.1"}
    target = babar_tls.Config(
        **where, port=server.port, user="app", password="secret", database="postgres", tls_mode="disable"
    )

    async def main() -> None:
        connection = await secured.connect(target)
        assert not connection.security.tls
        assert not await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        with pytest.raises(TimeoutError):
            await connection.fetchval("select pg_sleep(30)", timeout=0.05)
        assert await connection.fetchval("select 1") == 1
        await connection.close()

    run(main, loop)


# -- what is refused


@both_loops
def test_error_of_the_server_has_both_classes(server: PostgresServer, backend: str, loop: str) -> None:
    known = dict(asyncpg.PostgresError._message_map)

    async def main() -> None:
        refusals: list[tuple[dict[str, Any], type, type]] = [
            ({"password": "wrong-7"}, asyncpg.InvalidPasswordError, babar_tls.InvalidPassword),
            ({"database": "nowhere"}, asyncpg.InvalidCatalogNameError, babar_tls.ServerError),
            ({"server_settings": {"x": "y"}}, asyncpg.UndefinedObjectError, babar_tls.ServerError),
        ]
        for changes, driver_class, own_class in refusals:
            with pytest.raises(driver_class) as caught:
                await secured.connect(config(server, backend, **changes))
            error: Any = caught.value
            copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - the test made the bytes
            for each in (error, copy):
                assert isinstance(each, own_class)
                assert isinstance(each, driver_class)
                assert each.sqlstate == driver_class.sqlstate == each.code
                assert each.severity == "FATAL"
                assert str(each) == str(error)
                assert each.__dict__ == error.__dict__
            assert "wrong-7" not in repr(error)

    run(main, loop)
    assert asyncpg.PostgresError._message_map == known


def test_network_error_is_an_os_error_as_in_asyncpg(server: PostgresServer) -> None:
    async def main() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(babar_tls.Unreachable) as caught:
                await secured.connect(config(server, port=unused.getsockname()[1]))
        assert isinstance(caught.value, OSError)
        with pytest.raises(TimeoutError):
            await secured.connect(config(server), timeout=0.0001)

    run(main)


@pytest.mark.parametrize(
    "name", ["dsn", "ssl", "direct_tls", "service", "servicefile", "krbsrvname", "gsslib", "nonsense"]
)
def test_unsupported_parameter_is_refused_with_a_remedy(server: PostgresServer, name: str) -> None:
    remedy = r"'dsn'. Pass|'ssl'. .*sslmode|_tls'. .*sslnegotiation|'service(file)?'. Set|GSSAPI is not|'nonsense'"
    with pytest.raises(TypeError, match=remedy):
        asyncio.run(secured.connect(config(server), **{name: "x"}))
    with pytest.raises(TypeError, match=remedy):
        secured.create_pool(config(server), **{name: "x"})
    with pytest.raises(TypeError, match=remedy):
        secured.connector(config(server), **{name: "x"})


def test_every_parameter_of_asyncpg_is_known() -> None:
    """A parameter that a later version adds must be passed on, or be refused with a remedy."""
    parameters = set(inspect.signature(asyncpg.connect).parameters)
    assert parameters - secured._OPTIONS - set(secured._REPLACED) == {
        "host", "port", "user", "password", "passfile", "database", "target_session_attrs"
    }  # fmt: skip  # these are fields of Config


def test_connection_class_must_have_a_place_for_the_report(server: PostgresServer) -> None:
    async def main() -> None:
        for given, expected in ((asyncpg.Connection, secured.Connection), (WithDict, WithDict), (Derived, Derived)):
            connection = await secured.connect(config(server), connection_class=given)
            assert type(connection) is expected
            assert connection.security.tls
            await connection.close()
        for wrong in (Slotted, int, "Connection"):
            with pytest.raises(TypeError, match=r"security|subclass"):
                await secured.connect(config(server), connection_class=wrong)  # type: ignore[arg-type]  # refused
            with pytest.raises(TypeError, match=r"security|subclass"):
                secured.create_pool(config(server), connection_class=wrong)  # type: ignore[arg-type]  # refused
        other = asyncio.new_event_loop()
        other.close()
        with pytest.raises(TypeError, match="running event loop"):
            await secured.connect(config(server), loop=other)

    run(main)
