"""`SecureStream`: a connection that has left its session, for the use of another driver."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ConfigError, Error
from ..protocol.messages import cancel_request
from ..security import describe
from .blocking import deliver_cancel
from .deadline import Meter
from .tls_transport import sealed

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from ..config.host import Host
    from ..protocol.requests import CancelRunning
    from ..security import SecurityReport
    from ..tls.connection import TlsConnection

__all__ = ["SecureStream"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SecureStream:
    """A secured, authenticated connection, and what a driver needs to use it.

    `Session.detach` and `AsyncSession.detach` return one. Its holder owns the socket and closes it with `close`. To
    connect a driver, discard the driver's StartupMessage, send it `greeting` in response, and then pass all bytes
    through `tls` in both directions. `SecureTransport` does this for asyncio, `SecureSocket` for blocking drivers.

    The driver gets a random key for cancel requests in place of the session's key. So a CancelRequest that a driver
    sends on a connection of its own, perhaps unencrypted, neither cancels a query nor reveals the key. Recognize
    it with `is_cancel_request`, and call `cancel` or `cancel_async`.

    Attributes:
        socket: The connected socket, non-blocking.
        tls: The TLS connection; `None` if the connection is not encrypted. It may hold data that has been received and
            not been read.
        greeting: The server's messages from AuthenticationOk to ReadyForQuery, and the data that followed them.
        security: The security report.
        host: The host of `Config.targets` to which the stream is connected.
        params: The server's parameters.
        process_id: The ID of the server process.
        driver_key: The driver's key for cancel requests; empty if the server sent none.
        cancel_running: The request that `cancel` delivers; `None` if the server sent no key.
    """

    socket: socket.socket
    tls: TlsConnection | None
    greeting: bytes
    security: SecurityReport
    host: Host
    params: Mapping[str, str]
    process_id: int
    driver_key: bytes
    cancel_running: CancelRunning | None
    _process: int = field(default_factory=os.getpid, init=False)

    def __repr__(self) -> str:
        state = f"{describe(self.security)}{', closed' if self.socket.fileno() < 0 else ''}"
        return f"<{type(self).__name__} with {self.host.describe()}, {state}>"

    def is_cancel_request(self, data: bytes) -> bool:
        """Return True if `data` is the CancelRequest that a driver makes from `greeting`."""
        return hmac.compare_digest(data, cancel_request(self.process_id, self.driver_key))

    def cancel(self) -> None:
        """Send a cancel request for the running query on a separate connection, over TLS if this stream uses TLS.

        Raises:
            Error: The request could not be delivered.
        """
        request = self._request()
        deliver_cancel(request, Meter(request.config.connect_timeout))

    async def cancel_async(self) -> None:
        """Do the same as `cancel`, without blocking the event loop.

        Raises:
            Error: The request could not be delivered.
        """
        from .asyncio import deliver_cancel_async  # noqa: PLC0415 - blocking drivers need no event loop

        await deliver_cancel_async(self._request())

    def close(self, farewell: bytes = b"") -> None:
        """Close the connection. Never wait, never raise; may be called again.

        Args:
            farewell: The bytes to send first, if that is possible without waiting.
        """
        try:
            if self.socket.fileno() >= 0 and not self.is_forked:
                self.socket.setblocking(False)
                self.socket.send(sealed(self.tls, farewell))
        except (OSError, Error):
            pass  # the connection is broken, or the server does not read
        finally:
            self.socket.close()
            if self.tls is not None:
                self.tls.close()

    @property
    def is_forked(self) -> bool:
        """True in a child process, which must not use its parent's connection."""
        return os.getpid() != self._process

    def _request(self) -> CancelRunning:
        if self.cancel_running is None:
            raise no_key()
        return self.cancel_running


def no_key() -> ConfigError:
    """Return the error for a session without a key for cancel requests."""
    return ConfigError(
        "the server sent no key for cancel requests",
        remedy="A pooler between client and server may not support it.",
    )
