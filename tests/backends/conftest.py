"""Fixtures: one CA for the tests of this folder, and each backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from babar_tls.backends import TlsParameters, available_backends
from babar_tls.testing import CertificateAuthority

if TYPE_CHECKING:
    from pathlib import Path

    from babar_tls.testing import ServerCertificate

pytest.importorskip("cryptography")


@pytest.fixture(params=["stdlib", "openssl", "rustls"])
def backend(request: pytest.FixtureRequest) -> str:
    """Return the name of a backend. Each test runs with every installed backend."""
    if request.param not in available_backends():
        pytest.skip(f"the {request.param} backend is not installed")
    return request.param


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="session")
def root_path(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("roots") / "root.crt"
    authority.write(path)
    return path


@pytest.fixture(scope="session")
def parameters(root_path: Path) -> TlsParameters:
    """Return parameters that verify everything with this CA."""
    return TlsParameters(root_cert_path=str(root_path), default_roots=False)


@pytest.fixture(scope="session")
def clients() -> CertificateAuthority:
    """Return the CA that signs client certificates."""
    return CertificateAuthority("rsa2048")


@pytest.fixture(scope="session")
def client(clients: CertificateAuthority) -> ServerCertificate:
    return clients.issue(usage="client", common_name="app", key="rsa2048")
