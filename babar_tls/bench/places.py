"""Where a workload's server is: one of our own, maybe behind a pooler, or somebody's, named by a connection string."""

from __future__ import annotations

import dataclasses
import ssl
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..config import Config
from ..conninfo.passfile import password_for
from ..errors import ConfigError, Error
from ..session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..testing import PostgresServer


_LOOPBACK = "127.0.0.1"
_SPARE = 5  # connections to the server that a pooler leaves to others


@dataclass(frozen=True, kw_only=True)
class Place:
    """A server, in the words that every driver understands.

    Attributes:
        host: The name or address that its certificate is verified for.
        address: Where to connect in its place, `None` for `host` itself.
        port: Its port.
        user: The role.
        password: Its password.
        database: Its database.
        root_cert_path: The roots to trust; `None` for the default ones.
        version: The server's, and what it is behind.
        binds: Whether the channel can be bound there: not where a pooler ends TLS.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    root_cert_path: str | None
    address: str | None = None
    version: str | None = None
    binds: bool = True

    def config(self, **overrides: Any) -> Config:
        """A `Config` that verifies the server in full and binds the channel, or fails.

        Where the channel cannot be bound, SCRAM alone will do: that, too, leaves the server no choice.
        """
        arguments: dict[str, Any] = {
            "host": self.host,
            "hostaddr": self.address,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "tls_root_cert_path": self.root_cert_path,
            "tls_default_roots": self.root_cert_path is None,
            "channel_binding": "require" if self.binds else "disable",
            "require_auth": None if self.binds else "scram-sha-256",
            "connect_timeout": 60.0,
        }
        return Config(**{**arguments, **overrides})

    def context(self) -> ssl.SSLContext:
        """An `ssl.SSLContext` that verifies as much, for drivers that take one; they are to share it."""
        context = ssl.create_default_context(cafile=self.root_cert_path)
        context.set_alpn_protocols(["postgresql"])  # direct TLS needs it
        return context

    def through(self, port: int) -> Place:
        """The same server through something that listens on this machine."""
        return dataclasses.replace(self, port=port, address=None if self.host == _LOOPBACK else _LOOPBACK)

    def as_dict(self) -> dict[str, Any]:
        """For a child process, password included: nothing to be printed."""
        return dataclasses.asdict(self)


@contextmanager
def server_place(
    dsn: str | None, settings: Mapping[str, str] | None = None, through: str | None = None
) -> Iterator[Place]:
    """The server that `dsn` names, or one that lives for as long as the context.

    Args:
        dsn: A connection string, `None` for a server of our own (which needs the extra ``demo``).
        settings: postgresql.conf settings, for our own.
        through: ``pgbouncer`` puts our own behind one.

    Raises:
        ConfigError: The string is no use, or names a server that is to be put behind something.
        Error: The server cannot be reached, or our own does not start.
        ImportError: What brings our own is not installed.
    """
    if dsn is not None:
        if through is not None:
            raise ConfigError("only a server of our own can be put behind something")
        yield _place_of(dsn)
        return
    from ..testing import PostgresError, PostgresServer  # noqa: PLC0415 - needs an extra

    with ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer(settings=settings))
            place = Place(
                host=server.host,
                port=server.port,
                user=server.user,
                password=server.password,
                database="postgres",
                root_cert_path=str(server.root_cert_path),
                version=server.version,
            )
            if through is not None:
                place = _behind_pgbouncer(place, server, stack)
        except PostgresError as exc:
            remedy = "--dsn names one of yours." if through is None else None
            raise Error(f"there is no server to measure: {exc}", remedy=remedy) from exc
        yield place


def _behind_pgbouncer(place: Place, server: PostgresServer, stack: ExitStack) -> Place:
    from ..testing import PgBouncer  # noqa: PLC0415 - needs an extra

    # Drivers that send a query when they connect hold a connection to the server for as long as they are open.
    size = int(server.sql("SHOW max_connections")) - _SPARE
    pooler = stack.enter_context(PgBouncer(server, settings={"default_pool_size": str(size)}))
    return dataclasses.replace(
        place,
        port=pooler.port,
        root_cert_path=str(pooler.root_cert_path),
        version=f"{server.version} through PgBouncer {pooler.version}",
        binds=False,
    )


def _place_of(dsn: str) -> Place:
    config = Config.from_conninfo(dsn)
    if len(config.targets) > 1 or config.is_unix_socket:
        raise ConfigError("a benchmark needs one server, over TCP", remedy="Name one host in --dsn.")
    password = config.password
    if password is None and config.passfile is not None:
        password = password_for(config)
    if password is None:
        raise ConfigError("no password supplied", remedy="Put it into a password file, or PGPASSWORD.")
    place = Place(
        host=config.host,
        address=config.hostaddr,
        port=config.port,
        user=config.user,
        password=password if isinstance(password, str) else password.decode(),
        database=config.database or config.user,
        root_cert_path=config.tls_root_cert_path,
    )
    with Session.connect(place.config()) as session:
        return dataclasses.replace(place, version=session.params["server_version"])
