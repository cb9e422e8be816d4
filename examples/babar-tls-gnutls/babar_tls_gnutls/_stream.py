"""One connection: bytes in and out, certificates judged within the handshake, every failure one of ours, for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from babar_tls.backends import TlsParameters, TlsStream
from babar_tls.config import TlsVerify, TlsVersion
from babar_tls.errors import CertificateError, ChannelBindingUnsupported, ClientCertificateError, Closed, TlsError
from babar_tls.x509.hostname import as_address, ascii_name, name_fault

from . import _library as gnutls

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

_RECORD = 1 << 14  # bytes of plaintext in one record, at most
_HANDSHAKE_FAILURE, _OF_OUR_CERTIFICATE = 40, {41, 42, 43, 44, 45, 46, 48, 116}  # alerts (RFC 8446 §6.2)
#: Bits of gnutls_certificate_status_t. Of several the first counts: what is untrusted is often other things as well.
_REASONS = {10: "expired", 9: "not-yet-valid", 6: "untrusted", 8: "weak", 18: "purpose"}


class _Judge:
    """Judges one connection's certificates. It does not know the stream, which would then outlive its users."""

    def __init__(self, parameters: TlsParameters, server_hostname: str | None) -> None:
        self._parameters, self._hostname = parameters, server_hostname
        self.chain: tuple[bytes, ...] = ()
        self.fault: CertificateError | None = None

    def __call__(self, session: gnutls.Session) -> bool:
        self.fault = CertificateError("the certificate could not be judged", reason="invalid")  # if this should raise
        self.chain = session.peers()
        self.fault = self._fault_of(session)
        return self.fault is None

    def _fault_of(self, session: gnutls.Session) -> CertificateError | None:
        if not self.chain:
            return CertificateError("the server presented no certificate", reason="missing")
        status = 0 if self._parameters.verify is TlsVerify.NONE else session.verify()
        if status:
            reason = next((reason for bit, reason in _REASONS.items() if status > 0 and status >> bit & 1), "invalid")
            return CertificateError(f"SSL error: certificate verify failed: {reason}", reason=reason)
        if self._parameters.verify is TlsVerify.FULL:
            return name_fault(self.chain[0], self._hostname or "", common_name=self._parameters.common_name)
        return None


class Stream(TlsStream):
    def __init__(self, credentials: gnutls.Credentials, parameters: TlsParameters, server_hostname: str | None) -> None:
        low, high = parameters.min_version.value, (parameters.max_version or TlsVersion.TLSV1_3).value
        versions = "".join(f":+VERS-{v.value.replace('v', '')}" for v in TlsVersion if low <= v.value <= high)
        self._judge = _Judge(parameters, server_hostname)
        self._session = gnutls.Session(credentials, f"NORMAL:-VERS-ALL{versions}", self._judge)
        is_name = server_hostname is not None and as_address(server_hostname) is None
        name = ascii_name(server_hostname) if server_hostname is not None and is_name else None  # or it is no name
        self._session.offer(parameters.alpn, name if parameters.send_server_name else None)
        self._established = self._said_goodbye = False
        self._failure: TlsError | Closed | None = None

    def do_handshake(self) -> bool:
        self._check_alive()
        while not self._established:
            code = self._progress(self._session.call, "handshake")
            if code == gnutls.AGAIN:
                return False
            self._established = self.possession_proven = code == 0  # or it was a warning
        return True

    def receive_data(self, data: Buffer) -> None:
        self._session.incoming += memoryview(data).cast("B")

    def receive_eof(self) -> None:
        self._session.eof = True

    def data_to_send(self) -> bytes:
        data, self._session.outgoing = bytes(self._session.outgoing), bytearray()
        return data

    def read_into(self, buffer: memoryview) -> int:
        self._check_established()
        while len(buffer) and not self.peer_closed:
            count = self._progress(self._session.receive, buffer)
            if count == gnutls.AGAIN:
                return 0
            if count > 0:
                return count
            self.peer_closed = count == 0
        return 0

    def write(self, data: Buffer) -> int:
        self._check_established()
        if self._said_goodbye:
            raise Closed("the connection was closed by us")
        view, sent = memoryview(data).cast("B"), 0
        while sent < len(view):
            sent += self._progress(self._session.send, bytes(view[sent : sent + _RECORD]))
        return sent

    def close_notify(self) -> None:
        if self._established and self._failure is None and not self._said_goodbye:
            self._said_goodbye = True
            self._session.goodbye()

    def _progress(self, function: Callable[..., int], argument: object) -> int:
        """Call GnuTLS until it has used up what there is (it returns after a session ticket, too), or has failed."""
        while True:
            before = len(self._session.incoming)
            code = function(argument)
            if code == gnutls.AGAIN and len(self._session.incoming) < before:
                continue
            if code == gnutls.AGAIN and self._session.eof:
                code = gnutls.PREMATURE_END  # in the middle of a record
            if code == gnutls.REHANDSHAKE or gnutls.is_fatal(code):
                raise self._failed(code)
            return code

    def _failed(self, code: int) -> TlsError | Closed:
        if code != gnutls.ALERT_RECEIVED:
            self._session.call("alert_send_appropriate", code)
        self._failure = (
            self._judge.fault if code == gnutls.CERTIFICATE_ERROR and self._judge.fault else self._mapped(code)
        )
        return self._failure

    def _mapped(self, code: int) -> TlsError | Closed:
        """GnuTLS's error as ours."""
        if self._session.eof and code in gnutls.ENDS:
            if self._established:
                return Closed("server closed the connection unexpectedly, without ending TLS")
            return TlsError("server closed the connection unexpectedly during the TLS handshake")
        if code != gnutls.ALERT_RECEIVED:
            return TlsError(f"SSL error: {gnutls.text('strerror', code)}")
        alert = self._session.call("alert_get")
        refused = alert == _HANDSHAKE_FAILURE and self._judge.chain and not self._established  # TLS 1.2's way to say it
        if alert in _OF_OUR_CERTIFICATE or refused:
            return ClientCertificateError("SSL error: the server did not accept the client certificate")
        return TlsError(f"SSL error: the server sent an alert ({gnutls.text('alert_get_name', alert)})")

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _check_established(self) -> None:
        self._check_alive()
        if not self._established:
            raise TlsError("the TLS handshake is not finished")

    @property
    def version(self) -> str:
        return gnutls.text("protocol_get_name", self._session.call("protocol_get_version")).replace("TLS", "TLSv")

    @property
    def cipher(self) -> str:
        return gnutls.text("ciphersuite_get", self._session.handle)

    @property
    def group(self) -> str | None:
        return gnutls.text("group_get_name", self._session.call("group_get")).lower() or None

    @property
    def alpn(self) -> str | None:
        return self._session.alpn()

    @property
    def peer_certificate(self) -> bytes:
        return self._judge.chain[0]

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        return self._judge.chain

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        data = self._session.export(label, length)
        if data is None:
            raise ChannelBindingUnsupported("GnuTLS exports nothing for this connection")
        return data
