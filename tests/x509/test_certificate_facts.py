"""The names of keys and signature algorithms, and the hints about a missing issuer."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs pip install 'babar-tls[demo]'")

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from babar_tls.testing import CertificateAuthority
from babar_tls.x509.algorithm_names import key_name, signature_name
from babar_tls.x509.authority import issuer_of_issuer, names_issuer_location


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("rsa1024", "RSA 1024"),
        ("rsa2048", "RSA 2048"),
        ("p256", "EC P-256"),
        ("p384", "EC P-384"),
        ("p521", "EC P-521"),
        ("ed25519", "Ed25519"),
        ("ed448", "Ed448"),
    ],
)
def test_key_is_named_with_its_size(kind: Any, name: str) -> None:
    assert key_name(CertificateAuthority().issue("a.example", key=kind).der) == name


@pytest.mark.parametrize(
    ("kind", "hash_name", "padding", "name"),
    [
        ("rsa2048", "sha256", "pkcs1v15", "RSA with SHA-256"),
        ("rsa2048", "sha512", "pkcs1v15", "RSA with SHA-512"),
        ("rsa2048", "sha1", "pkcs1v15", "RSA with SHA-1"),
        ("rsa2048", "sha3-256", "pkcs1v15", "RSA with SHA3-256"),
        ("rsa2048", "sha256", "pss", "RSASSA-PSS"),
        ("p256", "sha384", "pkcs1v15", "ECDSA with SHA-384"),
        ("p256", "sha3-512", "pkcs1v15", "ECDSA with SHA3-512"),
        ("ed25519", None, "pkcs1v15", "Ed25519"),
    ],
)
def test_signature_is_named_with_its_hash(kind: Any, hash_name: Any, padding: Any, name: str) -> None:
    certificate = CertificateAuthority(kind).issue("a.example", hash=hash_name, padding=padding)
    assert signature_name(certificate.der) == name


def test_damaged_certificate_is_unreadable() -> None:
    damaged = CertificateAuthority().issue("a.example").der[:-1]
    assert key_name(damaged) == signature_name(damaged) == "unreadable"
    assert not names_issuer_location(damaged)
    assert issuer_of_issuer(damaged) is None


def test_location_of_the_issuer_is_found() -> None:
    place = x509.UniformResourceIdentifier("http://ca.example/ca.crt")
    root = CertificateAuthority()
    for method, is_found in (
        (AuthorityInformationAccessOID.CA_ISSUERS, True),
        (AuthorityInformationAccessOID.OCSP, False),
    ):
        extension = x509.AuthorityInformationAccess([x509.AccessDescription(method, place)])
        certificate = root.intermediate(extensions=[(extension, False)])
        assert names_issuer_location(_der(certificate)) is is_found
    assert not names_issuer_location(_der(root))


def test_issuer_of_the_issuer_is_found() -> None:
    root = CertificateAuthority(common_name="the root")
    name = x509.load_pem_x509_certificate(root.certificate_pem).subject
    known = x509.AuthorityKeyIdentifier(b"key", [x509.DirectoryName(name)], 7)
    plain = CertificateAuthority()
    certificate = CertificateAuthority(extensions=[(known, False)])
    assert issuer_of_issuer(_der(certificate)) == name.public_bytes()
    assert issuer_of_issuer(_der(plain)) is None


def _der(authority: CertificateAuthority) -> bytes:
    return x509.load_pem_x509_certificate(authority.certificate_pem).public_bytes(Encoding.DER)
