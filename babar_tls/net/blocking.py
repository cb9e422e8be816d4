"""The blocking connection driver: performs the protocol's requests on one socket, within one deadline.

All connects use it. A connect from asyncio runs in a separate thread (`connect_threads`), where a subclass overrides
how this driver waits and computes (`gated_connection`). The event loop gets the socket when the session is ready
(`asyncio`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..crypto import derive_within
from ..errors import Closed, ConfigError, Error, ServerError, at_endpoint
from ..protocol.handshake import cancel
from ..protocol.requests import (
    CancelRunning,
    Connect,
    Derive,
    Exchange,
    Fill,
    Phase,
    Receive,
    ScramKeys,
    Send,
    StartTls,
)
from .deadline import Meter
from .key_cache import key_cache
from .tls_transport import TlsTransport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ..config import Config
    from ..tls.connection import TlsConnection
    from .interruption import Interruption


_T = TypeVar("_T")

#: A function that creates the connection for one host.
Connector: TypeAlias = "Callable[[Config, Meter], BlockingConnection]"


class BlockingConnection(TlsTransport):
    """A connection to one host at a time. `drive` runs an exchange over it."""

    def __init__(self, config: Config, meter: Meter, interruption: Interruption | None = None) -> None:
        super().__init__(config, meter, interruption)
        self._derived: tuple[Derive, ScramKeys] | None = None
        self._perform: dict[type, Callable[[Any], Any]] = {
            Connect: self._connect,
            Send: self._send,
            Receive: self._receive,
            Fill: self._fill,
            StartTls: self._start_tls,
            Derive: self._derive,
            CancelRunning: self._cancel_running,
        }

    def drive(self, exchange: Exchange[_T]) -> _T:
        """Run an exchange to its end.

        Raises:
            Error: The error that the exchange raises, with the server's name.
        """
        try:
            request = next(exchange)
            perform = self._perform
            while True:
                try:
                    result = perform[type(request)](request)
                except Error as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(result)
        except StopIteration as stop:
            value: _T = stop.value
            return value
        except Error as error:
            name_error(error, self.description, settled=self._settled)
            raise

    def settle(self) -> None:
        """End the connect: remove the deadline, and stop adding the server's name to the errors that it sends."""
        self.meter.deadline = None
        self._settled = True

    def hand_over(self) -> tuple[socket.socket, TlsConnection | None]:
        """Release the socket, which becomes non-blocking, and the TLS connection, to another driver."""
        if self._socket is None:
            raise Closed("the connection is closed")
        sock, tls = self._socket, self.tls
        sock.setblocking(False)
        self.interruption.release()
        self._socket = self.tls = None
        return sock, tls

    def close(self, farewell: bytes = b"") -> None:
        """Forget the derived SCRAM keys, and close the connection. See `TlsTransport.close`."""
        self._derived = None
        super().close(farewell)

    def _cancel_running(self, request: CancelRunning) -> None:
        """Deliver a cancel request; an interruption also ends the waits of its connection."""
        try:
            deliver_cancel(
                request,
                Meter(request.config.connect_timeout),
                lambda config, meter: BlockingConnection(config, meter, self.interruption),
            )
        finally:
            if self._socket is not None:
                self.interruption.guard(self._socket)

    def _derive(self, request: Derive) -> ScramKeys | None:
        keys = key_cache.get(request) if self.config.scram_key_cache else None
        if keys is None:
            keys = self._derive_keys(request)
            if keys is not None:
                self._derived = request, keys
        self.meter.mark(Phase.AUTH)
        return keys

    def keep_keys(self) -> None:
        """Store the derived SCRAM keys. Call it after the handshake, which verifies the server's signature.

        Otherwise servers that are not authenticated could fill the cache with keys for invented salts.
        """
        derived, self._derived = self._derived, None
        if derived is not None and self.config.scram_key_cache:
            key_cache.put(*derived)

    def _derive_keys(self, request: Derive, is_cancelled: Callable[[], bool] | None = None) -> ScramKeys | None:
        seconds = self.meter.remaining(Phase.AUTH)
        return derive_within(request.password, request.salt, request.iterations, seconds, is_cancelled)


def deliver_cancel(request: CancelRunning, meter: Meter, connect: Connector = BlockingConnection) -> None:
    """Deliver a cancel request on a separate connection.

    Raises:
        Error: The request could not be delivered.
    """
    connection = connect(request.config, meter)
    try:
        connection.drive(cancel(request.config, request.where, request.process_id, request.secret_key, tls=request.tls))
    finally:
        connection.close()


def name_error(error: Error, description: str | None, *, settled: bool) -> None:
    """Add the server's name to an error of the connection.

    In a session (`settled`), a `ServerError` or `ConfigError` gets no name.
    """
    if description is not None and not (settled and isinstance(error, ServerError | ConfigError)):
        for attempt in error.attempts:
            at_endpoint(attempt, description)
