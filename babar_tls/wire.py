"""The blocking driver: performs the protocol's requests on one socket, within one deadline."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, TypeVar

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
    from collections.abc import Callable

    from .backends.base import TlsStream
    from .config import Config

_T = TypeVar("_T")
#: A socket's timeout may be longer than what is left of the time by this factor.
_TOLERANCE = 1 + 1 / 64


class Wire:
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
        self._socket: socket.socket | None = None
        self._timeout: float | None = None
        self._flow = Flow()
        self._perform: dict[type, Callable[[Any], Any]] = {
            Connect: self._connect,
            Send: self._send,
            Receive: self._receive,
            Fill: self._fill,
            StartTls: self._start_tls,
            Derive: self._derive,
        }

    def drive(self, exchange: Exchange[_T]) -> _T:
        """Run an exchange to its end.

        Raises:
            Error: What the exchange lets out, with the server's name on it.
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
            self.name(error)
            raise

    def settle(self) -> None:
        """Connecting is over: nothing is limited in time any more, and an error of the server's is an answer."""
        self.meter.deadline = None
        self._settled = True

    def perform(self, request: Request) -> Any:
        """Do one request; its result is what the exchange is sent."""
        return self._perform[type(request)](request)

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
                sock.setblocking(False)
                sock.send(self._sealed(goodbye))
            sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits on it
        except (OSError, Error):
            pass  # nobody is listening any more
        finally:
            self.stream = None
            sock.close()

    def _sealed(self, goodbye: bytes) -> bytes:
        if self.stream is None:
            return goodbye
        self.stream.write(goodbye)
        self.stream.close_notify()
        return self.stream.data_to_send()

    def _connect(self, request: Connect) -> None:
        self.close()
        endpoint = request.endpoint
        self.description = endpoint.describe()
        addresses = self._resolve(endpoint)
        failures: list[IoError] = []
        for left in range(len(addresses), 0, -1):
            try:
                self._open(endpoint, addresses[-left], self.meter.share(left))
                break
            except OSError as exc:
                self.close()
                failure = at_endpoint(_connect_failure(exc, endpoint), self.description)
                if left == 1:
                    raise after(failure, failures) from exc
                failures.append(failure)
            except BaseException:
                self.close()
                raise
        self.meter.round_trips += not endpoint.is_unix_socket
        self.meter.mark(Phase.TCP)

    def _open(self, endpoint: Endpoint, info: AddressInfo, seconds: float | None) -> None:
        family, kind, protocol, _, address = info
        if not endpoint.is_unix_socket:
            self.address = shown_address(address)
            self.description = endpoint.describe(self.address)
        self._socket = socket.socket(family, kind, protocol)
        configure(self._socket, self.config)
        self._socket.settimeout(seconds)
        self._timeout = seconds
        self._socket.connect(address)
        check_peer(self._socket, self.config)
        self._reached = endpoint, info

    def _resolve(self, endpoint: Endpoint) -> list[AddressInfo]:
        if self._reached is not None and self._reached[0] == endpoint:
            return [self._reached[1]]  # a second attempt is one with the server that made it necessary
        if endpoint.is_unix_socket:
            return [unix_address(endpoint)]
        literal = literal_address(endpoint)
        if literal is not None:
            return [literal]
        found = _look_up(endpoint, self.meter.remaining(Phase.RESOLVE))
        self.meter.mark(Phase.RESOLVE)
        return shuffled(self.config, found)

    def _send(self, request: Send) -> None:
        if request.warning is not None:
            warn(f"{self.description}: {request.warning}")
        if self.stream is None:
            self._write(request.data, request.phase)
        else:
            self.stream.write(request.data)
            self._flush(request.phase)

    def _receive(self, request: Receive) -> bytes:
        buffer = borrow()
        data = bytes(buffer[: self._read_into(buffer, request.phase)])
        give_back(buffer)
        self.meter.mark(request.phase)
        return data

    def _fill(self, request: Fill) -> int:
        count = self._read_into(request.inbox.space(), request.phase)
        request.inbox.received(count)
        self.meter.mark(request.phase)
        return count

    def _read_into(self, buffer: memoryview, phase: Phase) -> int:
        if self.stream is None:
            return self._read(buffer, phase)
        while not (count := decrypt(self.stream, buffer)):
            self._flush(phase)  # reading may have made something to say: a key update, an alert
            if self.stream.peer_closed:
                break
            self._feed(self.stream, phase)
        return count

    def _start_tls(self, request: StartTls) -> TlsStream:
        if self.backend is None:
            raise ConfigError("TLS was asked for by a handshake that was to have none")
        server = self.description, request.server_hostname
        parameters = group_memory.parameters(self.backend, server, request.parameters)
        stream = self.backend.wrap(parameters, request.server_hostname)
        try:
            # Our Finished stays in the stream until there is something to send with it: one flight, one write.
            while not stream.do_handshake():
                self._write(stream.data_to_send(), Phase.TLS)
                self._feed(stream, Phase.TLS)
        except TlsError as error:
            self._send_alert(stream)
            if parameters is not request.parameters and is_about_offer(error, stream):
                group_memory.give_up(self.backend, server)
                raise OfferRefused(error.message, remedy=error.remedy) from error
            raise
        self.stream = stream
        group_memory.learn(self.backend, server, stream)
        self.meter.mark(Phase.TLS)
        return stream

    def _send_alert(self, stream: TlsStream) -> None:
        """Tell the server why, so that its log says so too; the error at hand matters more than whether it hears."""
        try:
            self._write(stream.data_to_send(), Phase.TLS)
        except IoError:
            pass

    def _feed(self, stream: TlsStream, phase: Phase) -> None:
        buffer = borrow()
        count = self._read(buffer, phase)
        if count:
            stream.receive_data(buffer[:count])
        else:
            stream.receive_eof()
        give_back(buffer)

    def _flush(self, phase: Phase) -> None:
        if self.stream is not None:
            self._write(self.stream.data_to_send(), phase)

    def _derive(self, request: Derive) -> ScramKeys | None:
        keys = cached_keys(request, self.config) or derive(request, self.config, self.meter)
        self.meter.mark(Phase.AUTH)
        return keys

    def _write(self, data: bytes, phase: Phase) -> None:
        if not data:
            return
        sock = self._ready_socket(phase)
        try:
            sock.sendall(data)
        except OSError as exc:
            raise _failure(exc, phase) from exc
        self.meter.sent()
        self._flow.restart()

    def _read(self, buffer: memoryview, phase: Phase) -> int:
        sock = self._ready_socket(phase)
        if self._flow.is_thin():
            time.sleep(GATHERING)
        try:
            count = sock.recv_into(buffer)
        except OSError as exc:
            raise _failure(exc, phase) from exc
        self.meter.received()
        self._flow.received(count)
        return count

    def _ready_socket(self, phase: Phase) -> socket.socket:
        """The socket, with what is left of the time as its timeout, or nearly: each change is a system call.

        It may be late by a part of what is left, which shrinks with it, so that no number of reads adds up.
        """
        if self._socket is None:
            raise Closed("the connection is closed")
        if self.meter.deadline is None and self._timeout is None:
            return self._socket
        seconds = self.meter.remaining(phase)
        if seconds is None or self._timeout is None or not seconds <= self._timeout <= seconds * _TOLERANCE:
            self._socket.settimeout(seconds)
            self._timeout = seconds
        return self._socket


def _connect_failure(exc: OSError, endpoint: Endpoint) -> IoError:
    if isinstance(exc, IoError):
        return exc
    return timeout_error(Phase.TCP) if isinstance(exc, TimeoutError) else connect_error(exc, endpoint)


def _failure(exc: OSError, phase: Phase) -> IoError:
    return timeout_error(phase) if isinstance(exc, TimeoutError) else stream_error(exc)


def _look_up(endpoint: Endpoint, seconds: float | None) -> list[AddressInfo]:
    outcome: list[list[AddressInfo] | IoError] = []
    look_up(endpoint, outcome.append).join(seconds)
    if not outcome:
        raise timeout_error(Phase.RESOLVE)
    (found,) = outcome
    if isinstance(found, IoError):
        raise found
    return found
