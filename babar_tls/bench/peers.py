"""The other drivers: what they need, and how each connects with as much verification as it is capable of.

psycopg (libpq) verifies in full and binds the channel, as ours does, or insists on SCRAM where there is no binding. The
others verify in full and bind nothing, because they cannot; they are given one `ssl.SSLContext` to share, without which
some make one for each connection, which costs many times the connection itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from .clients import Client, Spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from .places import Place

__all__ = ["PEERS", "Peer", "peer_specs"]


class Peer(NamedTuple):
    """A driver.

    Attributes:
        module: What to import.
        package: What pip calls it.
        styles: The styles that it comes in, and the class for each.
        direct: It can begin with TLS.
        binds: It binds the channel.
        streams: COPY TO hands on the data.
    """

    module: str
    package: str
    styles: dict[str, Callable[[Any, Spec, Place], Client]]
    direct: bool = False
    binds: bool = False
    streams: bool = True

    def make(self, spec: Spec, place: Place) -> Client:
        """The client; see `babar_tls.bench.clients.make`."""
        try:
            module = import_module(self.module)
        except ImportError as exc:
            raise ImportError(f"not installed: pip install '{self.package}'") from exc
        return self.styles[spec.style](module, spec, place)


class _Psycopg(Client):
    def __init__(self, module: Any, spec: Spec, place: Place) -> None:
        super().__init__(spec, place)
        self._connect = module.connect
        self._keywords = {
            "host": place.host,
            "hostaddr": place.address,
            "port": place.port,
            "user": place.user,
            "password": place.password,
            "dbname": place.database,
            "sslmode": "verify-full",
            "sslrootcert": place.root_cert_path or "system",
            "channel_binding": "require" if place.binds else "disable",
            "require_auth": None if place.binds else "scram-sha-256",
            "sslnegotiation": "direct" if spec.direct else None,
            "autocommit": True,
        }

    def open(self) -> Any:
        return self._connect(**self._keywords)

    def stream(self, session: Any, sql: str) -> int:
        with session.cursor().copy(sql) as copy:
            return sum(map(len, copy))


class _AsyncPsycopg(_Psycopg):
    def __init__(self, module: Any, spec: Spec, place: Place) -> None:
        super().__init__(module, spec, place)
        self._connect = module.AsyncConnection.connect

    async def stream(self, session: Any, sql: str) -> int:  # type: ignore[override]  # `Client.stream` allows both
        total = 0
        async with session.cursor().copy(sql) as copy:
            async for chunk in copy:
                total += len(chunk)
        return total


class _Asyncpg(Client):
    def __init__(self, module: Any, spec: Spec, place: Place) -> None:
        super().__init__(spec, place)
        self._connect = module.connect
        self._keywords = {
            "host": _only_host(place),
            "port": place.port,
            "user": place.user,
            "password": place.password,
            "database": place.database,
            "ssl": place.context(),
            "direct_tls": spec.direct,
            "timeout": 60,
        }

    def open(self) -> Any:
        return self._connect(**self._keywords)

    async def stream(self, session: Any, sql: str) -> int:
        total = 0

        async def take(data: bytes) -> None:
            nonlocal total
            total += len(data)

        query = sql.strip().removeprefix("copy (").removesuffix(") to stdout")
        await session.copy_from_query(query, output=take)
        return total


class _Pg8000(Client):
    def __init__(self, module: Any, spec: Spec, place: Place) -> None:
        super().__init__(spec, place)
        self._connect = module.Connection
        self._keywords = {
            "host": _only_host(place),
            "port": place.port,
            "user": place.user,
            "password": place.password,
            "database": place.database,
            "ssl_context": place.context(),
        }

    def open(self) -> Any:
        return self._connect(**self._keywords)

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
    """It has pools and no single connections: a pool of its own for each connection, which opens no other."""

    def __init__(self, module: Any, spec: Spec, place: Place) -> None:
        super().__init__(spec, place)
        self._connect_pool = module.connect_pool
        self._keywords = {
            "host": _only_host(place),
            "port": place.port,
            "username": place.user,
            "password": place.password,
            "db_name": place.database,
            "ssl_mode": module.SslMode.VerifyFull,
            "ca_file": place.root_cert_path,
            "max_db_pool_size": 2,  # the least that it accepts
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

    def stream(self, session: Any, sql: str) -> int:
        raise NotImplementedError("psqlpy has no COPY TO")


def _only_host(place: Place) -> str:
    """The host of a place that must be where its name says."""
    if place.address is not None:
        raise ValueError("it cannot verify one host name and connect to another address")
    return place.host


PEERS = {
    "psycopg": Peer(
        "psycopg", "psycopg[binary]", {"blocking": _Psycopg, "asyncio": _AsyncPsycopg}, direct=True, binds=True
    ),
    "asyncpg": Peer("asyncpg", "asyncpg", {"asyncio": _Asyncpg}, direct=True),
    "pg8000": Peer("pg8000.native", "pg8000", {"blocking": _Pg8000}),
    "psqlpy": Peer("psqlpy", "psqlpy", {"asyncio": _Psqlpy}, streams=False),
}


def peer_specs(*, direct: bool = False, style: str | None = None, streams: bool = False) -> list[Spec]:
    """Every peer, installed or not, in each of its styles.

    Args:
        direct: Once more with direct TLS, where it can.
        style: Only this style.
        streams: Only those that can stream.
    """
    specs = []
    for driver, peer in PEERS.items():
        for name in peer.styles:
            if (style is None or name == style) and (peer.streams or not streams):
                specs.append(Spec(driver=driver, style=name))
                specs += [Spec(driver=driver, style=name, direct=True)] if direct and peer.direct else []
    return specs
