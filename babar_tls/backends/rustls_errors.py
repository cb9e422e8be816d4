"""What rustls says, in our words: its verdicts on certificates as OpenSSL's codes, its alerts as OpenSSL's names.

rustls's texts are Rust's names of errors. The tables of `openssl_errors` then say what a fault is called here, so that
the same fault is the same error whichever engine met it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import CertificateError, TlsError
from ..protocol.certificate import DerError, algorithm_identifier
from .openssl_errors import certificate_error, ssl_error

__all__ = ["EXPIRED", "NOT_YET_VALID", "rejected_certificate", "rustls_error"]

SIGNATURE_FAILURE, NOT_YET_VALID, EXPIRED, UNTRUSTED, PATH_LENGTH, PURPOSE = 7, 9, 10, 20, 25, 26
CRITICAL_EXTENSION, PERMITTED, EXCLUDED, WEAK_DIGEST, INVALID_CA = 34, 47, 48, 68, 79

#: What a text has in it, and the code of OpenSSL that means the same.
_CODES = {
    "certificate expired": EXPIRED,
    "certificate not valid yet": NOT_YET_VALID,
    "UnknownIssuer": UNTRUSTED,
    "BadSignature": SIGNATURE_FAILURE,
    "extended key usage": PURPOSE,
    "InvalidPurpose": PURPOSE,
    "UnhandledCriticalExtension": CRITICAL_EXTENSION,
    "UnsupportedCriticalExtension": CRITICAL_EXTENSION,
    "NameConstraintViolation": PERMITTED,
    "PathLenConstraintViolated": PATH_LENGTH,
    "EndEntityUsedAsCa": INVALID_CA,
}

_SIGNATURE_ALGORITHM = re.compile(r"UnsupportedSignatureAlgorithm.*?signature_algorithm_id: \[([0-9, ]+)\]")
#: MD2, MD5 and SHA-1 with RSA; SHA-1 with DSA and ECDSA.
_WEAK = {
    "1.2.840.113549.1.1.2",
    "1.2.840.113549.1.1.4",
    "1.2.840.113549.1.1.5",
    "1.2.840.10040.4.3",
    "1.2.840.10045.4.1",
}
_PSS, _EMPTY = "1.2.840.113549.1.1.10", b"\x30\x00"  # the empty parameters of which mean SHA-1 (RFC 4055 §3.1)

_ALERT = re.compile(r"received fatal alert: (?:the peer )?(\w+)")
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NO_VERSION = ("ServerDoesNotSupportTls12Or13", "ServerTlsVersionIsDisabledByOurConfig", "protocol version")
_NOT_TLS = ("InvalidContentType", "UnknownProtocolVersion", "MessageTooLarge", "InvalidEmptyPayload")


class _Verdict(NamedTuple):
    """A fault for which OpenSSL has no code: its text, its reason and what to do."""

    text: str
    reason: str
    remedy: str


_OWN = {
    "CaUsedAsEndEntity": _Verdict(
        "the server's certificate is an authority's (CA:TRUE), which rustls does not accept of a server",
        "invalid",
        "The server needs a certificate without CA:TRUE (openssl req -x509 sets it; "
        "-addext basicConstraints=critical,CA:FALSE does not); or choose another tls_backend.",
    ),
}


def rejected_certificate(text: str) -> CertificateError:
    """The error for a certificate that rustls rejected."""
    for mark, verdict in _OWN.items():
        if mark in text:
            return _failed(verdict)
    algorithm = _SIGNATURE_ALGORITHM.search(text)
    if algorithm is not None:
        return _unsupported_signature(bytes(map(int, algorithm[1].split(","))))
    for mark, code in _CODES.items():
        if mark in text:
            return certificate_error(code, text)
    detail = text.removeprefix("invalid peer certificate: ")
    return _failed(_Verdict(detail, "invalid", "The server's certificate cannot be used with rustls."))


def rustls_error(text: str, *, first: bool, after_certificate: bool) -> TlsError:
    """The error for anything else that rustls complains of.

    Args:
        text: Its own.
        first: Nothing has come from the server that was TLS.
        after_certificate: The handshake was not finished, and the server had presented its certificate.
    """
    alert = _ALERT.search(text)
    if alert is not None:
        return ssl_error(f"TLS_ALERT_{_WORDS.sub('_', alert[1])}", text, after_certificate=after_certificate)
    if any(mark in text for mark in _NO_VERSION):
        return ssl_error("UNSUPPORTED_PROTOCOL", text)
    if first and any(mark in text for mark in _NOT_TLS):
        return ssl_error("WRONG_VERSION_NUMBER", text)
    return TlsError(f"SSL error: {text}")


def _unsupported_signature(identifier: bytes) -> CertificateError:
    """RFC 5280 §4.1.1.2: rustls names the algorithm by the inside of its AlgorithmIdentifier."""
    try:
        oid, parameters = algorithm_identifier(identifier)
    except DerError:
        oid, parameters = "", None
    if oid in _WEAK or (oid == _PSS and parameters in (None, _EMPTY)):
        return certificate_error(WEAK_DIGEST, "")
    return _failed(
        _Verdict(
            f"rustls cannot verify signatures of the algorithm {oid or identifier.hex()}",
            "invalid",
            "The certificate or an authority's was signed with it: choose another tls_backend, or have it signed with "
            "SHA-256, SHA-384 or SHA-512.",
        )
    )


def _failed(verdict: _Verdict) -> CertificateError:
    return CertificateError(
        f"SSL error: certificate verify failed: {verdict.text}", reason=verdict.reason, remedy=verdict.remedy
    )
