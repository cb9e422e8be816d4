"""TLS contexts for tests, and the requests that precede TLS in a PostgreSQL connection."""

from __future__ import annotations

import ssl
import struct
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from babar_tls.protocol.messages import ssl_request

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from babar_tls.testing.certificates import ServerCertificate


# https://www.postgresql.org/docs/current/protocol-message-formats.html: length, then a code in place of a version
SSL_REQUEST = ssl_request()
GSSENC_REQUEST = struct.pack("!ii", 8, 80877104)
ALPN = "postgresql"

# Tests need certificates, keys and protocol versions that OpenSSL considers too weak by default.
_ANY_CIPHER = "ALL:@SECLEVEL=0"


def client_context() -> ssl.SSLContext:
    """Return a context for a client that does not verify the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(_ANY_CIPHER)
    context.set_alpn_protocols([ALPN])
    return context


def wrap(context: ssl.SSLContext, sock: socket.socket, *, server_side: bool) -> ssl.SSLSocket:
    """Call `SSLContext.wrap_socket` without a handshake, and close the new socket if it fails.

    `wrap_socket` detaches the file descriptor of `sock` first. If the peer has reset the connection, it raises and
    leaves the new socket open. Only the traceback refers to that socket.
    """
    try:
        return context.wrap_socket(sock, server_side=server_side, do_handshake_on_connect=False)
    except (OSError, ValueError) as exc:
        for frame, _ in traceback.walk_tb(exc.__traceback__):
            lost = frame.f_locals.get("self")
            if isinstance(lost, ssl.SSLSocket):
                lost.close()
        raise


def request_tls(sock: socket.socket) -> ssl.SSLSocket | None:
    """Request TLS from a PostgreSQL server without verifying it; return `None` if the server refuses."""
    sock.sendall(SSL_REQUEST)
    if sock.recv(1) != b"S":
        return None
    secured = wrap(client_context(), sock, server_side=False)
    try:
        secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured


def server_context(
    certificate: ServerCertificate,
    *,
    minimum_version: ssl.TLSVersion | None = None,
    maximum_version: ssl.TLSVersion | None = None,
    alpn_protocols: Sequence[str] = (ALPN,),
    ciphers: str = _ANY_CIPHER,
    client_ca_pem: bytes | None = None,
    group: str | None = None,
) -> ssl.SSLContext:
    """Return a context for a server; weak certificates are accepted.

    Args:
        certificate: The server's certificate.
        minimum_version: The oldest TLS version; `None` for the default of `ssl`.
        maximum_version: The newest.
        alpn_protocols: The protocols to accept (RFC 7301); empty to ignore ALPN.
        ciphers: An OpenSSL cipher list.
        client_ca_pem: Requires a client certificate issued by one of these CA certificates.
        group: The only key-exchange group to accept, by its OpenSSL name (``prime256v1``).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if group is not None:
        context.set_ecdh_curve(group)
    context.set_ciphers(ciphers)
    if minimum_version is not None:
        context.minimum_version = minimum_version
    if maximum_version is not None:
        context.maximum_version = maximum_version
    if alpn_protocols:
        context.set_alpn_protocols(list(alpn_protocols))
    if client_ca_pem is not None:
        context.load_verify_locations(cadata=client_ca_pem.decode("ascii"))
        context.verify_mode = ssl.CERT_REQUIRED
    with tempfile.TemporaryDirectory(prefix="babar-tls-") as folder:
        chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        certificate.write(chain, key)
        context.load_cert_chain(chain, key)
    return context
