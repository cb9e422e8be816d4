"""Certificates with MD5 and SHA-1 signatures, which `cryptography` refuses to build.

Servers with such certificates exist, and RFC 5929 section 4.1 has a rule for them (the end-point hash is SHA-256), so
clients must be tested with them. `cryptography` signs bytes with these hashes, but its certificate builder does not.
The certificate is therefore built with SHA-256. Then the two fields that name the signature algorithm
(`TBSCertificate.signature` and `Certificate.signatureAlgorithm`, RFC 5280 section 4.1) are replaced, and the result
is signed again.
"""

from __future__ import annotations

from babar_tls.x509.der import elements, only_element

_SEQUENCE = 0x30
_BIT_STRING = 0x03

WEAK_ALGORITHMS: dict[tuple[str, str], bytes] = {
    # AlgorithmIdentifiers by (padding, hash). The parameters of RSA are NULL (RFC 3279 section 2.2.1), those of ECDSA
    # are absent (section 2.2.3). Empty parameters of RSASSA-PSS mean SHA-1, MGF1 with SHA-1 and 20 bytes of salt
    # (RFC 4055 section 3.1: DER omits defaults).
    ("pkcs1v15", "md5"): bytes.fromhex("300d06092a864886f70d0101040500"),
    ("pkcs1v15", "sha1"): bytes.fromhex("300d06092a864886f70d0101050500"),
    ("pss", "sha1"): bytes.fromhex("300d06092a864886f70d01010a3000"),
    ("ecdsa", "sha1"): bytes.fromhex("300906072a8648ce3d0401"),
}


def element(tag: int, content: bytes) -> bytes:
    """Encode a DER element."""
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def replace_signature_algorithm(tbs: bytes, algorithm: bytes) -> bytes:
    """Return the DER TBSCertificate `tbs` with another AlgorithmIdentifier in its `signature` field.

    Args:
        tbs: A version 2 or 3 TBSCertificate: version, serialNumber, signature, and so on.
        algorithm: The new AlgorithmIdentifier in DER.
    """
    fields = [field.encoded for field in elements(only_element(tbs).content)]
    fields[2] = algorithm
    return element(_SEQUENCE, b"".join(fields))


def assemble_certificate(tbs: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """Encode a Certificate from its TBSCertificate, the algorithm in it, and the signature."""
    return element(_SEQUENCE, tbs + algorithm + element(_BIT_STRING, b"\0" + signature))
