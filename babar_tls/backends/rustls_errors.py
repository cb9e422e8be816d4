"""Map the errors of rustls: faults of certificates to OpenSSL's codes, alerts to their names.

The texts of rustls are names of Rust errors (``Other(OtherError(UnsupportedCertVersion))``), which do not help a user.
Every error that a server or a client certificate can cause has a text here, or a code of OpenSSL with a text in
`openssl_errors`. rustls does not report which certificate of a chain is at fault.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import CertificateError, ConfigError, TlsError
from ..tls.alerts import alert_error, alert_name, alert_named_in
from ..tls.errors import damaged_error
from ..x509.der import DerError
from ..x509.signature_algorithm import algorithm_identifier
from .openssl_errors import certificate_error, ssl_error

if TYPE_CHECKING:
    from ..tls.client_identity import Identity


SIGNATURE_FAILURE, NOT_YET_VALID, EXPIRED, UNTRUSTED, CHAIN_TOO_LONG, PATH_LENGTH, PURPOSE = 7, 9, 10, 20, 22, 25, 26
CRITICAL_EXTENSION, PERMITTED, WEAK_DIGEST, INVALID_CA = 34, 47, 68, 79

_OTHER = "tls_backend='stdlib' or 'openssl'"
_CHAIN = "the server's certificate, or one of a CA in its chain,"

#: Parts of the texts of rustls, and OpenSSL's codes with the same meaning.
_CODES = {
    **dict.fromkeys(("certificate expired", "Expired", "InvalidCertValidity"), EXPIRED),
    **dict.fromkeys(("certificate not valid yet", "NotValidYet"), NOT_YET_VALID),
    "UnknownIssuer": UNTRUSTED,
    **dict.fromkeys(("BadSignature", "InvalidSignatureForPublicKey"), SIGNATURE_FAILURE),
    **dict.fromkeys(("extended key usage", "InvalidPurpose", "RequiredEkuNotFound", "EmptyEkuExtension"), PURPOSE),
    "CriticalExtension": CRITICAL_EXTENSION,
    "NameConstraintViolation": PERMITTED,
    "PathLenConstraintViolated": PATH_LENGTH,
    "MaximumPathDepthExceeded": CHAIN_TOO_LONG,
    "EndEntityUsedAsCa": INVALID_CA,
}

#: Remedies for codes with which rustls rejects certificates that OpenSSL accepts.
_REMEDIES = {
    SIGNATURE_FAILURE: "A signature in the chain is wrong, or it was made with an RSA key of less than 2048 bits, "
    f"which rustls does not support. {_OTHER} reports which of these is the cause.",
    CHAIN_TOO_LONG: f"rustls accepts six intermediate certificates, {_OTHER} a hundred.",
    CRITICAL_EXTENSION: "A certificate of the chain has a critical extension that rustls does not support. "
    f"{_OTHER} supports more of them, such as certificate policies.",
    PERMITTED: "A CA in the chain may not sign for a name of the certificate (name constraints). rustls also rejects "
    f"every chain with constraints of directory names, which {_OTHER} supports.",
}


_DAMAGED = (
    f"{_CHAIN} is damaged, or its encoding is not DER",
    f"Issue a new certificate. {_OTHER} accepts some encodings that rustls rejects (BER).",
)
_MALFORMED = (
    f"{_CHAIN} has a duplicate or malformed extension",
    f"Issue a new certificate. {_OTHER} may accept this one.",
)
#: Parts of the texts of rustls for faults without a code of OpenSSL, and their texts and remedies here.
_OWN = {
    "CaUsedAsEndEntity": (
        "the server's certificate is a CA certificate (CA:TRUE), which rustls does not accept from a server",
        "The server needs a certificate without CA:TRUE (openssl req -x509 sets it; "
        f"-addext basicConstraints=critical,CA:FALSE does not). {_OTHER} accepts this one.",
    ),
    "UnsupportedCertVersion": (
        f"{_CHAIN} has X.509 version 1 or 2, which rustls does not accept",
        f"Issue a certificate of version 3 (with extensions, such as subjectAltName). {_OTHER} accepts this one; a "
        "certificate of version 1 has only a common name, which needs tls_common_name.",
    ),
    **dict.fromkeys(("BadEncoding", "BadDer", "TrailingData"), _DAMAGED),
    "SignatureAlgorithmMismatch": (
        f"{_CHAIN} names two different signature algorithms",
        "Issue a new certificate.",
    ),
    **dict.fromkeys(("ExtensionValueInvalid", "MalformedExtensions", "MalformedNameConstraint"), _MALFORMED),
    **dict.fromkeys(("InvalidNetworkMaskConstraint", "MalformedDnsIdentifier"), _MALFORMED),
    **dict.fromkeys(("InvalidSerialNumber", "UnsupportedNameType"), _MALFORMED),
    "Exceeded": (
        "the server's certificate chain is too expensive to verify",
        "The server should send its own certificate and the intermediates above it, and no others.",
    ),
}

_SIGNATURE_ALGORITHM = re.compile(r"UnsupportedSignatureAlgorithm.*?signature_algorithm_id: \[([0-9, ]+)\]")
_PSS, _EMPTY = "1.2.840.113549.1.1.10", b"\x30\x00"  # empty parameters mean SHA-1 (RFC 4055 §3.1)
_SHA3 = ("SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512")
#: MD2, MD5 and SHA-1 with RSA; SHA-1 with DSA and ECDSA.
_WEAK = {
    "1.2.840.113549.1.1.2",
    "1.2.840.113549.1.1.4",
    "1.2.840.113549.1.1.5",
    "1.2.840.10040.4.3",
    "1.2.840.10045.4.1",
}
#: Signature algorithms that rustls does not support.
_NAMES = {
    _PSS: "RSASSA-PSS (by an RSASSA-PSS key, or with a salt that is not as long as the hash)",
    "1.3.101.113": "Ed448",
    "1.2.840.113549.1.1.14": "RSA and SHA-224",
    "1.2.840.10045.4.3.1": "ECDSA and SHA-224",
    **{f"2.16.840.1.101.3.4.3.{9 + i}": f"ECDSA and {name}" for i, name in enumerate(_SHA3)},
    **{f"2.16.840.1.101.3.4.3.{13 + i}": f"RSA and {name}" for i, name in enumerate(_SHA3)},
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}

_WRAPPED = re.compile(r"Other\(OtherError\((.*)\)\)")
_ALERT = re.compile(r"received fatal alert: (?:the peer )?(\w+)(?:\((0x[0-9a-f]+)\))?", re.IGNORECASE)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_VERSION = ("ServerDoesNotSupportTls12Or13", "ServerTlsVersionIsDisabledByOurConfig", "protocol version")
_NOT_TLS = ("InvalidContentType", "UnknownProtocolVersion", "MessageTooLarge", "InvalidEmptyPayload")
_NOT_AUTHENTIC = ("cannot decrypt", "DecryptError")
_OVERSIZED = "peer sent oversized message"
_TOO_LARGE = ("HandshakePayloadTooLarge", "CertificatePayloadTooLarge")
#: Prefixes of the texts of rustls, which an identifier follows, and their meanings.
_BEGINNINGS = {
    "received corrupt message of type ": "the server sent a malformed TLS message",
    "peer misbehaved: ": "the server violated the TLS protocol",
    "peer is incompatible: ": "the server and rustls have no TLS parameters in common",
}
_NO_ALGORITHM_REMEDY = (
    "rustls does not support RSASSA-PSS, Ed448 and DSA keys. In TLS 1.2 it does not support P-521 keys, and supports "
    f"only the ECDHE cipher suites with GCM or ChaCha20. If the server requires others, use {_OTHER}. See the server's "
    "log for the reason."
)
_KEY_REMEDY = (
    "rustls supports RSA keys of 2048 to 8192 bits and keys of P-256, P-384, P-521 and Ed25519. For other keys "
    f"(RSASSA-PSS, Ed448) use {_OTHER}."
)


def rejected_certificate(text: str) -> CertificateError:
    """Return the error for a certificate that rustls rejected."""
    algorithm = _SIGNATURE_ALGORITHM.search(text)
    if algorithm is not None:
        return _unsupported_signature(bytes(map(int, algorithm[1].split(","))))
    for mark, code in _CODES.items():
        if mark in text:
            error = certificate_error(code, text)
            error.remedy = _REMEDIES.get(code, error.remedy)
            return error
    for mark, (meaning, remedy) in _OWN.items():
        if mark in text:
            return _failed(meaning, remedy)
    detail = _WRAPPED.sub(r"\1", text.removeprefix("invalid peer certificate: "))
    return _failed(detail, f"The server's certificate cannot be used with rustls. Try {_OTHER}.")


def rejected_identity(text: str, identity: Identity) -> ConfigError:
    """Return the error for a client certificate or key that rustls did not load."""
    if "KeyMismatch" in text:
        return identity.unusable("key values mismatch")
    if "invalid peer certificate" in text:  # rustls uses this text for the client certificate too
        fault = rejected_certificate(text)
        why = fault.message.removeprefix("SSL error: certificate verify failed: ").replace(
            _CHAIN, "it, or a certificate after it,"
        )
        return ConfigError(
            f'could not read certificate file "{identity.certificate_name}": rustls does not accept it: {why}',
            remedy=fault.remedy,
        )
    error = identity.unusable("")
    error.remedy = _KEY_REMEDY
    return error


def rustls_error(text: str, *, established: bool) -> TlsError:
    """Return the error for any other error of rustls.

    Args:
        text: The text of rustls.
        established: The handshake was complete.
    """
    alert = _ALERT.search(text)
    if alert is not None:
        name = alert_name(int(alert[2], 16)) if alert[2] else alert_named_in(f"TLS_ALERT_{_WORDS.sub('_', alert[1])}")
        error = alert_error(name or alert[1], established=established)
        if error.alert == "handshake_failure":
            error.remedy = _NO_ALGORITHM_REMEDY
        return error
    if any(mark in text for mark in _NO_VERSION):
        return ssl_error("UNSUPPORTED_PROTOCOL", established=established)
    if any(mark in text for mark in _TOO_LARGE):
        return TlsError(
            "SSL error: the server sent a handshake message of more than 64 KiB, which rustls does not accept. "
            "The message is probably its certificate chain",
            remedy="The server should send its own certificate and the intermediates above it, and no others. "
            f"{_OTHER} accepts 100 KiB.",
        )
    if any(mark in text for mark in _NOT_AUTHENTIC):
        return damaged_error(f"bad record mac: {text}", is_bad_mac=True)
    if established or any(mark in text for mark in (*_NOT_TLS, _OVERSIZED)):
        return damaged_error(text)
    for beginning, meaning in _BEGINNINGS.items():
        if text.startswith(beginning):
            remedy = _NO_ALGORITHM_REMEDY if "incompatible" in beginning else None
            return TlsError(f"SSL error: {meaning} ({_in_words(text.removeprefix(beginning))})", remedy=remedy)
    return TlsError(f"SSL error: {text}")


def _unsupported_signature(identifier: bytes) -> CertificateError:
    """Return the error for the content of an AlgorithmIdentifier (RFC 5280 §4.1.1.2)."""
    try:
        oid, parameters = algorithm_identifier(identifier)
    except DerError:
        oid, parameters = "", None
    if oid in _WEAK or (oid == _PSS and parameters in (None, _EMPTY)):
        return certificate_error(WEAK_DIGEST, "")
    return _failed(
        f"rustls cannot verify signatures of the algorithm {_NAMES.get(oid, oid or identifier.hex())}",
        f"A certificate of the chain was signed with it. Use {_OTHER}, or issue the certificate with SHA-256, "
        "SHA-384 or SHA-512 and a CA key that is RSA (not RSASSA-PSS), ECDSA or Ed25519.",
    )


def _failed(text: str, remedy: str) -> CertificateError:
    return CertificateError(f"SSL error: certificate verify failed: {text}", reason="invalid", remedy=remedy)


def _in_words(identifier: str) -> str:
    """Convert the name of a Rust error to words: ``MissingData("x")`` becomes ``missing data: x``."""
    name, _, detail = identifier.partition("(")
    words = _WORDS.sub(" ", name).lower()
    detail = detail.rstrip(")").strip('"')
    return f"{words}: {detail}" if detail else words
