"""The engine that Python brings: `ssl`, that is, the OpenSSL that this Python was built with."""

from __future__ import annotations

import re
import ssl
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

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
from .openssl_errors import (
    certificate_error,
    eof_error,
    missing_certificate_error,
    no_name_error,
    not_tls_error,
    ssl_error,
    unfinished_error,
)
from .stdlib_context import VERSIONS, WATCHES_REQUESTS, build_context, was_requested

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..tls.root_files import Roots

_DER = 2  # the number of the encoding in _ssl
#: The text of an error for which Python's ssl has no name, such as alert 120 (no_application_protocol).
_TEXT = re.compile(r"\[SSL\] (.*) \(_ssl\.c:\d+\)")


class StdlibBackend(TlsBackend):
    """TLS by the standard library."""

    name = "stdlib"

    def __init__(self) -> None:
        self._contexts = ContextCache(build_context, context_files)

    @cache  # noqa: B019 - of an engine there is one instance, for good
    def capabilities(self) -> Capabilities:
        """What this Python's OpenSSL can do."""
        return Capabilities(
            version=ssl.OPENSSL_VERSION,
            tls_versions=tuple(v for v, has in zip(VERSIONS, (ssl.HAS_TLSv1_2, ssl.HAS_TLSv1_3), strict=True) if has),
            channel_bindings=("tls-server-end-point", "tls-unique"),
            reports_group=True,
            reports_chain=True,
            common_names=True,
            crls=True,
            key_log=hasattr(ssl.SSLContext, "keylog_filename"),
            client_keys=KEY_FORMATS if find_spec("cryptography") is not None else KEY_FORMATS[:-1],
            reports_certificate_request=WATCHES_REQUESTS,
            os_roots=find_spec("truststore") is not None,
            selects_groups="one",
            selects_ciphers="all" if hasattr(ssl.SSLContext, "set_ciphersuites") else "TLSv1.2",
            fips=_fips(),
            unverified_proven=True,
        )

    def wrap(self, parameters: TlsParameters, server_hostname: str | None) -> TlsStream:
        """Begin a client connection."""
        log = prepare_key_log(parameters.key_log_path)  # which the context keeps open
        return _Stream(*self._contexts.get(parameters, log), parameters, server_hostname)


def _library_text(exc: ssl.SSLError) -> str:
    """Return OpenSSL's text of an error that has no name in Python; empty if OpenSSL has none either."""
    found = _TEXT.search(str(exc))
    return found[1] if found is not None and found[1] != "unknown error" else ""


def _fips() -> bool | None:
    """Python asks its OpenSSL for its own hash functions, and does not say so in public."""
    try:
        import _hashlib  # noqa: PLC0415 - where it is not, nobody knows

        return bool(_hashlib.get_fips_mode())
    except (ImportError, AttributeError, ValueError):
        return None


class _Stream(TlsStream):
    def __init__(
        self,
        context: ssl.SSLContext,
        roots: Roots,
        parameters: TlsParameters,
        server_hostname: str | None,
    ) -> None:
        full = parameters.verify is TlsVerify.FULL
        if server_hostname is None and full:
            raise no_name_error()
        self._name_to_check = server_hostname if full else None
        self._common_name = parameters.common_name
        self._watched = parameters.watch_certificate_request
        self._key_exchange = KeyExchangeObserver()
        self._roots = roots
        self.trusted_roots = roots.report
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._certificate = b""
        self._checked_certificate: bytes | None = None
        self._established = False
        self._eof = False
        self._failure: TlsError | Closed | None = None
        name = name_to_send(server_hostname)
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=name if parameters.send_server_name else None
        )

    def do_handshake(self) -> bool:
        self._check_alive()
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            if not self._key_exchange.may_be_tls:
                # OpenSSL would wait for the five bytes of a record's header, which may never come.
                self._failure = not_tls_error(self._key_exchange.head)
                raise self._failure from None
            if self._name_to_check is not None:
                chain = self._unverified_chain()
                self._check_name(chain[0] if chain else None)
            return False
        except ssl.SSLError as exc:
            raise self._failed(exc) from exc
        certificate = self._object.getpeercert(binary_form=True)
        if certificate is None:
            raise missing_certificate_error()
        self._certificate = certificate
        self._check_name(certificate)
        self._established = self.possession_proven = True  # OpenSSL checks the server's signature at any level
        return True

    def _check_name(self, certificate: bytes | None) -> None:
        """Compare names once, before the client's last flight is sent.

        In TLS 1.2 that flight is written before the handshake is finished, in TLS 1.3 when it is. It is replaced with
        an alert, so that the server does not have a connection either. The alert is not encrypted: `ssl` cannot send
        one, and until the flight arrives servers accept it (OpenSSL's, at least).
        """
        if certificate is None or certificate == self._checked_certificate or self._name_to_check is None:
            return
        fault = name_fault(certificate, self._name_to_check, common_name=self._common_name)
        if fault is not None:
            self._outgoing.read()
            self._outgoing.write(BAD_CERTIFICATE_RECORD)
            self._failure = fault
            raise fault
        self._checked_certificate = certificate

    def receive_data(self, data: Buffer) -> None:
        if self._eof:
            return  # there is nothing behind the end
        if not self._established:
            self._key_exchange.receive(data)
        self._incoming.write(data)

    def receive_eof(self) -> None:
        self._eof = True
        self._incoming.write_eof()

    def data_to_send(self) -> bytes:
        return self._outgoing.read()

    def read_into(self, buffer: memoryview) -> int:
        self._check_established()
        if not buffer or not (self._incoming.pending or self._object.pending() or self._eof):
            return 0  # OpenSSL would say so by an exception
        try:
            count = cast("int", self._object.read(len(buffer), buffer))  # with a buffer it returns a count
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLZeroReturnError:
            count = 0
        except ssl.SSLError as exc:
            raise self._failed(exc) from exc
        self.peer_closed = not count
        return count

    def write(self, data: Buffer) -> int:
        self._check_established()
        try:
            return self._object.write(data)
        except ssl.SSLError as exc:
            raise self._failed(exc) from exc

    def close_notify(self) -> None:
        if self._failure is not None:
            return  # it would go out behind a Finished that was kept back
        try:
            self._object.unwrap()
        except (ssl.SSLError, OSError):
            pass  # it waits for the peer's, or the connection is past saying anything

    def _check_established(self) -> None:
        """OpenSSL would begin, or go on with, the handshake inside reading and writing: past our checks."""
        if self._failure is not None or not self._established:
            raise self._failure or unfinished_error()

    def _check_alive(self) -> None:
        """Not every OpenSSL remembers that a connection has failed."""
        if self._failure is not None:
            raise self._failure

    def _failed(self, exc: ssl.SSLError) -> TlsError | Closed:
        self._failure = self._mapped(exc)
        return self._failure

    def _mapped(self, exc: ssl.SSLError) -> TlsError | Closed:
        if isinstance(exc, ssl.SSLCertVerificationError):
            error = certificate_error(exc.verify_code, exc.verify_message)
            return with_advice(error, self._roots, self._unverified_chain())
        reason = exc.reason or _library_text(exc)
        alert = None if self._established else self._key_exchange.alert
        # Of the same end OpenSSL gives the reason once; asked again it has none.
        ended = isinstance(exc, ssl.SSLEOFError | ssl.SSLZeroReturnError) or (
            self._eof and not reason and alert is None
        )
        if ended or reason == "UNEXPECTED_EOF_WHILE_READING":
            if self._established:
                return Closed("server closed the connection unexpectedly, without ending TLS")
            return eof_error()
        return ssl_error(
            reason,
            began=bool(self._key_exchange.version),
            established=self._established,
            after_certificate=not self._established and bool(self._unverified_chain()),
            alert=alert,
            head=self._key_exchange.head,
        )

    def _unverified_chain(self) -> tuple[bytes, ...]:
        """Return the certificates that the server has sent, by a method that is public since Python 3.13."""
        inner: Any = getattr(self._object, "_sslobj", None)
        try:
            return tuple(item.public_bytes(_DER) for item in inner.get_unverified_chain())
        except (AttributeError, TypeError, ValueError):
            return ()

    @property
    def version(self) -> str:
        return self._object.version() or self._key_exchange.version  # it tells when the handshake has finished

    @property
    def cipher(self) -> str:
        cipher = self._object.cipher()
        return cipher[0] if cipher else ""

    @property
    def hello_retried(self) -> bool:
        return self._key_exchange.retried

    @property
    def group(self) -> str | None:
        return self._key_exchange.group

    @property
    def alpn(self) -> str | None:
        return self._object.selected_alpn_protocol()

    @property
    def peer_certificate(self) -> bytes:
        return self._certificate

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        public = getattr(self._object, "get_unverified_chain", None)
        if public is not None:
            return tuple(public())
        return self._unverified_chain() or (self.peer_certificate,)

    @property
    def certificate_requested(self) -> bool | None:
        return was_requested(self._object) if self._watched and WATCHES_REQUESTS else None

    def first_finished_message(self) -> bytes:
        data = self._object.get_channel_binding("tls-unique")
        if data is None:
            raise ChannelBindingUnsupported("this Python's ssl gives no Finished message")
        return data
