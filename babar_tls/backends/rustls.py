"""rustls, by way of rtls: TLS in Rust with AWS-LC's cryptography; chains are verified by webpki.

Two things are checked here and not by rustls: names (`names`), and what webpki does not ask of a chain
(`rustls_roots`). Both are looked at as soon as rustls gives the certificates out, before anything that it has to send
after them goes on its way: what fails here has failed for the server too.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from rtls import SSLCertVerificationError, SSLError
from rtls._rustls import aws_lc_rs_version, rustls_version

from ..errors import CertificateError, Closed, TlsError
from ..modes import TlsVerify
from ..tls.alerts import BAD_CERTIFICATE_RECORD
from ..tls.chain_advice import with_advice
from ..tls.client_identity import KEY_FORMATS
from ..tls.context_cache import ContextCache
from ..tls.context_files import context_files
from ..tls.contract import Capabilities, TlsBackend, TlsParameters, TlsStream
from ..tls.key_exchange import KeyExchangeObserver
from ..tls.key_log import KeyLogSpool, prepare_key_log
from ..tls.trust import fault
from ..x509.hostname import name_fault, name_to_send
from .openssl_errors import (
    certificate_error,
    eof_error,
    missing_certificate_error,
    no_name_error,
    unfinished_error,
)
from .rustls_context import NO_NAME, VERSIONS, Context, build_context, cipher_name
from .rustls_errors import rejected_certificate, rustls_error

if TYPE_CHECKING:
    from rtls._rustls import RustlsClientConnection, RustlsConfigBuilder
    from typing_extensions import Buffer

_E = TypeVar("_E", bound="TlsError | Closed")
_CHUNK = 1 << 14  # bytes: rustls has room for some records, and must be emptied between two of these
_VERSION_NAMES = {number: version.value for version, number in VERSIONS.items()}


class RustlsBackend(TlsBackend):
    """TLS by rustls."""

    name = "rustls"

    def __init__(self) -> None:
        self._contexts = ContextCache(build_context, context_files)

    def capabilities(self) -> Capabilities:
        """What rtls lets rustls do."""
        return Capabilities(
            version=f"rustls {rustls_version()} (aws-lc-rs {aws_lc_rs_version()})",
            tls_versions=tuple(VERSIONS),
            channel_bindings=("tls-server-end-point",),
            reports_group=True,
            reports_chain=True,
            common_names=True,
            crls=False,
            key_log=True,
            client_keys=KEY_FORMATS if find_spec("cryptography") is not None else KEY_FORMATS[:-1],
            reports_certificate_request=False,
            os_roots=False,
            selects_groups="no",
            selects_ciphers="TLSv1.2",
            fips=None,
            unverified_proven=False,
        )

    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        """Begin a client connection."""
        prepare_key_log(parameters.key_log_path)
        return _Stream(self._contexts.get(parameters), parameters, server_hostname)


class _Stream(TlsStream):
    def __init__(self, context: Context, parameters: TlsParameters, server_hostname: str | None) -> None:
        full = parameters.verify is TlsVerify.FULL
        if full and server_hostname is None:
            raise no_name_error()
        self._now = time.time()
        builder, self._anchors = context.current(self._now)
        self._roots = context.roots
        self.trusted_roots = context.roots.report
        self._verified = parameters.verify is not TlsVerify.NONE
        self._name_to_check = server_hostname if full else None
        self._common_name = parameters.common_name
        self._key_exchange = KeyExchangeObserver()
        self._key_log: KeyLogSpool | None = None
        if parameters.key_log_path is not None:
            self._key_log = KeyLogSpool(parameters.key_log_path)
            builder = builder.clone_builder()
            builder.set_keylog_filename(self._key_log.path)
        name = name_to_send(server_hostname)
        self._connection = _connection(builder, name if parameters.send_server_name else None)
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._chain: tuple[bytes, ...] = ()
        self._established = False
        self._said_goodbye = False
        self._eof = False
        self._failure: TlsError | Closed | None = None
        self._fault: TlsError | None = None  # what is to be raised behind the plaintext that came before it

    def do_handshake(self) -> bool:
        self._check_alive()
        if self._established:
            return True
        try:
            self._shake_hands()
        finally:
            if self._key_log is not None and (self._established or self._failure is not None):
                self._key_log.close()
        return self._established

    def _shake_hands(self) -> None:
        while self._connection.is_handshaking() and self._incoming:
            try:
                self._process()
            except SSLError as exc:
                self._flush()
                raise self._failed(self._mapped(exc)) from exc
            self._look_at_certificates()
        self._flush()
        if self._connection.is_handshaking():
            if self._eof:
                raise self._failed(eof_error())
            return
        if not self._chain:
            raise self._failed(missing_certificate_error())
        self._established = True
        self.possession_proven = self._verified  # rtls checks no signature of a handshake where it verifies no chain

    def _process(self) -> None:
        """Give rustls one portion of what has come."""
        portion = bytes(self._incoming[:_CHUNK])
        count = self._connection.read_tls(portion)
        del self._incoming[:count]
        self._connection.process_new_packets()

    def _look_at_certificates(self) -> None:
        """Check them once: nothing that rustls has written since it has them is sent before that."""
        if self._chain:
            return
        self._chain = tuple(self._connection.peer_certificates() or ())
        if not self._chain or not self._verified:
            return
        found = self._certificate_fault()
        if found is not None:
            # So the server hears of it in TLS 1.2. In TLS 1.3 rustls could encrypt it, and we cannot; but a client may
            # fail before it has keys, and until our flight comes servers (OpenSSL's, at least) hear a plain alert.
            self._outgoing[:] = BAD_CERTIFICATE_RECORD
            raise self._failed(found)

    def _certificate_fault(self) -> CertificateError | None:
        code = fault(self._anchors, self._chain, self._now, common_name=self._common_name)
        if code is not None:
            error = certificate_error(code, "the server's certificate, or one that it sent with it, cannot be read")
            return with_advice(error, self._roots, self._chain)
        if self._name_to_check is None:
            return None
        return name_fault(self._chain[0], self._name_to_check, common_name=self._common_name)

    def receive_data(self, data: Buffer) -> None:
        if not self._established:
            self._key_exchange.receive(data)
        self._incoming += memoryview(data)

    def receive_eof(self) -> None:
        self._eof = True

    def data_to_send(self) -> bytes:
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def read_into(self, buffer: memoryview) -> int:
        self._check_established()
        if not buffer or self.peer_closed:
            return 0
        while not (plaintext := self._connection.read_plaintext(len(buffer))):
            if self._fault is not None:
                raise self._failed(self._fault)
            if not self._connection.wants_read():  # and holds nothing: this is how it says that the peer has closed
                self.peer_closed = True
                return 0
            if not self._incoming:
                if self._eof:
                    raise self._failed(Closed("server closed the connection unexpectedly, without ending TLS"))
                return 0
            try:
                self._process()
            except SSLError as exc:
                self._fault = self._mapped(exc)
                self._fault.__cause__ = exc
            self._flush()
        buffer[: len(plaintext)] = plaintext
        return len(plaintext)

    def write(self, data: Buffer) -> int:
        self._check_established()
        if self._said_goodbye:
            raise TlsError("nothing can be written after our close_notify")
        view = memoryview(data).cast("B")
        sent = 0
        try:
            while sent < len(view):
                sent += self._connection.write_plaintext(bytes(view[sent : sent + _CHUNK]))
                self._flush()
        except SSLError as exc:
            raise self._failed(self._mapped(exc)) from exc
        return sent

    def close_notify(self) -> None:
        if self._established and self._failure is None and not self._said_goodbye:
            self._said_goodbye = True
            self._connection.send_close_notify()
            self._flush()

    def _flush(self) -> None:
        """Take over what rustls has to send; it has little room for it."""
        while self._connection.wants_write():
            self._outgoing += self._connection.write_tls()

    def _check_established(self) -> None:
        self._check_alive()
        if not self._established:
            raise unfinished_error()

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _failed(self, error: _E) -> _E:
        self._failure = error
        return error

    def _mapped(self, exc: SSLError) -> TlsError:
        text = str(exc.args[0] if exc.args else exc)
        if isinstance(exc, SSLCertVerificationError):
            return with_advice(rejected_certificate(text), self._roots)
        after_certificate = not self._established and self._connection.peer_certificates() is not None
        return rustls_error(
            text,
            first=not self._key_exchange.version,
            after_certificate=after_certificate,
            established=self._established,
            head=self._key_exchange.head,
        )

    @property
    def version(self) -> str:
        return _VERSION_NAMES.get(self._connection.protocol_version() or 0, "")

    @property
    def cipher(self) -> str:
        return cipher_name(self._connection.negotiated_cipher_suite() or "")

    @property
    def group(self) -> str | None:
        return self._key_exchange.group

    @property
    def alpn(self) -> str | None:
        selected = self._connection.alpn_protocol()
        return selected.decode("ascii", "replace") if selected is not None else None

    @property
    def peer_certificate(self) -> bytes:
        return self._chain[0] if self._chain else b""

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        return self._chain


def _connection(builder: RustlsConfigBuilder, server_name: str | None) -> RustlsClientConnection:
    """Return a connection that sends this name as SNI, if rustls accepts it as a name."""
    if server_name is not None:
        try:
            return builder.build_client_connection(server_name)
        except SSLError:
            pass  # rustls is stricter than DNS in what is a name
    return builder.build_client_connection(NO_NAME)
