"""`SecureSocket`: a blocking socket over a `SecureStream`, for drivers that accept a socket from the caller."""

from __future__ import annotations

import builtins
import copy
import io
import struct
import time
from typing import TYPE_CHECKING, Any

from ..errors import Closed, Error, IntegrationError, TimeoutError
from ..protocol.messages import PROTOCOL_3_0
from .buffers import GATHERING, Flow, borrow, give_back
from .sockets import stream_error

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .secure_stream import SecureStream

__all__ = ["SecureSocket"]

_FILE_BUFFER = 1 << 16  # bytes of each direction of a file
_MAX_STARTUP = 10_000  # bytes; the server's limit for a StartupMessage (MAX_STARTUP_PACKET_LENGTH)
_STARTUP_HEADER = struct.Struct("!II")


class SecureSocket:
    """A blocking socket over a secured connection.

    The first message that the driver writes is its StartupMessage, which is not sent. The driver reads the greeting of
    the stream in response. All later data passes through TLS. One thread at a time may use it.

    The methods are those of `socket.socket` that drivers use. They raise a `babar_tls.IoError`, which is an `OSError`.

    Failure is permanent, because a driver that continued would read the response to an earlier request. This includes
    timeouts and interrupts (Ctrl-C). Afterwards reading raises an equal error, and written data is discarded, as
    a socket discards what it cannot deliver: a driver can send its Terminate message and close the connection.

    Args:
        stream: The connection. The socket owns it from now on.
        timeout: The maximum seconds that one operation waits for the network; `None` for no limit.
    """

    def __init__(self, stream: SecureStream, timeout: float | None = None) -> None:
        self._stream = stream
        self._socket, self._tls = stream.socket, stream.tls
        self._socket.settimeout(timeout)
        self._startup: bytes | None = b""  # what was received of the StartupMessage; None afterwards
        self._unread = memoryview(b"")  # the rest of the greeting
        self._flow = Flow()
        self._failure: Error | None = None
        self._is_ended = False  # the server has closed the connection

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._stream!r}>"

    @property
    def has_greeted(self) -> bool:
        """True if the driver has sent its StartupMessage and read the greeting."""
        return self._startup is None and not self._unread

    def recv(self, bufsize: int) -> bytes:
        """Return up to `bufsize` bytes; ``b""`` if the server has closed the connection.

        Raises:
            TimeoutError: Nothing has arrived in time.
            Closed: The connection broke, or was closed without close_notify.
            TlsError: A record was damaged.
        """
        buffer = bytearray(bufsize)
        return bytes(buffer[: self.recv_into(buffer)])

    def recv_into(self, buffer: Buffer) -> int:
        """Write received data to `buffer`; return its size, or 0 if the server has closed the connection.

        Raises:
            TimeoutError: Nothing has arrived in time.
            Closed: The connection broke, or was closed without close_notify.
            TlsError: A record was damaged.
        """
        view = memoryview(buffer).cast("B")
        try:
            if (failure := self._refusal()) is not None:
                raise copy.copy(failure)
            if self._startup is not None:
                raise IntegrationError("the driver reads before it has sent a StartupMessage")
            count = self._take_greeting(view) if self._unread else self._read(view)
        except BaseException as error:
            self._fail(error)
            raise
        if count == 0 and view:
            self._is_ended = True
        return count

    def sendall(self, data: Buffer) -> None:
        """Send all of `data`. After a failure, or after the server has closed the connection, discard it.

        Raises:
            IntegrationError: The first message is not a StartupMessage of protocol 3.0.
            TimeoutError: The server does not read.
            IoError: The connection broke.
        """
        try:
            if self._is_ended or self._refusal() is not None:
                return
            if self._startup is not None:
                self._take_startup(bytes(data))
                return
            self._flow.restart()
            if self._tls is None:
                self._send(data)
            else:
                self._tls.write(data)
                self._send(self._tls.data_to_send())
        except BaseException as error:
            self._fail(error)
            raise

    def makefile(self, mode: str = "rwb", **_options: Any) -> io.BufferedRWPair:
        """Return a buffered file for reading and writing. Closing it does not close the socket."""
        if mode != "rwb":
            raise IntegrationError(f"the driver opens the connection in mode {mode!r}; only rwb is supported")
        raw = _RawFile(self)
        return io.BufferedRWPair(raw, raw, _FILE_BUFFER)

    def settimeout(self, value: float | None) -> None:
        """Set the maximum seconds that one operation waits for the network; `None` for no limit."""
        self._socket.settimeout(value)

    def fileno(self) -> int:
        """Return the number of the file descriptor. It may be unreadable although data has been decrypted."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection. May be called again, and raises no error."""
        self._stream.close()

    def _refusal(self) -> Error | None:
        """Return why the connection cannot be used, or None if it can."""
        if self._failure is None and self._stream.is_forked:
            self._failure = Error(
                "the connection was opened before a fork: this process and its parent would share it",
                remedy="Open connections in each process.",
            )
        return self._failure

    def _fail(self, error: BaseException) -> None:
        """Make the failure permanent.

        A copy is kept, without the traceback. Its frames refer to the driver's objects, and so to the file of
        `makefile`. The garbage collector of Python 3.11 does not traverse an `io.BufferedRWPair`.
        """
        if self._failure is None:
            interrupted = Closed("an interrupt has left the connection in an unknown state")
            self._failure = copy.copy(error) if isinstance(error, Error) else interrupted

    def _take_startup(self, data: bytes) -> None:
        """Collect the StartupMessage, which may arrive in parts."""
        message = (self._startup or b"") + data
        if len(message) < _STARTUP_HEADER.size:
            self._startup = message
            return
        length, code = _STARTUP_HEADER.unpack_from(message)
        if code != PROTOCOL_3_0 or length > _MAX_STARTUP or len(message) > length:
            raise IntegrationError("the driver's first message is not a StartupMessage of protocol 3.0")
        if len(message) < length:
            self._startup = message
            return
        self._startup = None
        self._unread = memoryview(self._stream.greeting)

    def _take_greeting(self, view: memoryview) -> int:
        count = min(len(self._unread), len(view))
        view[:count] = self._unread[:count]
        self._unread = self._unread[count:]
        return count

    def _read(self, view: memoryview) -> int:
        if self._tls is None:
            return self._receive(view)
        while (received := self._tls.read_into(view)) is None:
            self._send(self._tls.data_to_send())  # reading may have produced output, such as a key update
            ciphertext = borrow()
            count = self._receive(ciphertext)
            if count:
                self._tls.receive_data(ciphertext[:count])
            else:
                self._tls.receive_eof()
            give_back(ciphertext)
        return received

    def _receive(self, buffer: memoryview) -> int:
        if self._flow.is_thin():
            time.sleep(GATHERING)
        try:
            count = self._socket.recv_into(buffer)
        except OSError as exc:
            raise self._translated(exc) from exc
        self._flow.received(count)
        return count

    def _send(self, data: Buffer) -> None:
        try:
            if data:
                self._socket.sendall(data)
        except OSError as exc:
            raise self._translated(exc) from exc

    def _translated(self, exc: OSError) -> OSError:
        if isinstance(exc, builtins.TimeoutError):
            return TimeoutError(
                "timeout expired while waiting for the server", remedy="Raise the timeout, or check the network."
            )
        return Closed("the connection is closed") if self._socket.fileno() < 0 else stream_error(exc)


class _RawFile(io.RawIOBase):
    def __init__(self, sock: SecureSocket) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        return self._sock.recv_into(buffer)

    def write(self, data: Buffer, /) -> int:
        self._sock.sendall(data)
        return memoryview(data).nbytes
