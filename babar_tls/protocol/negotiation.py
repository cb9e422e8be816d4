"""How a connection comes to be encrypted: SSLRequest or direct TLS, and which attempt follows a failed one.

An *attempt* is one connection. Its way to TLS is one of

* plain: nothing is asked;
* SSLRequest: eight bytes, answered by ``S`` (TLS begins), ``N`` (the server has none), or anything else, which is an
  error and never plain text;
* direct: TLS from the first byte, where ALPN must agree on ``postgresql``.

`TlsMode.PREFER` stays on the same connection after ``N`` and after nothing else. A *second* connection is made only for
libpq's ``allow`` and ``prefer``. With the latter it follows a failure of TLS. Bytes after the ``S`` that are not TLS
are such a failure, whether or not they came in the same read.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import TYPE_CHECKING

from ..config import ChannelBinding, ClientCertMode, Config, TlsMode, TlsNegotiation, TlsVerify
from ..config.remembered import once
from ..errors import CertificateError, ConfigError, ProtocolError, TlsError, TlsRefused
from ..tls.banners import describe_service
from ..tls.parameters import ALPN_POSTGRESQL, ClientCertificate, TlsParameters
from ..x509.certificate import public_key_info
from ..x509.der import DerError
from ..x509.idna import ascii_name
from .messages import shown, ssl_request
from .requests import Connect, Endpoint, Exchange, Phase, Send, StartTls, receive

if TYPE_CHECKING:
    from ..tls.contract import TlsFacts


_OTHER_SERVICE = "Set host and port to those of the PostgreSQL server."


class Attempt(Enum):
    """The way one connection goes."""

    PLAIN = "plain"
    TLS_OR_PLAIN = "TLS, or plain if the server has none"
    TLS = "TLS"


_ATTEMPTS = {
    TlsMode.DISABLE: (Attempt.PLAIN,),
    TlsMode.ALLOW: (Attempt.PLAIN, Attempt.TLS),
    TlsMode.PREFER: (Attempt.TLS_OR_PLAIN,),
    TlsMode.REQUIRE: (Attempt.TLS,),
}


def attempts(config: Config) -> tuple[Attempt, ...]:
    """What to try, in order."""
    if config.is_unix_socket:
        return (Attempt.PLAIN,)
    if config.tls_fallback:
        return (Attempt.TLS_OR_PLAIN, Attempt.PLAIN)
    return _ATTEMPTS[config.tls_mode]


def endpoint(config: Config) -> Endpoint:
    """Where to connect to."""
    return Endpoint(config.host, config.port, config.hostaddr, config.is_unix_socket)


def server_name(config: Config) -> str:
    """The name to send and to verify, internationalized names as A-labels.

    Raises:
        ConfigError: No certificate could have such a name.
    """
    name = config.tls_server_name or config.host
    if ":" in name:  # an IPv6 address: its zone is a matter of this machine, and in no certificate
        name = name.partition("%")[0]
    return ascii_name(name)


def secure(config: Config, attempt: Attempt, where: Endpoint | None = None) -> Exchange[TlsFacts | None]:
    """Connect, and begin TLS if this attempt is to have it.

    Args:
        config: What the caller asked for.
        attempt: Which of `attempts(config)` this is.
        where: Another endpoint than the configuration's, for cancel requests.

    Returns:
        What the engine says of the connection, or `None` where it is plain.

    Raises:
        TlsRefused: The server has no TLS, and plain text will not do.
        TlsError: The server answered with an error or with nonsense, or ALPN went wrong.
        CertificateError: The certificate was not accepted, or is none of the pinned ones.
        ProtocolError: Plain text came where TLS should begin.
    """
    unrequested = yield from negotiate(config, attempt, where)
    return None if unrequested is None else (yield from start_tls(config, unrequested))


def negotiate(config: Config, attempt: Attempt, where: Endpoint | None = None) -> Exchange[bytes | None]:
    """Run the first half of `secure`: connect, and agree on TLS or on plain text.

    Returns:
        `None` for plain text. If TLS begins now: what the server has sent behind its ``S``, which must be nothing.
    """
    yield Connect(where or endpoint(config))
    if attempt is Attempt.PLAIN:
        return None
    return b"" if config.tls_negotiation is TlsNegotiation.DIRECT else (yield from _ask_for_tls(attempt))


def tls_parameters(config: Config) -> TlsParameters:
    """Return what this configuration requires of a TLS context."""
    certificate = None
    if config.tls_client_cert is not None and config.tls_client_cert_mode is not ClientCertMode.DISABLE:
        certificate = ClientCertificate(
            certificate=config.tls_client_cert, key=config.tls_client_key, password=config.tls_client_key_password
        )
    return TlsParameters(
        verify=config.tls_verify,
        root_cert_path=config.tls_root_cert_path,
        default_roots=config.tls_default_roots,
        min_version=config.tls_min_version,
        max_version=config.tls_max_version,
        send_server_name=config.tls_sni,
        common_name=config.tls_common_name,
        os_roots=config.tls_os_roots,
        client_certificate=certificate,
        crl_path=config.tls_crl_path,
        crl_dir=config.tls_crl_dir,
        key_log_path=config.tls_key_log_path,
        watch_certificate_request=config.tls_client_cert_mode is ClientCertMode.REQUIRE,
        groups=config.tls_groups,
        ciphers=config.tls_ciphers,
    )


def start_tls(config: Config, unrequested: bytes = b"") -> Exchange[TlsFacts]:
    """Run the second half of `secure`: TLS itself, and what is checked before anything is sent in it.

    Bytes behind the ``S`` fail here, like bytes that come a moment later: which of these happens is a matter of timing.
    """
    if unrequested:
        raise _unrequested_error(unrequested)
    binding_type = config.channel_binding_type if config.channel_binding is not ChannelBinding.DISABLE else None
    facts: TlsFacts = yield StartTls(once(config, tls_parameters), server_name(config), binding_type)
    _check_alpn(facts.alpn, direct=config.tls_negotiation is TlsNegotiation.DIRECT)
    if config.tls_pins and facts.possession_proven is not True:
        raise ConfigError(
            "tls_pins, but this TLS backend has not checked that the server holds the key of its certificate",
            remedy="Verify the server (tls_verify, sslmode=verify-ca), or use another TLS backend.",
        )
    if config.tls_pins and matching_pin(config, facts) is None:
        raise _pin_error(facts.peer_certificate)
    return facts


def _ask_for_tls(attempt: Attempt) -> Exchange[bytes | None]:
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
            remedy="The server does not offer TLS; add sslmode=disable or prefer if that is intended.",
        )
    if verdict == b"E":
        # Whatever the text says, nobody has been authenticated yet, so it is not passed on (CVE-2024-10977).
        raise TlsError(
            "server sent an error response during SSL exchange",
            remedy="It may be overloaded, shutting down or older than TLS negotiation; its own log has the reason.",
        )
    raise _invalid_answer_error(answer)


def _unrequested_error(unrequested: bytes) -> ProtocolError:
    """Return the error for plain text behind the answer to SSLRequest (CVE-2021-23222): none of it is used."""
    service = describe_service(unrequested)
    if service is not None:
        return ProtocolError(
            f"received unencrypted data after SSL response: {service} listens there",
            remedy=_OTHER_SERVICE,
        )
    return ProtocolError(
        "received unencrypted data after SSL response",
        remedy="A man in the middle does this; so does a proxy that does not know SSLRequest.",
    )


def _invalid_answer_error(answer: bytes) -> TlsError:
    service = describe_service(answer)
    text = f"received invalid response to SSL negotiation: {shown(answer[:1])}"
    if answer[:1] in (b"\x15", b"\x16"):  # records of TLS: an alert, or a handshake message
        return TlsError(
            f"{text}: the server speaks TLS from the first byte",
            remedy="Set tls_negotiation=direct (sslnegotiation=direct) if this is PostgreSQL 17 or later, or a proxy "
            "that terminates TLS. Otherwise this is the port of another service, for example of an HTTPS server.",
        )
    if service is not None:
        return TlsError(f"{text}: {service} listens there", remedy=_OTHER_SERVICE)
    return TlsError(text, remedy="Is this the port of a PostgreSQL server?")


def _check_alpn(selected: str | None, *, direct: bool) -> None:
    if selected == ALPN_POSTGRESQL or (selected is None and not direct):
        return
    if selected is None:
        raise TlsError(
            "direct SSL connection was established without ALPN protocol negotiation extension",
            remedy="This may be another service than PostgreSQL 17 or later; use sslnegotiation=postgres otherwise.",
        )
    raise TlsError(
        f"SSL connection was established with unexpected ALPN protocol {selected!r}",
        remedy="This is the port of another service.",
    )


def matching_pin(config: Config, facts: TlsFacts | None) -> str | None:
    """The pin that the server's certificate matches, `None` if it matches none or nothing is pinned."""
    if facts is None or not config.tls_pins:
        return None
    found = set(_fingerprints(facts.peer_certificate))
    return next((pin for pin in config.tls_pins if pin in found), None)


def _fingerprints(certificate: bytes) -> list[str]:
    prints = [f"sha256:{hashlib.sha256(certificate).hexdigest()}"]
    try:
        prints.append(f"spki-sha256:{hashlib.sha256(public_key_info(certificate)).hexdigest()}")
    except DerError:
        pass  # what cannot be read matches no pin
    return prints


def _pin_error(certificate: bytes) -> CertificateError:
    found = " and ".join(_fingerprints(certificate))
    return CertificateError(
        f"server certificate matches none of the pinned fingerprints: it has {found}",
        reason="pin-mismatch",
        remedy="If the server's certificate was renewed, pin the new one; otherwise this is another server.",
    )


def verified(config: Config, facts: TlsFacts | None) -> TlsVerify:
    """What was verified of the server by the time that TLS stood."""
    return TlsVerify.NONE if facts is None else config.tls_verify
