"""pyOpenSSL, that is, the OpenSSL inside cryptography's wheel; names are checked by service-identity."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from service_identity import CertificateError as ServiceIdentityCertificateError
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from ..config import TlsVerify, TlsVersion
from ..errors import ChannelBindingUnsupported, Closed, ConfigError, TlsError
from .base import Capabilities, TlsBackend, TlsParameters, TlsStream
from .context_cache import ContextCache
from .openssl_errors import certificate_error, eof_error, missing_certificate_error, name_error, ssl_error
from .roots import check_root_file, default_roots, unusable_root_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography import x509
    from OpenSSL.crypto import X509
    from typing_extensions import Buffer

_VERSIONS = {TlsVersion.TLSV1_2: SSL.TLS1_2_VERSION, TlsVersion.TLSV1_3: SSL.TLS1_3_VERSION}
_CHUNK = 1 << 16


class OpenSslBackend(TlsBackend):
    """TLS by pyOpenSSL."""

    name = "openssl"

    def __init__(self) -> None:
        self._contexts = ContextCache(_build_context, _files)

    def capabilities(self) -> Capabilities:
        """What the wheel's OpenSSL can do."""
        return Capabilities(
            version=SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode().rsplit(" ", 3)[0],
            tls_versions=tuple(_VERSIONS),
            channel_bindings=("tls-server-end-point", "tls-exporter", "tls-unique"),
            reports_group=hasattr(SSL.Connection, "get_group_name"),
            reports_chain=True,
        )

    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        """Begin a client connection."""
        return _Stream(self._contexts.get(parameters), parameters, server_hostname)


def _files(parameters: TlsParameters) -> Iterable[str | None]:
    if parameters.verify is TlsVerify.NONE:
        return ()
    roots = default_roots() if parameters.default_roots else None
    return (parameters.root_cert_path, *((roots.cafile, roots.capath) if roots else ()))


def _build_context(parameters: TlsParameters) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(_VERSIONS[parameters.min_version])
    if parameters.max_version is not None:
        context.set_max_proto_version(_VERSIONS[parameters.max_version])
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if parameters.alpn:
        context.set_alpn_protos([name.encode() for name in parameters.alpn])
    if parameters.verify is TlsVerify.NONE:
        context.set_verify(SSL.VERIFY_NONE)
        return context
    context.set_verify(SSL.VERIFY_PEER, _remember_verdict)
    if parameters.root_cert_path is not None:
        check_root_file(parameters.root_cert_path)
        _load(context, parameters.root_cert_path, None)
    if parameters.default_roots:
        roots = default_roots()
        _load(context, roots.cafile, roots.capath)
    return context


def _load(context: SSL.Context, cafile: str | None, capath: str | None) -> None:
    try:
        context.load_verify_locations(cafile, capath)
    except SSL.Error as exc:
        raise unusable_root_file(cafile or capath or "", _reason(exc)) from exc


def _remember_verdict(connection: SSL.Connection, certificate: X509, code: int, _depth: int, ok: int) -> bool:
    """OpenSSL asks for every certificate of the chain; the first that fails is the one to report."""
    if not ok:
        connection.get_app_data().verdict = code
    return bool(ok)


def _reason(exc: SSL.Error) -> str:
    errors = exc.args[0] if exc.args else ()
    return errors[-1][2] if errors and isinstance(errors, list) else ""


class _Stream(TlsStream):
    def __init__(self, context: SSL.Context, parameters: TlsParameters, server_hostname: str | None) -> None:
        self._connection = SSL.Connection(context, None)
        self._connection.set_app_data(self)
        self._connection.set_connect_state()
        self._verify_name = parameters.verify is TlsVerify.FULL
        self._server_hostname = server_hostname
        self._established = False
        self._eof = False
        self.verdict: int | None = None
        if server_hostname is None:
            return
        self._address = _as_address(server_hostname)
        if self._address is None and parameters.send_server_name:
            self._connection.set_tlsext_host_name(_host_name(server_hostname))

    def do_handshake(self) -> bool:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError as exc:
            if self._eof:
                raise eof_error() from exc
            return False
        except SSL.Error as exc:
            raise self._mapped(exc) from exc
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            raise missing_certificate_error()
        self._certificate = certificate.public_bytes(Encoding.DER)
        if self._verify_name:
            self._check_name(certificate)
        self._established = True
        return True

    def _check_name(self, certificate: x509.Certificate) -> None:
        try:
            if self._address is not None:
                verify_certificate_ip_address(certificate, str(self._address))
            else:
                verify_certificate_hostname(certificate, self._server_hostname or "")
        except (VerificationError, ServiceIdentityCertificateError) as exc:
            raise name_error(self._server_hostname, self._certificate) from exc

    def receive_data(self, data: Buffer) -> None:
        view = memoryview(data)
        while view:
            view = view[self._connection.bio_write(view) :]

    def receive_eof(self) -> None:
        self._eof = True
        self._connection.bio_shutdown()

    def data_to_send(self) -> bytes:
        chunks = []
        try:
            while True:
                chunks.append(self._connection.bio_read(_CHUNK))
        except SSL.WantReadError:
            return b"".join(chunks)

    def read_into(self, buffer: memoryview) -> int:
        try:
            return self._connection.recv_into(buffer)
        except SSL.ZeroReturnError:
            self.peer_closed = True
            return 0
        except SSL.WantReadError as exc:
            if self._eof:
                raise _truncated() from exc
            return 0
        except SSL.Error as exc:
            raise self._mapped(exc) from exc

    def write(self, data: Buffer) -> int:
        view = memoryview(data)
        sent = 0
        try:
            while sent < len(view):
                sent += self._connection.send(view[sent:])
        except SSL.Error as exc:
            raise self._mapped(exc) from exc
        return sent

    def close_notify(self) -> None:
        try:
            self._connection.shutdown()
        except SSL.Error:
            pass  # the connection is past saying anything

    def _mapped(self, exc: SSL.Error) -> TlsError | Closed:
        if self.verdict is not None:
            return certificate_error(self.verdict, _reason(exc), self._server_hostname, self._unverified_certificate())
        if isinstance(exc, SSL.SysCallError) or "unexpected eof" in _reason(exc):
            return _truncated() if self._established else eof_error()
        return ssl_error(_reason(exc), str(exc))

    def _unverified_certificate(self) -> bytes | None:
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        return certificate.public_bytes(Encoding.DER) if certificate is not None else None

    @property
    def version(self) -> str:
        return self._connection.get_protocol_version_name()

    @property
    def cipher(self) -> str:
        return self._connection.get_cipher_name() or ""

    @property
    def group(self) -> str | None:
        ask: Callable[[], str | None] = getattr(self._connection, "get_group_name", lambda: None)
        return ask()

    @property
    def alpn(self) -> str | None:
        return self._connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None

    @property
    def peer_certificate(self) -> bytes:
        return self._certificate

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        chain = self._connection.get_peer_cert_chain(as_cryptography=True) or []
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        return self._connection.export_keying_material(label, length, b"")

    def first_finished_message(self) -> bytes:
        data = self._connection.get_finished()
        if data is None:
            raise ChannelBindingUnsupported("OpenSSL gives no Finished message")
        return data


def _truncated() -> Closed:
    return Closed("server closed the connection unexpectedly, without ending TLS")


def _as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _host_name(host: str) -> bytes:
    if not host or len(host) > 253 or any(not 0 < len(label) < 64 for label in host.rstrip(".").split(".")):
        raise ConfigError(f"{host!r} is not a host name: a label is empty or too long")
    return host.encode()
