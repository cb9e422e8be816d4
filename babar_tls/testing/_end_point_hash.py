"""The server's implementation of tls-server-end-point (RFC 5929 §4.1), with `cryptography`.

It shares no code with the client, because tests cannot find a mistake in code that both ends share.
"""

from __future__ import annotations

from babar_tls.testing._optional import demo_extra_missing

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
except ImportError as exc:
    raise demo_extra_missing(exc) from exc


def end_point_hash(der: bytes) -> bytes | None:
    """Hash a server's certificate with the hash function of its signature, or with SHA-256 for MD5 and SHA-1.

    Args:
        der: The certificate of the server.

    Returns:
        `None` if the signature algorithm has no separate hash function (Ed25519, Ed448, ML-DSA).
    """
    certificate = x509.load_der_x509_certificate(der)
    try:
        algorithm = certificate.signature_hash_algorithm  # for RSASSA-PSS, the hash in the parameters
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    digest = hashes.Hash(algorithm)
    digest.update(der)
    return digest.finalize()
