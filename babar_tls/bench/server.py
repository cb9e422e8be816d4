"""The server of a workload: an embedded server, with or without a pooler, or the server of a connection string."""

from __future__ import annotations

import ssl
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ..config import Config
from ..config.enums import ChannelBinding
from ..errors import ConfigError, Error
from ..session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


#: The poolers that the embedded server can be put behind.
POOLERS = ("pgbouncer",)

_LOOPBACK = "127.0.0.1"
_SPARE = 5  # server connections that are reserved for other clients than the pooler


class Server(NamedTuple):
    """A server, and its version, which is None for a server that is not PostgreSQL."""

    config: Config
    version: str | None = None


def strict_config(*, binds: bool = True, **fields: Any) -> Config:
    """Return a `Config` that verifies the server in full and accepts one way to authenticate.

    Args:
        binds: True to require channel binding. TLS that a pooler terminates cannot be bound; then SCRAM without
            channel binding is required.
        fields: Host, user, password, database, and `tls_root_cert_path` if the default roots are not used.
    """
    return Config(
        tls_default_roots=fields.get("tls_root_cert_path") is None,
        channel_binding="require" if binds else "disable",
        require_auth=None if binds else "scram-sha-256",
        connect_timeout=60.0,
        **fields,
    )


def binds(config: Config) -> bool:
    """Return True if channel binding is required."""
    return config.channel_binding is ChannelBinding.REQUIRE


def ssl_context(config: Config) -> ssl.SSLContext:
    """Return an `ssl.SSLContext` that verifies the server in full, for drivers that share one for all connections."""
    context = ssl.create_default_context(cafile=config.tls_root_cert_path)
    context.set_alpn_protocols(["postgresql"])  # direct TLS requires it
    return context


def through_port(config: Config, port: int) -> Config:
    """Return the configuration for the same server through a proxy at this port of the loopback interface."""
    return config.replace(port=port, hostaddr=None if config.host == _LOOPBACK else _LOOPBACK)


@contextmanager
def benchmark_server(
    dsn: str | None, settings: Mapping[str, str] | None = None, through: str | None = None
) -> Iterator[Server]:
    """Yield the server of a connection string, or an embedded one that is stopped at the end.

    Args:
        dsn: A connection string, or None for the embedded server (which needs the extra ``demo``).
        settings: postgresql.conf settings of the embedded server.
        through: ``pgbouncer`` to put the embedded server behind one.

    Raises:
        ConfigError: The connection string is not usable.
        Error: The server cannot be reached, or the embedded server does not start.
        ImportError: A package of the extra ``demo`` is not installed.
    """
    if dsn is not None:
        if through is not None:
            raise ConfigError("only the embedded server can be put behind a pooler", remedy="Leave out dsn or through.")
        yield _named_server(dsn)
        return
    from ..testing import PgBouncer, PostgresError, PostgresServer  # noqa: PLC0415 - needs an extra

    with ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer(settings=settings))
            port, roots, version = server.port, server.root_cert_path, server.version
            if through is not None:
                # Some drivers send a query when they connect, and then hold a server connection until they close.
                size = int(server.sql("SHOW max_connections")) - _SPARE
                pooler = stack.enter_context(PgBouncer(server, settings={"default_pool_size": str(size)}))
                port, roots = pooler.port, pooler.root_cert_path
                version = f"{version} through PgBouncer {pooler.version}"
        except PostgresError as exc:
            remedy = "Name another server with --dsn." if through is None else None
            raise Error(f"no server to measure: {exc}", remedy=remedy) from exc
        config = strict_config(
            host=server.host,
            port=port,
            user=server.user,
            password=server.password,
            database="postgres",
            tls_root_cert_path=str(roots),
            binds=through is None,
        )
        yield Server(config, version)


def _named_server(dsn: str) -> Server:
    given = Config.from_conninfo(dsn)
    if len(given.targets) > 1 or given.targets[0].is_unix_socket:
        raise ConfigError("a benchmark needs one server, over TCP", remedy="Name one host in --dsn.")
    password = given.password if given.password is not None else given.find_password()
    if password is None:
        raise ConfigError("no password supplied", remedy="Set it in a password file or in PGPASSWORD.")
    config = strict_config(
        host=given.host,
        hostaddr=given.hostaddr,
        port=given.port,
        user=given.user,
        password=password.decode() if isinstance(password, bytes) else password,
        database=given.database or given.user,
        tls_root_cert_path=given.tls_root_cert_path,
    )
    with Session.connect(config) as session:
        return Server(config, session.params["server_version"])
