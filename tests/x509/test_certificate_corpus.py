"""Certificates of every kind are parsed with the same result as by `cryptography`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from babar_tls.errors import ChannelBindingUnsupported
from babar_tls.protocol.channel_binding import end_point_hash_name, tls_server_end_point
from babar_tls.x509.certificate import public_key_info
from babar_tls.x509.names import subject_names
from babar_tls.x509.signature_algorithm import signature_algorithm

if TYPE_CHECKING:
    from babar_tls.testing import CertificateAuthority, ServerCertificate

x509 = pytest.importorskip("cryptography.x509", reason="the demo extra is not installed")

NAMES = ("db.example.com", "*.example.org", "192.0.2.7", "2001:db8::1")
SHA2 = ("sha224", "sha256", "sha384", "sha512")
SHA3 = ("sha3-224", "sha3-256", "sha3-384", "sha3-512")

CASES = [
    *(("rsa2048", name, "pkcs1v15") for name in ("md5", "sha1", *SHA2, *SHA3)),
    *(("rsa2048", name, "pss") for name in ("sha1", *SHA2)),
    *((key, name, "pkcs1v15") for key in ("p256", "p384", "p521") for name in ("sha1", *SHA2, *SHA3)),
]


def expected(name: str) -> str:
    return "sha256" if name in ("md5", "sha1") else name.replace("-", "_")


@pytest.fixture(scope="module")
def authorities() -> dict[str, CertificateAuthority]:
    """Return a CA for each key type."""
    from babar_tls.testing import CertificateAuthority

    return {key: CertificateAuthority(key) for key in ("rsa2048", "p256", "p384", "p521", "ed25519", "ed448")}


def issue(authority: CertificateAuthority, name: str | None, padding: str) -> ServerCertificate:
    try:
        return authority.issue(*NAMES, common_name="old.example", hash=name, padding=padding)
    except ValueError as exc:
        pytest.skip(str(exc))


@pytest.mark.parametrize(("key", "name", "padding"), CASES)
def test_end_point_hash_follows_the_signature_algorithm(
    authorities: dict[str, CertificateAuthority], key: str, name: str, padding: str
) -> None:
    """The OID is compared with that of `cryptography`."""
    certificate = issue(authorities[key], name, padding)
    parsed = x509.load_der_x509_certificate(certificate.der)
    assert signature_algorithm(certificate.der).oid == parsed.signature_algorithm_oid.dotted_string
    assert end_point_hash_name(certificate.der) == expected(name)
    assert tls_server_end_point(certificate.der) == hashlib.new(expected(name), certificate.der).digest()


@pytest.mark.parametrize("key", ["ed25519", "ed448"])
def test_certificate_signed_with_eddsa_has_no_end_point_hash(
    authorities: dict[str, CertificateAuthority], key: str
) -> None:
    with pytest.raises(ChannelBindingUnsupported, match=key.capitalize()):
        tls_server_end_point(authorities[key].issue("localhost", key="p256").der)


def test_end_point_hash_does_not_depend_on_the_key(authorities: dict[str, CertificateAuthority]) -> None:
    """A certificate for an Ed25519 key, signed with ECDSA and SHA-512, has SHA-512."""
    assert end_point_hash_name(authorities["p521"].issue("localhost", key="ed25519", hash="sha512").der) == "sha512"


def test_names_are_those_of_cryptography(authorities: dict[str, CertificateAuthority]) -> None:
    data = authorities["p256"].issue(*NAMES, common_name="old.example").der
    san = x509.load_der_x509_certificate(data).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = subject_names(data)
    assert names.readable_common_name == "old.example"
    dns, addresses = san.get_values_for_type(x509.DNSName), san.get_values_for_type(x509.IPAddress)
    assert tuple(names.readable_alternative_names) == (*dns, *map(str, addresses)) == NAMES
    plain = subject_names(authorities["p256"].issue("db.example.com", san=False).der)
    assert plain == ((b"db.example.com",), ())


@pytest.mark.parametrize("key", ["rsa2048", "p256", "p521", "ed25519", "ed448"])
def test_public_keys_are_those_of_cryptography(authorities: dict[str, CertificateAuthority], key: str) -> None:
    data = authorities["p256"].issue("localhost", key=key).der
    public_key = x509.load_der_x509_certificate(data).public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    assert public_key_info(data) == public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
