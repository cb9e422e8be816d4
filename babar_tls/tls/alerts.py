"""TLS alerts (RFC 8446 §6) by number and by name, and the errors for them.

TLS libraries spell the names differently, and some names are missing in them. Errors use IANA's names.
"""

from __future__ import annotations

import re

from ..errors import ClientCertificateError, TlsError

# Unencrypted records of fatal alerts (RFC 8446 §6).
BAD_CERTIFICATE_RECORD = bytes.fromhex("15 03 03 00 02 02 2a")
UNEXPECTED_MESSAGE_RECORD = bytes.fromhex("15 03 03 00 02 02 0a")

_NAMES = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    52: "too_many_cids_requested",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    117: "general_error",
    120: "no_application_protocol",
    121: "ech_required",
}
_KNOWN = frozenset(_NAMES.values())
#: Spellings of OpenSSL and of rustls.
_ALIASES = {
    "user_cancelled": "user_canceled",
    "unrecognised_name": "unrecognized_name",
    "unknown_pskidentity": "unknown_psk_identity",
    "encrypted_client_hello_required": "ech_required",
}
#: Prefixes of OpenSSL's reasons for alerts. Not all contain ALERT (TLSV1_UNRECOGNIZED_NAME).
_PREFIX = re.compile(r"(?:ssl/tls|sslv3|tlsv1|tlsv13|tls)_(?:alert_)?")

_NO_CLIENT_CERTIFICATE = (
    "The server requires a client certificate: set tls_client_cert and tls_client_key (sslcert, sslkey). A certificate "
    "that is set is presented unless tls_client_cert_mode (sslcertmode) is DISABLE."
)
#: The alerts about a client certificate (RFC 8446 §6.2), and their remedies.
_CLIENT_CERTIFICATE = {
    "certificate_required": _NO_CLIENT_CERTIFICATE,
    "no_certificate": _NO_CLIENT_CERTIFICATE,
    "unknown_ca": "The server does not trust the CA that signed the client certificate: add the CA certificate to the "
    "server's ssl_ca_file, or use a certificate from a CA in that file. Intermediate certificates must follow the "
    "client certificate in tls_client_cert (sslcert).",
    "bad_certificate": "The server could not verify the client certificate: it is damaged or not yet valid, or its "
    "signature is invalid. See the server's log for the reason.",
    "unsupported_certificate": "The client certificate is not for TLS clients (extended key usage clientAuth), or the "
    "server does not support its key or signature.",
    "certificate_revoked": "The client certificate has been revoked (it is listed in the server's ssl_crl_file or "
    "ssl_crl_dir). Use a new client certificate.",
    "certificate_expired": "The client certificate, or a CA certificate above it, has expired. Use a new client "
    "certificate. The server's revocation list (ssl_crl_file) may also have expired. Check the server's clock.",
    "certificate_unknown": "The server rejected the client certificate and sent no reason. See the server's log.",
}


def alert_name(number: int) -> str:
    """Return the name of an alert, or its number as text if it has no name."""
    return _NAMES.get(number, str(number))


def alert_named_in(reason: str) -> str | None:
    """Return the name of the alert that OpenSSL received, or None if the reason is not an alert.

    Args:
        reason: OpenSSL's reason, as a macro (``SSLV3_ALERT_HANDSHAKE_FAILURE``) or as text.
    """
    words = reason.lower().replace(" ", "_")
    found = _PREFIX.match(words)
    if found is None:
        return None
    name = words[found.end() :]
    name = _ALIASES.get(name, name)
    return name if name in _KNOWN or "alert_" in found[0] else None


def alert_error(name: str, *, established: bool = False, after_certificate: bool = False) -> TlsError:
    """Return the error for an alert from the server.

    Args:
        name: From `alert_name` or `alert_named_in`.
        established: The handshake was complete.
        after_certificate: The handshake was not complete, and the server had sent its certificate.
    """
    error = _error(name, established=established, after_certificate=after_certificate)
    error.alert = name
    return error


def _error(name: str, *, established: bool, after_certificate: bool) -> TlsError:
    words = f"alert {name}" if name.isdigit() else name.replace("_", " ")
    # RFC 5246 §7.4.6: handshake_failure if the client has no certificate. TLS 1.3 has certificate_required for this.
    if name in _CLIENT_CERTIFICATE or (after_certificate and name == "handshake_failure"):
        return ClientCertificateError(
            f"SSL error: the server did not accept the client certificate ({words})",
            remedy=_CLIENT_CERTIFICATE.get(name, _NO_CLIENT_CERTIFICATE),
        )
    if name == "protocol_version":
        return TlsError(
            "SSL error: no TLS version in common with the server",
            remedy=f"The server sent the alert {words}: compare tls_min_version and tls_max_version with its "
            "ssl_min_protocol_version.",
        )
    if name == "no_application_protocol":
        return TlsError(
            f"SSL error: the server does not accept the ALPN protocol 'postgresql' (alert {words})",
            remedy="PostgreSQL never sends this alert. A proxy such as Traefik or Caddy may send it: add 'postgresql' "
            "to the ALPN protocols that the proxy accepts, or connect to PostgreSQL directly. Otherwise another "
            "service uses this port.",
        )
    what = "connection" if established else "handshake"
    return TlsError(f"SSL error: the server ended the {what} with an alert ({words})")
