"""Private keys of every kind, and signatures of certificates."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

from babar_tls.testing._der import WEAK_ALGORITHMS, assemble_certificate, replace_signature_algorithm
from babar_tls.testing._optional import demo_extra_missing

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
except ImportError as exc:
    raise demo_extra_missing(exc) from exc


KeyKind: TypeAlias = Literal["rsa1024", "rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521", "ed25519", "ed448"]
HashName: TypeAlias = Literal[
    "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3-224", "sha3-256", "sha3-384", "sha3-512"
]
Padding: TypeAlias = Literal["pkcs1v15", "pss"]
PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

_CURVES: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
# MD5 and SHA-1 are here because clients must be tested with certificates that use them.
_HASHES: dict[str, Any] = {name: getattr(hashes, name.upper().replace("-", "_"))() for name in get_args(HashName)}


def generate_key(kind: KeyKind) -> PrivateKey:
    """Generate a private key.

    Raises:
        ValueError: `kind` is unknown.
    """
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    if kind in get_args(KeyKind) and kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    raise ValueError(f"unknown kind of key {kind!r}")


def hash_for(key: PrivateKey, hash_name: str) -> Any:
    """Return the hash algorithm for a signature: `None` for Ed25519 and Ed448, which include one (RFC 8410 section 6).

    Raises:
        ValueError: `hash_name` is unknown, or too weak for `cryptography`.
    """
    if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)):
        return None
    if hash_name not in _HASHES or hash_name in ("md5", "sha1"):
        raise ValueError(f"no signature with hash {hash_name!r} and this key and padding")
    return _HASHES[hash_name]


def sign_certificate(
    builder: x509.CertificateBuilder, key: PrivateKey, hash_name: HashName, padding_name: Padding
) -> x509.Certificate:
    """Sign a certificate; MD5 and SHA-1 are possible.

    Raises:
        ValueError: The signature algorithm does not exist, or `padding_name` is ``"pss"`` and the key is not RSA.
    """
    if padding_name == "pss" and not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("padding='pss' needs an RSA key to sign with")
    scheme = padding_name if isinstance(key, rsa.RSAPrivateKey) else "ecdsa"
    algorithm = WEAK_ALGORITHMS.get((scheme, hash_name))
    if algorithm is not None and isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        template = builder.sign(key, hashes.SHA256())
        tbs = replace_signature_algorithm(template.tbs_certificate_bytes, algorithm)
        signature = _sign_weakly(key, tbs, _HASHES[hash_name], padding_name)
        return x509.load_der_x509_certificate(assemble_certificate(tbs, algorithm, signature))
    chosen = hash_for(key, hash_name)
    if padding_name == "pss" and chosen is not None:
        return builder.sign(key, chosen, rsa_padding=_pss(chosen))
    return builder.sign(key, chosen)


def _sign_weakly(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, data: bytes, algorithm: hashes.HashAlgorithm, scheme: Padding
) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(algorithm))
    return key.sign(data, _pss(algorithm) if scheme == "pss" else padding.PKCS1v15(), algorithm)


def _pss(algorithm: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)
