"""TLS by pyOpenSSL, that is, by the OpenSSL in cryptography's wheel."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from OpenSSL import SSL

from ..errors import ChannelBindingUnsupported, Closed, TlsError
from ..modes import TlsVerify
from ..tls.alerts import BAD_CERTIFICATE_RECORD
from ..tls.chain_advice import with_advice
from ..tls.client_identity import KEY_FORMATS
from ..tls.context_cache import ContextCache
from ..tls.context_files import context_files
from ..tls.contract import Capabilities, TlsBackend, TlsParameters, TlsStream
from ..tls.key_exchange import KeyExchangeObserver
from ..tls.key_log import prepare_key_log
from ..x509.hostname import name_fault, name_to_send
from .openssl_context import (
    SELECTS_TLS13_SUITES,
    VERSIONS,
    Callbacks,
    build_context,
    der_of,
    fault_code,
    reason_of,
)
from .openssl_errors import (
    certificate_error,
    eof_error,
    missing_certificate_error,
    no_name_error,
    not_tls_error,
    ssl_error,
    unfinished_error,
    unusable_certificate_error,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..tls.root_files import Roots

_CHUNK = 1 << 16


class OpenSslBackend(TlsBackend):
    """TLS by pyOpenSSL."""

    name = "openssl"

    def __init__(self) -> None:
        self._contexts = ContextCache(build_context, context_files)

    @cache  # noqa: B019 - of an engine there is one instance, for good
    def capabilities(self) -> Capabilities:
        """What the wheel's OpenSSL can do."""
        return Capabilities(
            version=SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode().rsplit(" ", 3)[0],
            tls_versions=tuple(VERSIONS),
            channel_bindings=("tls-server-end-point", "tls-exporter", "tls-unique"),
            reports_group=True,
            reports_chain=True,
            common_names=True,
            crls=True,
            key_log=True,
            client_keys=KEY_FORMATS,
            reports_certificate_request=True,
            selects_groups="one",
            selects_ciphers="all" if SELECTS_TLS13_SUITES else "TLSv1.2",
            fips=_fips(),
            unverified_proven=True,
        )

    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        """Begin a client connection."""
        prepare_key_log(parameters.key_log_path)
        return _Stream(*self._contexts.get(parameters), parameters, server_hostname)


def _fips() -> bool | None:
    """It is cryptography that knows, where it does not hide it."""
    try:
        from cryptography.hazmat.bindings._rust import openssl  # noqa: PLC0415

        return bool(openssl.is_fips_enabled())
    except (ImportError, AttributeError):
        return None


class _Stream(TlsStream):
    def __init__(
        self, context: SSL.Context, roots: Roots, parameters: TlsParameters, server_hostname: str | None
    ) -> None:
        full = parameters.verify is TlsVerify.FULL
        if full and server_hostname is None:
            raise no_name_error()
        name = name_to_send(server_hostname)
        self._name_to_check = server_hostname if full else None
        self._common_name = parameters.common_name
        self._callbacks = Callbacks()
        self._watched = parameters.watch_certificate_request
        self._key_exchange = KeyExchangeObserver()
        self._roots = roots
        self.trusted_roots = roots.report
        self._certificate = b""
        self._substitute: bytes | None = None  # what is sent in place of what OpenSSL has written
        self._established = False
        self._eof = False
        self._failure: TlsError | Closed | None = None
        self._connection = SSL.Connection(context, None)
        self._connection.set_app_data(self._callbacks)
        self._connection.set_connect_state()
        if name is not None and parameters.send_server_name:
            self._connection.set_tlsext_host_name(name.encode())

    def do_handshake(self) -> bool:
        self._check_alive()
        try:
            self._connection.do_handshake()
        except SSL.WantReadError as exc:
            self._callbacks.check()
            if self._eof:
                raise eof_error() from exc
            if not self._key_exchange.may_be_tls:  # see the backend for `ssl`
                self._failure = not_tls_error(self._key_exchange.head)
                raise self._failure from None
            self._check_name()
            return False
        except SSL.Error as exc:
            self._callbacks.check()
            raise self._failed(exc) from exc
        self._callbacks.check()
        self._check_name()
        if not self._certificate:
            raise missing_certificate_error()
        self._established = self.possession_proven = True  # OpenSSL checks the server's signature at any level
        return True

    def _check_name(self) -> None:
        """Compare names once, when OpenSSL has accepted the chain and before the client's last flight is sent.

        Without a callback in the middle of the verification, where an exception (Ctrl-C) would be lost in C. The flight
        is replaced with an alert that is not encrypted: until the flight arrives, servers accept it.
        """
        if self._certificate:
            return
        certificate = self._connection.get_peer_certificate()
        if certificate is None:
            return
        der = der_of(certificate)
        if self._name_to_check is not None:
            fault = name_fault(der, self._name_to_check, common_name=self._common_name)
            if fault is not None:
                self._substitute = BAD_CERTIFICATE_RECORD
                self._failure = fault
                raise fault
        self._certificate = der

    def receive_data(self, data: Buffer) -> None:
        if not self._established:
            self._key_exchange.receive(data)
        view = memoryview(data)
        while view:
            view = view[self._connection.bio_write(view) :]

    def receive_eof(self) -> None:
        self._eof = True
        self._connection.bio_shutdown()

    def data_to_send(self) -> bytes:
        if self._substitute is not None:
            data, self._substitute = self._substitute, b""
            return data
        chunks = []
        try:
            while True:
                chunks.append(self._connection.bio_read(_CHUNK))
        except SSL.WantReadError:
            return b"".join(chunks)

    def read_into(self, buffer: memoryview) -> int:
        self._check_established()
        if not buffer:
            return 0
        try:
            count = self._connection.recv_into(buffer)
        except SSL.ZeroReturnError:
            self.peer_closed = True
            return 0
        except SSL.WantReadError as exc:
            self._callbacks.check()
            if self._eof:
                raise _truncated() from exc
            return 0
        except SSL.Error as exc:
            raise self._failed(exc) from exc
        self._callbacks.check()
        return count

    def write(self, data: Buffer) -> int:
        self._check_established()
        view = memoryview(data)
        sent = 0
        try:
            while sent < len(view):
                sent += self._connection.send(view[sent:])
        except SSL.Error as exc:
            raise self._failed(exc) from exc
        return sent

    def close_notify(self) -> None:
        if self._failure is not None:
            return  # it would follow a Finished that was not sent
        try:
            self._connection.shutdown()
        except SSL.Error:
            pass  # the connection is past saying anything

    def _check_alive(self) -> None:
        """Not every OpenSSL remembers that a connection has failed."""
        if self._failure is not None:
            raise self._failure

    def _failed(self, exc: SSL.Error) -> TlsError | Closed:
        self._failure = self._mapped(exc)
        return self._failure

    def _mapped(self, exc: SSL.Error) -> TlsError | Closed:
        reason = reason_of(exc)
        if "certificate verify failed" in reason:
            code = fault_code(self._connection)
            if not code:
                return unusable_certificate_error()
            return with_advice(certificate_error(code, f"X509_verify_cert error {code}"), self._roots, self.peer_chain)
        alert = None if self._established else self._key_exchange.alert
        # Of the same end OpenSSL gives the reason once; asked again it has none.
        ended = isinstance(exc, SSL.SysCallError | SSL.ZeroReturnError) or (self._eof and not reason and alert is None)
        if ended or "unexpected eof" in reason:
            return _truncated() if self._established else eof_error()
        return ssl_error(
            reason,
            began=bool(self._key_exchange.version),
            established=self._established,
            after_certificate=not self._established and bool(self._connection.get_peer_cert_chain()),
            alert=alert,
            head=self._key_exchange.head,
        )

    def _check_established(self) -> None:
        """OpenSSL would begin, or go on with, the handshake inside reading and writing: past our checks."""
        self._check_alive()
        if not self._established:
            raise unfinished_error()

    @property
    def version(self) -> str:
        return self._connection.get_protocol_version_name()

    @property
    def cipher(self) -> str:
        return self._connection.get_cipher_name() or ""

    @property
    def hello_retried(self) -> bool:
        return self._key_exchange.retried

    @property
    def group(self) -> str | None:
        return self._key_exchange.group

    @property
    def alpn(self) -> str | None:
        return self._connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None

    @property
    def peer_certificate(self) -> bytes:
        return self._certificate

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        return tuple(map(der_of, self._connection.get_peer_cert_chain() or []))

    @property
    def certificate_requested(self) -> bool | None:
        return self._callbacks.certificate_requested if self._watched else None

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        return self._connection.export_keying_material(label, length, b"")

    def first_finished_message(self) -> bytes:
        data = self._connection.get_finished()
        if data is None:
            raise ChannelBindingUnsupported("OpenSSL gives no Finished message")
        return data


def _truncated() -> Closed:
    return Closed("server closed the connection unexpectedly, without ending TLS")
