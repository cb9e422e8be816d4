r"""Scripted servers: a function of the test sends and receives the bytes, over a real socket and real TLS.

::

    def refuse(peer):
        peer.receive_startup()
        peer.send_message(b"E", b"SFATAL\0C28000\0Mgo away\0\0")

    with ScriptedServer(refuse) as server:
        ...connect to (server.host, server.port)...
    assert not server.errors

The script runs in one thread for each connection. Every wait of `ScriptedPeer` ends when the server is stopped or a
timeout expires, so that no thread outlives its socket.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

from babar_tls.protocol.messages import frame
from babar_tls.testing._lifecycle import Startable
from babar_tls.testing._tls_contexts import GSSENC_REQUEST, SSL_REQUEST, server_context, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing.certificates import ServerCertificate


_TLS_HANDSHAKE_RECORD = 0x16
_JOIN_TIMEOUT = 5.0  # seconds


class PeerDisconnected(ConnectionError):
    """The client closed or reset the connection."""


class ScriptedPeer:
    """An accepted connection, the argument of a script.

    Every wait ends with `TimeoutError` after the server's timeout, and with `PeerDisconnected` when the client
    disconnects.

    Attributes:
        socket: The current socket; an `ssl.SSLSocket` once TLS is established.
        address: The client's address.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket: socket.socket = sock
        self.address: Any = sock.getpeername()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of the client at {self.address[0]}:{self.address[1]}>"

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The TLS socket, which has the version, ALPN and the client's certificate; `None` without TLS."""
        return self.socket if isinstance(self.socket, ssl.SSLSocket) else None

    def receive(self, limit: int = 65536) -> bytes:
        """Receive at most `limit` bytes; return empty bytes at the end of the stream."""
        with _disconnects():
            return self.socket.recv(limit)

    def receive_exactly(self, count: int) -> bytes:
        """Receive exactly `count` bytes, because the bytes after them may belong to TLS."""
        received = bytearray()
        while len(received) < count:
            chunk = self.receive(count - len(received))
            if not chunk:
                raise PeerDisconnected(f"the peer closed after {len(received)} of {count} bytes")
            received += chunk
        return bytes(received)

    def receive_startup(self) -> bytes:
        """Receive a packet without a type, including its length: SSLRequest, StartupMessage, CancelRequest."""
        head = self.receive_exactly(4)
        return head + self.receive_exactly(max(struct.unpack("!i", head)[0] - 4, 0))

    def receive_message(self) -> tuple[bytes, bytes]:
        """Receive a message; return its type byte, and its content without the length."""
        head = self.receive_exactly(5)
        return head[:1], self.receive_exactly(max(struct.unpack("!i", head[1:])[0] - 4, 0))

    def send(self, data: bytes) -> None:
        """Send bytes unchanged."""
        with _disconnects():
            self.socket.sendall(data)

    def send_message(self, kind: bytes, payload: bytes = b"") -> None:
        """Send a message with a type byte and its length."""
        self.send(frame(kind, payload))

    def drip(self, data: bytes, delay: float = 0.001) -> None:
        """Send bytes one by one, each in its own TCP segment (and TLS record), `delay` seconds apart."""
        for index in range(len(data)):
            self.send(data[index : index + 1])
            time.sleep(delay)

    def start_tls(self, certificate: ServerCertificate, **options: Any) -> None:
        """Perform the server's side of a TLS handshake on the current socket.

        Args:
            certificate: The server's certificate; weak ones are accepted.
            options: `minimum_version` and `maximum_version` (`ssl.TLSVersion`), `alpn_protocols` (default:
                ``("postgresql",)``), `ciphers` (an OpenSSL cipher list), `client_ca_pem` (requires a client
                certificate), `group` (the only key-exchange group, by its OpenSSL name).

        Raises:
            PeerDisconnected: The client aborted, for example because it did not accept the certificate.
            ssl.SSLError: The handshake failed for another reason.
        """
        with _disconnects():
            context = server_context(certificate, **options)
            # `self.socket` is set before the handshake, so that `close` closes the socket if the handshake fails.
            self.socket = wrap(context, self.socket, server_side=True)
            self.socket.do_handshake()

    def accept_tls(self, certificate: ServerCertificate, **options: Any) -> None:
        """Establish TLS as PostgreSQL does: after an SSLRequest, or at once if the client starts with TLS.

        Args:
            certificate: As for `start_tls`.
            options: As for `start_tls`.

        Raises:
            ConnectionError: The client did not request TLS.
        """
        with _disconnects():
            first = self.socket.recv(1, socket.MSG_PEEK)
        if first != bytes((_TLS_HANDSHAKE_RECORD,)):
            request = self.receive_startup()
            if request == GSSENC_REQUEST:
                self.send(b"N")
                request = self.receive_startup()
            if request != SSL_REQUEST:
                raise ConnectionError("the client did not request TLS")
            self.send(b"S")
        self.start_tls(certificate, **options)

    def reset(self) -> None:
        """Reset the TCP connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close the TCP connection without sending close_notify."""
        self.socket.close()

    def close_notify(self) -> None:
        """Send close_notify (RFC 8446 section 6.1), wait for that of the client, and continue without TLS."""
        if isinstance(self.socket, ssl.SSLSocket):
            with _disconnects():
                self.socket = self.socket.unwrap()

    def interrupt(self) -> None:
        """End every wait on this connection; called from another thread."""
        # SSLSocket.shutdown would drop the TLS object while another thread reads from it.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class ScriptedServer(Startable):
    """A TCP server that runs a script for every connection.

    Args:
        script: Called with a `ScriptedPeer` for each connection, which is closed when it returns.
        tls: A certificate; TLS is established before the script starts (`ScriptedPeer.accept_tls`).
        host: The address to listen on.
        timeout: How long any wait of a script may take, in seconds.
        tls_options: Options of `ScriptedPeer.start_tls`, for `tls`.

    Attributes:
        host: The address that it listens on.
        port: The port, chosen by the system.
        connections: How many connections it has accepted.
        errors: The exceptions of scripts, except `PeerDisconnected`.
    """

    def __init__(
        self,
        script: Callable[[ScriptedPeer], object],
        *,
        tls: ServerCertificate | None = None,
        host: str = "127.0.0.1",
        timeout: float = 10.0,
        **tls_options: Any,
    ) -> None:
        self.host = host
        self.port: int = 0
        self.connections: int = 0
        self.errors: list[BaseException] = []
        self._script = script
        self._tls = tls
        self._tls_options = tls_options
        self._timeout = timeout
        self._lock = threading.Lock()
        self._closing = False
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._peers: set[ScriptedPeer] = set()

    def __repr__(self) -> str:
        if self._listener is None:
            return f"<{type(self).__name__}, not running>"
        return f"<{type(self).__name__} at {self.host}:{self.port}>"

    def start(self) -> None:
        """Listen on a free port."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family)
        self.port = self._listener.getsockname()[1]
        self._threads.append(self._spawn(self._accept, self._listener))

    def stop(self) -> None:
        """Stop listening, interrupt the scripts that still run, and wait for them."""
        if self._listener is None:
            return
        with self._lock:
            self._closing = True
            for peer in self._peers:
                peer.interrupt()
        # Closing a listener does not wake a thread in accept(). A connection does, on every system.
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), timeout=1).close()
        for thread in list(self._threads):
            thread.join(_JOIN_TIMEOUT)
        self._listener.close()
        self._listener = None

    close = stop

    def _spawn(self, target: Callable[..., None], argument: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=(argument,), name=f"ScriptedServer:{self.port}", daemon=True)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                if self._closing:
                    sock.close()
                    return
                self.connections += 1
                sock.settimeout(self._timeout)
                try:
                    peer = ScriptedPeer(sock)
                except OSError:  # the client has already disconnected
                    sock.close()
                    continue
                self._peers.add(peer)
                self._threads.append(self._spawn(self._serve, peer))

    def _serve(self, peer: ScriptedPeer) -> None:
        try:
            if self._tls is not None:
                peer.accept_tls(self._tls, **self._tls_options)
            self._script(peer)
        except PeerDisconnected:
            pass
        except BaseException as exc:  # the test reads `errors`; nothing handles an exception of this thread
            if not self._closing:
                self.errors.append(exc)
        finally:
            with self._lock:
                self._peers.discard(peer)
                self._threads.remove(threading.current_thread())
                peer.close()


@contextlib.contextmanager
def _disconnects() -> Iterator[None]:
    """Map errors that mean that the client disconnected to `PeerDisconnected`."""
    try:
        yield
    except OSError as exc:
        if isinstance(exc, ssl.SSLError):
            # An alert or an end of file means that the client ended TLS. Other errors are failures of the server.
            has_left = isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "ALERT" in (exc.reason or "")
        else:
            # ENOTCONN and EINVAL: the connection was reset before `accept` returned it.
            has_left = isinstance(exc, ConnectionError) or exc.errno in (errno.ENOTCONN, errno.EINVAL)
        if has_left:
            raise PeerDisconnected(f"the peer disconnected: {exc}") from exc
        raise
