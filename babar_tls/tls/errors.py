"""Errors of a TLS connection that do not depend on the TLS library."""

from __future__ import annotations

from ..errors import CertificateError, TlsError
from .banners import describe_service

#: Remedies for a rejected chain, by `CertificateError.reason`.
_CHAIN_REMEDIES = {
    "expired": "The server needs a new certificate. If it should be valid, check this machine's clock.",
    "not-yet-valid": "Check this machine's clock, and the server's certificate.",
    "untrusted": "Set tls_root_cert_path (sslrootcert) to the issuing CA certificate.",
    "self-signed": "If this is the right server, set tls_root_cert_path (sslrootcert) to its certificate.",
    "revoked": "Do not connect to this server until it has a new certificate.",
    "crl": "tls_crl_path (sslcrl) or tls_crl_dir (sslcrldir) must contain a current revocation list from every CA of "
    "the chain.",
    "weak": "The server's certificate, or a CA certificate of the chain, uses a key or an algorithm that is too weak.",
    "purpose": "The certificate is not for TLS servers: its extended key usage must allow server authentication.",
}


def unfinished_error() -> TlsError:
    """Return the error for reading or writing before the handshake has succeeded."""
    return TlsError("the TLS handshake is not finished")


def failed_error() -> TlsError:
    """Return the error for using a connection after an exception that is not a TLS error."""
    return TlsError("the TLS connection has failed")


def eof_error() -> TlsError:
    """Return the error for a server that closes the connection during the handshake."""
    return TlsError(
        "server closed the connection unexpectedly during the TLS handshake",
        remedy="See the server's log for the reason.",
    )


def chain_error(reason: str, text: str) -> CertificateError:
    """Return the error for a certificate chain that a TLS library has rejected.

    Args:
        reason: See `CertificateError.reason`.
        text: The text of the fault; OpenSSL's if it has one, because users search for it.
    """
    return CertificateError(
        f"SSL error: certificate verify failed: {text}", reason=reason, remedy=_CHAIN_REMEDIES.get(reason)
    )


def not_tls_error(head: bytes = b"") -> TlsError:
    """Return the error for a server whose first bytes (`head`) are not TLS."""
    begins_a_record = head[:1] in (b"\x15", b"\x16")
    service = describe_service(head) if not begins_a_record else None
    if service is not None:
        return TlsError(
            f"SSL error: the server does not speak TLS: this is the port of {service}",
            remedy="Set host and port to those of the PostgreSQL server.",
        )
    return TlsError(
        "SSL error: the server does not speak TLS", remedy="Check that host and port are those of a PostgreSQL server."
    )


def damaged_error(detail: str, *, is_bad_mac: bool = False) -> TlsError:
    """Return the error for data that is not valid TLS, received after TLS has begun.

    Args:
        detail: The text of the TLS library.
        is_bad_mac: The data is a record that failed authentication (RFC 8446 §5.2, ``bad_record_mac``).
    """
    fault = "a record failed authentication" if is_bad_mac else "the data received is not valid TLS"
    return TlsError(
        f"SSL error: the connection was damaged or attacked: {fault} ({detail})",
        remedy="Data was changed, inserted or removed between client and server. Connect again. If the error repeats, "
        "look for a faulty network device, a proxy, or a man in the middle.",
    )
