r"""Real peers with a script: a server that says exactly what a test wants, over a real socket and real TLS.

::

    def refuse(peer):
        peer.receive_startup()
        peer.send_message(b"E", b"SFATAL\0C28000\0Mgo away\0\0")

    with ScriptedServer(refuse) as server:
        ...connect to (server.host, server.port)...
    assert not server.errors

The script runs in a thread of its own for every connection; it must not outlive its socket, which every wait of
`ScriptedPeer` sees to: when the server is closed, or a timeout runs out, the wait ends.
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

from babar_tls.testing._lifecycle import Startable
from babar_tls.testing._wire import GSSENC_REQUEST, SSL_REQUEST, server_context, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing.certificates import ServerCertificate


_TLS_HANDSHAKE_RECORD = 0x16
_JOIN_PATIENCE = 5.0  # seconds


class PeerDisconnected(ConnectionError):
    """The other end closed the connection, or broke it."""


class ScriptedPeer:
    """One accepted connection, as a script sees it.

    Every wait is bounded by the server's timeout (`TimeoutError`) and ends with `PeerDisconnected` when the other end
    goes away.

    Attributes:
        socket: The live socket; an `ssl.SSLSocket` once TLS is up.
        address: The client's address.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.address: Any = sock.getpeername()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The TLS socket, to ask for version, ALPN or the client's certificate; `None` while in the clear."""
        return self.socket if isinstance(self.socket, ssl.SSLSocket) else None

    def receive(self, limit: int = 65536) -> bytes:
        """Whatever arrives next, at most `limit` bytes; empty at the end of the stream."""
        with _disconnects():
            return self.socket.recv(limit)

    def receive_exactly(self, count: int) -> bytes:
        """The next `count` bytes, and not one more: what follows may be TLS's."""
        received = bytearray()
        while len(received) < count:
            chunk = self.receive(count - len(received))
            if not chunk:
                raise PeerDisconnected(f"the peer closed after {len(received)} of {count} bytes")
            received += chunk
        return bytes(received)

    def receive_startup(self) -> bytes:
        """An untyped packet, length included: SSLRequest, StartupMessage, CancelRequest."""
        head = self.receive_exactly(4)
        return head + self.receive_exactly(max(struct.unpack("!i", head)[0] - 4, 0))

    def receive_message(self) -> tuple[bytes, bytes]:
        """A typed message: its type byte, and its content without the length."""
        head = self.receive_exactly(5)
        return head[:1], self.receive_exactly(max(struct.unpack("!i", head[1:])[0] - 4, 0))

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        with _disconnects():
            self.socket.sendall(data)

    def send_message(self, kind: bytes, payload: bytes = b"") -> None:
        """Sends a typed message, length computed."""
        self.send(kind + struct.pack("!i", len(payload) + 4) + payload)

    def drip(self, data: bytes, delay: float = 0.001) -> None:
        """Sends bytes one by one, each a segment (and with TLS a record) of its own, `delay` seconds apart."""
        for index in range(len(data)):
            self.send(data[index : index + 1])
            time.sleep(delay)

    def start_tls(self, certificate: ServerCertificate, **options: Any) -> None:
        """Does the server's side of a TLS handshake on the live socket.

        Args:
            certificate: What to present; weak ones are presented all the same.
            options: `minimum_version` and `maximum_version` (`ssl.TLSVersion`), `alpn_protocols` (default:
                ``("postgresql",)``), `ciphers` (an OpenSSL cipher list), `client_ca_pem` (demands a client
                certificate), `group` (the one key-exchange group, by OpenSSL's name).

        Raises:
            PeerDisconnected: The client gave up, for example because it did not accept the certificate.
            ssl.SSLError: The handshake failed for another reason.
        """
        with _disconnects():
            context = server_context(certificate, **options)
            # In two steps, so that the socket is ours to close when the handshake fails.
            self.socket = wrap(context, self.socket, server_side=True)
            self.socket.do_handshake()

    def accept_tls(self, certificate: ServerCertificate, **options: Any) -> None:
        """Gets to TLS as PostgreSQL does: after an SSLRequest, or at once if the client starts with TLS.

        Args:
            certificate: As for `start_tls`.
            options: As for `start_tls`.

        Raises:
            ConnectionError: The client wants no TLS.
        """
        with _disconnects():
            first = self.socket.recv(1, socket.MSG_PEEK)
        if first != bytes((_TLS_HANDSHAKE_RECORD,)):
            request = self.receive_startup()
            if request == GSSENC_REQUEST:
                self.send(b"N")
                request = self.receive_startup()
            if request != SSL_REQUEST:
                raise ConnectionError("the client does not ask for TLS")
            self.send(b"S")
        self.start_tls(certificate, **options)

    def reset(self) -> None:
        """Breaks the connection with a TCP reset instead of closing it."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Closes the TCP connection, without TLS's close_notify."""
        self.socket.close()

    def close_notify(self) -> None:
        """Ends TLS in good order (RFC 8446 section 6.1), waiting for the client's answer, and goes on in the clear."""
        if isinstance(self.socket, ssl.SSLSocket):
            with _disconnects():
                self.socket = self.socket.unwrap()

    def interrupt(self) -> None:
        """Ends every wait on this connection, from another thread."""
        # Not SSLSocket's own shutdown: it takes the TLS object away from under a thread that is reading.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class ScriptedServer(Startable):
    """A TCP server that runs a script for every connection.

    Args:
        script: What to say; called with a `ScriptedPeer`. The connection is closed when it returns.
        tls: Brings every connection to TLS with this certificate before the script starts (`ScriptedPeer.accept_tls`).
        host: The address to listen on.
        timeout: How long any wait of a script may take, in seconds.
        tls_options: Options of `ScriptedPeer.start_tls`, for `tls`.

    Attributes:
        host: The address that it listens on.
        port: The port, chosen by the system.
        connections: How many connections it has accepted.
        errors: What scripts raised, except for the client's leaving.
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
        self.port = 0
        self.connections = 0
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

    def start(self) -> None:
        """Listens."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family)
        self.port = self._listener.getsockname()[1]
        self._threads.append(self._spawn(self._accept, self._listener))

    def stop(self) -> None:
        """Stops listening, interrupts the scripts that still run, and waits for them."""
        if self._listener is None:
            return
        with self._lock:
            self._closing = True
            for peer in self._peers:
                peer.interrupt()
        # Closing a listener does not wake the thread that waits on it; a connection does, everywhere.
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), timeout=1).close()
        for thread in list(self._threads):
            thread.join(_JOIN_PATIENCE)
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
                except OSError:  # gone already
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
        except BaseException as exc:  # a thread has nobody to raise it to
            if not self._closing:
                self.errors.append(exc)
        finally:
            with self._lock:
                self._peers.discard(peer)
                self._threads.remove(threading.current_thread())
                peer.close()


@contextlib.contextmanager
def _disconnects() -> Iterator[None]:
    """Turns the many ways in which the other end leaves into `PeerDisconnected`."""
    try:
        yield
    except ssl.SSLError as exc:
        # An alert is the client's word that it leaves, end of file its silence; the rest is a failure of this end.
        if isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "ALERT" in (exc.reason or ""):
            raise PeerDisconnected(f"the peer left: {exc}") from exc
        raise
    except ConnectionError as exc:
        raise PeerDisconnected(f"the peer left: {exc}") from exc
    except OSError as exc:
        if exc.errno in (errno.ENOTCONN, errno.EINVAL):  # what `accept` returned had been reset before
            raise PeerDisconnected(f"the peer left: {exc}") from exc
        raise
