"""Certificates are what was asked for, and strict verifiers accept those that should be accepted."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from babar_tls.testing import CertificateAuthority, ServerCertificate

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ("rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521", "ed25519", "ed448")
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authorities() -> dict[str, CertificateAuthority]:
    """One authority for every kind of key that signs differently."""
    return {key: CertificateAuthority(key) for key in ("rsa2048", "p256", "p521", "ed25519", "ed448")}


def parse(certificate: ServerCertificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.der)


def openssl_verify(folder: Path, certificate: ServerCertificate, *options: str) -> subprocess.CompletedProcess[str]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl program is not installed")
    leaf, root = folder / "leaf.pem", folder / "root.pem"
    certificate.write(leaf, folder / "leaf.key")
    root.write_bytes(certificate.root_pem)
    command = [openssl, "verify", *options, "-CAfile", str(root), "-untrusted", str(leaf), str(leaf)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own files


@pytest.mark.parametrize("key", KEYS)
def test_key_kinds(key: str, authorities: dict[str, CertificateAuthority], tmp_path: Path) -> None:
    """A certificate can have any kind of key, and its private key belongs to it."""
    certificate = authorities["p256"].issue("localhost", key=key)
    private_key = serialization.load_pem_private_key(certificate.private_key_pem, None)
    encoding = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert private_key.public_key().public_bytes(*encoding) == parse(certificate).public_key().public_bytes(*encoding)
    assert openssl_verify(tmp_path, certificate, "-x509_strict").returncode == 0


@pytest.mark.parametrize(
    "case",
    [
        ("rsa2048", "md5", "pkcs1v15", "1.2.840.113549.1.1.4"),
        ("rsa2048", "sha1", "pkcs1v15", "1.2.840.113549.1.1.5"),
        ("rsa2048", "sha224", "pkcs1v15", "1.2.840.113549.1.1.14"),
        ("rsa2048", "sha256", "pkcs1v15", "1.2.840.113549.1.1.11"),
        ("rsa2048", "sha384", "pkcs1v15", "1.2.840.113549.1.1.12"),
        ("rsa2048", "sha512", "pkcs1v15", "1.2.840.113549.1.1.13"),
        ("rsa2048", "sha3-256", "pkcs1v15", "2.16.840.1.101.3.4.3.14"),
        ("rsa2048", "sha1", "pss", "1.2.840.113549.1.1.10"),
        ("rsa2048", "sha256", "pss", "1.2.840.113549.1.1.10"),
        ("rsa2048", "sha512", "pss", "1.2.840.113549.1.1.10"),
        ("p256", "sha1", "pkcs1v15", "1.2.840.10045.4.1"),
        ("p256", "sha224", "pkcs1v15", "1.2.840.10045.4.3.1"),
        ("p256", "sha256", "pkcs1v15", "1.2.840.10045.4.3.2"),
        ("p521", "sha512", "pkcs1v15", "1.2.840.10045.4.3.4"),
        ("p256", "sha3-384", "pkcs1v15", "2.16.840.1.101.3.4.3.11"),
        ("ed25519", None, "pkcs1v15", "1.3.101.112"),
        ("ed448", None, "pkcs1v15", "1.3.101.113"),
    ],
    ids=lambda case: "-".join(map(str, case[:3])),
)
@pytest.mark.parametrize("self_signed", [False, True])
def test_signatures(
    case: tuple[str, str | None, str, str],
    self_signed: bool,
    authorities: dict[str, CertificateAuthority],
    tmp_path: Path,
) -> None:
    """Every signature carries the object identifier of its algorithm and verifies with the signer's key."""
    signer, hash_name, scheme, oid = case
    authority = authorities[signer]
    certificate = authority.issue("localhost", key=signer, hash=hash_name, padding=scheme, self_signed=self_signed)
    leaf, issuer = parse(certificate), x509.load_pem_x509_certificate(certificate.root_pem)
    assert leaf.signature_algorithm_oid.dotted_string == oid
    assert leaf.issuer == issuer.subject
    public_key, algorithm = issuer.public_key(), leaf.signature_hash_algorithm
    if isinstance(public_key, rsa.RSAPublicKey):
        expected = (
            padding.PSS(padding.MGF1(algorithm), algorithm.digest_size) if scheme == "pss" else padding.PKCS1v15()
        )
        public_key.verify(leaf.signature, leaf.tbs_certificate_bytes, expected, algorithm)
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(leaf.signature, leaf.tbs_certificate_bytes, ec.ECDSA(algorithm))
    else:
        public_key.verify(leaf.signature, leaf.tbs_certificate_bytes)
    if hash_name != "sha3-384":  # OpenSSL builds no chains with ECDSA and SHA-3
        result = openssl_verify(tmp_path, certificate, "-x509_strict", "-auth_level", "0")
        assert result.returncode == 0, result.stderr


def test_pss_with_sha1_leaves_its_defaults_out(authorities: dict[str, CertificateAuthority]) -> None:
    """RSASSA-PSS with SHA-1 has empty parameters, as DER wants defaults encoded (RFC 4055 section 3.1)."""
    certificate = authorities["rsa2048"].issue("localhost", hash="sha1", padding="pss")
    assert certificate.der.count(bytes.fromhex("300d06092a864886f70d01010a3000")) == 2


@pytest.mark.parametrize(
    ("signer", "hash_name", "scheme"),
    [
        ("p256", "md5", "pkcs1v15"),
        ("p256", "sha256", "pss"),
        ("rsa2048", "md5", "pss"),
        ("ed25519", "sha256", "pss"),
        ("rsa2048", "sha7", "pkcs1v15"),
    ],
)
def test_impossible_signatures(
    signer: str, hash_name: str, scheme: str, authorities: dict[str, CertificateAuthority]
) -> None:
    """A signature algorithm that does not exist is refused."""
    with pytest.raises(ValueError, match=r"hash|RSA key"):
        authorities[signer].issue("localhost", hash=hash_name, padding=scheme)


def test_unknown_key_kind() -> None:
    """A kind of key that does not exist is refused."""
    with pytest.raises(ValueError, match="dsa1024"):
        CertificateAuthority("dsa1024")


def test_names(authorities: dict[str, CertificateAuthority]) -> None:
    """Host names become dNSName, addresses iPAddress entries, and a CN is there only if asked for."""
    leaf = parse(authorities["p256"].issue("db.example.com", "*.example.org", "192.0.2.7", "::1"))
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.DNSName) == ["db.example.com", "*.example.org"]
    assert [str(address) for address in san.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "::1"]
    assert not leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)


def test_common_name_only(authorities: dict[str, CertificateAuthority]) -> None:
    """Without subjectAltName the name is in the CN."""
    leaf = parse(authorities["p256"].issue("db.example.com", san=False))
    assert [a.value for a in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["db.example.com"]
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)


@pytest.mark.parametrize(
    ("validity", "complaint"),
    [
        ({"not_after": NOW - timedelta(days=400)}, "has expired"),
        ({"not_before": NOW + timedelta(days=400)}, "not yet valid"),
        ({"not_before": datetime(2015, 1, 1), "not_after": datetime(2016, 1, 1)}, "has expired"),
    ],
)
def test_validity(
    validity: dict[str, datetime], complaint: str, authorities: dict[str, CertificateAuthority], tmp_path: Path
) -> None:
    """Certificates can have expired, or be valid only later; one bound is enough to say so."""
    result = openssl_verify(tmp_path, authorities["p256"].issue("localhost", **validity))
    assert result.returncode != 0
    assert complaint in result.stderr


def test_intermediates(authorities: dict[str, CertificateAuthority], tmp_path: Path) -> None:
    """An intermediate's certificates bring the chain along, the root excepted, and verify against the root."""
    lower = authorities["rsa2048"].intermediate().intermediate("ed25519")
    certificate = lower.issue("localhost")
    assert certificate.certificate_pem.count(b"BEGIN CERTIFICATE") == 3
    assert certificate.root_pem == authorities["rsa2048"].certificate_pem == lower.root_pem
    assert openssl_verify(tmp_path, certificate, "-x509_strict").returncode == 0


def test_revocation(authorities: dict[str, CertificateAuthority], tmp_path: Path) -> None:
    """A revocation list revokes what it names, and nothing else."""
    authority = authorities["p256"]
    good, bad = authority.issue("localhost"), authority.issue("localhost")
    (tmp_path / "list.pem").write_bytes(authority.revocation_list([bad]))
    options = ("-crl_check", "-CRLfile", str(tmp_path / "list.pem"))
    assert openssl_verify(tmp_path, good, *options).returncode == 0
    assert "revoked" in openssl_verify(tmp_path, bad, *options).stderr


def test_client_usage(authorities: dict[str, CertificateAuthority], tmp_path: Path) -> None:
    """A client's certificate is good for clients and not for servers."""
    certificate = authorities["p256"].issue(common_name="app", usage="client")
    assert openssl_verify(tmp_path, certificate, "-purpose", "sslclient").returncode == 0
    assert openssl_verify(tmp_path, certificate, "-purpose", "sslserver").returncode != 0


def test_strict_python_context(authorities: dict[str, CertificateAuthority]) -> None:
    """A handshake with VERIFY_X509_STRICT succeeds, with names checked."""
    from babar_tls.testing._tls_contexts import server_context

    certificate = authorities["p256"].intermediate().issue("localhost")
    context = ssl.create_default_context(cadata=certificate.root_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    c2s, s2c = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(s2c, c2s, server_hostname="localhost")
    server = server_context(certificate).wrap_bio(c2s, s2c, server_side=True)
    for end in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    assert client.getpeercert(binary_form=True) == certificate.der


def test_authorities_are_distinct() -> None:
    """Two authorities with default names cannot be mistaken for each other."""
    first, second = (x509.load_pem_x509_certificate(CertificateAuthority().certificate_pem) for _ in range(2))
    assert first.subject != second.subject


def test_secrets_stay_out_of_repr(authorities: dict[str, CertificateAuthority], tmp_path: Path) -> None:
    """The private key is neither in the representation nor readable by others on disk."""
    certificate = authorities["p256"].issue("localhost")
    assert "PRIVATE" not in repr(certificate)
    certificate.write(tmp_path / "a.crt", tmp_path / "a.key")
    assert (tmp_path / "a.key").stat().st_mode & 0o077 == 0
    authorities["p256"].write(tmp_path / "ca.crt")
    assert (tmp_path / "ca.crt").read_bytes() == certificate.root_pem


@pytest.mark.parametrize("key", ["rsa2048", "p256", "ed25519"])
@pytest.mark.parametrize("password", [None, b"secret"])
def test_key_forms(authorities: dict[str, CertificateAuthority], key: str, password: bytes | None) -> None:
    """A private key comes in the forms that files have, and is the same key in all of them."""
    certificate = authorities["p256"].issue("localhost", key=key)
    numbers = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    wanted = parse(certificate).public_key().public_bytes(*numbers)
    for form in ("pkcs8", "traditional"):
        for der, load in ((False, serialization.load_pem_private_key), (True, serialization.load_der_private_key)):
            if form == "traditional" and (key == "ed25519" or (der and password)):
                with pytest.raises(ValueError, match=r"not supported|invalid"):
                    certificate.private_key(form, der=der, password=password)
                continue
            data = certificate.private_key(form, der=der, password=password)
            assert load(data, password).public_key().public_bytes(*numbers) == wanted
    bundle = pkcs12.load_pkcs12(certificate.pkcs12(password), password)
    assert bundle.cert is not None
    assert bundle.cert.certificate == parse(certificate)


def test_any_names(authorities: dict[str, CertificateAuthority]) -> None:
    """Several common names, a subject of one's own, and alternative names of any kind, none included."""
    authority = authorities["p256"]
    names = parse(authority.issue(common_name=["a", "b"])).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [name.value for name in names] == ["a", "b"]
    subject = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE")])
    assert parse(authority.issue("x", subject=subject)).subject == subject
    for entries in ([], [x509.RFC822Name("a@example.com"), x509.DNSName("a\0b")]):
        found = parse(authority.issue("ignored", san=entries)).extensions
        assert list(found.get_extension_for_class(x509.SubjectAlternativeName).value) == entries


def test_no_usage_and_more_extensions(authorities: dict[str, CertificateAuthority]) -> None:
    """The extended key usage can be left out, and an authority's certificate can have more extensions."""
    with pytest.raises(x509.ExtensionNotFound):
        parse(authorities["p256"].issue("x", usage=None)).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    limit = x509.NameConstraints([x509.DNSName("example.com")], None)
    limited = authorities["p256"].intermediate(extensions=[(limit, True)])
    extension = x509.load_pem_x509_certificate(limited.certificate_pem).extensions.get_extension_for_class(type(limit))
    assert (extension.value, extension.critical) == (limit, True)


def test_revocation_lists_of_any_age(authorities: dict[str, CertificateAuthority]) -> None:
    """A list's dates can be chosen, and authorities can be on it."""
    since = NOW.replace(microsecond=0) - timedelta(days=9)
    intermediate = authorities["p256"].intermediate()
    pem = authorities["p256"].revocation_list([intermediate], last_update=since, next_update=since + timedelta(days=1))
    found = x509.load_pem_x509_crl(pem)
    assert (found.last_update_utc, found.next_update_utc) == (since, since + timedelta(days=1))
    serial = x509.load_pem_x509_certificate(intermediate.certificate_pem).serial_number
    assert found.get_revoked_certificate_by_serial_number(serial) is not None
