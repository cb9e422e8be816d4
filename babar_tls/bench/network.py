"""TCP proxies between client and server: one counts round trips, the other delays data."""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any

from .child_process import ChildProcess
from .server import through_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from ..config import Config


_CHUNK = 1 << 18  # bytes
_CONNECT_TIMEOUT = 10.0  # seconds
_POLL = 0.05  # seconds until a call of `shutdown` is noticed


class _Proxy(ThreadingTCPServer, ABC):
    """A proxy on the loopback interface, with a thread for each connection; a context manager.

    Args:
        host: The address of the server.
        port: Its port.

    Attributes:
        port: The port of the proxy.
    """

    request_queue_size = 256

    def __init__(self, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", 0), None)  # type: ignore[arg-type]  # `finish_request` needs no handler
        self.port: int = self.server_address[1]
        self._upstream = (host, port)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closing = False
        self._listening = threading.Thread(target=self.serve_forever, args=(_POLL,), daemon=True)

    def __enter__(self) -> Self:
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        with self._lock:
            self._closing = True
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self.server_close()  # waits for the threads of the connections
        self._listening.join()

    @abstractmethod
    def relay(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on data until the client or the server has closed."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Connect to the server, and relay."""
        with contextlib.suppress(OSError), socket.create_connection(self._upstream, _CONNECT_TIMEOUT) as server:
            sockets = {request, server}
            for sock in sockets:
                sock.settimeout(None)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._closing:
                    return
                self._sockets |= sockets
            try:
                self.relay(request, server)
            finally:
                with self._lock:
                    self._sockets -= sockets


class CountingProxy(_Proxy):
    """A proxy that counts round trips: data from the server after data from the client, and one for TCP's handshake.

    Data are counted before they are passed on, so a count is complete when the client has received its answer.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._counts: list[list[int]] = []

    def take(self) -> int:
        """Return the number of round trips since the last call; these connections are not counted any longer."""
        with self._lock:
            counts, self._counts = self._counts, []
            return sum(count for (count,) in counts)

    def relay(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on data, and count."""
        count = [1]
        with self._lock:
            self._counts.append(count)
        waiting = False
        while True:
            readable, _, _ = select.select([client, server], [], [])
            # Data from the client were sent before the client has received what the server sends now.
            for source in sorted(readable, key=lambda sock: sock is server):
                data = source.recv(_CHUNK)
                if not data:
                    return
                if source is client:
                    waiting = True
                    server.sendall(data)
                else:
                    with self._lock:
                        count[0] += waiting
                    waiting = False
                    client.sendall(data)


class DelayProxy(_Proxy):
    """A proxy that delays each direction by half a round trip, and does not limit the throughput.

    A proxy cannot delay TCP's handshake, which the operating system performs. The first bytes of the client are delayed
    by one more round trip instead, so that the total is correct.

    Args:
        host: The address of the server.
        port: Its port.
        rtt: The additional round-trip time in seconds.
    """

    def __init__(self, host: str, port: int, rtt: float) -> None:
        super().__init__(host, port)
        self._rtt = rtt

    def relay(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on data, each chunk half a round trip after its arrival."""
        opened = time.perf_counter()
        back = threading.Thread(target=self._pass_on, args=(server, client, opened), daemon=True)
        back.start()
        self._pass_on(client, server, opened + self._rtt)
        back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket, not_before: float) -> None:
        pipe: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        sender = threading.Thread(target=self._send, args=(pipe, sink), daemon=True)
        sender.start()
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                pipe.put((max(time.perf_counter(), not_before) + self._rtt / 2, data))
        pipe.put((time.perf_counter() + self._rtt / 2, b""))
        sender.join()

    @staticmethod
    def _send(pipe: queue.SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = pipe.get()
                time.sleep(max(0.0, due - time.perf_counter()))
                if not data:
                    break
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def delayed(config: Config, rtt: float) -> Iterator[Config]:
    """Yield the configuration for the same server through a `DelayProxy`, which runs in a child process."""
    with ChildProcess(delay, host=config.hostaddr or config.host, port=config.port, rtt=rtt) as child:
        yield through_port(config, child.result()["port"])


def delay(*, host: str, port: int, rtt: float) -> Iterator[dict[str, Any]]:
    """Run a `DelayProxy` until standard input is closed."""
    with DelayProxy(host, port, rtt) as proxy:
        yield {"port": proxy.port}
        sys.stdin.read()
