"""The asyncio driver: performs the protocol's requests on one non-blocking socket, within one deadline.

It is the blocking driver's twin, written by hand: the same requests, the same order, `await` where the other waits.
Whatever is cancelled leaves the socket to its owner, who closes it.

Until the session is ready its coroutines run in a thread beside the event loop (`aside`), where they wait by
`until_ready`; then on the loop itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any, TypeVar

from .aio_timeout import Timeout
from .aside import LOCAL_PATIENCE, Aside, until_called, until_ready
from .driving import Meter, cached_keys, derive, timeout_error, wanted_backend
from .errors import Closed, ConfigError, Error, IoError, ServerError, TlsError, after, at_endpoint
from .group_memory import group_memory, is_about_offer
from .inflow import GATHERING, Flow, borrow, decrypt, give_back
from .protocol.hosts import shuffled
from .protocol.requests import (
    Connect,
    Derive,
    Endpoint,
    Exchange,
    Fill,
    OfferRefused,
    Phase,
    Receive,
    Request,
    ScramKeys,
    Send,
    StartTls,
)
from .sockets import (
    AddressInfo,
    check_peer,
    configure,
    connect_error,
    literal_address,
    look_up,
    shown_address,
    stream_error,
    unix_address,
)
from .telemetry import warn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .backends.base import TlsStream
    from .config import Config

_T = TypeVar("_T")
_READS_BETWEEN_PAUSES = 16
_RECEIVE_SIZE = 1 << 14
_LOCAL = ("127.0.0.1", "::1")
_QUICK_ITERATIONS = 20_000  # of PBKDF2: some milliseconds


class AsyncWire:
    """A connection, from nothing to closed. `drive` runs an exchange over it."""

    def __init__(self, config: Config, meter: Meter) -> None:
        self.meter = meter
        self.stream: TlsStream | None = None
        self.description: str | None = None
        self.address: str | None = None
        self._settled = False
        self.config = config
        self._reached: tuple[Endpoint, AddressInfo] | None = None
        self.backend = wanted_backend(config)
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._phase = Phase.TCP
        self._reads = 0
        self._flow = Flow()
        self._aside: Aside[Any] | None = None
        self._early: bytes | None = None
        self._watched = False
        self._reader: asyncio.Future[None] | None = None
        self._writing = False
        self._perform: dict[type, Callable[[Any], Awaitable[Any]]] = {
            Connect: self._connect,
            Send: self._send,
            Receive: self._receive,
            Fill: self._fill,
            StartTls: self._start_tls,
            Derive: self._derive,
        }

    async def drive(self, exchange: Exchange[_T]) -> _T:
        """Run an exchange to its end, within the meter's deadline; until the session is ready, beside the loop.

        Raises:
            Error: What the exchange lets out, with the server's name on it.
        """
        try:
            async with Timeout(self.meter.remaining(self._phase), lambda: timeout_error(self._phase)):
                if self._settled:
                    return await self._drive(exchange)
                self._aside = aside = Aside(self._drive(exchange), self._disconnect)
                result = await aside.run(self._loop)
                self._aside = None
                return result
        except Error as error:
            self.name(error)
            raise

    async def _drive(self, exchange: Exchange[_T]) -> _T:
        try:
            request = next(exchange)
            while True:
                try:
                    result = await self.perform(request)
                except Error as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(result)
        except StopIteration as stop:
            value: _T = stop.value
            return value

    def settle(self) -> None:
        """Connecting is over: nothing is limited in time any more, and an error of the server's is an answer."""
        self.meter.deadline = None
        self._settled = True

    async def perform(self, request: Request) -> Any:
        """Do one request; its result is what the exchange is sent."""
        return await self._perform[type(request)](request)

    def name(self, error: Error) -> None:
        """Put the server's name on an error of the connection's."""
        if self.description is not None and not (self._settled and isinstance(error, ServerError | ConfigError)):
            for attempt in error.attempts:
                at_endpoint(attempt, self.description)

    def close(self, goodbye: bytes = b"") -> None:
        """Close the connection, saying `goodbye` first if that does not mean waiting; never raises."""
        if self._aside is None:
            self._disconnect(goodbye)
        else:
            self._aside.abandon()  # whose thread has the socket, and disconnects

    def _disconnect(self, goodbye: bytes = b"") -> None:
        sock, self._socket = self._socket, None
        if sock is None:
            return
        if self._aside is not None:
            self._aside.forget(sock)
        self._unwatch(sock)
        try:
            if goodbye:
                sock.send(self._sealed(goodbye))
        except (OSError, Error):
            pass  # nobody is listening any more
        finally:
            self.stream = None
            if self._reader is not None and not self._reader.done():
                self._reader.set_result(None)
            if self._writing:
                _wake(sock)
            else:
                sock.close()

    def _sealed(self, goodbye: bytes) -> bytes:
        if self.stream is None:
            return goodbye
        self.stream.write(goodbye)
        self.stream.close_notify()
        return self.stream.data_to_send()

    async def _connect(self, request: Connect) -> None:
        self._disconnect()
        endpoint = request.endpoint
        self.description = endpoint.describe()
        addresses = await self._resolve(endpoint)
        self._phase = Phase.TCP
        failures: list[IoError] = []
        for left in range(len(addresses), 0, -1):
            try:
                await self._open(endpoint, addresses[-left], self.meter.share(left))
                break
            except OSError as exc:
                self._disconnect()
                failure = exc if isinstance(exc, IoError) else connect_error(exc, endpoint)
                at_endpoint(failure, self.description)
                if left == 1:
                    raise after(failure, failures) from (None if failure is exc else exc)
                failures.append(failure)
        self.meter.round_trips += not endpoint.is_unix_socket
        self.meter.mark(Phase.TCP)

    async def _open(self, endpoint: Endpoint, info: AddressInfo, seconds: float | None) -> None:
        family, kind, protocol, _, address = info
        if not endpoint.is_unix_socket:
            self.address = shown_address(address)
            self.description = endpoint.describe(self.address)
        if self._aside is not None and (endpoint.is_unix_socket or str(address[0]) in _LOCAL):
            self._aside.patience = LOCAL_PATIENCE
        self._socket = sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        configure(sock, self.config)
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            if not await until_ready(sock, EVENT_WRITE, seconds):
                raise timeout_error(Phase.TCP) from None
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code)) from None
        check_peer(sock, self.config)
        self._reached = endpoint, info

    async def _resolve(self, endpoint: Endpoint) -> list[AddressInfo]:
        if self._reached is not None and self._reached[0] == endpoint:
            return [self._reached[1]]  # a second attempt is one with the server that made it necessary
        if endpoint.is_unix_socket:
            return [unix_address(endpoint)]
        literal = literal_address(endpoint)
        if literal is not None:
            return [literal]
        self._phase = Phase.RESOLVE
        found: list[AddressInfo] | IoError = await until_called(lambda deliver: look_up(endpoint, deliver))
        if isinstance(found, IoError):
            raise found
        self.meter.mark(Phase.RESOLVE)
        return shuffled(self.config, found)

    async def _send(self, request: Send) -> None:
        if request.warning is not None:
            warn(f"{self.description}: {request.warning}")
        if self.stream is None:
            await self._write(request.data, request.phase)
        else:
            self.stream.write(request.data)
            await self._flush(request.phase)

    async def _receive(self, request: Receive) -> bytes:
        buffer = memoryview(bytearray(_RECEIVE_SIZE))
        data = bytes(buffer[: await self._read_into(buffer, request.phase)])
        self.meter.mark(request.phase)
        return data

    async def _fill(self, request: Fill) -> int:
        count = await self._read_into(request.inbox.space(), request.phase)
        request.inbox.received(count)
        self.meter.mark(request.phase)
        return count

    async def _read_into(self, buffer: memoryview, phase: Phase) -> int:
        stream = self.stream
        if stream is None:
            return await self._read(lambda sock: self._receive_into(sock, buffer), phase)
        while not (count := decrypt(stream, buffer)):
            await self._flush(phase)  # reading may have made something to say: a key update, an alert
            if stream.peer_closed:
                break
            await self._feed(stream, phase)
        return count

    async def _start_tls(self, request: StartTls) -> TlsStream:
        self._phase = Phase.TLS
        if self.backend is None:
            raise ConfigError("TLS was asked for by a handshake that was to have none")
        server = self.description, request.server_hostname
        parameters = group_memory.parameters(self.backend, server, request.parameters)
        stream = self.backend.wrap(parameters, request.server_hostname)
        try:
            # Our Finished stays in the stream until there is something to send with it: one flight, one write.
            while not stream.do_handshake():
                await self._write(stream.data_to_send(), Phase.TLS)
                await self._feed(stream, Phase.TLS)
        except TlsError as error:
            await self._send_alert(stream)
            if parameters is not request.parameters and is_about_offer(error, stream):
                group_memory.give_up(self.backend, server)
                raise OfferRefused(error.message, remedy=error.remedy) from error
            raise
        self.stream = stream
        group_memory.learn(self.backend, server, stream)
        self.meter.mark(Phase.TLS)
        return stream

    async def _send_alert(self, stream: TlsStream) -> None:
        """Tell the server why, so that its log says so too; the error at hand matters more than whether it hears."""
        try:
            await self._write(stream.data_to_send(), Phase.TLS)
        except IoError:
            pass

    async def _feed(self, stream: TlsStream, phase: Phase) -> None:
        def feed(sock: socket.socket) -> int:
            buffer = borrow()
            try:
                count = self._receive_into(sock, buffer)
                if count:
                    stream.receive_data(buffer[:count])
                else:
                    stream.receive_eof()
            finally:
                give_back(buffer)
            return count

        await self._read(feed, phase)

    async def _flush(self, phase: Phase) -> None:
        if self.stream is not None:
            await self._write(self.stream.data_to_send(), phase)

    async def _derive(self, request: Derive) -> ScramKeys | None:
        self._phase = Phase.AUTH
        keys = cached_keys(request, self.config)
        if keys is None and request.iterations <= _QUICK_ITERATIONS:
            keys = self._derived(request)
        elif keys is None:  # others have to connect meanwhile
            outcome: ScramKeys | Error | None
            outcome = await until_called(lambda deliver: self._derive_elsewhere(request, deliver))
            if isinstance(outcome, Error):
                raise outcome
            keys = outcome
        self.meter.mark(Phase.AUTH)
        return keys

    def _derived(self, request: Derive) -> ScramKeys | None:
        aside = self._aside
        return derive(request, self.config, self.meter, lambda: aside is not None and aside.abandoned)

    def _derive_elsewhere(self, request: Derive, deliver: Callable[[ScramKeys | Error | None], None]) -> None:
        def work() -> None:
            try:
                deliver(self._derived(request))
            except Error as error:
                deliver(error)

        # Of the loop's executor, whose threads are as many as one should compute with at a time.
        self._loop.call_soon_threadsafe(self._loop.run_in_executor, None, work)

    async def _write(self, data: bytes, phase: Phase) -> None:
        if not data:
            return
        rest = memoryview(data)
        while rest:
            sock = self._ready_socket(phase)
            try:
                rest = rest[sock.send(rest) :]
            except (BlockingIOError, InterruptedError):
                if self._aside is None:
                    await self._written(sock, bytes(rest))
                    break
                await until_ready(sock, EVENT_WRITE)
            except OSError as exc:
                raise stream_error(exc) from exc
        self.meter.sent()
        self._flow.restart()

    async def _written(self, sock: socket.socket, data: bytes) -> None:
        """Wait until all is written; if somebody else closes the connection meanwhile, do it here.

        A socket closed under a loop that watches it would never wake who waits, and its number, when it is given to
        the next socket, would be taken for it.
        """
        self._writing = True
        try:
            await self._loop.sock_sendall(sock, data)
        except OSError as exc:
            raise stream_error(exc) from exc
        finally:
            self._writing = False
            if self._socket is not sock:
                sock.close()
        self._ready_socket(self._phase)

    async def _read(self, receive: Callable[[socket.socket], int], phase: Phase) -> int:
        if self._aside is None:
            await self._make_way()
        elif self.meter.awaiting:  # what was sent a moment ago has no answer yet
            await until_ready(self._ready_socket(phase), EVENT_READ)
        while True:
            sock = self._ready_socket(phase)
            try:
                count = receive(sock)
            except (BlockingIOError, InterruptedError):
                if self._aside is None:
                    await self._readable()
                else:
                    await until_ready(sock, EVENT_READ)
            except OSError as exc:
                raise stream_error(exc) from exc
            else:
                self.meter.received()
                self._flow.received(count)
                return count

    async def _make_way(self) -> None:
        """Let the loop's other tasks and its timers run now and then, though there may always be something to read."""
        self._reads += 1
        if self._flow.is_thin():
            await asyncio.sleep(GATHERING)
        elif not self._reads % _READS_BETWEEN_PAUSES:
            await asyncio.sleep(0)

    def _receive_into(self, sock: socket.socket, buffer: memoryview) -> int:
        if self._early is None:
            return sock.recv_into(buffer)
        data, self._early = self._early, None
        buffer[: len(data)] = data
        return len(data)

    async def _readable(self) -> None:
        """Wait until the socket has something, or is closed.

        The loop goes on watching it, for in the midst of an answer that saves two system calls a time.
        """
        sock = self._ready_socket(self._phase)
        self._reader = self._loop.create_future()
        try:
            if not self._watched:
                self._loop.add_reader(sock.fileno(), self._on_readable, sock)
                self._watched = True
            await self._reader
        except NotImplementedError:  # Windows: a loop that reads, and does not watch
            self._early = await self._loop.sock_recv(sock, _RECEIVE_SIZE)
        finally:
            self._reader = None
        self._ready_socket(self._phase)

    def _on_readable(self, sock: socket.socket) -> None:
        if self._reader is None:
            self._unwatch(sock)  # nobody wants to know, and the loop would say it again and again
        elif not self._reader.done():
            self._reader.set_result(None)

    def _unwatch(self, sock: socket.socket) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(sock.fileno())

    def _ready_socket(self, phase: Phase) -> socket.socket:
        self._phase = phase
        if self._socket is None:
            raise Closed("the session was closed while it was in use" if self._settled else "the connection is closed")
        return self._socket


def _wake(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already
