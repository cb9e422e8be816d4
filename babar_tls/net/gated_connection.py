"""The blocking driver for connecting threads. It computes inside the gate and waits for the network outside."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import Closed
from ..protocol.requests import Phase
from .blocking import BlockingConnection
from .deadline import timeout_error
from .gate import Gate, Turn
from .interruption import LONGEST_WAIT, Interruption
from .sockets import AddressInfo, look_up, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..config import Config
    from ..config.host import Host
    from ..protocol.requests import Derive, ScramKeys, StartTls
    from ..tls.connection import TlsConnection
    from ..tls.contract import TlsBackend
    from ..tls.parameters import TlsParameters
    from .deadline import Meter


#: A derivation of more iterations runs outside the gate, one at a time.
_LONG_DERIVATION = 20_000
_LOCAL_ADDRESSES = ("127.0.0.1", "::1")
_IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR)

_derivations: Gate[None] = Gate(1)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_derivations.reset)


class Interrupted(BaseException):
    """The connect was interrupted. This is a BaseException, so that error handlers do not catch it."""


class GatedConnection(BlockingConnection):
    """The blocking driver on a non-blocking socket, which waits and computes as the gate allows."""

    def __init__(self, config: Config, meter: Meter, interruption: Interruption, turn: Turn) -> None:
        self._turn = turn
        super().__init__(config, meter, interruption)

    def _dial(self, sock: socket.socket, address: Any, seconds: float | None) -> None:
        self._enter(self._turn, Phase.TCP)
        left = self.meter.remaining(Phase.TCP)  # less than `seconds` after a wait for the gate
        if left is not None and seconds is not None:
            seconds = min(seconds, left)
        is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        self._turn.expect_server(is_local=not is_tcp or str(address[0]) in _LOCAL_ADDRESSES)
        sock.setblocking(False)
        code = sock.connect_ex(address)
        self._check()  # an interruption before `connect` could not shut down the socket
        if code in _IN_PROGRESS and is_tcp:
            if not self._wait(sock, Phase.TCP, seconds, write=True):
                raise timeout_error(Phase.TCP)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def _look_up(self, endpoint: Host, seconds: float | None) -> list[AddressInfo] | None:
        with self.outside(Phase.RESOLVE):
            # After the main thread has ended, a lookup in this thread would delay the exit.
            here = threading.main_thread().is_alive()
            return look_up(endpoint, seconds, self.interruption, here=here)

    def _new_tls(self, backend: TlsBackend, parameters: TlsParameters, request: StartTls) -> TlsConnection:
        identity = parameters.client_certificate
        if identity is None or not callable(identity.password):
            return super()._new_tls(backend, parameters, request)
        with self.outside(Phase.TLS):  # the caller's function may block
            return super()._new_tls(backend, parameters, request)

    def _derive_keys(self, request: Derive, is_cancelled: Callable[[], bool] | None = None) -> ScramKeys | None:
        if request.iterations <= _LONG_DERIVATION:
            keys = super()._derive_keys(request, lambda: self.interruption.requested)
            self._check()
            return keys
        with self.outside(Phase.AUTH):
            turn = Turn(_derivations, self.interruption)

            def pause() -> bool:
                """Let the next derivation run after a time slice; return True if this one was interrupted."""
                if turn.is_over():
                    turn.leave()
                    deadline = self.meter.deadline  # after it, the derivation raises the error
                    turn.enter(None if deadline is None else deadline - time.monotonic())
                return self.interruption.requested

            try:
                self._enter(turn, Phase.AUTH)
                return super()._derive_keys(request, pause)
            finally:
                turn.leave()

    def _send_all(self, sock: socket.socket, data: bytes, phase: Phase) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[sock.send(rest) :]
            except (BlockingIOError, InterruptedError):
                self._wait(sock, phase, self.meter.remaining(phase), write=True)
                self.meter.remaining(phase)

    def _read(self, sock: socket.socket, buffer: memoryview, phase: Phase) -> int:
        while True:
            try:
                return super()._read(sock, buffer, phase)
            except BlockingIOError:
                self._await_data(phase)  # it was not ready after all

    def _await_data(self, phase: Phase) -> socket.socket:
        sock = self._ready_socket(phase)
        if self._turn.is_over():
            with self.outside(phase):
                pass  # go to the end of the queue
        while not self._wait(sock, phase, self.meter.remaining(phase)):
            pass  # `remaining` raises the error
        return sock

    def _ready_socket(self, phase: Phase) -> socket.socket:
        self._check()
        if self._socket is None:
            raise Closed("the connection is closed")
        self.meter.remaining(phase)
        return self._socket

    def _wait(self, sock: socket.socket, phase: Phase, seconds: float | None, *, write: bool = False) -> bool:
        """Wait until the socket is ready; return False if that takes longer."""
        started = time.monotonic()
        end = None if seconds is None else started + seconds
        moment = self._turn.moment()
        if wait_for(sock, write=write, seconds=moment if seconds is None else min(moment, seconds)):
            self._turn.answered(time.monotonic() - started, inside=True)
            self._check()
            return True
        if moment:
            self._turn.lose_patience()
        with self.outside(phase):
            while True:
                self._check()
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return False
                step = left if LONGEST_WAIT is None else min(LONGEST_WAIT, left or LONGEST_WAIT)
                if wait_for(sock, write=write, seconds=step):
                    self._turn.answered(time.monotonic() - started, inside=False)
                    return True

    @contextlib.contextmanager
    def outside(self, phase: Phase) -> Iterator[None]:
        """Leave the gate during the block. After an error the thread stays outside until it opens a new connection."""
        self._turn.leave()
        yield
        self._enter(self._turn, phase)

    def _enter(self, turn: Turn, phase: Phase) -> None:
        """Enter a gate, unless the thread is inside; raise if the deadline passes or the connect is interrupted."""
        self._check()
        entered = turn.enter(self.meter.remaining(phase))
        self._check()
        if not entered:
            raise timeout_error(phase)

    def _check(self) -> None:
        if self.interruption.requested:
            raise Interrupted

    def _interrupted(self) -> NoReturn:
        raise Interrupted
