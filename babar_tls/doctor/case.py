"""The state of the diagnosis of one host: what the stages have found out so far, and how they report."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ..config.enums import ChannelBinding, ClientCertMode, TlsMode, TlsNegotiation, TlsVerify
from ..diagnostics.escaping import visible
from ..errors import Closed, Error
from ..net.blocking import BlockingConnection
from .causes import Cause
from .classify import find_cause, finding
from .diagnosis import Finding

if TYPE_CHECKING:
    from ..config import Config
    from ..config.host import Host
    from ..net.deadline import Meter
    from ..net.establish import Ready
    from ..net.sockets import AddressInfo
    from ..protocol.requests import Exchange
    from ..tls.contract import TlsBackend, TlsFacts
    from .diagnosis import BackendHandshake, CertificateSummary
    from .real_connect import RealConnect

_T = TypeVar("_T")
_SHOWN = 2000  # characters of a statement

#: The causes that a handshake without the client certificate seems to have if a server requires it.
_MAY_BE_NO_CERTIFICATE = (
    Cause.CLIENT_CERTIFICATE_REQUIRED,
    Cause.CLIENT_CERTIFICATE_REJECTED,
    Cause.TLS_FAILED,
    Cause.TLS_ALGORITHMS,
    Cause.OTHER,
)

#: The limit of each stage if the configuration has none, in seconds.
DEFAULT_TIMEOUT = 10.0


class Skipped(Exception):
    """A stage cannot run, or would send data that the configuration does not allow. The text is the reason."""


class Notes:
    """The observations and findings of a stage.

    Args:
        is_fatal: True if a connection fails because of a fault in this stage. Otherwise faults become warnings.
    """

    def __init__(self, *, is_fatal: bool = True) -> None:
        self._is_fatal = is_fatal
        self.observations: list[str] = []
        self.findings: list[Finding] = []

    def observe(self, text: str) -> None:
        """Add an observation."""
        self.observations.append(visible(text, limit=_SHOWN))

    def fault(self, cause: Cause, text: str, remedy: str | None = None) -> None:
        """Add a fault."""
        self._add(cause, text, remedy, is_fault=self._is_fatal)

    def warn(self, cause: Cause, text: str, remedy: str | None = None) -> None:
        """Add a warning."""
        self._add(cause, text, remedy, is_fault=False)

    def fail(self, error: Error, cause: Cause | None = None, remedy: str | None = None) -> None:
        """Add the fault that an error reports. See `classify.finding`."""
        self.findings.append(finding(error, is_fault=self._is_fatal, cause=cause, remedy=remedy))

    def _add(self, cause: Cause, text: str, remedy: str | None, *, is_fault: bool) -> None:
        shown = None if remedy is None else visible(remedy, limit=_SHOWN)
        self.findings.append(Finding(cause=cause, is_fault=is_fault, text=visible(text, limit=_SHOWN), remedy=shown))


@dataclass
class Case:
    """The host under diagnosis.

    Attributes:
        config: The configuration, for this host only, without changes.
        backend: The selected TLS backend; `None` if the configuration excludes TLS.
        addresses: The addresses of the name, in the order in which a connection tries them.
        reached: The host with the first address that accepts connections; `None` until one is found.
        offers_tls: The server accepted SSLRequest; `None` until it is known, or if it is not needed.
        facts: The facts of an unverified handshake with the selected backend, or with another if that one failed.
        code: The number of the first authentication request, `None` until there is one.
        mechanisms: The SASL mechanisms in it.
        login_facts: The facts of the connection on which the server sent it, `None` without TLS.
        real_connect: The result of the real connect, which all hosts of a configuration share; `None` before it.
        ready: The session of the real connect; `None` if it has none with this host.
        handshakes: The handshakes with each backend.
        certificates: The certificates that the server sent.
        faults: The faults of the stages so far.
        warnings: The warnings about the configuration.
    """

    config: Config
    backend: TlsBackend | None
    addresses: list[AddressInfo] = field(default_factory=list)
    reached: Host | None = None
    offers_tls: bool | None = None
    facts: TlsFacts | None = None
    code: int | None = None
    mechanisms: tuple[str, ...] = ()
    login_facts: TlsFacts | None = None
    real_connect: RealConnect | None = None
    ready: Ready | None = None
    handshakes: list[BackendHandshake] = field(default_factory=list)
    certificates: list[CertificateSummary] = field(default_factory=list)
    faults: list[Finding] = field(default_factory=list)
    warnings: tuple[Finding, ...] = ()

    @property
    def host(self) -> Host:
        """The host as the configuration names it."""
        return self.config.targets[0]

    @property
    def timeout(self) -> float:
        """The limit of one stage, in seconds."""
        return self.config.connect_timeout or DEFAULT_TIMEOUT

    @property
    def requires_tls(self) -> bool:
        """True if a failure of TLS ends the connect. With libpq's `allow` and `prefer`, plain text may follow it."""
        mode = self.config.tls_mode
        return mode is TlsMode.REQUIRE or (mode is TlsMode.PREFER and not self.config.tls_fallback)

    @property
    def is_direct(self) -> bool:
        """True if the configuration starts TLS without SSLRequest."""
        return self.config.tls_negotiation is TlsNegotiation.DIRECT

    @property
    def reached_config(self) -> Config:
        """The configuration, for the address that was reached, without the password.

        Raises:
            Skipped: No address was reached.
        """
        if self.reached is None:
            raise Skipped("no address accepts connections")
        return self.config.replace(hostaddr=self.reached.hostaddr).without_password()

    def may_need_client_certificate(self, error: Error) -> bool:
        """Return True if a handshake without the client certificate may have failed because it was missing.

        A server with TLS 1.2 requires it during the handshake. Not every server sends an alert that says so.
        """
        has_certificate = self.config.tls_client_cert is not None
        return has_certificate and (isinstance(error, Closed) or find_cause(error) in _MAY_BE_NO_CERTIFICATE)

    def require_tls_channel(self) -> None:
        """Check that the stages of TLS are meaningful.

        Raises:
            Skipped: The connection does not use TLS, or the server does not offer it.
        """
        if self.host.is_unix_socket:
            raise Skipped("a Unix-domain socket has no TLS")
        if self.config.tls_mode is TlsMode.DISABLE:
            raise Skipped("the configuration does not use TLS")
        if self.reached is None:
            raise Skipped("no address accepts connections")
        if not self.offers_tls:
            raise Skipped("the server does not offer TLS")

    def require_handshake(self) -> TlsFacts:
        """Return the facts of a handshake.

        Raises:
            Skipped: There was none.
        """
        self.require_tls_channel()
        if self.facts is None:
            raise Skipped("no TLS handshake has succeeded")
        return self.facts


class Probe(BlockingConnection):
    """A connection of a diagnosis."""

    def end_tls(self) -> None:
        """Send the rest of the handshake and close_notify, if that is possible without waiting.

        The client's Finished message waits for other data. Without it, the server would log a failed handshake.
        """
        if self.tls is not None:
            self.tls.close_notify()
            self._send_alert(self.tls.data_to_send())

    def end_sending(self) -> None:
        """Close the client's side of the connection; never raises."""
        try:
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server has closed the connection


def run(config: Config, exchange: Exchange[_T], meter: Meter) -> _T:
    """Run an exchange on a connection, and close the connection.

    Raises:
        Error: The exchange failed.
    """
    connection = Probe(config, meter)
    try:
        result = connection.drive(exchange)
        connection.end_tls()
        return result
    finally:
        connection.close()


def unverified(config: Config, backend: TlsBackend | str | None = None) -> Config:
    """Return the configuration for TLS handshakes that verify nothing and present no client certificate.

    Nothing but the handshake may be sent on such a connection.
    """
    return config.replace(
        tls_mode=TlsMode.REQUIRE,
        tls_verify=TlsVerify.NONE,
        tls_backend=config.tls_backend if backend is None else backend,
        tls_root_cert_path=None,
        tls_default_roots=True,
        tls_os_roots=False,
        tls_pins=(),
        tls_crl_path=None,
        tls_crl_dir=None,
        tls_key_log_path=None,
        tls_client_cert=None,
        tls_client_cert_mode=ClientCertMode.ALLOW,
        channel_binding=ChannelBinding.PREFER,
        channel_binding_type=None,
    ).without_password()
