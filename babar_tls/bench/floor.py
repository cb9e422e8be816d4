"""The floors: a minimal client for each TLS library, with which drivers are compared.

A floor calls the TLS library directly on a blocking socket. It verifies certificate chain and hostname, binds the
channel, derives the keys with the compiled helper, and checks the signature of the server. It has no deadline, policy
or report, and it does not handle a server that deviates from what PostgreSQL sends in a successful connect. The
difference between a blocking driver and the floor of its TLS library is the cost of the driver's own code.
"""

from __future__ import annotations

import base64
import hmac
import os
import socket
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..crypto import scram_keys, tls_server_end_point
from ..errors import ProtocolError
from ..protocol import messages
from .client_spec import FLOOR, Client, Spec
from .server import binds, ssl_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..config import Config
    from ..crypto import ScramKeys

    #: Performs a handshake; returns the connection, and the server's certificate (DER).
    StartTls = Callable[[socket.socket], "tuple[Stream, bytes]"]


_TIMEOUT = 60.0  # seconds for each wait
_CHUNK = 1 << 14  # bytes


def floor_specs(backends: Iterable[str | None]) -> list[Spec]:
    """Return the floors of these backends, each without and with cached keys."""
    return [
        Spec(driver=FLOOR, backend=backend, key_cache=cached)
        for backend in backends
        if backend in LIBRARIES
        for cached in (False, True)
    ]


class Stream(Protocol):
    """A TLS connection."""

    def sendall(self, data: bytes, /) -> object:
        """Send all the data."""

    def recv(self, count: int, /) -> bytes:
        """Wait for data, and return at most `count` bytes."""

    def close(self) -> object:
        """Close the socket."""


class Floor(Client):
    """The minimal client; it is blocking, sends SSLRequest, and has no queries."""

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__(spec, config)
        self._start_tls = LIBRARIES[spec.backend or ""](config)
        self._startup = messages.startup([("user", config.user), ("database", config.database or config.user)])
        self._keys: dict[tuple[bytes, int], ScramKeys] = {}

    def open(self) -> Stream:
        """Connect."""
        sock = socket.create_connection((self.config.hostaddr or self.config.host, self.config.port), timeout=_TIMEOUT)
        stream: Stream = sock
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(messages.ssl_request())
            if sock.recv(1) != b"S":
                raise ProtocolError("the server does not support TLS")
            stream, certificate = self._start_tls(sock)
            self._log_in(stream, certificate)
        except BaseException:
            stream.close()
            raise
        return stream

    def _log_in(self, stream: Stream, certificate: bytes) -> None:
        name, header, binding = b"SCRAM-SHA-256", b"n,,", b""
        if binds(self.config):
            name, header = b"SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,"
            binding = tls_server_end_point(certificate)
        client_first_bare = b"n=,r=" + base64.b64encode(os.urandom(18))
        client_first = header + client_first_bare
        body = name + b"\0" + len(client_first).to_bytes(4, "big") + client_first
        stream.sendall(self._startup + messages.frame(b"p", body))
        _, _, data = _message(stream, b"")  # AuthenticationSASL
        _, challenge, data = _message(stream, data)
        server_first = challenge[4:]
        nonce, salt, iterations = (part[2:] for part in server_first.split(b","))
        keys = self._derive_keys(base64.b64decode(salt), int(iterations))
        without_proof = b"c=" + base64.b64encode(header + binding) + b",r=" + nonce
        auth_message = b",".join([client_first_bare, server_first, without_proof])
        signature = hmac.digest(keys.stored_key, auth_message, "sha256")
        proof = (int.from_bytes(keys.client_key, "big") ^ int.from_bytes(signature, "big")).to_bytes(32, "big")
        stream.sendall(messages.frame(b"p", without_proof + b",p=" + base64.b64encode(proof)))
        _, server_final, data = _message(stream, data)
        expected = b"v=" + base64.b64encode(hmac.digest(keys.server_key, auth_message, "sha256"))
        if not hmac.compare_digest(server_final[4:], expected):
            raise ProtocolError("incorrect server signature")
        kind = b""
        while kind != b"Z":
            kind, _, data = _message(stream, data)

    def close(self, session: Stream) -> None:
        """Send Terminate, and close the socket."""
        session.sendall(messages.TERMINATE)
        session.close()

    def _derive_keys(self, salt: bytes, iterations: int) -> ScramKeys:
        keys = self._keys.get((salt, iterations)) if self.spec.key_cache else None
        if keys is None:
            password = self.config.password
            text = password if isinstance(password, str | bytes) else ""
            keys = self._keys[salt, iterations] = scram_keys(text, salt, iterations)
        return keys


def _message(stream: Stream, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the next message's type and payload, and the bytes after it."""
    while len(data) < 5 or len(data) <= int.from_bytes(data[1:5], "big"):
        more = stream.recv(_CHUNK)
        if not more:
            raise ProtocolError("server closed the connection unexpectedly")
        data += more
    kind, end = data[:1], 1 + int.from_bytes(data[1:5], "big")
    if kind == b"E":
        raise ProtocolError("the server sent an error")
    return kind, data[5:end], data[end:]


def _stdlib(config: Config) -> StartTls:
    context = ssl_context(config)
    context.set_ecdh_curve("prime256v1")  # PostgreSQL up to 17 would request it

    def start(sock: socket.socket) -> tuple[Stream, bytes]:
        stream = context.wrap_socket(sock, server_hostname=config.host)
        return stream, stream.getpeercert(binary_form=True) or b""

    return start


def _openssl(config: Config) -> StartTls:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - optional
    from OpenSSL import SSL, crypto  # noqa: PLC0415 - optional

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_PEER)
    context.load_verify_locations(_roots_file(config))
    context.set_alpn_protos([b"postgresql"])
    context.set_tmp_ecdh(ec.SECP256R1())  # PostgreSQL up to 17 would request it
    # pyOpenSSL has no public method for the hostname.
    lib: Any = SSL._lib  # type: ignore[attr-defined]  # private
    verification = lib.SSL_CTX_get0_param(context._context)
    name: bytes | None = config.host.encode()
    try:
        packed, name = ip_address(config.host).packed, None
        accepted = lib.X509_VERIFY_PARAM_set1_ip(verification, packed, len(packed))
    except ValueError:
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
        assert certificate is not None  # noqa: S101 - for mypy: it was verified
        return stream, crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)

    return start


def _rustls(config: Config) -> StartTls:
    # The public interface of rtls is a copy of `ssl` in Python. The floor and the backend use the one below it.
    from rtls._rustls import RustlsConfigBuilder  # noqa: PLC0415 - optional

    builder = RustlsConfigBuilder()
    builder.add_root_certs_from_pem(Path(_roots_file(config)).read_bytes())
    builder.set_alpn([b"postgresql"])
    builder.set_verify_mode(ssl.CERT_REQUIRED)
    builder.set_check_hostname(True)

    def start(sock: socket.socket) -> tuple[Stream, bytes]:
        stream = _RustlsStream(sock, builder.build_client_connection(config.host))
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
            raise ProtocolError("server closed the connection unexpectedly")
        while data:
            data = data[self._connection.read_tls(data) :]
            self._connection.process_new_packets()

    def _flush(self) -> None:
        while self._connection.wants_write():
            self._socket.sendall(self._connection.write_tls())


def _roots_file(config: Config) -> str:
    path = config.tls_root_cert_path or ssl.get_default_verify_paths().cafile
    if path is None:
        raise ValueError("OpenSSL has no file of default roots")
    return path


#: By backend: prepares a context, and returns the function that performs the handshakes.
LIBRARIES: dict[str, Callable[[Config], StartTls]] = {"stdlib": _stdlib, "openssl": _openssl, "rustls": _rustls}
