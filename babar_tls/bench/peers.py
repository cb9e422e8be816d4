"""The other drivers that are measured, each with the strictest verification that it supports.

All verify the certificate chain and the hostname. They differ in channel binding (SCRAM-SHA-256-PLUS):

* psycopg (libpq) and psqlpy (rust-postgres) require it with ``channel_binding=require``, as this library does;
* pg8000 uses it when the server offers it, and cannot require it;
* asyncpg does not support it.

Where the channel cannot be bound (a pooler terminates TLS), psycopg requires SCRAM-SHA-256 instead.

asyncpg and pg8000 share one `ssl.SSLContext` for all connections. Creating a context for each connection would cost
many times the connection itself.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from .client_spec import Client, Spec
from .server import binds, ssl_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Config


class Peer(NamedTuple):
    """A driver.

    Attributes:
        module: The module to import.
        package: The requirement to install with pip.
        styles: The client class for each style that the driver supports.
        direct: True if it supports direct TLS (no SSLRequest).
        binds: True if it uses SCRAM-SHA-256-PLUS when the server offers it.
        requires_binding: True if it can refuse a server that does not offer SCRAM-SHA-256-PLUS.
        streams: True if it supports COPY TO.
    """

    module: str
    package: str
    styles: dict[str, Callable[[Any, Spec, Config], Client]]
    direct: bool = False
    binds: bool = False
    requires_binding: bool = False
    streams: bool = True

    def make(self, spec: Spec, config: Config) -> Client:
        """Return the client; see `babar_tls.bench.clients.make`."""
        try:
            module = import_module(self.module)
        except ImportError as exc:
            raise ImportError(f"not installed: pip install '{self.package}'") from exc
        return self.styles[spec.style](module, spec, config)


class _Driver(Client):
    """A driver whose connect function has keyword arguments."""

    def __init__(self, spec: Spec, config: Config, connect: Callable[..., Any], **keywords: Any) -> None:
        super().__init__(spec, config)
        self._connect = partial(connect, port=config.port, user=config.user, password=config.password, **keywords)

    def open(self) -> Any:
        return self._connect()


class _Psycopg(_Driver):
    def __init__(self, module: Any, spec: Spec, config: Config) -> None:
        super().__init__(
            spec,
            config,
            module.AsyncConnection.connect if spec.style == "asyncio" else module.connect,
            host=config.host,
            hostaddr=config.hostaddr,
            dbname=config.database,
            sslmode="verify-full",
            sslrootcert=config.tls_root_cert_path or "system",
            channel_binding="require" if binds(config) else "disable",
            require_auth=None if binds(config) else "scram-sha-256",
            sslnegotiation="direct" if spec.direct else None,
            autocommit=True,
        )

    def stream(self, session: Any, sql: str) -> int:
        with session.cursor().copy(sql) as copy:
            return sum(map(len, copy))


class _AsyncPsycopg(_Psycopg):
    async def stream(self, session: Any, sql: str) -> int:  # type: ignore[override]  # `Client.stream` allows both
        total = 0
        async with session.cursor().copy(sql) as copy:
            async for chunk in copy:
                total += len(chunk)
        return total


class _Asyncpg(_Driver):
    def __init__(self, module: Any, spec: Spec, config: Config) -> None:
        super().__init__(
            spec,
            config,
            module.connect,
            host=only_host(config),
            database=config.database,
            ssl=ssl_context(config),
            direct_tls=spec.direct,
            timeout=60,
        )

    async def stream(self, session: Any, sql: str) -> int:
        total = 0

        async def take(data: bytes) -> None:
            nonlocal total
            total += len(data)

        query = sql.strip().removeprefix("copy (").removesuffix(") to stdout")
        await session.copy_from_query(query, output=take)
        return total


class _Pg8000(_Driver):
    def __init__(self, module: Any, spec: Spec, config: Config) -> None:
        super().__init__(
            spec,
            config,
            module.Connection,
            host=only_host(config),
            database=config.database,
            ssl_context=ssl_context(config),
        )

    def stream(self, session: Any, sql: str) -> int:
        sink = _Sink()
        session.run(sql, stream=sink)
        return sink.total


class _Sink:
    def __init__(self) -> None:
        self.total = 0

    def write(self, data: bytes) -> int:
        self.total += len(data)
        return len(data)


class _Psqlpy(Client):
    """A pool for each connection, because psqlpy connects through pools only.

    The pool has no keyword argument for ``channel_binding``; rust-postgres reads it from the connection string.
    """

    def __init__(self, module: Any, spec: Spec, config: Config) -> None:
        super().__init__(spec, config)
        self._connect_pool = module.connect_pool
        address = f"{_quoted(only_host(config))}:{config.port}/{_quoted(config.database)}"
        binding = "require" if binds(config) else "disable"
        self._keywords = {
            "dsn": f"postgres://{_quoted(config.user)}:{_quoted(config.password)}@{address}?channel_binding={binding}",
            "ssl_mode": module.SslMode.VerifyFull,
            "ca_file": config.tls_root_cert_path,
            "max_db_pool_size": 2,  # the smallest size that it accepts
        }

    async def open(self) -> Any:
        pool = self._connect_pool(**self._keywords)
        try:
            return pool, await pool.connection()
        except BaseException:
            pool.close()
            raise

    def close(self, session: Any) -> None:
        pool, connection = session
        connection.close()
        pool.close()


def only_host(config: Config) -> str:
    """Return the host, if it is also the address.

    Raises:
        ValueError: There is a separate address, which the driver cannot connect to while it verifies the hostname.
    """
    if config.hostaddr is not None:
        raise ValueError("the driver cannot verify one hostname and connect to another address")
    return config.host


def _quoted(part: object) -> str:
    """Percent-encode one part of a connection string; nothing for a value that is not text."""
    return quote(part if isinstance(part, str | bytes) else "", safe="")


PEERS = {
    "psycopg": Peer(
        "psycopg",
        "psycopg[binary]",
        {"blocking": _Psycopg, "asyncio": _AsyncPsycopg},
        direct=True,
        binds=True,
        requires_binding=True,
    ),
    "asyncpg": Peer("asyncpg", "asyncpg", {"asyncio": _Asyncpg}, direct=True),
    "pg8000": Peer("pg8000.native", "pg8000", {"blocking": _Pg8000}, binds=True),
    "psqlpy": Peer("psqlpy", "psqlpy", {"asyncio": _Psqlpy}, binds=True, requires_binding=True, streams=False),
}


def peer_specs(*, direct: bool = False, style: str | None = None, streams: bool = False) -> list[Spec]:
    """Return all drivers, installed or not, in each of their styles.

    Args:
        direct: Include direct TLS where the driver supports it.
        style: Return only this style.
        streams: Return only the drivers that support COPY TO.
    """
    specs = []
    for driver, peer in PEERS.items():
        for name in peer.styles:
            if (style is None or name == style) and (peer.streams or not streams):
                specs.append(Spec(driver=driver, style=name))
                specs += [Spec(driver=driver, style=name, direct=True)] if direct and peer.direct else []
    return specs
