"""Negotiate encryption: SSLRequest or direct TLS, and the attempts that a TLS mode allows.

An *attempt* is one connection. It starts TLS in one of these ways:

* plain: no TLS;
* SSLRequest: eight bytes, to which the server responds with ``S`` (TLS starts) or ``N`` (TLS is not available). Any
  other response is an error and never leads to plain text;
* direct: TLS from the first byte. ALPN must select ``postgresql``.

`TlsMode.PREFER` continues without TLS on the same connection only after ``N``. A *second* connection is made only for
libpq's ``allow`` and ``prefer``. With ``prefer`` it follows a failure of TLS. Bytes after the ``S`` that are not TLS
are such a failure, whether or not the same read returns them.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import TYPE_CHECKING

from ..config import ChannelBinding, Config, TlsMode, TlsNegotiation, TlsVerify
from ..errors import CertificateError, ConfigError, ProtocolError, TlsError, TlsRefused
from ..tls.banners import describe_service
from ..tls.parameters import ALPN_POSTGRESQL
from ..x509.certificate import public_key_info
from ..x509.der import DerError
from ..x509.idna import ascii_name
from .messages import shown, ssl_request
from .requests import Connect, Exchange, Phase, Send, StartTls, receive

if TYPE_CHECKING:
    from ..config.host import Host
    from ..tls.contract import TlsFacts


_REMEDY = "Set host and port to those of the PostgreSQL server."


class Attempt(Enum):
    """The encryption of one connection."""

    PLAIN = "plain"
    TLS_OR_PLAIN = "TLS, or plain if the server does not offer TLS"
    TLS = "TLS"


_ATTEMPTS = {
    TlsMode.DISABLE: (Attempt.PLAIN,),
    TlsMode.ALLOW: (Attempt.PLAIN, Attempt.TLS),
    TlsMode.PREFER: (Attempt.TLS_OR_PLAIN,),
    TlsMode.REQUIRE: (Attempt.TLS,),
}


def attempts(config: Config) -> tuple[Attempt, ...]:
    """Return the attempts to make, in order."""
    if config.targets[0].is_unix_socket:
        return (Attempt.PLAIN,)
    if config.tls_fallback:
        return (Attempt.TLS_OR_PLAIN, Attempt.PLAIN)
    return _ATTEMPTS[config.tls_mode]


def server_name(config: Config) -> str:
    """Return the name to send as SNI and to verify. Internationalized names are converted to A-labels.

    Raises:
        ConfigError: The name cannot be in a certificate.
    """
    name = config.tls_server_name or config.host
    if ":" in name:  # an IPv6 address: its zone is local to this machine, and never in a certificate
        name = name.partition("%")[0]
    return ascii_name(name)


def secure(config: Config, attempt: Attempt, where: Host | None = None) -> Exchange[TlsFacts | None]:
    """Connect, and start TLS if the attempt requires it.

    Args:
        config: The configuration.
        attempt: One of `attempts(config)`.
        where: The endpoint, if it is not the configuration's; for cancel requests.

    Returns:
        The facts that the backend reports about the connection, or `None` without TLS.

    Raises:
        TlsRefused: The server does not offer TLS, and the attempt does not allow plain text.
        TlsError: The server responded with an error or an invalid byte, or ALPN failed.
        CertificateError: The certificate was not accepted, or matches no pin.
        ProtocolError: The server sent plain text where TLS must start.
    """
    unrequested = yield from negotiate(config, attempt, where)
    return None if unrequested is None else (yield from start_tls(config, unrequested))


def negotiate(config: Config, attempt: Attempt, where: Host | None = None) -> Exchange[bytes | None]:
    """Run the first half of `secure`: connect, and agree on TLS or on plain text.

    Returns:
        `None` for plain text. If TLS starts now: the bytes that the server sent after its ``S``, which must be empty.
    """
    yield Connect(where or config.targets[0])
    if attempt is Attempt.PLAIN:
        return None
    return b"" if config.tls_negotiation is TlsNegotiation.DIRECT else (yield from _request_tls(attempt))


def start_tls(config: Config, unrequested: bytes = b"") -> Exchange[TlsFacts]:
    """Run the second half of `secure`: the TLS handshake, and the checks before data is sent.

    Bytes after the ``S`` fail here, in the same way as bytes that arrive later, because the difference is only timing.
    """
    if unrequested:
        raise _unrequested_error(unrequested)
    binding_type = config.channel_binding_type if config.channel_binding is not ChannelBinding.DISABLE else None
    facts: TlsFacts = yield StartTls(config.tls_parameters, server_name(config), binding_type)
    _check_alpn(facts.alpn, direct=config.tls_negotiation is TlsNegotiation.DIRECT)
    if config.tls_pins and facts.possession_proven is not True:
        raise ConfigError(
            "tls_pins requires proof that the server has the private key of its certificate. This TLS backend did not "
            "verify it",
            remedy="Verify the server (tls_verify, sslmode=verify-ca), or use another TLS backend.",
        )
    if config.tls_pins and matching_pin(config, facts) is None:
        raise _pin_error(facts.peer_certificate)
    return facts


def _request_tls(attempt: Attempt) -> Exchange[bytes | None]:
    yield Send(ssl_request(), Phase.NEGOTIATE)
    answer = yield from receive(Phase.NEGOTIATE)
    verdict, unrequested = answer[:1], answer[1:]
    if verdict == b"S":
        return unrequested
    if verdict == b"N":
        if unrequested:
            raise _unrequested_error(unrequested)
        if attempt is Attempt.TLS_OR_PLAIN:
            return None
        raise TlsRefused(
            "server does not support SSL, but SSL was required",
            remedy="Enable TLS on the server (ssl=on). Set sslmode=disable or prefer only if plain text is intended.",
        )
    if verdict == b"E":
        # The server is not authenticated, so its text is not shown (CVE-2024-10977).
        raise TlsError(
            "server sent an error response during SSL exchange",
            remedy="The server may be overloaded, shutting down or too old for SSLRequest. See its log for the reason.",
        )
    raise _invalid_answer_error(answer)


def _unrequested_error(unrequested: bytes) -> ProtocolError:
    """Return the error for plain text after the response to SSLRequest (CVE-2021-23222). The text is not used."""
    service = describe_service(unrequested)
    if service is not None:
        return ProtocolError(
            f"received unencrypted data after SSL response: this is the port of {service}",
            remedy=_REMEDY,
        )
    return ProtocolError(
        "received unencrypted data after SSL response",
        remedy="The cause is a man in the middle, or a proxy that does not support SSLRequest.",
    )


def _invalid_answer_error(answer: bytes) -> TlsError:
    service = describe_service(answer)
    text = f"received invalid response to SSL negotiation: {shown(answer[:1])}"
    if answer[:1] in (b"\x15", b"\x16"):  # a TLS record: an alert, or a handshake message
        return TlsError(
            f"{text}: the server requires TLS from the first byte",
            remedy="Set tls_negotiation=direct (sslnegotiation=direct) if this is PostgreSQL 17 or later, or a proxy "
            "that terminates TLS. Otherwise this is the port of another service, for example of an HTTPS server.",
        )
    if service is not None:
        return TlsError(f"{text}: this is the port of {service}", remedy=_REMEDY)
    return TlsError(text, remedy="Check that this is the port of a PostgreSQL server.")


def _check_alpn(selected: str | None, *, direct: bool) -> None:
    if selected == ALPN_POSTGRESQL or (selected is None and not direct):
        return
    if selected is None:
        raise TlsError(
            "direct SSL connection was established without ALPN protocol negotiation extension",
            remedy="For PostgreSQL before version 17, set sslnegotiation=postgres. Otherwise check host and port.",
        )
    raise TlsError(
        f"SSL connection was established with unexpected ALPN protocol {selected!r}",
        remedy=f"This is the port of another service. {_REMEDY}",
    )


def matching_pin(config: Config, facts: TlsFacts | None) -> str | None:
    """Return the pin that the server's certificate matches, or `None`."""
    if facts is None or not config.tls_pins:
        return None
    found = set(_fingerprints(facts.peer_certificate))
    return next((pin for pin in config.tls_pins if pin in found), None)


def _fingerprints(certificate: bytes) -> list[str]:
    prints = [f"sha256:{hashlib.sha256(certificate).hexdigest()}"]
    try:
        prints.append(f"spki-sha256:{hashlib.sha256(public_key_info(certificate)).hexdigest()}")
    except DerError:
        pass  # a malformed certificate matches no public-key pin
    return prints


def _pin_error(certificate: bytes) -> CertificateError:
    found = " and ".join(_fingerprints(certificate))
    return CertificateError(
        f"server certificate matches none of the pinned fingerprints: it has {found}",
        reason="pin-mismatch",
        remedy="If the server's certificate was renewed, pin the new one. Otherwise this is another server.",
    )


def verified(config: Config, facts: TlsFacts | None) -> TlsVerify:
    """Return the verification of the server's certificate that the TLS handshake included."""
    return TlsVerify.NONE if facts is None else config.tls_verify
