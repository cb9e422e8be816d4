"""`SecureTransport`: an asyncio transport over a `SecureStream`, for drivers that are written as an `asyncio.Protocol`.

::

    driver's protocol ◄──► SecureTransport ◄──► transport of the event loop ◄──► socket
                  plaintext    (TLS)      ciphertext

It is a transport for the driver and a protocol for the event loop. The loop's own transport does input and output,
buffers what is written, and applies flow control, so this works on every event loop.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from ..errors import Closed, Error, IntegrationError, TlsError
from ..protocol.messages import TERMINATE
from .buffers import GATHERING, Flow, borrow, give_back
from .sockets import stream_error

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from .secure_stream import SecureStream

__all__ = ["SecureTransport"]

_MAX_WAITING = 1 << 18  # bytes of ciphertext; asyncio's own TLS has the same limit


class SecureTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """A transport for `protocol` over a secured connection. `open` connects it to the event loop.

    The first data that the protocol writes is its StartupMessage, which is not sent. The protocol gets the greeting of
    the stream in response. All later data passes through TLS.

    If the connection breaks, `connection_lost` gets a `babar_tls.IoError` that states the cause. After a Terminate it
    gets `None`.

    Args:
        stream: The connection. The transport owns it from now on.
        protocol: The driver's protocol.
        check_startup: Called with the StartupMessage; it raises an error to refuse it.

    Attributes:
        has_startup: Whether the protocol has sent its StartupMessage.
    """

    def __init__(
        self,
        stream: SecureStream,
        protocol: asyncio.Protocol,
        check_startup: Callable[[bytes], object] | None = None,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._tls = stream.tls
        self._protocol = protocol
        self._check_startup = check_startup
        self._raw: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._greeting = stream.greeting
        self._is_held = True  # nothing is delivered before the greeting
        self.has_startup: bool = False
        self._is_paused = self._is_full = self._is_gathering = self._is_watching = False
        self._waiting = 0  # the bytes that arrived since the driver paused reading
        self._is_closing = False
        self._has_terminated = False  # the driver's last message was a Terminate
        self._cause: Exception | None = None
        self._buffer: memoryview | None = None  # lent to the event loop for one read
        self._flow = Flow()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._stream!r}>"

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start input and output, and call the protocol's `connection_made`. Close the stream if that fails.

        Raises:
            Error: The protocol's StartupMessage was refused.
            Exception: The protocol raised this exception when it got the greeting.
        """
        sock = self._stream.socket
        identity = _identity(sock)
        try:
            await loop.create_connection(lambda: self, sock=sock)
            if self._cause is not None:
                raise self._cause
        except BaseException:
            if _identity(sock) != identity:
                # uvloop has closed the descriptor, but the socket still has its number, which another connection of
                # this process may have now.
                sock.detach()
            self.abort()
            raise

    # -- the protocol of the loop's transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the driver's protocol."""
        self._raw = transport  # type: ignore[assignment]  # the loop creates a stream transport
        self._is_watching = True
        self._protocol.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return a buffer for one read. The transport keeps it until the loop reports that it was filled."""
        if self._buffer is None:
            self._buffer = borrow()
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Decrypt and deliver what the loop has received."""
        buffer, self._buffer = self._buffer, None
        assert buffer is not None  # noqa: S101 - the loop called `get_buffer`
        self._flow.received(nbytes)
        tls = self._tls
        if tls is None:
            data = bytes(buffer[:nbytes])
            give_back(buffer)
            if self._is_held:
                self._greeting += data
            else:
                self._protocol.data_received(data)
        else:
            try:
                tls.receive_data(buffer[:nbytes])
            except Error as error:
                self._lose(error)
                return
            self._deliver(buffer)
            if self._is_paused:
                self._waiting += nbytes
                if self._waiting >= _MAX_WAITING:
                    self._is_full = True
                    self._watch()
        if self._flow.is_thin() and not self._is_gathering:
            self._is_gathering = True
            self._watch()
            self._loop.call_later(GATHERING, self._end_gathering)

    def eof_received(self) -> bool:
        """Deliver the remaining data, then close the connection."""
        if self._tls is None:
            self._lose(Closed("server closed the connection unexpectedly"))
        else:
            self._tls.receive_eof()
            self._deliver()
        return True  # `_deliver` closes the connection, perhaps after the driver has resumed reading

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end of the connection to the driver, with its cause."""
        self._is_closing = True
        self._buffer = None
        cause = self._cause
        if cause is None and isinstance(exc, OSError):
            cause = stream_error(exc)
            cause.__cause__ = exc
        if self._tls is not None:
            self._tls.close()
        self._protocol.connection_lost(None if self._has_terminated else cause or exc)

    def pause_writing(self) -> None:
        """Forward flow control to the driver."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Forward flow control to the driver."""
        self._protocol.resume_writing()

    # -- the transport of the driver

    def write(self, data: Any) -> None:
        """Encrypt and send data; the first data is the StartupMessage."""
        if self._is_held:
            self._answer_startup(data)
            return
        if self._is_closing or self._raw is None:
            return
        self._has_terminated = len(data) == len(TERMINATE) and data == TERMINATE
        self._flow.restart()
        if self._tls is None:
            self._raw.write(data)
            return
        try:
            self._tls.write(data)
        except Error as error:
            self._lose(error)
        else:
            self._raw.write(self._tls.data_to_send())

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Encrypt and send several pieces of data."""
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """Stop delivering data.

        With TLS the loop stops reading when `_MAX_WAITING` bytes have arrived: drivers pause and resume often, and each
        change of the loop costs system calls.
        """
        self._is_paused = True
        if self._tls is None:
            self._is_full = True
            self._watch()

    def resume_reading(self) -> None:
        """Deliver data again: first what has been decrypted already."""
        if self._is_paused:
            self._is_paused = False
            self._loop.call_soon(self._guarded, self._resume)

    def is_reading(self) -> bool:
        """Return True if data is delivered."""
        return not (self._is_paused or self._is_closing)

    def close(self) -> None:
        """Send what was written, and close_notify, then close the connection."""
        if self._is_closing or self._raw is None:
            return
        self._is_closing = True
        if self._tls is not None:
            self._tls.close_notify()
            self._raw.write(self._tls.data_to_send())
        self._raw.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._is_closing = True
        if self._raw is None:
            self._stream.close(TERMINATE)
        else:
            self._raw.abort()  # it owns the socket

    def is_closing(self) -> bool:
        """Return True if the connection is closed, or will be."""
        return self._is_closing

    def can_write_eof(self) -> bool:
        """Return False: the drivers end a session with Terminate."""
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace the driver's protocol."""
        self._protocol = protocol  # type: ignore[assignment]  # an `asyncio.Protocol`

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the driver's protocol."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the connection: that of the loop's transport, and ``ssl_object`` if TLS is used."""
        if name == "ssl_object":
            return default if self._tls is None else self._tls
        return default if self._raw is None else self._raw.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that wait to be sent."""
        return 0 if self._raw is None else self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the limits of flow control."""
        assert self._raw is not None  # noqa: S101 - `connection_made` was called
        return self._raw.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits of flow control."""
        if self._raw is not None:
            self._raw.set_write_buffer_limits(high, low)

    # -- the work

    def _answer_startup(self, data: Any) -> None:
        """Discard the StartupMessage and deliver the greeting, as soon as the driver's call has returned."""
        try:
            if self.has_startup:
                raise IntegrationError("the driver sent data before it received the greeting")
            if self._check_startup is not None:
                self._check_startup(bytes(data))
        except Error as error:
            self._lose(error)
        else:
            self.has_startup = True
            self._loop.call_soon(self._guarded, self._greet)

    def _guarded(self, deliver: Callable[[], None]) -> None:
        """Deliver outside a callback of the loop's transport, which otherwise handles exceptions of the driver."""
        try:
            deliver()
        except Exception as exc:
            details = {"message": "the protocol raised an exception", "exception": exc, "transport": self}
            self._loop.call_exception_handler({**details, "protocol": self._protocol})
            self._lose(exc)

    def _greet(self) -> None:
        greeting, self._greeting = self._greeting, b""
        self._is_held = False
        if not self._is_closing:
            self._protocol.data_received(greeting)
            self._deliver()  # data that TLS received before the transport existed

    def _deliver(self, buffer: memoryview | None = None) -> None:
        """Deliver decrypted data until there is no more, or the driver pauses reading.

        Args:
            buffer: A buffer to decrypt into. It is given back.
        """
        tls = self._tls
        if tls is None or self._is_held:
            return
        if buffer is None:
            buffer = borrow()
        try:
            while not (self._is_paused or self._is_closing):
                count = tls.read_into(buffer)
                if count is None:
                    break
                if not count:
                    raise Closed("server closed the connection unexpectedly")
                self._protocol.data_received(bytes(buffer[:count]))
                if count < len(buffer) and not tls.is_ended:
                    break
            if not self._is_closing and self._raw is not None and (output := tls.data_to_send()):
                self._raw.write(output)  # reading may have produced output, such as a key update
        except Error as error:
            self._lose(error)
        finally:
            give_back(buffer)

    def _resume(self) -> None:
        """Deliver what has been decrypted, then read again."""
        self._deliver()
        if not self._is_paused:
            self._is_full = False
            self._waiting = 0
            self._watch()

    def _end_gathering(self) -> None:
        self._is_gathering = False
        self._watch()

    def _watch(self) -> None:
        """Make the loop read, or stop it from reading."""
        wanted = not (self._is_full or self._is_gathering)
        if wanted is not self._is_watching and self._raw is not None and not self._is_closing:
            self._is_watching = wanted
            if wanted:
                self._raw.resume_reading()
            else:
                self._raw.pause_reading()

    def _lose(self, error: Exception) -> None:
        """Close the connection because of an error."""
        if self._is_closing:
            return
        self._is_closing = True
        self._cause = error.with_traceback(None)  # its frames refer to this object, which would not be freed at once
        if self._raw is not None:
            if self._tls is not None and isinstance(error, TlsError):
                self._raw.write(self._tls.data_to_send())  # the alert
            self._raw.abort()


def _identity(sock: socket.socket) -> tuple[int, int] | None:
    """Return what identifies the open socket, as opposed to its descriptor; `None` if it is closed, or on Windows."""
    try:
        status = os.fstat(sock.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino
