"""Errors of a TLS connection that do not depend on the TLS library."""

from __future__ import annotations

from ..errors import CertificateError, TlsError
from .banners import describe_service

#: What to do about a rejected chain, by `CertificateError.reason`.
_CHAIN_REMEDIES = {
    "expired": "The server needs a new certificate; check this machine's clock if it should be valid.",
    "not-yet-valid": "Check this machine's clock, and the server's certificate.",
    "untrusted": "Set tls_root_cert_path (sslrootcert=) to the certificate of the issuing CA.",
    "self-signed": "If it is the server's own, set tls_root_cert_path (sslrootcert=) to this very certificate.",
    "revoked": "Do not trust this server until it has a new certificate.",
    "crl": "Every authority of the chain must have a current revocation list in tls_crl_path (sslcrl=) or tls_crl_dir "
    "(sslcrldir=).",
    "weak": "The certificate, or its issuer's, uses an algorithm that is not secure any more.",
    "purpose": "The certificate may not be used by a TLS server.",
}


def unfinished_error() -> TlsError:
    """Return the error for reading or writing before the handshake has succeeded."""
    return TlsError("the TLS handshake is not finished")


def failed_error() -> TlsError:
    """Return the error for using a connection after an exception that is not an error of TLS."""
    return TlsError("the TLS connection has failed")


def eof_error() -> TlsError:
    """Return the error for a server that closes the connection in the middle of the handshake."""
    return TlsError(
        "server closed the connection unexpectedly during the TLS handshake", remedy="The server's log has the reason."
    )


def chain_error(reason: str, text: str) -> CertificateError:
    """Return the error for a certificate chain that a TLS library has rejected.

    Args:
        reason: See `CertificateError.reason`.
        text: The fault in words; OpenSSL's where it has some, because users search for these.
    """
    return CertificateError(
        f"SSL error: certificate verify failed: {text}", reason=reason, remedy=_CHAIN_REMEDIES.get(reason)
    )


def not_tls_error(head: bytes = b"") -> TlsError:
    """Return the error for a server whose first bytes, `head`, are not TLS."""
    begins_a_record = head[:1] in (b"\x15", b"\x16")
    service = describe_service(head) if not begins_a_record else None
    if service is not None:
        return TlsError(
            f"SSL error: the server does not speak TLS: {service} listens there",
            remedy="Set host and port to those of the PostgreSQL server.",
        )
    return TlsError("SSL error: the server does not speak TLS", remedy="Is this the port of a PostgreSQL server?")


def damaged_error(detail: str) -> TlsError:
    """Return the error for data that is not valid TLS, from a server that had begun TLS.

    Args:
        detail: What the TLS library reports.
    """
    return TlsError(
        f"SSL error: the connection was damaged or attacked: the data received is not valid TLS ({detail})",
        remedy="Something between client and server changed, inserted or removed data. Connect again; if that repeats "
        "itself, look for a faulty network device, a proxy, or a man in the middle.",
    )
