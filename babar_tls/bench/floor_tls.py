"""TLS for the floors: each library called directly, on a blocking socket, with a context that is made once.

Each verifies the chain with the roots file, and the hostname with the check of the library itself.
"""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ProtocolError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .places import Place

    #: Performs a handshake; returns the connection, and the server's certificate (DER).
    StartTls = Callable[[socket.socket], "tuple[Stream, bytes]"]


_CHUNK = 1 << 14  # bytes


class Stream(Protocol):
    """A TLS connection."""

    def sendall(self, data: bytes, /) -> object:
        """Send all the data."""

    def recv(self, count: int, /) -> bytes:
        """Wait for data, and return at most `count` bytes."""

    def close(self) -> object:
        """Close the socket."""


def _stdlib(place: Place) -> StartTls:
    context = place.context()
    context.set_ecdh_curve("prime256v1")  # PostgreSQL up to 17 would request it

    def start(sock: socket.socket) -> tuple[Stream, bytes]:
        stream = context.wrap_socket(sock, server_hostname=place.host)
        return stream, stream.getpeercert(binary_form=True) or b""

    return start


def _openssl(place: Place) -> StartTls:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - optional
    from OpenSSL import SSL, crypto  # noqa: PLC0415 - optional

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_PEER)
    context.load_verify_locations(_roots_file(place))
    context.set_alpn_protos([b"postgresql"])
    context.set_tmp_ecdh(ec.SECP256R1())  # PostgreSQL up to 17 would request it
    # pyOpenSSL has no public method for the hostname.
    lib: Any = SSL._lib  # type: ignore[attr-defined]  # private
    verification = lib.SSL_CTX_get0_param(context._context)
    name: bytes | None = place.host.encode()
    if _is_address(place.host):
        packed, name = ip_address(place.host).packed, None
        accepted = lib.X509_VERIFY_PARAM_set1_ip(verification, packed, len(packed))
    else:
        accepted = lib.X509_VERIFY_PARAM_set1_host(verification, name, 0)
    if not accepted:
        raise ValueError("OpenSSL does not accept the hostname")

    def start(sock: socket.socket) -> tuple[Stream, bytes]:
        sock.settimeout(None)  # pyOpenSSL does not wait for a socket that has a timeout
        stream = SSL.Connection(context, sock)
        if name is not None:
            stream.set_tlsext_host_name(name)
        stream.set_connect_state()
        stream.do_handshake()
        certificate = stream.get_peer_certificate()
        assert certificate is not None  # noqa: S101 - it was verified
        return stream, crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)

    return start


def _rustls(place: Place) -> StartTls:
    # rtls's public interface is that of `ssl`, in Python. The floor is below it, as our backend is.
    from rtls._rustls import RustlsConfigBuilder  # noqa: PLC0415 - optional

    builder = RustlsConfigBuilder()
    builder.add_root_certs_from_pem(Path(_roots_file(place)).read_bytes())
    builder.set_alpn([b"postgresql"])
    builder.set_verify_mode(ssl.CERT_REQUIRED)
    builder.set_check_hostname(True)

    def start(sock: socket.socket) -> tuple[Stream, bytes]:
        stream = _RustlsStream(sock, builder.build_client_connection(place.host))
        return stream, stream.do_handshake()

    return start


class _RustlsStream:
    def __init__(self, sock: socket.socket, connection: Any) -> None:
        self._socket = sock
        self._connection = connection
        self.close = sock.close

    def do_handshake(self) -> bytes:
        """Return the server's certificate."""
        while self._connection.is_handshaking():
            self._flush()
            self._receive()
        self._flush()
        return bytes(self._connection.peer_certificates()[0])

    def sendall(self, data: bytes, /) -> None:
        self._connection.write_plaintext(data)
        self._flush()

    def recv(self, count: int, /) -> bytes:
        while not (data := self._connection.read_plaintext(count)):
            self._receive()
        return bytes(data)

    def _receive(self) -> None:
        data = self._socket.recv(_CHUNK)
        if not data:
            raise ProtocolError("the server has closed the connection")
        while data:
            data = data[self._connection.read_tls(data) :]
            self._connection.process_new_packets()

    def _flush(self) -> None:
        while self._connection.wants_write():
            self._socket.sendall(self._connection.write_tls())


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _roots_file(place: Place) -> str:
    path = place.root_cert_path or ssl.get_default_verify_paths().cafile
    if path is None:
        raise ValueError("there is no file of default roots")
    return path


#: By backend: prepares a context for a place, and returns what performs the handshakes.
LIBRARIES: dict[str, Callable[[Place], StartTls]] = {"stdlib": _stdlib, "openssl": _openssl, "rustls": _rustls}
