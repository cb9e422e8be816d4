"""SQLAlchemy over verified, channel-bound connections: with pg8000, and with asyncpg for asyncio.

::

    from babar_tls.integrations.sqlalchemy import create_engine

    engine = create_engine("postgresql://app@db.example.com/shop?sslmode=verify-full&channel_binding=require")

Applications that have only a URL use the dialect ``postgresql+babar``. SQLAlchemy selects the driver: pg8000 in
`sqlalchemy.create_engine`, asyncpg in `sqlalchemy.ext.asyncio.create_async_engine`::

    sqlalchemy.url = postgresql+babar://app@db.example.com/shop?sslmode=verify-full&channel_binding=require

The query parameters are keywords of connection strings: those of libpq, and names of fields of `Config`. The security
report of a connection is ``connection.connection.driver_connection.security``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

try:
    import sqlalchemy
except ImportError as exc:
    raise ImportError("SQLAlchemy is not installed: pip install 'babar-tls[sqlalchemy]'") from exc

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.postgresql.pg8000 import PGDialect_pg8000
from sqlalchemy.engine import URL, make_url

from ..config import Config
from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from ._sqlalchemy_url import MARKER, config_from_url, mark, url_from_config

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect as AnyDialect
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["AsyncDialect", "Dialect", "create_async_engine", "create_engine"]

_DRIVERNAME = "postgresql+babar"
_SQLALCHEMY_URL = re.compile(r"[a-z0-9_]+\+[a-z0-9_]+://")
#: The URL's parameter that SQLAlchemy's dialect for asyncpg reads itself.
_CACHE_SIZE = "prepared_statement_cache_size"


@clears_locals
def create_engine(target: str | URL | Config = "", /, **options: Any) -> Engine:
    """Return an engine whose connections are those of `babar_tls.integrations.pg8000`.

    Args:
        target: A `Config`, a libpq URI or keyword string, or a URL of SQLAlchemy (``postgresql+babar://…``).
        **options: As for `sqlalchemy.create_engine`. The items of `connect_args` are arguments of
            `babar_tls.integrations.pg8000.legacy`.

    Raises:
        ConfigError: `target` is invalid.
        ImportError: pg8000 is not installed.
    """
    url, config = _resolve(target, "pg8000")
    return sqlalchemy.create_engine(url, config=config, **options)


@clears_locals
def create_async_engine(target: str | URL | Config = "", /, **options: Any) -> AsyncEngine:
    """Return an engine whose connections are those of `babar_tls.integrations.asyncpg`.

    Args:
        target: A `Config`, a libpq URI or keyword string, or a URL of SQLAlchemy (``postgresql+babar://…``).
        **options: As for `sqlalchemy.ext.asyncio.create_async_engine`. The items of `connect_args` are arguments of
            `babar_tls.integrations.asyncpg.connect`, or those that SQLAlchemy's dialect for asyncpg has.

    Raises:
        ConfigError: `target` is invalid.
        ImportError: asyncpg is not installed.
    """
    from sqlalchemy.ext.asyncio import create_async_engine as create  # noqa: PLC0415 - needs greenlet

    url, config = _resolve(target, "asyncpg")
    return create(url, config=config, **options)


class _WithConfig:
    """The constructor of both dialects."""

    def __init__(self, config: Config | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._config = config


class Dialect(_WithConfig, PGDialect_pg8000):
    """SQLAlchemy's dialect for pg8000, with connections of babar-tls.

    Args:
        config: The configuration, in place of that of the URL. The URL must then be empty or represent it.
        **options: As for SQLAlchemy's dialect.
    """

    supports_statement_cache = True

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[AnyDialect]:
        """Return the dialect that `create_async_engine` uses for the same URL."""
        return AsyncDialect

    @classmethod
    def import_dbapi(cls) -> Any:
        """Import pg8000.

        Raises:
            ImportError: It is not installed; the text says how to install it.
        """
        from . import pg8000 as _integration  # noqa: F401, PLC0415 - an application may have only one driver

        return super().import_dbapi()

    def create_connect_args(self, url: URL) -> Any:
        """Return the arguments of `babar_tls.integrations.pg8000.legacy` for a URL.

        Raises:
            ConfigError: The URL is invalid.
        """
        return [_configuration(self._config, url)], {}

    @clears_locals
    def connect(self, *arguments: Any, **keywords: Any) -> Any:
        """Return a new connection of `pg8000.legacy`."""
        from .pg8000 import legacy  # noqa: PLC0415 - an application may have only one driver

        return legacy(*arguments, **keywords)


class AsyncDialect(_WithConfig, PGDialect_asyncpg):
    """SQLAlchemy's dialect for asyncpg, with connections of babar-tls.

    Args:
        config: The configuration, in place of that of the URL. The URL must then be empty or represent it.
        **options: As for SQLAlchemy's dialect.
    """

    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """Import asyncpg.

        Raises:
            ImportError: It is not installed; the text says how to install it.
        """
        from . import asyncpg as _integration  # noqa: F401, PLC0415 - an application may have only one driver

        return super().import_dbapi()

    def create_connect_args(self, url: URL) -> Any:
        """Return the arguments of `babar_tls.integrations.asyncpg.connect` for a URL.

        Raises:
            ConfigError: The URL is invalid.
        """
        from .asyncpg import connect  # noqa: PLC0415 - an application may have only one driver

        options: dict[str, Any] = {"async_creator_fn": connect}
        if _CACHE_SIZE in url.query:
            size = url.query[_CACHE_SIZE]
            if not (isinstance(size, str) and size.isdecimal()):
                raise ConfigError(f"{_CACHE_SIZE} in the URL must be a number of statements, not {size!r}")
            options[_CACHE_SIZE] = int(size)
        return [_configuration(self._config, url.difference_update_query([_CACHE_SIZE]))], options


def _resolve(target: str | URL | Config, driver: str) -> tuple[URL, Config | None]:
    """Return the URL for SQLAlchemy, and the configuration unless the URL has it."""
    if isinstance(target, str) and _SQLALCHEMY_URL.match(target) is None:
        target = Config.from_conninfo(target)
    if isinstance(target, Config):
        return mark(url_from_config(target, _DRIVERNAME)), target
    try:
        url = make_url(target)
    except ValueError:  # of the port
        raise ConfigError(
            "the port in the URL is not a number", remedy="Write several hosts as ?host=a:5432&host=b:5433."
        ) from None
    if url.drivername not in ("postgresql", _DRIVERNAME, f"{_DRIVERNAME}_{driver}", f"postgresql+{driver}"):
        raise ConfigError(
            f"the URL is for the dialect {url.drivername}", remedy=f"Write {_DRIVERNAME}:// or postgresql://."
        )
    return url.set(drivername=_DRIVERNAME), None


def _configuration(config: Config | None, url: URL) -> Config:
    """Return the configuration: the given one, or that of the URL."""
    if config is None:
        return config_from_url(url)
    unmarked = url.difference_update_query([MARKER])
    if unmarked not in (URL.create(url.drivername), url_from_config(config, url.drivername)):
        raise ConfigError("the URL and config contradict each other", remedy="Pass one of them.")
    return config


# Entry points need the metadata of an installed package, which a bundled application may not have.
for _name, _class in (("babar", Dialect), ("babar_pg8000", Dialect), ("babar_asyncpg", AsyncDialect)):
    registry.register(f"postgresql.{_name}", __name__, _class.__name__)
