"""A TLS 1.2 server of pyOpenSSL, if that is installed: it exports keying material, and renegotiates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from babar_tls.testing.backend_checks._check import NotApplicable

if TYPE_CHECKING:
    from babar_tls.testing.certificates import ServerCertificate
    from babar_tls.tls.connection import TlsConnection


class PyOpenSslServer:
    """The server of one connection, for TLS 1.2 only.

    Args:
        certificate: The certificate that it presents.

    Raises:
        NotApplicable: pyOpenSSL is not installed.
    """

    def __init__(self, certificate: ServerCertificate) -> None:
        try:
            from OpenSSL import SSL  # noqa: PLC0415 - optional
        except ImportError:
            raise NotApplicable("the server for this check needs pyOpenSSL: pip install pyOpenSSL") from None
        self._error = SSL.Error  # WantReadError is one
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(x509.load_der_x509_certificate(certificate.der))
        context.use_privatekey(load_pem_private_key(certificate.private_key_pem, None))  # type: ignore[arg-type]  # any kind of key
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()

    def connect(self, client: TlsConnection) -> None:
        """Run the handshake of a connection to its end."""
        for _ in range(6):
            done = client.do_handshake()
            self.receive(client.data_to_send())
            if done:
                return
            client.receive_data(self.flush())
        raise AssertionError("the handshake is not complete")

    def receive(self, data: bytes) -> None:
        """Process ciphertext, and continue the handshake if it is not complete."""
        if data:
            self._connection.bio_write(data)
        try:
            self._connection.do_handshake()
            self._connection.recv(1 << 16)
        except self._error:
            pass

    def flush(self) -> bytes:
        """Return ciphertext for the client."""
        try:
            return self._connection.bio_read(1 << 20)
        except self._error:
            return b""

    def renegotiate(self) -> None:
        """Request another handshake."""
        self._connection.renegotiate()
        self.receive(b"")

    def renegotiations(self) -> int:
        """Return how many further handshakes were completed."""
        return self._connection.total_renegotiations() if not self._connection.renegotiate_pending() else 0

    def export(self, label: bytes, length: int) -> bytes:
        """Return exported keying material for an empty context (RFC 5705)."""
        return self._connection.export_keying_material(label, length, b"")
