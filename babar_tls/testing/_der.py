"""Signatures that `cryptography` declines to put on a certificate: MD5 and SHA-1.

Servers with such certificates exist, and RFC 5929 section 4.1 has a clause of its own for them (the end-point hash
is then SHA-256), so a driver has to be tested against them. `cryptography` still signs *bytes* with these hashes; only
its certificate builder refuses. So the certificate is built with SHA-256, and the two places that name the signature
algorithm (`TBSCertificate.signature` and `Certificate.signatureAlgorithm`, RFC 5280 section 4.1) are rewritten before
it is signed once more.
"""

from __future__ import annotations

_SEQUENCE = 0x30
_BIT_STRING = 0x03

WEAK_ALGORITHMS: dict[tuple[str, str], bytes] = {
    # AlgorithmIdentifiers by (padding, hash). RSA's carry an explicit NULL (RFC 3279 section 2.2.1), ECDSA's carry
    # nothing (section 2.2.3), and the empty parameters of RSASSA-PSS *mean* SHA-1, MGF1 with SHA-1 and 20 bytes of
    # salt (RFC 4055 section 3.1: DER leaves defaults out).
    ("pkcs1v15", "md5"): bytes.fromhex("300d06092a864886f70d0101040500"),
    ("pkcs1v15", "sha1"): bytes.fromhex("300d06092a864886f70d0101050500"),
    ("pss", "sha1"): bytes.fromhex("300d06092a864886f70d01010a3000"),
    ("ecdsa", "sha1"): bytes.fromhex("300906072a8648ce3d0401"),
}


def _span(der: bytes, offset: int) -> tuple[int, int]:
    """Where the content of the element at `offset` starts, and where the element ends (X.690 section 8.1)."""
    length = der[offset + 1]
    start = offset + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(der[start : start + size], "big")
        start += size
    return start, start + length


def _element(tag: int, content: bytes) -> bytes:
    """One DER element: tag, shortest length, content."""
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def replace_signature_algorithm(tbs: bytes, algorithm: bytes) -> bytes:
    """The DER TBSCertificate `tbs` with another AlgorithmIdentifier in its `signature` field.

    Args:
        tbs: A version 2 or 3 TBSCertificate: version, serialNumber, signature, and so on.
        algorithm: The DER AlgorithmIdentifier to put there.
    """
    start, end = _span(tbs, 0)
    _, version_end = _span(tbs, start)
    _, serial_end = _span(tbs, version_end)
    _, algorithm_end = _span(tbs, serial_end)
    return _element(_SEQUENCE, tbs[start:serial_end] + algorithm + tbs[algorithm_end:end])


def assemble_certificate(tbs: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """The DER Certificate of a TBSCertificate, the algorithm that it names, and the signature over it."""
    return _element(_SEQUENCE, tbs + algorithm + _element(_BIT_STRING, b"\0" + signature))
