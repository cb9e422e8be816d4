"""Parse the signature algorithm of a certificate, which determines the hash of its channel binding (RFC 5929 §4.1).

It must be DER (see `der`). The C helper applies the same rules.
"""

from __future__ import annotations

from typing import NamedTuple

from .certificate import split_certificate
from .der import DerError, elements

_OID = 0x06


class SignatureAlgorithm(NamedTuple):
    """The outer signatureAlgorithm of a certificate (RFC 5280 §4.1.1.2): OID, and parameters as DER or None."""

    oid: str
    parameters: bytes | None


def signature_algorithm(der: bytes) -> SignatureAlgorithm:
    """Parse the outer signatureAlgorithm.

    Raises:
        DerError: `der` is not a certificate, or its outer structure is not DER.
    """
    _tbs, algorithm, _signature = split_certificate(der, strict=True)
    return algorithm_identifier(algorithm.content)


def algorithm_identifier(content: bytes) -> SignatureAlgorithm:
    """Parse the content of an AlgorithmIdentifier (RFC 5280 §4.1.1.2).

    Raises:
        DerError: The content is malformed.
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
