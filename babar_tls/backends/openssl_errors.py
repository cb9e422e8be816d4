"""OpenSSL's verdicts in our words, for every engine that is made of OpenSSL.

Two tables: X.509 verification codes (``x509_vfy.h``) to a `CertificateError` reason, and reason strings of libssl
errors to what they mean here. The same fault therefore gives the same error whichever engine met it.
"""

from __future__ import annotations

from ..errors import CertificateError, ClientCertificateError, ConfigError, TlsError

_REASONS = {
    9: "not-yet-valid",
    10: "expired",
    **dict.fromkeys((3, 5, 8, 11, 12, 15, 16, 33, 35, 36, 44, 54), "crl"),
    18: "self-signed",
    19: "untrusted",  # a self-signed certificate at the end of the chain: a root that is not trusted
    2: "untrusted",
    20: "untrusted",
    21: "untrusted",
    27: "untrusted",
    23: "revoked",
    26: "purpose",
    66: "weak",
    67: "weak",
    68: "weak",
}

#: OpenSSL 3's texts, because engines bring their own copies of OpenSSL, whose wording differs.
_TEXTS = {
    3: "unable to get certificate CRL",
    5: "unable to decrypt CRL's signature",
    8: "CRL signature failure",
    11: "CRL is not yet valid",
    12: "CRL has expired",
    15: "format error in CRL's lastUpdate field",
    16: "format error in CRL's nextUpdate field",
    33: "unable to get CRL issuer certificate",
    35: "key usage does not include CRL signing",
    36: "unhandled critical CRL extension",
    44: "different CRL scope",
    54: "CRL path validation error",
    7: "certificate signature failure",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    2: "unable to get issuer certificate",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    22: "certificate chain too long",
    23: "certificate revoked",
    25: "path length constraint exceeded",
    26: "unsuitable certificate purpose",
    27: "certificate not trusted",
    28: "certificate rejected",
    34: "unhandled critical extension",
    47: "permitted subtree violation",
    48: "excluded subtree violation",
    66: "EE certificate key too weak",
    67: "CA certificate key too weak",
    68: "CA signature digest algorithm too weak",
    79: "invalid CA certificate",
}

_REMEDIES = {
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

_NO_CLIENT_CERTIFICATE = (
    "The server requires a client certificate: set tls_client_cert and tls_client_key (sslcert, sslkey). A certificate "
    "that is set is presented unless tls_client_cert_mode (sslcertmode) is DISABLE."
)
#: The alerts about a client certificate (RFC 8446 §6.2), and what to do.
_CLIENT_CERTIFICATE_ALERTS = {
    "CERTIFICATE_REQUIRED": _NO_CLIENT_CERTIFICATE,
    "ALERT_NO_CERTIFICATE": _NO_CLIENT_CERTIFICATE,
    "ALERT_UNKNOWN_CA": "The server does not trust the CA that signed the client certificate: add the CA certificate "
    "to the server's ssl_ca_file, or present a certificate of a CA that it contains. Intermediate certificates belong "
    "into tls_client_cert (sslcert), after the client's.",
    "ALERT_BAD_CERTIFICATE": "The server could not verify the client certificate: it is damaged, not yet valid, or its "
    "signature is wrong. The server's log has the reason.",
    "ALERT_UNSUPPORTED_CERTIFICATE": "The client certificate is not for TLS clients (extended key usage clientAuth), "
    "or the server does not support its key or signature.",
    "ALERT_CERTIFICATE_REVOKED": "The client certificate has been revoked (the server's ssl_crl_file or ssl_crl_dir "
    "contains it): present a new one.",
    "ALERT_CERTIFICATE_EXPIRED": "The client certificate, or a CA certificate above it, has expired: present a new "
    "one. The server's revocation list (ssl_crl_file) may have expired too; check the server's clock.",
    "ALERT_CERTIFICATE_UNKNOWN": "The server rejected the client certificate without a reason: its log has the reason.",
}
_VERSION_REASONS = (
    "UNSUPPORTED_PROTOCOL",
    "ALERT_PROTOCOL_VERSION",
    "WRONG_SSL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "VERSION_TOO_LOW",
)
_NOT_TLS_REASONS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


def certificate_error(code: int, text: str) -> CertificateError:
    """Return the error for a certificate that OpenSSL rejected.

    Args:
        code: The X.509 verification code.
        text: OpenSSL's text for it, used where there is none here.
    """
    reason = _REASONS.get(code, "invalid")
    return CertificateError(
        f"SSL error: certificate verify failed: {_TEXTS.get(code, text)}", reason=reason, remedy=_REMEDIES.get(reason)
    )


def missing_certificate_error() -> CertificateError:
    """The error for a server without a certificate (anonymous cipher suites)."""
    return CertificateError("the server presented no certificate", reason="missing")


def ssl_error(reason: str, text: str, *, after_certificate: bool = False) -> TlsError:
    """Return the error for anything else that libssl complains of.

    Args:
        reason: The reason string in OpenSSL's macro spelling (``TLSV1_ALERT_UNKNOWN_CA``), perhaps empty.
        text: The text to show where the reason is empty.
        after_certificate: The handshake was not finished, and the server had presented its certificate.
    """
    reason = reason.upper().replace(" ", "_")
    # RFC 5246 §7.4.6: so a server ends the handshake with a client that has no certificate. TLS 1.3 has its own alert.
    if after_certificate and "ALERT_HANDSHAKE_FAILURE" in reason:
        return _client_certificate_error(reason, _NO_CLIENT_CERTIFICATE)
    for alert, remedy in _CLIENT_CERTIFICATE_ALERTS.items():
        if alert in reason:
            return _client_certificate_error(reason, remedy)
    if any(version in reason for version in _VERSION_REASONS):
        return TlsError(
            "SSL error: no TLS version in common with the server",
            remedy="Compare tls_min_version and tls_max_version with the server's ssl_min_protocol_version.",
        )
    if any(mark in reason for mark in _NOT_TLS_REASONS):
        return TlsError("SSL error: the server does not speak TLS", remedy="Is this the port of a PostgreSQL server?")
    if "ALERT_NO_APPLICATION_PROTOCOL" in reason:
        return TlsError(
            "SSL error: the server refuses the ALPN protocol", remedy="This is the port of another service."
        )
    if "EXCESSIVE_MESSAGE_SIZE" in reason:
        return TlsError(
            "SSL error: excessive message size",
            remedy="OpenSSL accepts 100 KiB of certificates. The server should send its own certificate and the "
            "intermediates above it, and no others.",
        )
    if "_ALERT_" in reason:
        error = TlsError(f"SSL error: the server ended the handshake with an alert ({_words(reason)})")
        error.alert = _words(reason).replace(" ", "_")
        return error
    return TlsError(f"SSL error: {_words(reason) or text}")


def _client_certificate_error(reason: str, remedy: str) -> ClientCertificateError:
    return ClientCertificateError(
        f"SSL error: the server did not accept the client certificate ({_words(reason)})", remedy=remedy
    )


def no_name_error() -> ConfigError:
    """The error for verifying a name where there is none."""
    return ConfigError("there is no host name to verify the server's certificate with")


def unfinished_error() -> TlsError:
    """The error for reading or writing before the handshake has succeeded."""
    return TlsError("the TLS handshake is not finished")


def eof_error() -> TlsError:
    """The error for a server that hangs up in the middle of the handshake."""
    return TlsError(
        "server closed the connection unexpectedly during the TLS handshake", remedy="The server's log has the reason."
    )


def _words(reason: str) -> str:
    """An alert's name (versions of OpenSSL differ in what they write before it), or the whole reason."""
    return reason.rpartition("ALERT_")[2].lower().replace("_", " ")
