"""The asyncio driver: performs the protocol's requests on one non-blocking socket, within one deadline.

It is the blocking driver's twin, written by hand: the same requests, the same order, `await` where the other waits.
Whatever is cancelled leaves the socket to its owner, who closes it.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from .aio_timeout import Timeout
from .driving import RECEIVE_SIZE, Meter, cached_keys, derive, timeout_error, wanted_backend
from .errors import Closed, ConfigError, Error, IoError, ServerError, TlsError, after, at_endpoint
from .group_memory import group_memory, is_about_offer
from .protocol.hosts import shuffled
from .protocol.requests import (
    Connect,
    Derive,
    Endpoint,
    Exchange,
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
_READS_BETWEEN_PAUSES = 16  # more than a handshake has


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
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))
        self._phase = Phase.TCP
        self._reads = 0
        self._waiting = False
        self._perform: dict[type, Callable[[Any], Awaitable[Any]]] = {
            Connect: self._connect,
            Send: self._send,
            Receive: self._receive,
            StartTls: self._start_tls,
            Derive: self._derive,
        }

    async def drive(self, exchange: Exchange[_T]) -> _T:
        """Run an exchange to its end, within the meter's deadline.

        Raises:
            Error: What the exchange lets out, with the server's name on it.
        """
        try:
            async with Timeout(self.meter.remaining(self._phase), lambda: timeout_error(self._phase)):
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
        except Error as error:
            self.name(error)
            raise

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
        sock, self._socket = self._socket, None
        if sock is None:
            return
        try:
            if goodbye:
                sock.send(self._sealed(goodbye))
        except (OSError, Error):
            pass  # nobody is listening any more
        finally:
            self.stream = None
            if self._waiting:
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
        self.close()
        endpoint = request.endpoint
        self.description = endpoint.describe()
        addresses = await self._resolve(endpoint)
        self._phase = Phase.TCP
        failures: list[IoError] = []
        for left in range(len(addresses), 0, -1):
            try:
                async with Timeout(self.meter.share(left), lambda: timeout_error(Phase.TCP)):
                    await self._open(endpoint, addresses[-left])
                break
            except OSError as exc:
                self.close()
                failure = exc if isinstance(exc, IoError) else connect_error(exc, endpoint)
                at_endpoint(failure, self.description)
                if left == 1:
                    raise after(failure, failures) from (None if failure is exc else exc)
                failures.append(failure)
        self.meter.round_trips += not endpoint.is_unix_socket
        self.meter.mark(Phase.TCP)

    async def _open(self, endpoint: Endpoint, info: AddressInfo) -> None:
        family, kind, protocol, _, address = info
        if not endpoint.is_unix_socket:
            self.address = shown_address(address)
            self.description = endpoint.describe(self.address)
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        configure(self._socket, self.config)
        await self._loop.sock_connect(self._socket, address)
        check_peer(self._socket, self.config)
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
        future: asyncio.Future[list[AddressInfo] | IoError] = self._loop.create_future()

        def deliver(outcome: list[AddressInfo] | IoError) -> None:
            try:
                self._loop.call_soon_threadsafe(_settle, future, outcome)
            except RuntimeError:
                pass  # the loop has ended meanwhile, and nobody wants to know any more

        # Not in the loop's executor: a few names that do not resolve would keep all others waiting, and the loop's end.
        look_up(endpoint, deliver)
        found = await future
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
        self.meter.mark(request.phase)

    async def _receive(self, request: Receive) -> bytes:
        if self.stream is None:
            data = await self._read(request.phase)
        else:
            data = await self._read_plaintext(self.stream, request.phase)
        self.meter.mark(request.phase)
        return data

    async def _read_plaintext(self, stream: TlsStream, phase: Phase) -> bytes:
        while True:
            count = stream.read_into(self._buffer)
            if count:
                return bytes(self._buffer[:count])
            await self._flush(phase)  # reading may have made something to say: a key update, an alert
            if stream.peer_closed:
                return b""
            await self._feed(stream, phase)

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
        data = await self._read(phase)
        if data:
            stream.receive_data(data)
        else:
            stream.receive_eof()

    async def _flush(self, phase: Phase) -> None:
        if self.stream is not None:
            await self._write(self.stream.data_to_send(), phase)

    async def _derive(self, request: Derive) -> ScramKeys | None:
        self._phase = Phase.AUTH
        keys = cached_keys(request, self.config)
        if keys is None:  # PBKDF2 releases the GIL: the loop goes on while a thread computes
            cancelled = threading.Event()
            try:
                keys = await self._loop.run_in_executor(
                    None, derive, request, self.config, self.meter, cancelled.is_set
                )
            finally:
                cancelled.set()  # if we are, the thread need not go on
        self.meter.mark(Phase.AUTH)
        return keys

    async def _write(self, data: bytes, phase: Phase) -> None:
        if not data:
            return
        sock = self._ready_socket(phase)
        await self._wait(sock, self._loop.sock_sendall(sock, data))
        self.meter.sent()

    async def _read(self, phase: Phase) -> bytes:
        # Reading what is there already does not wait, and from a server that always has more the loop would never get
        # back to its timers and its other tasks.
        self._reads += 1
        if not self._reads % _READS_BETWEEN_PAUSES:
            await asyncio.sleep(0)
        sock = self._ready_socket(phase)
        data = await self._wait(sock, self._loop.sock_recv(sock, RECEIVE_SIZE))
        self.meter.received()
        return data

    async def _wait(self, sock: socket.socket, operation: Awaitable[_T]) -> _T:
        """Wait for the socket; if somebody else closes the connection meanwhile, do it here, when nobody waits on it.

        A socket closed under a loop that watches it would never wake who waits, and its number, when it is given to
        the next socket, would be taken for it.
        """
        self._waiting = True
        try:
            result = await operation
        except OSError as exc:
            raise stream_error(exc) from exc
        finally:
            self._waiting = False
            if self._socket is not sock:
                sock.close()
        if self._socket is not sock:
            raise Closed("the session was closed while it was in use")
        return result

    def _ready_socket(self, phase: Phase) -> socket.socket:
        self._phase = phase
        if self._socket is None:
            raise Closed("the connection is closed")
        return self._socket


def _settle(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():  # it was cancelled
        future.set_result(result)


def _wake(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already
