"""SQLAlchemy's engines, each over the driver's own TLS and over babar-tls."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .peers import only_host
from .server import ssl_context
from .tasks import INTEGRATIONS, WARM_UP, Sizes, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Config


class _AsyncEngine(Subject):
    """SQLAlchemy's asynchronous engine over asyncpg; a query checks a connection out of the pool and returns it."""

    SUPPORTED = ("connect", "select")

    def __init__(self, config: Config, backend: str | None) -> None:
        sqlalchemy = _import_sqlalchemy()
        if backend is None:
            create: Callable[..., Any] = partial(
                import_module("sqlalchemy.ext.asyncio").create_async_engine,
                _url(sqlalchemy, "postgresql+asyncpg", config),
                connect_args={"ssl": ssl_context(config)},
            )
        else:
            ours = import_module(f"{INTEGRATIONS}.sqlalchemy").create_async_engine
            create = partial(ours, config.replace(tls_backend=backend))
        self._create = partial(create, pool_size=1)
        self._unpooled = create(poolclass=sqlalchemy.NullPool)
        self._query = sqlalchemy.text("select 1")

    async def connect(self, _: Sizes) -> Any:
        return await self._unpooled.connect()

    async def open(self) -> Any:
        engine = self._create()
        await self._run(engine, WARM_UP)
        return engine

    async def close(self, session: Any) -> None:
        await (session.dispose() if hasattr(session, "dispose") else session.close())

    async def select(self, session: Any, sizes: Sizes) -> None:
        await self._run(session, sizes.queries)

    async def _run(self, engine: Any, queries: int) -> None:
        for _ in range(queries):
            async with engine.connect() as connection:
                (await connection.execute(self._query)).scalar_one()


class _Engine(Subject):
    """SQLAlchemy's engine over pg8000; a query checks a connection out of the pool and returns it."""

    SUPPORTED = ("connect", "select")

    def __init__(self, config: Config, backend: str | None) -> None:
        sqlalchemy = _import_sqlalchemy()
        if backend is None:
            url, arguments = _url(sqlalchemy, "postgresql+pg8000", config), {"ssl_context": ssl_context(config)}
            create: Callable[..., Any] = partial(sqlalchemy.create_engine, url, connect_args=arguments)
        else:
            ours = import_module(f"{INTEGRATIONS}.sqlalchemy").create_engine
            create = partial(ours, config.replace(tls_backend=backend))
        self._create = partial(create, pool_size=1)
        self._unpooled = create(poolclass=sqlalchemy.NullPool)
        self._query = sqlalchemy.text("select 1")

    def connect(self, _: Sizes) -> Any:
        return self._unpooled.connect()

    def open(self) -> Any:
        engine = self._create()
        self._run(engine, WARM_UP)
        return engine

    def close(self, session: Any) -> None:
        (session.dispose if hasattr(session, "dispose") else session.close)()

    def select(self, session: Any, sizes: Sizes) -> None:
        self._run(session, sizes.queries)

    def _run(self, engine: Any, queries: int) -> None:
        for _ in range(queries):
            with engine.connect() as connection:
                connection.execute(self._query).scalar_one()


def _import_sqlalchemy() -> Any:
    try:
        return import_module("sqlalchemy")
    except ImportError as exc:
        raise ImportError("not installed: pip install 'SQLAlchemy[asyncio]'") from exc


def _url(sqlalchemy: Any, dialect: str, config: Config) -> Any:
    return sqlalchemy.URL.create(
        dialect,
        username=config.user,
        password=config.password,
        host=only_host(config),
        port=config.port,
        database=config.database,
    )


#: SQLAlchemy's engine of each style.
ENGINES: dict[str, Callable[[Config, str | None], Subject]] = {"asyncio": _AsyncEngine, "blocking": _Engine}
