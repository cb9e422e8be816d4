"""Networks in between: one that takes time, and one that counts round trips."""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .children import Child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from .places import Place


_CHUNK = 1 << 18
_CONNECT_PATIENCE = 10.0  # seconds
_JOIN_PATIENCE = 5.0


class _Proxy(ABC):
    """Listens on this machine, and passes on what it hears; a context manager.

    Args:
        host: Where the real server is.
        port: Its port.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = False

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._closing = True
            for sock in self._sockets:
                _interrupt(sock)
        # Closing a listener does not wake the thread that waits on it; a connection does, everywhere.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        for thread in list(self._threads):
            thread.join(_JOIN_PATIENCE)
        self._listener.close()

    @abstractmethod
    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on until either end is gone."""

    def _spawn(self, target: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]  # a method
        with self._lock:
            self._threads = [other for other in self._threads if other.is_alive() or other.ident is None] + [thread]
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closing:
                client.close()
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            server = socket.create_connection(self._upstream, timeout=_CONNECT_PATIENCE)
            with server:
                for sock in (client, server):
                    sock.settimeout(None)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    if self._closing:
                        return
                    self._sockets |= {client, server}
                try:
                    self._relay(client, server)
                finally:
                    with self._lock:
                        self._sockets -= {client, server}


class CountingProxy(_Proxy):
    """Counts round trips: data from the server that come after data from the client.

    TCP's own is one for each connection. A count is complete as soon as the client has seen what it waited for, because
    data are counted before they are passed on.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._counts: list[list[int]] = []

    def take(self) -> int:
        """The round trips of the connections made since the last call, so far: what follows on them is forgotten."""
        with self._lock:
            counts, self._counts = self._counts, []
            return sum(count for (count,) in counts)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        count = [1]
        with self._lock:
            self._counts.append(count)
        awaiting = False
        while True:
            readable, _, _ = select.select([client, server], [], [])
            # What the client has sent was on its way before any answer to it.
            for source in sorted(readable, key=lambda sock: sock is server):
                data = source.recv(_CHUNK)
                if not data:
                    return
                if source is client:
                    awaiting = True
                    server.sendall(data)
                else:
                    with self._lock:
                        count[0] += awaiting
                    awaiting = False
                    client.sendall(data)


class DelayProxy(_Proxy):
    """Delays each direction by half a round trip, however much there is to pass on.

    TCP's own handshake is the operating system's and cannot be delayed from here; the client's first bytes, which go
    out right behind it, wait a whole round trip longer in its place, so that the sum is right.

    Args:
        host: Where the real server is.
        port: Its port.
        rtt: The round trip's time in seconds, on top of the real one's.
    """

    def __init__(self, host: str, port: int, rtt: float) -> None:
        super().__init__(host, port)
        self._rtt = rtt

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        opened = time.perf_counter()
        back = self._spawn(self._pass_on, server, client, opened)
        self._pass_on(client, server, opened + self._rtt)
        back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket, not_before: float) -> None:
        """One direction: what arrives leaves half a round trip later, and nothing as if it had been sent too early."""
        pipe: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        sender = self._spawn(self._send, pipe, sink)
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                pipe.put((max(time.perf_counter(), not_before) + self._rtt / 2, data))
        pipe.put((time.perf_counter() + self._rtt / 2, b""))
        sender.join()

    @staticmethod
    def _send(pipe: queue.SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
        while True:
            due, data = pipe.get()
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            try:
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
            except OSError:
                return


@contextmanager
def delayed(place: Place, rtt: float) -> Iterator[Place]:
    """The same place, `rtt` seconds farther away; the delay is another process's work."""
    with Child("delay", host=place.address or place.host, port=place.port, rtt=rtt) as child:
        yield place.through(child.result()["port"])


def _interrupt(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
