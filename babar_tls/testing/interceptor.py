"""A man in the middle for PostgreSQL, with a certificate that the client accepts."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from typing import TYPE_CHECKING

from babar_tls.protocol.messages import frame
from babar_tls.testing._tls_contexts import request_tls
from babar_tls.testing.peers import ScriptedServer

if TYPE_CHECKING:
    from babar_tls.testing.certificates import ServerCertificate
    from babar_tls.testing.peers import ScriptedPeer


_SEEN_LIMIT = 1 << 20  # bytes
_AUTHENTICATION_SASL = 10  # https://www.postgresql.org/docs/current/protocol-message-formats.html
_PLUS = b"SCRAM-SHA-256-PLUS"


class TlsInterceptor(ScriptedServer):
    """A proxy that terminates TLS between clients and a PostgreSQL server, and records the data of both.

    Without channel binding, a client does not detect the proxy if it does not verify the server, or if the proxy has a
    certificate from a CA that the client trusts.

    Args:
        upstream_host: The host of the real server.
        upstream_port: Its port.
        certificate: The certificate for clients.
        strip_plus: Removes SCRAM-SHA-256-PLUS from the mechanisms that the server offers, so that the client does not
            use channel binding.
        timeout: How long a connection may be idle, in seconds.

    Attributes:
        bytes_relayed: How many bytes it has relayed.
    """

    def __init__(
        self,
        upstream_host: str,
        upstream_port: int,
        certificate: ServerCertificate,
        *,
        strip_plus: bool = False,
        timeout: float = 60.0,
    ) -> None:
        super().__init__(self._intercept, tls=certificate, timeout=timeout)
        self.bytes_relayed: int = 0
        self._seen = bytearray()
        self._upstream = (upstream_host, upstream_port)
        self._strip_plus = strip_plus

    @property
    def seen(self) -> bytes:
        """The first mebibyte of both directions, decrypted, in the order of arrival."""
        with self._lock:
            return bytes(self._seen)

    def _intercept(self, peer: ScriptedPeer) -> None:
        with socket.create_connection(self._upstream, timeout=self._timeout) as sock:
            stream = request_tls(sock)
            if stream is None:
                raise ConnectionError("the upstream server does not offer TLS")
            with stream:
                stream.settimeout(self._timeout)
                assert peer.tls is not None  # noqa: S101 - for the type checker: `start_tls` has succeeded
                self._relay(peer.tls, stream)

    def _relay(self, client: ssl.SSLSocket, server: ssl.SSLSocket) -> None:
        # One thread serves both directions, because two threads must not use one OpenSSL connection at the same time.
        sasl = _PlusStripper() if self._strip_plus else None
        while True:
            readable, _, _ = select.select([client, server], [], [], self._timeout)
            if not readable:
                return
            for source in readable:
                data = _read_available(source)
                if data is None:
                    return
                self._remember(data)
                if source is client:
                    server.sendall(data)
                else:
                    client.sendall(sasl.feed(data) if sasl else data)

    def _remember(self, data: bytes) -> None:
        with self._lock:
            self.bytes_relayed += len(data)
            self._seen += data[: max(_SEEN_LIMIT - len(self._seen), 0)]


def _read_available(source: ssl.SSLSocket) -> bytes | None:
    """Read without waiting; return `None` at the end of the stream, and empty bytes if a record has no data."""
    timeout = source.gettimeout()
    source.setblocking(False)
    received = bytearray()
    try:
        # Read until it would block: `select` does not report data that TLS has already decrypted.
        while chunk := source.recv(65536):
            received += chunk
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return bytes(received)
    except OSError:
        return bytes(received) or None
    finally:
        source.settimeout(timeout)
    return bytes(received) or None


class _PlusStripper:
    """A filter that rewrites the server's AuthenticationSASL message, which may arrive in several pieces."""

    def __init__(self) -> None:
        self._pending: bytes | None = b""

    def feed(self, data: bytes) -> bytes:
        """Return the bytes to send to the client; an incomplete message is kept."""
        if self._pending is None:
            return data
        pending, done = self._pending + data, b""
        while len(pending) >= 5:
            length = struct.unpack_from("!i", pending, 1)[0] + 1
            if len(pending) < length:
                break
            message, pending = pending[:length], pending[length:]
            done += self._rewrite(message)
            if message[:1] == b"R":  # the first authentication request has the list of mechanisms
                self._pending = None
                return done + pending
        self._pending = pending
        return done

    @staticmethod
    def _rewrite(message: bytes) -> bytes:
        if message[:1] != b"R" or struct.unpack_from("!i", message, 5)[0] != _AUTHENTICATION_SASL:
            return message
        mechanisms = [name for name in message[9:].split(b"\0") if name and name != _PLUS]
        return frame(b"R", struct.pack("!i", _AUTHENTICATION_SASL) + b"\0".join([*mechanisms, b"\0"]))
