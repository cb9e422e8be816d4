"""A scripted peer that uses TLS of pyOpenSSL, because `ssl` has no exporter."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, TypeVar

from babar_tls.testing._optional import demo_extra_missing
from babar_tls.testing._tls_contexts import ALPN
from babar_tls.testing.peers import PeerDisconnected, ScriptedPeer

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
except ImportError as exc:
    raise demo_extra_missing(exc) from exc
try:
    from OpenSSL import SSL
except ImportError as exc:
    raise ImportError(
        f"a server with tls-exporter needs pyOpenSSL, which cannot be imported: {exc}\n"
        "Install it with: pip install 'babar-tls[openssl]'",
        name=exc.name,
        path=exc.path,
    ) from exc

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing.certificates import ServerCertificate


_T = TypeVar("_T")
_CHUNK = 1 << 16
_VERSIONS: dict[ssl.TLSVersion | None, int] = {
    ssl.TLSVersion.TLSv1_2: SSL.TLS1_2_VERSION,
    ssl.TLSVersion.TLSv1_3: SSL.TLS1_3_VERSION,
}


class OpenSslPeer(ScriptedPeer):
    """A `ScriptedPeer` that uses the socket of another peer, which remains responsible for closing it.

    Args:
        peer: The connection, before TLS.

    Attributes:
        connection: The connection of pyOpenSSL, once TLS is established.
    """

    connection: SSL.Connection

    def __init__(self, peer: ScriptedPeer) -> None:
        self.socket = peer.socket
        self.address = peer.address
        self._secure = False

    def start_tls(self, certificate: ServerCertificate, **options: Any) -> None:
        """Perform the server's side of a TLS handshake.

        Args:
            certificate: The server's certificate.
            options: `minimum_version` and `maximum_version` (`ssl.TLSVersion`).

        Raises:
            PeerDisconnected: The client disconnected.
            SSL.Error: The handshake failed for another reason.
        """
        self.connection = SSL.Connection(_context(certificate, **options), None)
        self.connection.set_accept_state()
        try:
            self._call(self.connection.do_handshake)
        except SSL.ZeroReturnError as exc:
            raise PeerDisconnected("the peer closed the connection during the handshake") from exc
        self._secure = True

    def receive(self, limit: int = _CHUNK) -> bytes:
        """Receive at most `limit` bytes; return empty bytes at the end of the stream."""
        if not self._secure:
            return super().receive(limit)
        try:
            return self._call(lambda: self.connection.recv(limit))
        except SSL.ZeroReturnError:
            return b""

    def send(self, data: bytes) -> None:
        """Send bytes unchanged."""
        if self._secure:
            self.connection.sendall(data)
            self._flush()
        else:
            super().send(data)

    def close_notify(self) -> None:
        """Send close_notify without waiting for that of the client."""
        self.connection.shutdown()
        self._flush()

    def _call(self, operation: Callable[[], _T]) -> _T:
        """Run an operation of `connection`; receive and send records until it completes."""
        while True:
            try:
                result = operation()
            except SSL.WantReadError:
                self._flush()
                records = super().receive(_CHUNK)
                if not records:
                    raise SSL.ZeroReturnError from None
                self.connection.bio_write(records)
            except SSL.ZeroReturnError:
                raise
            except SSL.Error as exc:
                self._flush()
                raise _disconnection(exc) from exc
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        """Send the records that OpenSSL has produced."""
        try:
            while True:
                super().send(self.connection.bio_read(_CHUNK))
        except SSL.WantReadError:
            pass


def _context(
    certificate: ServerCertificate,
    *,
    minimum_version: ssl.TLSVersion | None = None,
    maximum_version: ssl.TLSVersion | None = None,
) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")  # tests need weak certificates too
    context.set_min_proto_version(_VERSIONS.get(minimum_version, SSL.TLS1_2_VERSION))
    context.set_max_proto_version(_VERSIONS.get(maximum_version, SSL.TLS1_3_VERSION))
    # In a resumed session the first Finished is that of the server, and pyOpenSSL does not report resumption.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_alpn_select_callback(
        lambda _connection, offered: ALPN.encode() if ALPN.encode() in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    leaf, *intermediates = x509.load_pem_x509_certificates(certificate.certificate_pem)
    context.use_certificate(leaf)
    for intermediate in intermediates:
        context.add_extra_chain_cert(intermediate)
    context.use_privatekey(load_pem_private_key(certificate.private_key_pem, None))  # type: ignore[arg-type]  # mypy: it may return a DH key, which cannot sign
    return context


def _disconnection(exc: SSL.Error) -> Exception:
    """Return `PeerDisconnected` for an alert or an end of file, and other errors unchanged."""
    if isinstance(exc, SSL.SysCallError) or "alert" in str(exc) or "unexpected eof" in str(exc):
        return PeerDisconnected(f"the peer disconnected: {exc}")
    return exc
