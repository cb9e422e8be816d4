"""One TLS connection over memory. This part is the same for all TLS libraries.

The stream of a backend (`contract`) does the cryptography. The connection has these rules:

* Failure is permanent: after an error every call raises the same error. `TlsConnection.data_to_send` still returns the
  alert for the server.
* No data is read or written before the handshake is complete and the certificate and its host name are verified. The
  name is compared as soon as the library exposes the certificate. If it does not match, the data that the library has
  written since then is not sent. The handshake then also fails on the server.
* If the server closes the connection without close_notify, reading raises `Closed` after the last plaintext.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn

from ..config.enums import TlsVerify
from ..errors import CertificateError, ChannelBindingUnsupported, Closed, ConfigError, Error, TlsError
from ..x509.hostname import name_fault, name_to_send
from .alerts import BAD_CERTIFICATE_RECORD, UNEXPECTED_MESSAGE_RECORD, alert_error, alert_name
from .chain_advice import with_advice
from .context_cache import contexts
from .contract import TlsFacts
from .errors import eof_error, failed_error, not_tls_error, unfinished_error
from .hello import ClientOffer, client_offer
from .key_exchange import KeyExchangeObserver
from .trust import misused_anchor

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .contract import TlsBackend
    from .parameters import TlsParameters, TrustedRoots


#: The maximum plaintext of one record (RFC 8446 §5.1). TLS libraries return one record at a time, and some allocate a
#: buffer of the requested size.
_RECORD = 1 << 14
_EXPORTER_LABEL, _EXPORTER_LENGTH = b"EXPORTER-Channel-Binding", 32  # RFC 9266 §2


class TlsConnection:
    """A client connection. One thread at a time may use it.

    Args:
        backend: The TLS library.
        parameters: The verification, and the values to offer.
        server_hostname: The name or address to verify. A name is also sent as SNI.
        binding_type: The channel binding data to add to the facts: ``tls-exporter`` or ``tls-unique``.

    Raises:
        ConfigError: A file is missing or unusable, the backend does not support the parameters, or the name to verify
            is missing.

    Attributes:
        facts: The negotiated values; `None` until the handshake is complete.
        trusted_roots: The certificates that the server is verified with; `None` if it is not verified.
    """

    def __init__(
        self,
        backend: TlsBackend,
        parameters: TlsParameters,
        server_hostname: str | None,
        binding_type: str | None = None,
    ) -> None:
        verifies_name = parameters.verify is TlsVerify.FULL
        if verifies_name and server_hostname is None:
            raise ConfigError("the server's certificate cannot be verified without a host name")
        sni = name_to_send(server_hostname)
        self._context = contexts.get(backend, parameters)
        self.trusted_roots: TrustedRoots | None = self._context.roots.report
        self._binding_type = binding_type
        self._is_watched = parameters.watch_certificate_request
        self._check_leaf = _LeafCheck(
            server_hostname if verifies_name else None,
            common_name=parameters.common_name and backend.capabilities.common_names,
        )
        self._stream = backend.create_stream(
            self._context.context, sni if parameters.send_server_name else None, self._check_leaf
        )
        self._library_errors = self._stream.library_errors
        self._observer = KeyExchangeObserver()
        self._chain: tuple[bytes, ...] = ()
        self._alert: bytes | None = None  # sent instead of the library's output
        self._failure: Error | None = None
        self._eof = self._received_close_notify = self._sent_close_notify = self._is_closed = False
        self.facts: TlsFacts | None = None

    @property
    def version(self) -> str:
        """The version of TLS that the server selected (``TLSv1.3``), empty until it is known."""
        return self._observer.version

    @property
    def hello_retried(self) -> bool:
        """True if the server accepted none of the key shares and requested another ClientHello (RFC 8446 §4.1.4)."""
        return self._observer.retried

    def do_handshake(self) -> bool:
        """Continue the handshake. Return True when it is complete and the server is verified.

        Raises:
            CertificateError: The server's certificate was rejected.
            TlsError: The handshake failed for another reason.
        """
        if self._failure is not None:
            raise self._failure
        if self.facts is not None:
            return True
        has_answered = bool(self._observer.head)
        if has_answered and not self._observer.may_be_tls:
            # The library might wait for the rest of a record, which may never arrive.
            raise self._withheld(not_tls_error(self._observer.head), UNEXPECTED_MESSAGE_RECORD)
        try:
            is_complete = self._stream.do_handshake()
            if has_answered and not self._chain:
                self._check_chain()
            if is_complete:
                self.facts = self._gather_facts()
        except Error as error:  # first, because a library error may be any OSError
            raise self._failed(error)  # noqa: B904 - the same error
        except self._library_errors as exc:
            self._fail(exc)
        except BaseException:
            self._failure = failed_error()
            raise
        if self._eof and not is_complete:
            raise self._failed(eof_error())
        return is_complete

    def receive_data(self, data: Buffer) -> None:
        """Process ciphertext from the network. After a failure it is ignored.

        Raises:
            TlsError: The connection has failed.
        """
        if self._failure is not None:
            return
        if self.facts is None:
            self._observer.receive(data)
        try:
            self._stream.receive_data(data)
        except self._library_errors as exc:
            self._fail(exc)
        except BaseException:
            self._failure = failed_error()
            raise

    def receive_eof(self) -> None:
        """Record that the server has closed the connection."""
        self._eof = True

    def data_to_send(self) -> bytes:
        """Return the ciphertext for the network, possibly empty. Allowed after any call, even if that raised."""
        if self._alert is None:
            return self._stream.data_to_send()
        data, self._alert = self._alert, b""
        return data

    def read_into(self, buffer: memoryview) -> int | None:
        """Write the plaintext of any number of records to `buffer`.

        Plaintext that was decrypted before an error is returned first. The next call raises the error.

        Returns:
            The number of bytes, `None` if more ciphertext is needed, or 0 if the server has sent close_notify.

        Raises:
            Closed: The server closed the connection without close_notify: data may be missing.
            TlsError: The connection has failed.
        """
        if self._failure is not None or self.facts is None:
            raise self._failure or unfinished_error()
        if self._received_close_notify:
            return 0
        count, more, size = 0, None, len(buffer)
        read = self._stream.read_into
        try:
            while count < size and (more := read(buffer[count : count + _RECORD])):
                count += more
        except self._library_errors as exc:
            self._failed(self._translated(exc)).__cause__ = exc
        except BaseException:
            self._failure = failed_error()
            raise
        self._received_close_notify = more == 0
        if count or self._received_close_notify:
            return count
        if self._failure is not None:
            raise self._failure
        if self._eof and size:
            raise self._failed(Closed("server closed the connection unexpectedly, without ending TLS"))
        return None

    @property
    def is_ended(self) -> bool:
        """True if the next read reports close_notify or an error."""
        return self._received_close_notify or self._failure is not None or self._eof

    def write(self, data: Buffer) -> None:
        """Encrypt all of `data`.

        Raises:
            TlsError: The connection has failed, or close_notify was sent.
        """
        if self._failure is not None or self.facts is None:
            raise self._failure or unfinished_error()
        if self._sent_close_notify:
            raise TlsError("nothing can be written after close_notify")
        try:
            self._stream.write(data)
        except self._library_errors as exc:
            self._fail(exc)
        except BaseException:
            self._failure = failed_error()
            raise

    def close_notify(self) -> None:
        """Produce the alert close_notify (RFC 8446 §6.1), unless the connection has failed. Never raises."""
        if self._failure is None and self.facts is not None and not self._sent_close_notify:
            self._sent_close_notify = True
            try:
                self._stream.close_notify()
            except self._library_errors:
                pass  # the alert cannot be sent

    def close(self) -> None:
        """Release the resources of the TLS library. The connection cannot be used any more."""
        if self._is_closed:
            return
        self._is_closed = True
        self._failure = self._failure or Closed("the connection is closed")
        self._alert = b""
        self._stream.close()

    def _check_chain(self) -> None:
        """Check the host name and the anchors once, when the library first exposes the certificates.

        On a fault an alert replaces the client's last flight. The library writes this flight before the handshake is
        complete (TLS 1.2) or when it completes (TLS 1.3). The alert is not encrypted, because the libraries cannot
        encrypt an alert from their caller. OpenSSL servers accept this until they receive the last flight.
        """
        chain = self._stream.peer_chain()
        if not chain:
            return
        fault = self._check_leaf(chain[0])
        if fault is None and self._context.barred:
            fault = misused_anchor(self._context.barred, chain)
        if fault is not None:
            raise self._withheld(fault, BAD_CERTIFICATE_RECORD)
        self._chain = chain

    def _gather_facts(self) -> TlsFacts:
        if not self._chain:
            error = CertificateError("the server presented no certificate", reason="missing")
            raise self._withheld(error, BAD_CERTIFICATE_RECORD)
        found = self._stream.facts()
        return TlsFacts(
            version=found.version,
            cipher=found.cipher,
            alpn=found.alpn,
            group=self._observer.group,
            peer_chain=self._chain,
            possession_proven=found.possession_proven is True,
            certificate_requested=found.certificate_requested if self._is_watched else None,
            trusted_roots=self.trusted_roots,
            binding_data=self._binding_data() if self._binding_type is not None else None,
        )

    def _binding_data(self) -> bytes | ChannelBindingUnsupported | None:
        try:
            if self._binding_type == "tls-exporter":
                return self._stream.export_keying_material(_EXPORTER_LABEL, _EXPORTER_LENGTH)
            if self._binding_type == "tls-unique":
                return self._stream.first_finished_message()
        except ChannelBindingUnsupported as exc:
            return exc
        return None

    def _withheld(self, error: Error, alert: bytes) -> Error:
        """Record the failure, and send this alert instead of the library's output."""
        self._stream.data_to_send()
        self._alert = alert
        return self._failed(error)

    def _failed(self, error: Error) -> Error:
        self._failure = error
        return error

    def _fail(self, exc: Exception) -> NoReturn:
        raise self._failed(self._check_leaf.fault or self._translated(exc)) from exc

    def _translated(self, exc: Exception) -> Error:
        established = self.facts is not None
        self._failure = failed_error()  # in case the translation fails
        error = self._stream.translate(exc, established=established)
        if isinstance(error, CertificateError):
            trust = self._context.trust
            if trust is not None and (fault := trust.fault(time.time())) is not None:
                return fault
            return with_advice(error, self._context.roots, self._stream.peer_chain())
        if established or not isinstance(error, TlsError):
            return error
        if error.alert is None and self._observer.alert is not None:  # libraries have no names for some alerts
            error = alert_error(alert_name(self._observer.alert))
        if error.alert is not None and self._observer.certificate_sent:
            error = alert_error(error.alert, after_certificate=True)
        return error


class _LeafCheck:
    """Compare a host name with the server's certificate.

    It does not refer to the connection, so that a stream that keeps it does not create a reference cycle.

    Attributes:
        fault: The result of the last comparison.
    """

    def __init__(self, host: str | None, *, common_name: bool) -> None:
        self._host = host
        self._common_name = common_name
        self.fault: CertificateError | None = None

    def __call__(self, certificate: bytes) -> CertificateError | None:
        if self._host is not None:
            self.fault = name_fault(certificate, self._host, common_name=self._common_name)
        return self.fault


def first_offer(backend: TlsBackend, parameters: TlsParameters) -> ClientOffer | None:
    """Return the offer in the ClientHello of a backend, or None if it cannot be parsed.

    Raises:
        Error: The backend cannot create a ClientHello with these parameters.
    """
    connection = TlsConnection(backend, parameters, "offer.invalid")
    try:
        connection.do_handshake()
        return client_offer(connection.data_to_send())
    except ValueError:
        return None
    finally:
        connection.close()
