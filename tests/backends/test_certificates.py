"""Every backend reports a fault of a certificate with the same class, `reason` and text."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import CertificateError, ClientCertificateError, TlsError, TlsVerify
from babar_tls.backends import TlsParameters
from babar_tls.testing import CertificateAuthority, ServerCertificate
from babar_tls.tls.connection import TlsConnection

from .pairs import TLS_VERSIONS, Pair, only

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "db.example.com"
DAY = timedelta(days=1)
NOW = datetime.now(UTC)


def _without_intermediates(certificate: ServerCertificate) -> ServerCertificate:
    end = b"-----END CERTIFICATE-----\n"
    return dataclasses.replace(certificate, certificate_pem=certificate.certificate_pem.partition(end)[0] + end)


def _with_root(certificate: ServerCertificate) -> ServerCertificate:
    return dataclasses.replace(certificate, certificate_pem=certificate.certificate_pem + certificate.root_pem)


def _issued_by_a_leaf(authority: CertificateAuthority) -> ServerCertificate:
    """Issue a certificate with the key of a certificate that is not a CA certificate (CVE-2002-0862)."""
    impostor = CertificateAuthority("rsa2048")
    leaf = authority.issue("evil.example.com", key="rsa2048")
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    impostor._key = load_pem_private_key(leaf.private_key_pem, None)
    impostor._certificate = x509.load_der_x509_certificate(leaf.der)
    forged = impostor.issue(NAME)
    return dataclasses.replace(forged, certificate_pem=forged.certificate_pem + leaf.certificate_pem)


#: A function that issues the certificate from a trusted CA; the `reason`; the text.
FAULTS: dict[str, tuple[Callable[[CertificateAuthority], ServerCertificate], str, str]] = {
    "expired": (lambda ca: ca.issue(NAME, not_after=NOW - DAY), "expired", "certificate has expired"),
    "not yet valid": (
        lambda ca: ca.issue(NAME, not_before=NOW + DAY),
        "not-yet-valid",
        "certificate is not yet valid",
    ),
    "another authority": (
        lambda _: CertificateAuthority().issue(NAME),
        "untrusted",
        "unable to get local issuer certificate",
    ),
    "another authority, which sends its root": (
        lambda _: _with_root(CertificateAuthority().issue(NAME)),
        "untrusted",
        "self-signed certificate in certificate chain",
    ),
    "intermediate missing": (
        lambda ca: _without_intermediates(ca.intermediate().issue(NAME)),
        "untrusted",
        "unable to get local issuer certificate",
    ),
    "intermediate expired": (
        lambda ca: ca.intermediate(not_before=NOW - 2 * DAY, not_after=NOW - DAY).issue(NAME),
        "expired",
        "certificate has expired",
    ),
    "an end entity as an authority": (
        _issued_by_a_leaf,
        "invalid",
        "invalid CA certificate",
    ),
    "self-signed": (lambda ca: ca.issue(NAME, self_signed=True), "self-signed", "self-signed certificate"),
    "a client's": (lambda ca: ca.issue(NAME, usage="client"), "purpose", "unsuitable certificate purpose"),
    "sha-1": (lambda ca: ca.issue(NAME, hash="sha1"), "weak", "CA signature digest algorithm too weak"),
    "md5": (lambda ca: ca.issue(NAME, hash="md5"), "weak", "CA signature digest algorithm too weak"),
}


#: The results of rustls. It does not expose a rejected chain, and does not recognize a self-signed certificate.
BY_RUSTLS = {
    "another authority, which sends its root": ("untrusted", "unable to get local issuer certificate"),
    "self-signed": ("untrusted", "unable to get local issuer certificate"),
}


@pytest.fixture(scope="module")
def rsa_authority() -> CertificateAuthority:
    return CertificateAuthority("rsa2048")  # only RSA signs with MD5


@pytest.fixture(scope="module")
def rsa_parameters(rsa_authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> TlsParameters:
    path = tmp_path_factory.mktemp("rsa") / "root.crt"
    rsa_authority.write(path)
    return TlsParameters(root_cert_path=str(path), default_roots=False)


def verified(backend: str, parameters: TlsParameters, hostname: str, certificate: ServerCertificate) -> None:
    Pair(backend, parameters, hostname, certificate).handshake()


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_has_the_texts_of_libpq_and_openssl_3_and_a_remedy(
    backend: str, fault: str, rsa_authority: CertificateAuthority, rsa_parameters: TlsParameters
) -> None:
    make, reason, text = FAULTS[fault]
    if backend == "rustls" and fault in BY_RUSTLS:
        reason, text = BY_RUSTLS[fault]
    certificate = make(rsa_authority)
    for level in (TlsVerify.FULL, TlsVerify.CA):
        with pytest.raises(CertificateError) as caught:
            verified(backend, dataclasses.replace(rsa_parameters, verify=level), NAME, certificate)
        assert caught.value.message == f"SSL error: certificate verify failed: {text}"
        assert caught.value.reason == reason
        assert caught.value.remedy or reason == "invalid"
    unverified = TlsParameters(verify=TlsVerify.NONE)
    pair = Pair(backend, unverified, NAME, certificate).handshake()
    assert pair.client.facts.peer_certificate == certificate.der


@pytest.mark.parametrize(
    ("names", "hostname"),
    [
        ((NAME,), NAME),
        ((NAME,), "DB.Example.COM"),
        (("other.example.com", NAME), NAME),
        (("*.example.com",), NAME),
        (("*.EXAMPLE.com",), NAME),
        (("db.example.com.",), "db.example.com."),
        (("_db.example.com",), "_db.example.com"),
        (("xn--bcher-kva.example",), "xn--bcher-kva.example"),
        (("*.xn--bcher-kva.example",), "db.xn--bcher-kva.example"),
        (("127.0.0.1",), "127.0.0.1"),
        (("::1",), "0:0::0:1"),
        # Other names do not prevent a match.
        (("*", NAME), NAME),
        (("*.com", "d*.example.com", "*.*.example.com", NAME), NAME),
    ],
)
def test_matching_name_is_accepted(
    backend: str, names: tuple[str, ...], hostname: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """Case is ignored, and ``*`` matches one whole label (RFC 9525 §6.3)."""
    verified(backend, parameters, hostname, authority.issue(*names))


@pytest.mark.parametrize(
    ("names", "hostname"),
    [
        ((NAME,), "example.com"),
        ((NAME,), "x.db.example.com"),
        ((NAME,), "db.example.com."),
        ((NAME,), "db.example.comm"),
        ((NAME,), "db example com"),
        ((NAME,), "[::1]"),
        ((NAME,), "1234"),
        (("*.example.com",), "a.b.example.com"),
        (("*.example.com",), "example.com"),
        (("*.example.com",), "db.example.com."),
        (("*.com",), "example.com"),
        (("*",), "localhost"),
        (("*",), "example.com"),
        (("d*.example.com",), NAME),
        (("*b.example.com",), NAME),
        (("db.*.com",), NAME),
        (("*.*.com",), NAME),
        (("xn--*.example.com",), "xn--bcher-kva.example.com"),
        (("127.0.0.1",), "127.0.0.2"),
        (("127.0.0.1",), "::ffff:127.0.0.1"),
        (("127.0.0.1",), "localhost"),
        (("::1",), "::2"),
        ((NAME,), "127.0.0.1"),
    ],
)
def test_name_that_does_not_match_is_refused_with_the_text_of_libpq(
    backend: str, names: tuple[str, ...], hostname: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    with pytest.raises(CertificateError) as caught:
        verified(backend, parameters, hostname, authority.issue(*names))
    others = f"; it is for {', '.join(names)}" if len(names) > 1 else ""
    assert caught.value.message == (
        f'server certificate for "{names[0]}" does not match host name "{hostname}"{others}'
    )
    assert caught.value.reason == "hostname-mismatch"
    verified(backend, dataclasses.replace(parameters, verify=TlsVerify.CA), hostname, authority.issue(*names))


def _with_san(authority: CertificateAuthority, *names: Any) -> ServerCertificate:
    """Issue a certificate with alternative names of any kind, which `issue` does not support."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

    template = authority.issue("template")
    old = x509.load_der_x509_certificate(template.der)
    key = load_pem_private_key(template.private_key_pem, None)
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, key.public_key(), old.serial_number, old.not_valid_before_utc, old.not_valid_after_utc
    )
    for extension in old.extensions:
        if extension.oid != x509.SubjectAlternativeName.oid:
            builder = builder.add_extension(extension.value, extension.critical)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(authority._key, hashes.SHA256())
    pem = certificate.public_bytes(Encoding.PEM)
    return dataclasses.replace(template, certificate_pem=pem, der=certificate.public_bytes(Encoding.DER))


def test_address_in_a_dns_name_does_not_match(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """Other names of the certificate still match."""
    from cryptography import x509

    only_dns = _with_san(authority, x509.DNSName("127.0.0.1"))
    with pytest.raises(CertificateError) as caught:
        verified(backend, parameters, "127.0.0.1", only_dns)
    assert caught.value.reason == "hostname-mismatch"
    verified(backend, parameters, NAME, _with_san(authority, x509.DNSName("127.0.0.1"), x509.DNSName(NAME)))


def test_other_kinds_of_alternative_names_are_ignored(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    from cryptography import x509

    others = [
        x509.UniformResourceIdentifier("https://db.example.com:5432/"),
        x509.UniformResourceIdentifier("*"),
        x509.RFC822Name("dba@example.com"),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7"), b"\x05\x00"),
    ]
    verified(backend, parameters, NAME, _with_san(authority, *others, x509.DNSName(NAME)))
    with pytest.raises(CertificateError, match="does not match"):
        verified(backend, parameters, NAME, _with_san(authority, *others))


def test_certificate_with_only_a_common_name_is_refused_with_its_reason(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    with pytest.raises(CertificateError) as caught:
        verified(backend, parameters, NAME, authority.issue(NAME, san=False))
    assert caught.value.reason == "common-name-only"
    assert f'server certificate for "{NAME}" does not match host name "{NAME}"' in caught.value.message
    with pytest.raises(CertificateError) as caught:
        verified(backend, parameters, NAME, authority.issue("other.example.com", common_name=NAME))
    assert caught.value.reason == "hostname-mismatch"


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_missing_client_certificate_is_a_client_certificate_error(
    backend: str, version: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """With TLS 1.2 the handshake fails. With TLS 1.3 the first read fails."""
    options = {**only(version), "client_ca_pem": authority.certificate_pem}
    pair = Pair(backend, parameters, NAME, authority.issue(NAME), **options)
    with pytest.raises(ClientCertificateError, match="the server did not accept the client certificate"):
        _ = pair.handshake(), pair.read()
    assert pair.server_error is not None
    assert pair.server_error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"


@pytest.mark.parametrize("verify", TlsVerify)
@pytest.mark.parametrize("ciphers", ["ECDHE-RSA-AES128-GCM-SHA256", "AECDH-AES128-SHA:@SECLEVEL=0"])
def test_server_without_a_common_cipher_suite_ends_the_handshake_with_an_alert(
    backend: str, ciphers: str, verify: TlsVerify, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """A server with only anonymous suites too."""
    chosen = dataclasses.replace(parameters, verify=verify)
    with pytest.raises(TlsError) as caught:
        Pair(backend, chosen, NAME, authority.issue(NAME), **only("TLSv1.2"), ciphers=ciphers).handshake()
    assert type(caught.value) is TlsError
    assert caught.value.message == "SSL error: the server ended the handshake with an alert (handshake failure)"


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"E\0\0\0\x20SFATAL\0C08P01\0Mno TLS here\0\0",
        b"220 mail.example.com ESMTP\r\n",
    ],
)
def test_answer_in_plain_text_is_reported_as_not_tls(backend: str, words: bytes, parameters: TlsParameters) -> None:
    from babar_tls.backends import get_backend

    stream = TlsConnection(get_backend(backend), parameters, NAME)
    stream.do_handshake()
    stream.receive_data(words)
    with pytest.raises(TlsError, match="SSL error: the server does not speak TLS"):
        stream.do_handshake()


def test_trusted_self_signed_certificate_is_accepted_for_its_name(
    backend: str, authority: CertificateAuthority, tmp_path: Path
) -> None:
    certificate = authority.issue(NAME, self_signed=True)
    root = tmp_path / "root.crt"
    root.write_bytes(certificate.certificate_pem)
    parameters = TlsParameters(root_cert_path=str(root), default_roots=False)
    verified(backend, parameters, NAME, certificate)
    with pytest.raises(CertificateError, match="does not match"):
        verified(backend, parameters, "other.example.com", certificate)
