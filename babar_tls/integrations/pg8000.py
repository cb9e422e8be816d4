"""pg8000 over a verified, channel-bound connection.

::

    from babar_tls.integrations import pg8000

    connection = pg8000.connect("postgresql://app@db.example.com/shop?sslmode=verify-full&channel_binding=require")
    print(connection.security)

babar-tls connects, verifies and logs in. Then pg8000's connection class is instantiated with a socket object that
represents this connection. pg8000's StartupMessage is not sent; it gets the server's greeting in response. Only public
names of pg8000 are used. What is assumed of their behaviour is checked, and raises `IntegrationError` if it does not
hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

try:
    import pg8000.dbapi
    import pg8000.legacy
    import pg8000.native
except ImportError as exc:
    raise ImportError("pg8000 is not installed: pip install 'babar-tls[pg8000]'") from exc

from ..config.validation import check_type, is_number
from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError, Error, IntegrationError, ServerError
from ..net.secure_socket import SecureSocket
from ..protocol.messages import TERMINATE
from ..session import Session
from ._driver_config import driver_config, with_settings
from ._driver_errors import add_driver_class, server_fields

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..config import Config, ConfigOptions
    from ..security import SecurityReport

    # The classes of pg8000 with the attribute that is set on their instances.

    class _Connection(pg8000.dbapi.Connection):
        security: SecurityReport

    class _NativeConnection(pg8000.native.Connection):
        security: SecurityReport

    class _LegacyConnection(pg8000.legacy.Connection):
        security: SecurityReport


__all__ = ["connect", "legacy", "native"]

#: Parameters of `pg8000.connect` that cannot be honoured, with the parameter to use.
_REPLACED = {
    "ssl_context": "babar-tls negotiates TLS: set tls_mode and tls_verify, or sslmode in the connection string.",
    "sock": "babar-tls opens the connection: set host or hostaddr.",
    "unix_sock": "Set host to the directory of the socket.",
    "command_timeout": "Use timeout.",
    "source_address": "Binding to a local address is not supported.",
    "replication": "Replication connections are not supported.",
}
_LONGEST_TIMEOUT = 2_147_483  # seconds; sockets do not accept longer ones
_NETWORK_ERROR = "network error"  # SQLAlchemy's dialect looks for this text of pg8000 to detect a broken connection


@clears_locals
def connect(
    target: str | Config = "",
    /,
    *,
    timeout: float | None = None,
    tcp_keepalive: bool | None = None,
    startup_params: Mapping[str, str | bytes] | None = None,
    **overrides: Unpack[ConfigOptions],
) -> _Connection:
    """Connect with babar-tls and return a connection of `pg8000.dbapi`.

    Args:
        target: A `Config`, or a libpq URI or keyword string.
        timeout: The maximum seconds that one operation waits for the network, as for `pg8000.dbapi.connect`. The
            connection cannot be used after it has expired. It also replaces a longer `Config.connect_timeout`.
        tcp_keepalive: Replaces `Config.keepalives`.
        startup_params: As for `pg8000.dbapi.connect`; added to `Config.server_settings`.
        **overrides: Fields of `Config` that replace those of `target`.

    Returns:
        The connection. Its attribute `security` is the `SecurityReport`.

    Raises:
        ConfigError: The configuration is invalid.
        Error: As `Session.connect`. The error is also an instance of `pg8000.ProgrammingError` if the server reported
            it, else of `pg8000.InterfaceError`. In the first case ``args[0]`` is the dictionary of pg8000.
        IntegrationError: This version of pg8000 is not supported.
        TypeError: A parameter of `pg8000.dbapi.connect` is not supported.
    """
    config = _config(
        "connect", target, overrides, timeout=timeout, tcp_keepalive=tcp_keepalive, startup_params=startup_params
    )
    connection: _Connection = _open(pg8000.dbapi.Connection, config, timeout)
    return connection


@clears_locals
def native(
    target: str | Config = "",
    /,
    *,
    timeout: float | None = None,
    tcp_keepalive: bool | None = None,
    startup_params: Mapping[str, str | bytes] | None = None,
    **overrides: Unpack[ConfigOptions],
) -> _NativeConnection:
    """Connect with babar-tls and return a connection of `pg8000.native`. See `connect` for arguments and errors."""
    config = _config(
        "native", target, overrides, timeout=timeout, tcp_keepalive=tcp_keepalive, startup_params=startup_params
    )
    connection: _NativeConnection = _open(pg8000.native.Connection, config, timeout)
    return connection


@clears_locals
def legacy(
    target: str | Config = "",
    /,
    *,
    timeout: float | None = None,
    tcp_keepalive: bool | None = None,
    startup_params: Mapping[str, str | bytes] | None = None,
    **overrides: Unpack[ConfigOptions],
) -> _LegacyConnection:
    """Connect with babar-tls and return a connection of `pg8000.legacy`, as `pg8000.connect` does.

    SQLAlchemy uses this class. See `connect` for arguments and errors. As in pg8000, an error with SQLSTATE 28000 is an
    `InterfaceError`.
    """
    config = _config(
        "legacy", target, overrides, timeout=timeout, tcp_keepalive=tcp_keepalive, startup_params=startup_params
    )
    connection: _LegacyConnection = _open(pg8000.legacy.Connection, config, timeout)
    return connection


def _config(
    function: str,
    target: str | Config,
    overrides: Mapping[str, Any],
    *,
    timeout: float | None,
    tcp_keepalive: bool | None,
    startup_params: Mapping[str, str | bytes] | None,
) -> Config:
    """Return the configuration for these arguments."""
    config = driver_config(target, overrides, _REPLACED, function)
    if timeout is not None:
        if not is_number(timeout) or not 0 < timeout <= _LONGEST_TIMEOUT:
            raise ConfigError(
                f"timeout must be a positive number of seconds, at most {_LONGEST_TIMEOUT}, not {timeout!r}",
                remedy="Use timeout=None to wait without limit.",
            )
        if config.connect_timeout is None or timeout < config.connect_timeout:
            config = config.replace(connect_timeout=timeout)
    if tcp_keepalive is not None:
        config = config.replace(keepalives=tcp_keepalive)
    return with_settings(config, _as_text(startup_params or {}), "pg8000", "startup_params")


def _as_text(startup_params: Mapping[str, str | bytes | None]) -> dict[str, str]:
    """Return the startup parameters as `str`, without those that are None, as in pg8000."""
    remedy = 'Write names and values as str: startup_params={"statement_timeout": "5s"}.'
    check_type("startup_params", startup_params, Mapping, "a mapping of str to str", remedy)
    settings = {}
    for name, value in startup_params.items():
        try:
            text = bytes(value).decode() if isinstance(value, bytes | bytearray) else value
        except UnicodeDecodeError:
            raise ConfigError(f"startup_params[{name!r}] is not UTF-8", remedy=remedy) from None
        if text is not None:
            settings[name] = text
    return settings


def _open(connection_class: type[Any], config: Config, timeout: float | None) -> Any:
    try:
        session = Session.connect(config)
    except ServerError as error:
        fields = server_fields(error)
        add_driver_class(error, _server_error_class(connection_class, error), {})
        error.args = (fields,)
        raise
    except (ConfigError, ImportError):
        raise
    except Error as error:
        add_driver_class(error, pg8000.InterfaceError, {})
        raise
    stream = session.detach()
    try:
        sock = _Socket(stream, timeout)
        # Without a host, pg8000 could not connect by itself if it ignored the socket.
        connection = connection_class(
            config.user, host=None, database=config.database, sock=sock, ssl_context=False, timeout=timeout
        )
        if not sock.has_greeted:
            raise IntegrationError("the driver does not wait for the server's greeting")
    except (IntegrationError, TypeError) as error:
        stream.close(TERMINATE)
        raise IntegrationError(
            f"pg8000 {pg8000.__version__} is not supported: {error}",
            remedy="Install a version that the extra allows: pip install 'babar-tls[pg8000]'",
        ) from error
    except BaseException:
        stream.close(TERMINATE)
        raise
    connection.security = stream.security
    return connection


def _server_error_class(connection_class: type[Any], error: ServerError) -> type[Exception]:
    """Return the class of the error that pg8000 would raise; see the constructor of `pg8000.legacy.Connection`.

    The other connection classes raise `DatabaseError`, which `ProgrammingError` is a subclass of.
    """
    is_interface_error = connection_class is pg8000.legacy.Connection and error.code == "28000"
    chosen: type[Exception] = pg8000.InterfaceError if is_interface_error else pg8000.ProgrammingError
    return chosen


class _Socket(SecureSocket):
    """A socket whose errors are also instances of pg8000's class for a broken connection.

    pg8000 itself converts most of them to `pg8000.InterfaceError`, but not those of the first read of a message.
    """

    def recv_into(self, buffer: Buffer) -> int:
        try:
            return super().recv_into(buffer)
        except IntegrationError:
            raise
        except Error as error:
            add_driver_class(error, pg8000.InterfaceError, {})
            error.message = f"{_NETWORK_ERROR}: {error.message}"
            raise
