"""Read how a certificate was signed, from which the hash of its channel binding follows (RFC 5929 §4.1).

This is read as DER, exactly as the C helper reads it (see `der`).
"""

from __future__ import annotations

from typing import NamedTuple

from .certificate import split_certificate
from .der import DerError, elements

_OID = 0x06


class SignatureAlgorithm(NamedTuple):
    """The certificate's outer signatureAlgorithm (RFC 5280 §4.1.1.2): OID, and its parameters as DER if it has any."""

    oid: str
    parameters: bytes | None


def signature_algorithm(der: bytes) -> SignatureAlgorithm:
    """Read the outer signatureAlgorithm.

    Raises:
        DerError: `der` is not a certificate, or its outline is not DER.
    """
    _tbs, algorithm, _signature = split_certificate(der, strict=True)
    return algorithm_identifier(algorithm.content)


def algorithm_identifier(content: bytes) -> SignatureAlgorithm:
    """Read the inside of an AlgorithmIdentifier (RFC 5280 §4.1.1.2).

    Raises:
        DerError: It is malformed.
    """
    parts = list(elements(content, strict=True))
    if not 1 <= len(parts) <= 2 or parts[0].tag != _OID:
        raise DerError("malformed AlgorithmIdentifier")
    return SignatureAlgorithm(_oid(parts[0].content), parts[1].encoded if len(parts) == 2 else None)


def _oid(content: bytes) -> str:
    """Return an object identifier in dotted form (X.690 §8.19)."""
    if not content or content[-1] & 0x80 or len(content) > 64:
        raise DerError("malformed object identifier")
    arcs: list[int] = []
    value = 0
    for byte in content:
        if not value and byte == 0x80:
            raise DerError("object identifier not in its shortest form")
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))
