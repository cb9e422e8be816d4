"""The common part of the blocking and the asyncio session: properties, checks and operations.

The operations are exchanges, which are generators that yield requests, like the handshake. Each session drives them
with its own connection.
"""

from __future__ import annotations

import secrets
import warnings
import weakref
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from .config import Config
from .config.arguments import check_names
from .config.host import Host
from .diagnostics.log import WEAKNESSES, warn_once
from .errors import Busy, Closed, ConfigError, Error, ServerError
from .net.secure_stream import SecureStream, no_key
from .protocol.greeting import greeting
from .protocol.messages import TERMINATE
from .protocol.query import copy_out, simple_query
from .protocol.requests import CancelRunning
from .security import MIN_ITERATIONS, describe

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator, Iterator, Mapping

    from .net.establish import Ready
    from .protocol.query import Row
    from .protocol.requests import Exchange, Request
    from .security import SecurityReport
    from .tls.connection import TlsConnection


_DRIVER_KEY = 4  # bytes of the key in protocol 3.0; some drivers accept no other size


class _Connection(Protocol):
    def hand_over(self) -> tuple[socket.socket, TlsConnection | None]: ...
    def close(self, farewell: bytes = b"") -> None: ...
    def close_copy(self) -> None: ...


class SessionBase:
    """The properties and operations that both kinds of session have."""

    _closed = True  # until the constructor is done, there is nothing to close
    _connection: _Connection

    def __init__(self, config: Config, ready: Ready) -> None:
        connection, established = ready.connection, ready.established
        self._config = config
        self._accepted = connection.config
        self._description = connection.description
        self._address = connection.address
        self._interruption = connection.interruption
        self._reader = established.reader
        self._params = established.parameters
        self._process_id = established.process_id
        self._secret_key = established.secret_key
        self._notices = established.notices
        self._protocol_version = established.protocol_version
        self._security = ready.security
        self._copy: Copy | None = None
        self._closed = False
        security = ready.security
        if (
            security.verified != "full"
            or security.channel_binding_type is None
            or (security.scram_iterations or MIN_ITERATIONS) < MIN_ITERATIONS
        ):
            try:
                self._warn_of_weaknesses()
            except BaseException:  # of a log handler
                self._finish(TERMINATE)
                raise

    @property
    def config(self) -> Config:
        """The configuration with which the session was opened."""
        return self._config

    @property
    def host(self) -> Host:
        """The host of `config.targets` to which the session is connected."""
        return self._accepted.targets[0]

    @property
    def params(self) -> Mapping[str, str]:
        """The server's parameters (``server_version``, …), kept up to date as queries run."""
        return MappingProxyType(self._params)

    @property
    def security(self) -> SecurityReport:
        """The report of the session's negotiated and verified security properties."""
        return self._security

    @property
    def backend_pid(self) -> int:
        """The ID of the server process of this session."""
        return self._process_id

    @property
    def protocol_version(self) -> str:
        """The negotiated version of PostgreSQL's protocol: ``3.0`` or ``3.2``."""
        return self._protocol_version

    @property
    def closed(self) -> bool:
        """True if the session was closed, or has failed."""
        return self._closed

    def _warn_of_weaknesses(self) -> None:
        """Log the weaknesses of this session that the configuration did not choose, once for each server."""
        from .explain.unexpected import unexpected_weaknesses  # noqa: PLC0415 - only weak sessions need it

        for text in unexpected_weaknesses(self._config, self._security, local=self.host.is_unix_socket):
            # The name may have several addresses, which the description contains.
            warn_once(f"{self._description}: {text}", WEAKNESSES, key=f"{self.host.describe()}: {text}")

    def __repr__(self) -> str:
        database = "" if self._config.database is None else f", database {self._config.database!r}"
        state = f"{describe(self._security)}{', closed' if self._closed else ''}"
        return f"<{type(self).__name__} with {self._description}, user {self._config.user!r}{database}, {state}>"

    def __del__(self) -> None:
        if self._closed:
            return
        if self._interruption.is_forked:
            self._connection.close_copy()
            return
        try:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        finally:
            self._connection.close(TERMINATE)

    def _check_usable(self) -> None:
        """Refuse operations on a session that is closed or shared with another process.

        Raises:
            Closed: The session is closed.
            Error: The session was opened before this process was forked.
        """
        if self._closed:
            raise Closed("the session is closed", remedy="Open another session.")
        if self._interruption.is_forked:
            raise Error(
                "the session was opened before a fork: this process and its parent would share one connection",
                remedy="Open a session in each process.",
            )

    def _cancel_request(self, config: Config | None = None) -> CancelRunning:
        """Return the cancel request for the running query.

        Args:
            config: The configuration of its connection, by default that of the session.

        Raises:
            ConfigError: The server sent no key for cancel requests.
        """
        if not self._secret_key:
            raise no_key()
        where = self.host
        if self._address is not None:  # the name may have several addresses
            where = Host(where.host, where.port, self._address)
        return CancelRunning(config or self._accepted, where, self._process_id, self._secret_key, self._security.tls)

    def _release(self) -> SecureStream:
        """End the session and return its connection. Called when no operation is in progress.

        Raises:
            Busy: A copy is unfinished.
            Closed: The session was closed by another thread.
        """
        if self._copy is not None and not self._copy.ended:
            raise busy()
        cancel_running, driver_key = None, b""
        if self._secret_key:  # a cancel request needs no password, and the driver keeps it for long
            cancel_running = self._cancel_request(self._accepted.without_password())
            driver_key = secrets.token_bytes(_DRIVER_KEY)
        start = greeting(self._params, self._process_id, driver_key, self._notices)
        sock, tls = self._connection.hand_over()
        self._closed = True
        stream = SecureStream(
            socket=sock,
            tls=tls,
            greeting=start + self._reader.pending,
            security=self._security,
            host=self.host,
            params=self.params,
            process_id=self._process_id,
            driver_key=driver_key,
            cancel_running=cancel_running,
        )
        if self._interruption.requested:
            stream.close()
            raise Closed("the session was closed by another thread")
        return stream

    def _query(self, sql: str) -> Exchange[list[Row]]:
        """Run a query, after the last copy has ended."""
        yield from self._reclaim()
        return (yield from simple_query(sql, self._reader, self._params))

    def _more(self, copy: Copy) -> Exchange[bool]:
        """Get more items of a copy; return False at its end, or if another operation has ended it."""
        if copy is not self._copy:
            if copy.begun:
                return False
            yield from self._reclaim()
            self._copy = copy
        return (yield from copy.more())

    def _reclaim(self) -> Exchange[None]:
        """Make the session ready for the next operation: cancel a copy that was dropped, and read the rest of it.

        Raises:
            Busy: The copy is still in use.
            Error: The end of the copy could not be read: the session is closed.
        """
        copy = self._copy
        if copy is None or copy.ended:
            return
        if copy.owner() is not None:
            raise busy()
        self._copy = None
        try:
            yield self._cancel_request()
            yield from copy.drain()
        except BaseException:
            self._finish()
            raise

    def _finish(self, farewell: bytes = b"") -> None:
        """Close the session; called by the thread that owns the connection."""
        self._closed = True
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.items = iter(())
        self._connection.close(farewell)


class Copy:
    """A copy in progress: its exchange and its iterator.

    A caller may drop the iterator before the end of the copy. The weak reference `owner` detects that, and the session
    ends the copy before the next operation.
    """

    def __init__(self, exchange: Generator[Request | list[bytes], Any, None], owner: object) -> None:
        self._exchange = exchange
        self.owner = weakref.ref(owner)
        self.items: Iterator[bytes] = iter(())  # received, and not yet returned
        self.begun = False
        self.ended = False

    def more(self) -> Exchange[bool]:
        """Continue until there are items; return False at the end."""
        self.begun = True
        has_more = False
        result: Any = None
        try:
            while True:
                step = self._exchange.send(result)
                if isinstance(step, list):
                    self.items = iter(step)
                    has_more = True
                    return True
                try:
                    result = yield step
                except Error as error:
                    self._exchange.throw(error)
        except StopIteration:
            return False
        finally:
            self.ended = not has_more

    def drain(self) -> Exchange[None]:
        """Read the copy to its end; a cancelled copy is not an error."""
        try:
            while (yield from self.more()):
                pass
        except ServerError as error:
            if not survives(error):
                raise


class CopyIterator:
    """The common part of the iterators over a copy. An iterator keeps a reference to its session."""

    def __init__(self, session: SessionBase, sql: str) -> None:
        self._session = session
        self._copy = Copy(copy_out(sql, session._reader, session._params), self)


def as_config(target: str | Config, overrides: Mapping[str, Any], function: str = "connect") -> Config:
    """Return the configuration for the arguments of a `connect` function, or of another `function`.

    Raises:
        TypeError: An override is not a field of `Config`.
        ConfigError: The configuration is invalid.
    """
    check_names(function, overrides)
    if isinstance(target, Config):
        return target.replace(**overrides) if overrides else target
    return Config.from_conninfo(target, **overrides)


def check_config(config: object) -> None:
    """Check the argument of a session's `connect`. The error does not show it, because it may contain a password.

    Raises:
        TypeError: It is not a `Config`.
    """
    if not isinstance(config, Config):
        raise TypeError(
            f"connect() of a session needs a Config, not {type(config).__name__}. For a connection string, use "
            "babar_tls.connect or connect_async, or Config.from_conninfo."
        )


def survives(error: BaseException | None) -> bool:
    """Return True if the session is still usable after this error."""
    if isinstance(error, ServerError):
        return error.severity not in ("FATAL", "PANIC")
    return error is None or isinstance(error, Busy | ConfigError | StopIteration | StopAsyncIteration)


def busy() -> Busy:
    """Return the error for a second operation while another one is in progress."""
    return Busy(
        "the session is busy with another query or an unfinished copy_to",
        remedy="Wait for the query, or read the copy to its end or drop its iterator: a session runs one operation at "
        "a time.",
    )
