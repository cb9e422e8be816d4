"""Map the errors of OpenSSL, for the backends stdlib and openssl.

X.509 verification codes (``x509_vfy.h``) are mapped to the reasons of `CertificateError`. The reasons of libssl's
errors are mapped to texts and remedies. Both backends therefore raise the same error for the same fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CertificateError, TlsError
from ..tls.alerts import alert_error, alert_named_in
from ..tls.errors import chain_error, damaged_error

if TYPE_CHECKING:
    from collections.abc import Sequence

_REASONS = {
    9: "not-yet-valid",
    10: "expired",
    **dict.fromkeys((3, 5, 8, 11, 12, 15, 16, 33, 35, 36, 44, 54), "crl"),
    18: "self-signed",
    # 19 is a self-signed certificate at the end of the chain, that is, a root that is not trusted.
    **dict.fromkeys((2, 19, 20, 21, 27), "untrusted"),
    23: "revoked",
    26: "purpose",
    **dict.fromkeys((66, 67, 68), "weak"),
}

#: The texts of OpenSSL 3. The backends use different copies of OpenSSL, whose texts differ.
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
    4: "unable to decrypt certificate's signature",
    6: "unable to decode issuer public key",
    13: "format error in certificate's notBefore field",
    14: "format error in certificate's notAfter field",
    24: "issuer certificate doesn't have a public key",
    32: "key usage does not include certificate signing",
    34: "unhandled critical extension",
    37: "invalid non-CA certificate (has CA markings)",
    40: "proxy certificates not allowed",
    41: "invalid or inconsistent certificate extension",
    42: "invalid or inconsistent certificate policy extension",
    43: "no explicit policy",
    45: "unsupported extension feature",
    47: "permitted subtree violation",
    48: "excluded subtree violation",
    49: "name constraints minimum and maximum not supported",
    51: "unsupported name constraint type",
    52: "unsupported or invalid name constraint syntax",
    53: "unsupported or invalid name syntax",
    55: "path loop",
    66: "EE certificate key too weak",
    67: "CA certificate key too weak",
    68: "CA signature digest algorithm too weak",
    76: "cannot find certificate signature algorithm",
    77: "subject signature algorithm and issuer public key algorithm mismatch",
    78: "cert info signature and signature algorithm mismatch",
    79: "invalid CA certificate",
}

_VERSION_REASONS = (
    "UNSUPPORTED_PROTOCOL",
    "WRONG_SSL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "VERSION_TOO_LOW",
)
#: OpenSSL 3.2 and later add this reason after the specific one. Python's ssl exposes only the last reason.
_ANY_RECORD_REASON = "RECORD_LAYER_FAILURE"
#: Reasons of the record layer for records that were changed in transit.
_RECORD_REASONS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "ENCRYPTED_LENGTH_TOO_LONG",
    "DATA_LENGTH_TOO_LONG",
    _ANY_RECORD_REASON,
    "RECORD_TOO_SMALL",
    "LENGTH_TOO_SHORT",
    "BAD_RECORD_TYPE",
    "BAD_RECORD_MAC",
    "DECRYPTION_FAILED",
    "DIGEST_CHECK_FAILED",
)
#: Those of them for records that failed authentication.
_MAC_REASONS = ("BAD_RECORD_MAC", "DECRYPTION_FAILED", "DIGEST_CHECK_FAILED")


def certificate_error(code: int, text: str) -> CertificateError:
    """Return the error for a certificate that OpenSSL rejected.

    Args:
        code: The X.509 verification code.
        text: OpenSSL's text, for codes that are not in the table.
    """
    return chain_error(_REASONS.get(code, "invalid"), _TEXTS.get(code, text))


def unusable_certificate_error() -> CertificateError:
    """Return the error for a server's certificate that cannot be processed."""
    return CertificateError(
        "SSL error: certificate verify failed: the certificate cannot be processed",
        reason="invalid",
        remedy="The server needs a different certificate.",
    )


def specific_reason(reasons: Sequence[str]) -> str:
    """Return the reason that names the fault, from the texts in OpenSSL's error queue; empty if the queue is empty."""
    is_general = len(reasons) > 1 and reasons[-1].upper().replace(" ", "_") == _ANY_RECORD_REASON
    return reasons[-2 if is_general else -1] if reasons else ""


def ssl_error(reason: str, *, established: bool) -> TlsError:
    """Return the error for any other error of libssl.

    Args:
        reason: OpenSSL's reason as a macro (``TLSV1_ALERT_UNKNOWN_CA``) or as text, possibly empty.
        established: The handshake was complete.
    """
    reason = reason.upper().replace(" ", "_")
    name = alert_named_in(reason)
    if name is not None:
        return alert_error(name, established=established)
    if any(version in reason for version in _VERSION_REASONS):
        return TlsError(
            "SSL error: no TLS version in common with the server",
            remedy="Compare tls_min_version and tls_max_version with the server's ssl_min_protocol_version.",
        )
    if not reason:
        return TlsError(
            "SSL error: the connection has failed for a reason that OpenSSL does not name",
            remedy="An alert that this OpenSSL version does not support may be the cause. See the server's log.",
        )
    if "ASN1" in reason and not established:
        return unusable_certificate_error()
    if "EXCESSIVE_MESSAGE_SIZE" in reason:
        return TlsError(
            "SSL error: excessive message size",
            remedy="OpenSSL accepts 100 KiB of certificates. The server should send its own certificate and the "
            "intermediates above it, and no others.",
        )
    words = reason.lower().replace("_", " ")
    if any(mark in reason for mark in _MAC_REASONS):
        return damaged_error(words, is_bad_mac=True)
    if _ANY_RECORD_REASON in reason:
        return damaged_error(f"{words}, for example a bad record mac")
    if established or any(mark in reason for mark in _RECORD_REASONS):
        return damaged_error(words)
    return TlsError(f"SSL error: {words}")
