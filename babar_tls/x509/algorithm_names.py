"""Name the public key and the signature algorithm of a certificate, for people. Nothing is decided by these names."""

from __future__ import annotations

from .certificate import public_key_info
from .der import DerError, elements, only_element
from .signature_algorithm import algorithm_identifier, signature_algorithm

_SEQUENCE, _INTEGER, _OID = 0x30, 0x02, 0x06

#: Kinds of public keys by OID (RFC 3279 §2.3, RFC 4055 §1.2, RFC 8410 §3, RFC 9881 §2).
_KEYS = {
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.10045.2.1": "EC",
    "1.2.840.10040.4.1": "DSA",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}
#: Named curves by OID (RFC 5480 §2.1.1.1, RFC 5639 §4.1).
_CURVES = {
    "1.2.840.10045.3.1.1": "P-192",
    "1.3.132.0.33": "P-224",
    "1.2.840.10045.3.1.7": "P-256",
    "1.3.132.0.34": "P-384",
    "1.3.132.0.35": "P-521",
    "1.3.132.0.10": "secp256k1",
    "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1",
    "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
    "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
}
_HASHES = ("SHA-224", "SHA-256", "SHA-384", "SHA-512")
_SHA3 = ("SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512")
#: Signature algorithms by OID (RFC 3279 §2.2, RFC 8017 §A.2.4, RFC 5758 §3, RFC 8410 §3).
_SIGNATURES = {
    **_KEYS,
    "1.2.840.113549.1.1.2": "RSA with MD2",
    "1.2.840.113549.1.1.4": "RSA with MD5",
    "1.2.840.113549.1.1.5": "RSA with SHA-1",
    "1.2.840.113549.1.1.11": "RSA with SHA-256",
    "1.2.840.113549.1.1.12": "RSA with SHA-384",
    "1.2.840.113549.1.1.13": "RSA with SHA-512",
    "1.2.840.113549.1.1.14": "RSA with SHA-224",
    "1.2.840.10045.4.1": "ECDSA with SHA-1",
    "1.2.840.10040.4.3": "DSA with SHA-1",
    **{f"1.2.840.10045.4.3.{number}": f"ECDSA with {name}" for number, name in enumerate(_HASHES, 1)},
    **{f"2.16.840.1.101.3.4.3.{number}": f"DSA with {name}" for number, name in enumerate(_HASHES, 1)},
    **{f"2.16.840.1.101.3.4.3.{number}": f"ECDSA with {name}" for number, name in enumerate(_SHA3, 9)},
    **{f"2.16.840.1.101.3.4.3.{number}": f"RSA with {name}" for number, name in enumerate(_SHA3, 13)},
}
_UNREADABLE = "unreadable"


def key_name(der: bytes) -> str:
    """Return the kind of the public key of a certificate with its size or curve: ``RSA 2048``, ``EC P-256``.

    A key of unknown kind is named by its OID. The result for a damaged certificate is ``unreadable``.
    """
    try:
        parts = tuple(elements(only_element(public_key_info(der)).content))
        algorithm = algorithm_identifier(parts[0].content)
        kind = _KEYS.get(algorithm.oid, algorithm.oid)
        if kind in ("RSA", "RSASSA-PSS"):
            return f"{kind} {_first_integer(parts[1].content[1:]).bit_length()}"
        if kind == "DSA" and algorithm.parameters is not None:
            return f"DSA {_first_integer(algorithm.parameters).bit_length()}"
        if kind == "EC" and algorithm.parameters is not None:
            curve = only_element(algorithm.parameters)
            if curve.tag != _OID:
                return "EC (explicit curve)"
            oid = algorithm_identifier(curve.encoded).oid
            return f"EC {_CURVES.get(oid, oid)}"
    except DerError:
        return _UNREADABLE
    return kind


def signature_name(der: bytes) -> str:
    """Return the name of the signature algorithm of a certificate: ``RSA with SHA-256``.

    An unknown algorithm is named by its OID. The result for a damaged certificate is ``unreadable``.
    """
    try:
        oid = signature_algorithm(der).oid
    except DerError:
        return _UNREADABLE
    return _SIGNATURES.get(oid, oid)


def _first_integer(data: bytes) -> int:
    """Return the first INTEGER of a SEQUENCE."""
    sequence = only_element(data)
    fields = tuple(elements(sequence.content))
    if sequence.tag != _SEQUENCE or not fields or fields[0].tag != _INTEGER:
        raise DerError("malformed public key")
    return int.from_bytes(fields[0].content, "big")
