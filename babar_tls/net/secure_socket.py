"""`SecureSocket`: a blocking socket over a `SecureStream`, for drivers that accept a socket from the caller."""

from __future__ import annotations

import builtins
import io
import struct
import time
from typing import TYPE_CHECKING, Any

from ..errors import Closed, IntegrationError, TimeoutError
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
        if self._startup is not None:
            raise IntegrationError("the driver reads before it has sent a StartupMessage")
        if self._unread:
            count = min(len(self._unread), len(view))
            view[:count] = self._unread[:count]
            self._unread = self._unread[count:]
            return count
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

    def sendall(self, data: Buffer) -> None:
        """Send all of `data`.

        Raises:
            IntegrationError: The first message is not a StartupMessage of protocol 3.0.
            TimeoutError: The server does not read.
            IoError: The connection broke.
        """
        if self._startup is not None:
            self._take_startup(bytes(data))
            return
        self._flow.restart()
        if self._tls is None:
            self._send(data)
        else:
            self._tls.write(data)
            self._send(self._tls.data_to_send())

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

    def _receive(self, buffer: memoryview) -> int:
        if self._flow.is_thin():
            time.sleep(GATHERING)
        try:
            count = self._socket.recv_into(buffer)
        except OSError as exc:
            raise self._failure(exc) from exc
        self._flow.received(count)
        return count

    def _send(self, data: Buffer) -> None:
        try:
            if data:
                self._socket.sendall(data)
        except OSError as exc:
            raise self._failure(exc) from exc

    def _failure(self, exc: OSError) -> OSError:
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
