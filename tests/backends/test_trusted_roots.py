"""A stream reports the origin and the number of its trusted certificates, with every backend."""

from __future__ import annotations

import dataclasses
import ssl
from typing import TYPE_CHECKING

import pytest

from babar_tls import TlsVerify
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.testing import CertificateAuthority
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.default_roots import default_roots
from babar_tls.tls.root_files import trusted_roots

if TYPE_CHECKING:
    from pathlib import Path

NAME = "db.example.com"


def test_root_file_is_reported_with_its_number_of_certificates(
    backend: str, parameters: TlsParameters, root_path: Path
) -> None:
    roots = TlsConnection(get_backend(backend), parameters, NAME).trusted_roots
    assert roots is not None
    assert (roots.sources, roots.anchors) == ((str(root_path),), 1)


def test_default_roots_are_reported_with_their_source(
    backend: str, tmp_path: Path, root_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is in both is counted once."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(root_path.read_bytes() + CertificateAuthority().root_pem + root_path.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    roots = TlsConnection(get_backend(backend), TlsParameters(root_cert_path=str(root_path)), NAME).trusted_roots
    assert roots is not None
    assert roots.sources == (str(root_path), f"{bundle} (SSL_CERT_FILE, SSL_CERT_DIR)")
    assert roots.anchors == 2


def test_only_hashed_names_of_a_directory_are_counted(
    backend: str, tmp_path: Path, root_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "abcdef01.0").write_bytes(root_path.read_bytes())
    (tmp_path / "other.pem").write_bytes(CertificateAuthority().root_pem)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    roots = TlsConnection(get_backend(backend), TlsParameters(), NAME).trusted_roots
    assert roots is not None
    assert (roots.sources, roots.anchors) == ((f"{tmp_path} (SSL_CERT_FILE, SSL_CERT_DIR)",), 1)


def test_unverified_connection_reports_no_roots(backend: str) -> None:
    assert TlsConnection(get_backend(backend), TlsParameters(verify=TlsVerify.NONE), NAME).trusted_roots is None


def test_changed_file_is_counted_again(backend: str, tmp_path: Path, root_path: Path) -> None:
    path = tmp_path / "root.crt"
    path.write_bytes(root_path.read_bytes())
    parameters = TlsParameters(root_cert_path=str(path), default_roots=False)
    before = TlsConnection(get_backend(backend), parameters, NAME).trusted_roots
    path.write_bytes(root_path.read_bytes() + CertificateAuthority().root_pem)
    after = TlsConnection(get_backend(backend), parameters, NAME).trusted_roots
    assert before is not None
    assert after is not None
    assert (before.anchors, after.anchors) == (1, 2)


def test_number_of_default_roots_is_that_of_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    cafile = default_roots().cafile
    if cafile is None:
        pytest.skip("the default roots of this machine are not in a file")
    monkeypatch.setenv("SSL_CERT_FILE", cafile)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile)
    roots = trusted_roots(TlsParameters())
    assert roots is not None
    assert roots.anchors == context.cert_store_stats()["x509"]


def test_system_verifier_is_reported_without_a_number() -> None:
    pytest.importorskip("truststore")
    roots = TlsConnection(
        get_backend("stdlib"), dataclasses.replace(TlsParameters(), os_roots=True), NAME
    ).trusted_roots
    assert roots is not None
    assert (roots.sources, roots.anchors) == (("truststore",), None)
