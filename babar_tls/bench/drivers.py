"""The drivers with an integration, each over its own TLS and over babar-tls.

A driver over its own TLS connects as in `babar_tls.bench.peers`. The code of a task is the same for both sides. COPY IN
filters out all rows (``where false``), because writing them would take most of the time.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from .client_spec import Spec
from .engines import ENGINES
from .peers import PEERS
from .tasks import INTEGRATIONS, WARM_UP, Sizes, Subject, chunks, copied, lines_sql, rows_sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ..config import Config

_CREATE_TABLE = "create temporary table bench_copy (data text)"
_COPY_IN = "copy bench_copy from stdin where false"


class _Asyncpg(Subject):
    SUPPORTED = ("connect", "select", "value", "copy_out", "copy_in", "rows", "pool")

    def __init__(self, config: Config, backend: str | None) -> None:
        own = PEERS["asyncpg"].make(Spec(driver="asyncpg", style="asyncio"), config)
        if backend is None:
            self._connect: Callable[[], Any] = own.open
            create_pool = import_module("asyncpg").create_pool
            self._create_pool: Callable[..., Any] = partial(create_pool, connect=lambda *_, **__: own.open())
        else:
            ours = import_module(f"{INTEGRATIONS}.asyncpg")
            config = config.replace(tls_backend=backend)
            self._connect = partial(ours.connect, config)
            self._create_pool = partial(ours.create_pool, config)

    async def connect(self, _: Sizes) -> Any:
        return await self._connect()

    async def pool(self, sizes: Sizes) -> Any:
        return await self._create_pool(min_size=sizes.pool, max_size=sizes.pool)

    async def open(self) -> Any:
        session = await self._connect()
        await session.execute(_CREATE_TABLE)
        for _ in range(WARM_UP):
            await session.fetchval("select 1")
        return session

    async def select(self, session: Any, sizes: Sizes) -> None:
        for _ in range(sizes.queries):
            await session.fetchval("select 1")

    async def value(self, session: Any, sizes: Sizes) -> int:
        return len(await session.fetchval("select repeat('x', $1)", sizes.bulk))

    async def copy_out(self, session: Any, sizes: Sizes) -> int:
        total = 0

        async def take(data: bytes) -> None:
            nonlocal total
            total += len(data)

        await session.copy_from_query(lines_sql(sizes), output=take)
        return total

    async def copy_in(self, session: Any, sizes: Sizes) -> int:
        async def source() -> AsyncIterator[bytes]:
            for chunk in chunks(sizes):
                yield chunk

        await session.copy_to_table("bench_copy", source=source(), where="false")
        return copied(sizes)

    async def rows(self, session: Any, sizes: Sizes) -> int:
        return len(await session.fetch(rows_sql(sizes)))


class _Pg8000(Subject):
    SUPPORTED = ("connect", "select", "value", "copy_out", "copy_in", "rows")

    def __init__(self, config: Config, backend: str | None) -> None:
        self._own = PEERS["pg8000"].make(Spec(driver="pg8000"), config)
        self._connect: Callable[[], Any] = self._own.open
        if backend is not None:
            native = import_module(f"{INTEGRATIONS}.pg8000").native
            self._connect = partial(native, config.replace(tls_backend=backend))

    def connect(self, _: Sizes) -> Any:
        return self._connect()

    def open(self) -> Any:
        session = self._connect()
        session.run(_CREATE_TABLE)
        for _ in range(WARM_UP):
            session.run("select 1")
        return session

    def select(self, session: Any, sizes: Sizes) -> None:
        for _ in range(sizes.queries):
            session.run("select 1")

    def value(self, session: Any, sizes: Sizes) -> int:
        return len(session.run(f"select repeat('x', {sizes.bulk})")[0][0])

    def copy_out(self, session: Any, sizes: Sizes) -> Any:
        return self._own.stream(session, f"copy ({lines_sql(sizes)}) to stdout")

    def copy_in(self, session: Any, sizes: Sizes) -> int:
        session.run(_COPY_IN, stream=chunks(sizes))
        return copied(sizes)

    def rows(self, session: Any, sizes: Sizes) -> int:
        return len(session.run(rows_sql(sizes)))


class _Psycopg(Subject):
    """psycopg over libpq, as a reference."""

    SUPPORTED = ("connect", "copy_out")

    def __init__(self, spec: Spec, config: Config) -> None:
        self._client = PEERS["psycopg"].make(spec, config)

    def connect(self, _: Sizes) -> Any:
        return self._client.open()

    def open(self) -> Any:
        return self._client.open()

    def copy_out(self, session: Any, sizes: Sizes) -> Any:
        return self._client.stream(session, f"copy ({lines_sql(sizes)}) to stdout")


class Driver(NamedTuple):
    """A driver with an integration.

    Attributes:
        name: Its name in documents.
        style: ``blocking`` or ``asyncio``.
        subject: Return the driver over its own TLS if the backend is None, or over babar-tls with this backend.
        psycopg: True if psycopg is a reference for it.
    """

    name: str
    style: str
    subject: Callable[[Config, str | None], Subject]
    psycopg: bool = False

    def make(self, spec: Spec, config: Config) -> Subject:
        """Return the driver over the TLS of this client, or psycopg.

        Raises:
            ImportError: A package is not installed.
            ValueError: The driver does not support these settings.
        """
        return _Psycopg(spec, config) if spec.driver == "psycopg" else self.subject(config, spec.backend)


DRIVERS = (
    Driver("asyncpg", "asyncio", _Asyncpg, psycopg=True),
    Driver("pg8000", "blocking", _Pg8000, psycopg=True),
    Driver("SQLAlchemy asyncpg", "asyncio", ENGINES["asyncio"]),
    Driver("SQLAlchemy pg8000", "blocking", ENGINES["blocking"]),
)
