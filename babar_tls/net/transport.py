"""The socket of the blocking driver: connecting, reading and writing within a deadline and an interruption."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any

from ..errors import Closed, IoError, after, at_endpoint
from ..protocol.hosts import shuffled
from ..protocol.requests import Phase
from .buffers import GATHERING, Flow
from .deadline import Meter, timeout_error
from .interruption import Interruption
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

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..config import Config
    from ..config.host import Host


#: A socket's timeout may exceed the time that is left by this factor, because each change is a system call.
_TOLERANCE = 1 + 1 / 64
#: The maximum size of a read before the session is ready, so that data of a hostile server is processed in portions.
CONNECTING_READ = 1 << 14


class Transport:
    """One socket at a time, and the clock that limits it.

    Args:
        config: The configuration of one host.
        meter: The clock of the connect.
        interruption: Ends the waits of the thread that uses this connection.

    Attributes:
        description: The server's name for messages; `None` before the first connection.
        address: The server's address; `None` for a Unix socket.
    """

    def __init__(self, config: Config, meter: Meter, interruption: Interruption | None = None) -> None:
        self.config = config
        self.meter = meter
        self.interruption = interruption or Interruption()
        self.description: str | None = None
        self.address: str | None = None
        self._settled = False
        self._reached: tuple[Host, AddressInfo] | None = None
        self._socket: socket.socket | None = None
        self._timeout: float | None = None
        self._flow = Flow()

    def outside(self, phase: Phase) -> AbstractContextManager[None]:
        """Return a context manager for a block that calls functions of the caller, which may block.

        Args:
            phase: The phase of the connect, for the error if the deadline passes.
        """
        return contextlib.nullcontext()

    def close_socket(self) -> None:
        """Close the socket, if there is one."""
        sock, self._socket = self._socket, None
        if sock is not None:
            self.interruption.close(sock)

    def open(self, endpoint: Host) -> None:
        """Connect to the first address of an endpoint that accepts.

        Raises:
            IoError: No address accepts, or the deadline has passed.
        """
        self.description = endpoint.describe()
        addresses = self._resolve(endpoint)
        failures: list[IoError] = []
        for left in range(len(addresses), 0, -1):
            try:
                self._open(endpoint, addresses[-left], self.meter.share(left))
                break
            except OSError as exc:
                self.close_socket()
                if isinstance(exc, IoError):
                    failure = exc
                else:
                    failure = (
                        timeout_error(Phase.TCP) if isinstance(exc, TimeoutError) else connect_error(exc, endpoint)
                    )
                at_endpoint(failure, self.description)
                if left == 1:
                    raise after(failure, failures) from (None if failure is exc else exc)
                failures.append(failure)
            except BaseException:
                self.close_socket()
                raise
        self.meter.round_trips += not endpoint.is_unix_socket
        self.meter.mark(Phase.TCP)

    def _open(self, endpoint: Host, info: AddressInfo, seconds: float | None) -> None:
        family, kind, protocol, _, address = info
        if not endpoint.is_unix_socket:
            self.address = shown_address(address)
            self.description = endpoint.describe(self.address)
        self._socket = sock = socket.socket(family, kind, protocol)
        self.interruption.guard(sock)
        configure(sock, self.config)
        self._dial(sock, address, seconds)
        check_peer(sock, self.config)
        self._reached = endpoint, info

    def _dial(self, sock: socket.socket, address: Any, seconds: float | None) -> None:
        sock.settimeout(seconds)
        self._timeout = seconds
        sock.connect(address)

    def _resolve(self, endpoint: Host) -> list[AddressInfo]:
        if self._reached is not None and self._reached[0] == endpoint:
            return [self._reached[1]]  # a second attempt must use the same server
        if endpoint.is_unix_socket:
            return [unix_address(endpoint)]
        literal = literal_address(endpoint)
        if literal is not None:
            return [literal]
        found = self._look_up(endpoint, self.meter.remaining(Phase.RESOLVE))
        if found is None:
            raise timeout_error(Phase.RESOLVE)
        self.meter.mark(Phase.RESOLVE)
        return shuffled(self.config, found)

    def _look_up(self, endpoint: Host, seconds: float | None) -> list[AddressInfo] | None:
        return look_up(endpoint, seconds, self.interruption)

    def _write(self, data: bytes, phase: Phase) -> None:
        if not data:
            return
        sock = self._ready_socket(phase)
        try:
            self._send_all(sock, data, phase)
        except IoError:
            raise
        except OSError as exc:
            raise self._failure(exc, phase) from exc
        self.meter.awaiting = True
        self._flow.restart()

    def _send_all(self, sock: socket.socket, data: bytes, phase: Phase) -> None:
        sock.sendall(data)

    def _read(self, sock: socket.socket, buffer: memoryview, phase: Phase) -> int:
        if not self._settled:
            buffer = buffer[:CONNECTING_READ]
        elif self._flow.is_thin():
            time.sleep(GATHERING)
        try:
            count = sock.recv_into(buffer)
        except BlockingIOError:
            raise  # only from the non-blocking socket of `GatedConnection`, which waits again
        except OSError as exc:
            raise self._failure(exc, phase) from exc
        if self.interruption.requested:
            raise self._interrupted()
        self.meter.received()
        self._flow.received(count)
        return count

    def _await_data(self, phase: Phase) -> socket.socket:
        """Return the socket when it is ready to be read; the blocking read itself waits."""
        return self._ready_socket(phase)

    def _ready_socket(self, phase: Phase) -> socket.socket:
        """Return the socket, its timeout set to roughly the time that is left.

        The timeout may exceed the time that is left by a small fraction of that time. As the time shrinks, so does the
        excess: many reads do not add up.
        """
        if self.interruption.requested:
            raise self._interrupted()
        if self._socket is None:
            raise Closed("the connection is closed")
        if self.meter.deadline is None and self._timeout is None:
            return self._socket
        seconds = self.meter.remaining(phase)
        if seconds is None or self._timeout is None or not seconds <= self._timeout <= seconds * _TOLERANCE:
            self._socket.settimeout(seconds)
            self._timeout = seconds
        return self._socket

    def _failure(self, exc: OSError, phase: Phase) -> IoError:
        if self.interruption.requested:
            return self._interrupted()
        return timeout_error(phase) if isinstance(exc, TimeoutError) else stream_error(exc)

    def _interrupted(self) -> Closed:
        return Closed("the session was closed while it was in use")
