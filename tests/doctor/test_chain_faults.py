"""The true cause of a rejected chain, where the TLS libraries report something else or less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="needs pip install 'babar-tls[demo]'")

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from babar_tls import available_backends
from babar_tls.doctor import Cause, Diagnosis, diagnose
from babar_tls.testing import CertificateAuthority, ScriptedServer, ServerCertificate

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "127.0.0.1"
_PLACE = x509.UniformResourceIdentifier("http://ca.example/ca.crt")
_LOCATION = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, _PLACE)])


def run(certificate: ServerCertificate, root: bytes, folder: Path, backend: str) -> Diagnosis:
    """Diagnose a server that ends after the TLS handshake."""
    path = folder / "root.crt"
    path.write_bytes(root)
    with ScriptedServer(lambda peer: peer.receive(), tls=certificate) as server:
        conninfo = f"host={_NAME} port={server.port} user=app sslmode=verify-full sslrootcert={path}"
        return diagnose(conninfo, overrides={"tls_backend": backend, "connect_timeout": 5}, environ={})


def only_first(certificate: ServerCertificate) -> ServerCertificate:
    """Return the certificate without the intermediates that follow it."""
    end = b"-----END CERTIFICATE-----\n"
    return ServerCertificate(certificate.certificate_pem.partition(end)[0] + end, certificate.private_key_pem, b"")


def other_organisation() -> bytes:
    """Return a trusted certificate of an organisation that issues none of the certificates."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Another")])
    return CertificateAuthority().issue(subject=subject, self_signed=True).root_pem


@pytest.mark.parametrize("backend", available_backends())
def test_ca_that_was_created_again_is_named(backend: str, tmp_path: Path) -> None:
    """Both CAs have the same name. The client trusts the old one."""
    old, new = (CertificateAuthority(common_name="Example CA") for _ in range(2))
    diagnosis = run(new.issue(_NAME), old.root_pem, tmp_path, backend)
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.UNKNOWN_CA
    assert "same name" in (diagnosis.fault.remedy or "")


@pytest.mark.parametrize("backend", available_backends())
def test_location_of_the_issuer_indicates_a_missing_intermediate(backend: str, tmp_path: Path) -> None:
    """The certificate names it, and the trusted CA belongs to another organisation."""
    intermediate = CertificateAuthority().intermediate(common_name="Intermediate")
    certificate = intermediate.issue(_NAME, common_name=_NAME, extensions=[(_LOCATION, False)])
    diagnosis = run(only_first(certificate), other_organisation(), tmp_path, backend)
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.INTERMEDIATE_MISSING
    assert '"Intermediate"' in diagnosis.fault.text
    (faulty,) = [one for one in diagnosis.targets[0].certificates if one.fault is not None]
    assert faulty.subject == _NAME


@pytest.mark.parametrize("backend", available_backends())
def test_unknown_root_is_named_if_the_server_sends_the_intermediate(backend: str, tmp_path: Path) -> None:
    """The intermediate names the place of its root's certificate, as those of public CAs do."""
    intermediate = CertificateAuthority(common_name="Root B").intermediate(extensions=[(_LOCATION, False)])
    diagnosis = run(intermediate.issue(_NAME), CertificateAuthority().root_pem, tmp_path, backend)
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.UNKNOWN_CA
    assert '"Root B"' in diagnosis.fault.text


@pytest.mark.parametrize("backend", available_backends())
def test_root_that_the_server_sends_is_not_trusted_for_that(backend: str, tmp_path: Path) -> None:
    root, other = CertificateAuthority(common_name="Root A"), CertificateAuthority(common_name="Root B")
    issued = other.issue(_NAME)
    sent = ServerCertificate(issued.certificate_pem + other.root_pem, issued.private_key_pem, b"")
    diagnosis = run(sent, root.root_pem, tmp_path, backend)
    assert diagnosis.fault is not None
    assert diagnosis.fault.cause is Cause.UNKNOWN_CA
    assert [one.role for one in diagnosis.targets[0].certificates] == ["server", "root"]


def test_hostname_is_checked_although_the_chain_is_not_trusted(tmp_path: Path) -> None:
    certificate = CertificateAuthority().issue("db.example.com")
    diagnosis = run(certificate, CertificateAuthority().root_pem, tmp_path, "stdlib")
    causes = [each.cause for stage in diagnosis.targets[0].stages for each in stage.findings if each.is_fault]
    assert causes[-1] is Cause.WRONG_NAME
    assert len(causes) == 2
