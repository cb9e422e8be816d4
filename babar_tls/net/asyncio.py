"""The asyncio connection driver: performs a ready session's requests on the event loop.

It does not connect: `connect_threads` provides a socket on which the session is ready. For queries and copies it
performs the same requests as the blocking driver.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import Closed, Error
from ..protocol.requests import CancelRunning, Exchange, Fill, Send
from . import connect_threads
from .blocking import deliver_cancel, name_error
from .buffers import GATHERING, Flow, borrow, give_back
from .deadline import Meter
from .interruption import shut_down
from .sockets import stream_error
from .tls_transport import sealed

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from ..tls.connection import TlsConnection


_T = TypeVar("_T")
_READS_BETWEEN_PAUSES = 16
_RECEIVE_SIZE = 1 << 14


class AsyncioConnection:
    """A ready connection. `drive` runs an exchange over it.

    The loop watches the socket only during an operation, because a reader that is registered keeps this object alive.
    """

    def __init__(self, sock: socket.socket, tls: TlsConnection | None, description: str | None) -> None:
        self.loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = sock
        self._tls = tls
        self._description = description
        self._reads = 0
        self._flow = Flow()
        self._early: memoryview | None = None  # bytes that `sock_recv` returned and no read has consumed
        self._watched = False
        self._reader: asyncio.Future[None] | None = None
        self._writing = False
        self._perform: dict[type, Callable[[Any], Awaitable[Any]]] = {
            Send: self._send,
            Fill: self._fill,
            CancelRunning: deliver_cancel_async,
        }

    async def drive(self, exchange: Exchange[_T], *, goes_on: bool = False) -> _T:
        """Run an exchange to its end.

        Args:
            exchange: The exchange.
            goes_on: Whether the operation continues after a true result. The loop then keeps watching the socket, which
                saves two system calls for each part of the operation. It stops if data arrives and no read waits.

        Raises:
            Error: The error that the exchange raises, with the server's name.
        """
        try:
            request = next(exchange)
            while True:
                try:
                    result = await self._perform[type(request)](request)
                except Error as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(result)
        except StopIteration as stop:
            value: _T = stop.value
            if not (goes_on and value):
                self._unwatch()
            return value
        except BaseException as error:
            self._unwatch()
            if isinstance(error, Error):
                name_error(error, self._description, settled=True)
            raise

    def close(self, farewell: bytes = b"") -> None:
        """Close the connection, sending `farewell` first if that is possible without waiting; never raises.

        Called on the loop or, if no operation is in progress, in any thread.
        """
        if self._watched and self.loop.is_running() and not self._is_on_loop():
            self.loop.call_soon_threadsafe(self.close, farewell)  # not thread-safe while the loop watches it
            return
        self._unwatch()
        sock, self._socket = self._socket, None
        tls, self._tls = self._tls, None
        if sock is None:
            return
        try:
            if farewell and not self._writing:  # not in the middle of another message
                sock.send(sealed(tls, farewell))
        except (OSError, Error):
            pass  # the connection is broken, or the server does not read
        finally:
            if self._reader is not None and not self._reader.done():
                self._reader.set_result(None)
            if self._writing:
                shut_down(sock)  # wakes the writer, which closes it
            else:
                sock.close()
            if tls is not None:
                tls.close()

    def hand_over(self) -> tuple[socket.socket, TlsConnection | None]:
        """Release the socket and the TLS connection to another driver. Called on the loop, between operations.

        Raises:
            Closed: The connection is closed.
            Error: Data has arrived outside an operation.
        """
        self._unwatch()
        if self._early is not None:
            raise Error("the session has received data that no operation has read", remedy="Run a query first.")
        sock, tls = self._ready_socket(), self._tls
        self._socket = self._tls = None
        return sock, tls

    def close_copy(self) -> None:
        """Close only a forked child's copy of the socket, because the parent uses the connection."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    async def _send(self, request: Send) -> None:
        if self._tls is None:
            await self._write(request.data)
        else:
            self._tls.write(request.data)
            await self._write(self._tls.data_to_send())

    async def _fill(self, request: Fill) -> int:
        count = await self._read_into(request.inbox.space())
        request.inbox.received(count)
        return count

    async def _read_into(self, buffer: memoryview) -> int:
        tls = self._tls
        if tls is None:
            return await self._read(lambda sock: self._receive_into(sock, buffer))
        while (count := tls.read_into(buffer)) is None:
            await self._write(tls.data_to_send())  # reading may have produced output, such as a key update
            await self._feed(tls)
        return count

    async def _feed(self, tls: TlsConnection) -> None:
        def feed(sock: socket.socket) -> int:
            buffer = borrow()
            try:
                count = self._receive_into(sock, buffer)
                if count:
                    tls.receive_data(buffer[:count])
                else:
                    tls.receive_eof()
            finally:
                give_back(buffer)
            return count

        await self._read(feed)

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        sock = self._ready_socket()
        try:
            sent = sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as exc:
            raise stream_error(exc) from exc
        if sent < len(data):
            await self._write_rest(sock, data[sent:])
        self._flow.restart()

    async def _write_rest(self, sock: socket.socket, data: bytes) -> None:
        """Wait until all data is written. If the connection is closed meanwhile, close the socket here.

        A socket that is closed while the loop watches it never wakes the waiting task, and the loop would confuse it
        with the next socket that has the same number.
        """
        self._writing = True
        try:
            await self.loop.sock_sendall(sock, data)
        except OSError as exc:
            raise stream_error(exc) if self._socket is sock else self._closed() from exc
        finally:
            self._writing = False
            if self._socket is not sock:
                sock.close()
        self._ready_socket()

    async def _read(self, receive: Callable[[socket.socket], int]) -> int:
        await self._yield_to_loop()
        while True:
            sock = self._ready_socket()
            try:
                count = receive(sock)
            except (BlockingIOError, InterruptedError):
                await self._readable()
            except Error:
                raise  # a TlsError of the TLS backend, which is also an OSError
            except OSError as exc:
                raise stream_error(exc) from exc
            else:
                self._flow.received(count)
                return count

    async def _yield_to_loop(self) -> None:
        """Let the loop regularly run other tasks and timers, even if the socket always has data."""
        self._reads += 1
        if self._flow.is_thin():
            await asyncio.sleep(GATHERING)
        elif not self._reads % _READS_BETWEEN_PAUSES:
            await asyncio.sleep(0)

    def _receive_into(self, sock: socket.socket, buffer: memoryview) -> int:
        early = self._early
        if early is None:
            return sock.recv_into(buffer)
        count = min(len(early), len(buffer))
        buffer[:count] = early[:count]
        self._early = early[count:] if count < len(early) else None
        return count

    async def _readable(self) -> None:
        """Wait until the socket is readable or is closed.

        The loop keeps watching it until the operation ends, which saves two system calls for each wait.
        """
        sock = self._ready_socket()
        self._reader = self.loop.create_future()
        try:
            if not self._watched:
                self.loop.add_reader(sock.fileno(), self._on_readable)
                self._watched = True
            await self._reader
        except NotImplementedError:  # the Proactor loop of Windows has no `add_reader`
            try:
                self._early = memoryview(await self.loop.sock_recv(sock, _RECEIVE_SIZE))
            except OSError as exc:
                raise stream_error(exc) if self._socket is sock else self._closed() from exc
        finally:
            self._reader = None
        self._ready_socket()

    def _on_readable(self) -> None:
        if self._reader is None:
            self._unwatch()  # no operation waits, and the loop would call this method repeatedly
        elif not self._reader.done():
            self._reader.set_result(None)

    def _unwatch(self) -> None:
        if self._watched and self._socket is not None:
            self._watched = False
            if not self.loop.is_closed():
                self.loop.remove_reader(self._socket.fileno())

    def _ready_socket(self) -> socket.socket:
        if self._socket is None:
            raise self._closed()
        return self._socket

    def _is_on_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    @staticmethod
    def _closed() -> Closed:
        return Closed("the session was closed while it was in use")


async def deliver_cancel_async(request: CancelRunning) -> None:
    """Deliver a cancel request on a separate connection.

    Raises:
        Error: The request could not be delivered.
    """
    meter = Meter(request.config.connect_timeout)
    await connect_threads.run(lambda connect: deliver_cancel(request, meter, connect), meter)
