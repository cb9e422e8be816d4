"""asyncpg over a verified, channel-bound connection.

::

    from babar_tls.integrations import asyncpg

    connection = await asyncpg.connect("postgresql://app@db.example.com/shop?sslmode=verify-full&channel_binding=require")
    print(connection.security)
    pool = asyncpg.create_pool("service=shop", min_size=2, max_size=20)

babar-tls connects, verifies and logs in. Then `asyncpg.connect` runs with an event loop object whose
``create_connection`` returns this connection. asyncpg's StartupMessage is not sent; it gets the server's greeting in
response. Only public names of asyncpg are used. What is assumed of their behaviour is checked, and raises
`IntegrationError` if it does not hold.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

try:
    import asyncpg
except ImportError as exc:
    raise ImportError("asyncpg is not installed: pip install 'babar-tls[asyncpg]'") from exc

from ..aio import AsyncSession
from ..config.options import DriverOptions
from ..config.validation import as_settings
from ..diagnostics.tracebacks import clears_locals
from ..errors import ServerError, TargetSessionError
from ._asyncpg_loop import ConnectionLoop, unsupported
from ._driver_config import driver_config, with_settings
from ._driver_errors import add_driver_class, server_fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from ..config import Config
    from ..security import SecurityReport

__all__ = ["Connection", "connect", "connector", "create_pool"]

#: A `Config` or a connection string; or a callable that returns either, or an awaitable of either.
Target: TypeAlias = "str | Config | Callable[[], str | Config | Awaitable[str | Config]]"

#: Startup parameters, as in `Config`, or None as in asyncpg.
Settings: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]] | None"

#: Parameters of `asyncpg.connect` that cannot be honoured, with the parameter to use.
_REPLACED = {
    "dsn": "Pass the connection string as the first argument.",
    "ssl": "babar-tls negotiates TLS: set tls_mode and tls_verify, or sslmode in the connection string.",
    "direct_tls": 'Set tls_negotiation="direct", or sslnegotiation=direct in the connection string.',
    "service": "Set service=… in the connection string.",
    "servicefile": "Set servicefile=… in the connection string.",
    "krbsrvname": "Authentication by GSSAPI is not supported.",
    "gsslib": "Authentication by GSSAPI is not supported.",
}


class Connection(asyncpg.Connection):
    """An `asyncpg.Connection` with a security report.

    Attributes:
        security: The security properties of the connection. A connection from a pool has it too.
    """

    __slots__ = ("security",)

    security: SecurityReport


class ConnectOptions(DriverOptions, total=False):
    """Arguments of `connect` that `connector` and `create_pool` have too."""

    timeout: float | None
    server_settings: Settings
    command_timeout: float | None
    statement_cache_size: int
    max_cached_statement_lifetime: int
    max_cacheable_statement_size: int
    loop: asyncio.AbstractEventLoop | None


class ConnectorOptions(ConnectOptions, total=False):
    """The `options` of `connector`."""

    connection_class: type[asyncpg.Connection]
    record_class: type[asyncpg.Record]


class PoolOptions(ConnectOptions, total=False):
    """The `options` of `create_pool`."""

    init_size: int


@clears_locals
async def connect(
    target: str | Config = "",
    /,
    *,
    timeout: float | None = 60,  # noqa: ASYNC109 - the parameter of asyncpg
    connection_class: type[asyncpg.Connection] = Connection,
    record_class: type[asyncpg.Record] = asyncpg.Record,
    server_settings: Settings = None,
    command_timeout: float | None = None,
    statement_cache_size: int = 100,
    max_cached_statement_lifetime: int = 300,
    max_cacheable_statement_size: int = 15360,
    loop: asyncio.AbstractEventLoop | None = None,
    **overrides: Unpack[DriverOptions],
) -> Connection:
    """Connect with babar-tls and return an asyncpg connection.

    Args:
        target: A `Config`, or a libpq URI or keyword string.
        timeout: Seconds until the connection must be ready. `Config.connect_timeout` also applies, for each host.
        connection_class: A subclass of `Connection`, or a subclass of `asyncpg.Connection` with a ``__dict__``.
        record_class: As for `asyncpg.connect`.
        server_settings: As for `asyncpg.connect`, or pairs as for `Config`; added to those of `target`.
        command_timeout: As for `asyncpg.connect`.
        statement_cache_size: As for `asyncpg.connect`.
        max_cached_statement_lifetime: As for `asyncpg.connect`.
        max_cacheable_statement_size: As for `asyncpg.connect`.
        loop: The running event loop.
        **overrides: Fields of `Config` that replace those of `target`.

    Returns:
        An instance of `connection_class`, whose `security` is set.

    Raises:
        Error: As `AsyncSession.connect`. An error that the server reported is also an instance of asyncpg's class for
            it, for example `asyncpg.InvalidPasswordError`.
        TimeoutError: The connection was not ready within `timeout`.
        IntegrationError: This version of asyncpg is not supported.
        TypeError: A parameter of `asyncpg.connect` is not supported, or `connection_class` has no place for `security`.
    """
    running = asyncio.get_running_loop()
    if loop is not None and loop is not running:
        raise TypeError("loop must be the running event loop")
    connection_class = _checked(connection_class)
    config = with_settings(driver_config(target, overrides, _REPLACED), server_settings or {}, "asyncpg")
    async with asyncio.timeout(timeout):
        try:
            session = await AsyncSession.connect(config)
        except ServerError as error:
            driver_error = asyncpg.PostgresError.new(server_fields(error))
            add_driver_class(error, type(driver_error), vars(driver_error))
            raise
        except TargetSessionError as error:
            add_driver_class(error, asyncpg.TargetServerAttributeNotMatched, {})
            raise
        stream = session.detach()
        driver_loop = ConnectionLoop(running, stream)
        try:
            connection: Connection = await asyncpg.connect(
                host=stream.host.host,
                port=stream.host.port,
                user=config.user,
                database=config.database or config.user,
                password="",
                passfile="",
                ssl=False,
                direct_tls=False,
                target_session_attrs="any",
                krbsrvname="postgres",
                gsslib="gssapi",
                loop=driver_loop,
                timeout=None,
                command_timeout=command_timeout,
                connection_class=connection_class,
                record_class=record_class,
                statement_cache_size=statement_cache_size,
                max_cached_statement_lifetime=max_cached_statement_lifetime,
                max_cacheable_statement_size=max_cacheable_statement_size,
            )
            if driver_loop.transport is None or connection.get_server_pid() != stream.process_id:
                connection.terminate()
                raise unsupported("connects by itself, in spite of the argument loop")
        except BaseException:
            driver_loop.abort()
            raise
    driver_loop.transport = None  # it refers to the protocol, which refers to the loop
    connection.security = stream.security
    return connection


@clears_locals
def connector(target: Target, /, **options: Unpack[ConnectorOptions]) -> Callable[..., Awaitable[Connection]]:
    """Return a callable with the signature of `asyncpg.connect`, for libraries that accept one.

    Examples are ``asyncpg.create_pool(connect=…)`` and SQLAlchemy's ``async_creator``. The callable ignores ``dsn``,
    ``host``, ``port``, ``user``, ``password``, ``passfile``, ``ssl`` and ``direct_tls``, because `target` determines
    them, and arguments that are None. Other arguments replace `options`.

    Args:
        target: A `Config`, a connection string, or a callable that returns either, or an awaitable of either. It is
            called for each connection.
        **options: Arguments of `connect`.

    Raises:
        ConfigError: `target` or `server_settings` is invalid.
        TypeError: As for `connect`.
    """
    source: Any = target
    settings = options.get("server_settings")
    if settings is not None:
        options["server_settings"] = as_settings(settings)  # an iterator could be used for one connection only
    defaults: dict[str, Any] = dict(options)
    if not callable(target):
        source = driver_config(target, _overrides(options), _REPLACED)
        defaults = {name: value for name, value in options.items() if name in _OPTIONS}  # the others are in the Config

    @clears_locals
    async def connect_to_target(*_dsn: Any, **arguments: Any) -> Connection:
        resolved: Any = source
        if callable(source):
            resolved = source()
            if inspect.isawaitable(resolved):
                resolved = await resolved
        given = {name: value for name, value in arguments.items() if name not in _DETERMINED and value is not None}
        return await connect(resolved, **{**defaults, **given})

    return connect_to_target


@clears_locals
def create_pool(
    target: Target = "",
    /,
    *,
    min_size: int = 10,
    max_size: int = 10,
    max_queries: int = 50000,
    max_inactive_connection_lifetime: float = 300.0,
    setup: Callable[[Any], Awaitable[None]] | None = None,
    init: Callable[[Any], Awaitable[None]] | None = None,
    reset: Callable[[Any], Awaitable[None]] | None = None,
    connection_class: type[asyncpg.Connection] = Connection,
    record_class: type[asyncpg.Record] = asyncpg.Record,
    **options: Unpack[PoolOptions],
) -> asyncpg.Pool:
    """Return an `asyncpg.Pool` whose connections `connect` opens.

    Args:
        target: A `Config`, a connection string, or a callable that returns either, or an awaitable of either.
        min_size: As for `asyncpg.create_pool`.
        max_size: As for `asyncpg.create_pool`.
        max_queries: As for `asyncpg.create_pool`.
        max_inactive_connection_lifetime: As for `asyncpg.create_pool`, in seconds.
        setup: As for `asyncpg.create_pool`.
        init: As for `asyncpg.create_pool`.
        reset: As for `asyncpg.create_pool`.
        connection_class: As for `connect`.
        record_class: As for `asyncpg.create_pool`.
        **options: Further arguments of `connect`; ``init_size`` and ``loop`` are passed to `asyncpg.create_pool`.

    Raises:
        ConfigError: `target` or `server_settings` is invalid.
        TypeError: As for `connect`.
    """
    for_pool = {name: value for name, value in options.items() if name in _POOL_OPTIONS}
    for_connect: Any = {name: value for name, value in options.items() if name not in _POOL_OPTIONS}
    connect_to_target = connector(target, **for_connect)

    @clears_locals
    async def connect_for_pool(dsn: str | None = None, **arguments: Any) -> Connection:
        if dsn is not None or not _DETERMINED.isdisjoint(arguments):
            raise TypeError(
                "set_connect_args() cannot replace the target of this pool. Pass create_pool a callable that returns "
                "the target, or a callable as password"
            )
        return await connect_to_target(**arguments)

    return asyncpg.create_pool(
        connect=connect_for_pool,
        min_size=min_size,
        max_size=max_size,
        max_queries=max_queries,
        max_inactive_connection_lifetime=max_inactive_connection_lifetime,
        setup=setup,
        init=init,
        reset=reset,
        connection_class=_checked(connection_class),
        record_class=record_class,
        **for_pool,
    )


#: Arguments that a pool or a library passes on, and that the target determines.
_DETERMINED = {"dsn", "host", "port", "user", "password", "passfile", "ssl", "direct_tls"}
#: Arguments that only `asyncpg.create_pool` gets.
_POOL_OPTIONS = {"init_size", "loop"}
#: Arguments of `connect` that are not fields of `Config`.
_OPTIONS = {name for name, each in inspect.signature(connect).parameters.items() if each.kind is each.KEYWORD_ONLY}


def _overrides(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _OPTIONS}


def _checked(connection_class: type[asyncpg.Connection]) -> type[asyncpg.Connection]:
    """Return the class to instantiate.

    Raises:
        TypeError: It is not a connection class, or its instances have no place for the attribute `security`.
    """
    if connection_class is asyncpg.Connection:
        return Connection
    if not (isinstance(connection_class, type) and issubclass(connection_class, asyncpg.Connection)):
        raise TypeError("connection_class must be a subclass of babar_tls.integrations.asyncpg.Connection")
    if not issubclass(connection_class, Connection) and not connection_class.__dictoffset__:
        raise TypeError(
            f"{connection_class.__name__} has no place for the attribute security: derive it from "
            "babar_tls.integrations.asyncpg.Connection"
        )
    return connection_class
