"""The error for a rejected chain names the certificate at fault or the trusted certificates, and has a remedy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from babar_tls import CertificateError, Config, ConfigError
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.testing import CertificateAuthority, ServerCertificate
from babar_tls.tls.connection import TlsConnection

from .pairs import TLS_VERSIONS, Pair, only
from .test_same_reason import alone, sent_along

if TYPE_CHECKING:
    from pathlib import Path

NAME = "db.example.com"
DAY = timedelta(days=1)
NOW = datetime.now(UTC)
PAST = {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY}
YESTERDAY, TOMORROW = f"{NOW - DAY:%Y-%m-%d}", f"{NOW + DAY:%Y-%m-%d}"


@pytest.fixture(params=TLS_VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def rejected(
    backend: str, certificate: ServerCertificate, path: Path, roots: bytes, version: str = "TLSv1.3"
) -> CertificateError:
    path.write_bytes(roots)
    parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    with pytest.raises(CertificateError) as caught:
        Pair(backend, parameters, NAME, certificate, **only(version)).handshake()
    return caught.value


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("when", ["expired", "not-yet-valid"])
def test_trust_anchor_that_is_not_valid_is_named_with_its_file(
    *, backend: str, version: str, when: str, sent: bool, between: bool, tmp_path: Path
) -> None:
    dates = PAST if when == "expired" else {"not_before": NOW + DAY}
    root = CertificateAuthority("rsa2048", common_name="Our Root", **dates)
    certificate = (root.intermediate() if between else root).issue(NAME)
    if sent:
        certificate = sent_along(certificate, root.root_pem)
    path = tmp_path / "root.crt"
    roots = root.root_pem
    if backend != "rustls":  # which leaves such roots out as long as there are others
        roots = CertificateAuthority().root_pem + roots
    line = roots.count(b"\n") - root.root_pem.count(b"\n") + 1
    error = rejected(backend, certificate, path, roots, version)
    date = f"expired on {YESTERDAY}" if when == "expired" else f"is valid from {TOMORROW} on"
    assert error.reason == when
    assert f'the CA certificate "Our Root" in "{path}" (line {line}) {date}' in error.message
    assert f'"{path}"' in (error.remedy or "")
    assert "The server needs a new" not in str(error)


def test_intermediate_in_the_root_file_is_named_with_its_file(backend: str, version: str, tmp_path: Path) -> None:
    root = CertificateAuthority("rsa2048")
    between = root.intermediate(common_name="Between", **PAST)
    error = rejected(
        backend, alone(between.issue(NAME)), tmp_path / "root.crt", root.root_pem + between.certificate_pem, version
    )
    assert f'the CA certificate "Between" in "{tmp_path / "root.crt"}" (line ' in str(error)
    assert f"expired on {YESTERDAY}" in str(error)
    assert error.reason == ("untrusted" if backend == "rustls" else "expired")


@pytest.mark.parametrize("whose", ["server", "intermediate"])
def test_certificate_that_the_server_sends_is_named(backend: str, version: str, whose: str, tmp_path: Path) -> None:
    root = CertificateAuthority("rsa2048")
    if whose == "server":
        certificate = root.intermediate().issue(NAME, **PAST)
        expected = f"The server's certificate expired on {YESTERDAY}."
    else:
        certificate = root.intermediate(common_name="Betw\u202een\n", **PAST).issue(NAME)
        expected = f'The intermediate certificate "Betw\\u202een\\n" expired on {YESTERDAY}. The server sends it'
    error = rejected(backend, certificate, tmp_path / "root.crt", root.root_pem, version)
    assert error.message == "SSL error: certificate verify failed: certificate has expired"
    if backend == "rustls":
        expected = "The server's certificate or an intermediate certificate that it sends"
    assert expected in (error.remedy or "")
    assert str(tmp_path) not in str(error)


def test_self_signed_server_certificate_is_named(backend: str, tmp_path: Path) -> None:
    root = CertificateAuthority("rsa2048")
    certificate = root.issue(NAME, self_signed=True, key="rsa2048", **PAST)
    error = rejected(backend, certificate, tmp_path / "root.crt", certificate.certificate_pem)
    assert error.reason == "expired"
    assert "not at fault" not in str(error)
    assert "The server needs a new" in (error.remedy or "")


def test_expired_root_is_not_named_if_its_successor_is_trusted(backend: str, tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    root = CertificateAuthority("rsa2048", common_name="Root")
    renewed = root._certificate
    builder = x509.CertificateBuilder(
        renewed.issuer,
        renewed.subject,
        renewed.public_key(),
        x509.random_serial_number(),
        NOW - 9 * DAY,
        NOW - DAY,
        list(renewed.extensions),
    )
    old = builder.sign(root._key, hashes.SHA256()).public_bytes(Encoding.PEM)
    error = rejected(backend, root.issue(NAME, **PAST), tmp_path / "root.crt", old + root.root_pem)
    assert error.reason == "expired"
    assert "not at fault" not in str(error)


def test_sources_of_trust_are_named(backend: str, version: str, tmp_path: Path) -> None:
    path = tmp_path / "root.crt"
    error = rejected(backend, CertificateAuthority().issue(NAME), path, CertificateAuthority().root_pem, version)
    assert error.reason == "untrusted"
    assert f"The trusted certificates are from {path}." in (error.remedy or "")
    assert "sslrootcert" in (error.remedy or "")


@pytest.mark.parametrize("text", ["host=h sslmode=verify-full", "host=h sslmode=require", "host=h"])
def test_default_file_is_named_as_such(
    backend: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".postgresql" / "root.crt"
    path.parent.mkdir()
    CertificateAuthority().write(path)
    parameters = Config.from_conninfo(text).tls_parameters
    with pytest.raises(CertificateError) as caught:
        Pair(backend, parameters, NAME, CertificateAuthority().issue(NAME)).handshake()
    assert f"{path} (the default file of sslrootcert)" in str(caught.value)


def test_variable_is_named_for_roots_that_do_not_fit(
    backend: str, root_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(root_path))
    with pytest.raises(CertificateError) as caught:
        Pair(backend, TlsParameters(), NAME, CertificateAuthority().issue(NAME)).handshake()
    assert f"{root_path} (SSL_CERT_FILE" in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\n"])
def test_variable_that_names_a_file_that_cannot_be_used_is_named(
    backend: str, content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend(backend), TlsParameters(), NAME)
    assert f'root certificate file "{path}"' in caught.value.message
    assert "SSL_CERT_FILE names it" in (caught.value.remedy or "")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend(backend), TlsParameters(root_cert_path=str(path)), NAME)
    assert "SSL_CERT_FILE" not in str(caught.value)


def test_variable_that_names_a_missing_directory_is_named(
    backend: str, root_path: Path, authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If other certificates are trusted, a missing directory is not an error, as in OpenSSL."""
    path = tmp_path / "certs"
    monkeypatch.setenv("SSL_CERT_DIR", str(path))
    with pytest.raises(ConfigError) as caught:
        TlsConnection(get_backend(backend), TlsParameters(), NAME)
    assert caught.value.message == f'root certificate directory "{path}" does not exist'
    assert "SSL_CERT_DIR names it" in (caught.value.remedy or "")
    Pair(backend, TlsParameters(root_cert_path=str(root_path)), NAME, authority.issue(NAME)).handshake()


@pytest.mark.parametrize("folder", ["x" * 5000, "file/x"])
def test_directory_that_cannot_exist_is_refused(backend: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", folder)
    with pytest.raises(ConfigError, match="root certificate directory"):
        TlsConnection(get_backend(backend), TlsParameters(), NAME)
