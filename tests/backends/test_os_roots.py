"""The operating system's verifier instead of a file of roots, as far as Linux has one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from babar_tls import CertificateError, ConfigError, TlsVerify
from babar_tls.backends import TlsParameters, get_backend, stdlib
from babar_tls.testing import CertificateAuthority
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.parameters import ClientCertificate

from .pairs import Pair

if TYPE_CHECKING:
    from pathlib import Path

NAME = "db.example.com"


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CertificateAuthority:
    """Return a CA that the system trusts."""
    pytest.importorskip("truststore")
    if sys.platform != "linux":
        pytest.skip("other systems have a store that tests must not change")
    authority = CertificateAuthority()
    authority.write(tmp_path / "system.crt")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.crt"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    return authority


def reason(parameters: TlsParameters, authority: CertificateAuthority, name: str = NAME) -> str | None:
    try:
        Pair("stdlib", parameters, NAME, authority.issue(name)).handshake()
    except CertificateError as error:
        return error.reason
    return None


def test_certificate_of_a_ca_that_the_system_trusts_is_accepted(
    system: CertificateAuthority, authority: CertificateAuthority, root_path: Path
) -> None:
    """Also in addition to a root file."""
    alone = TlsParameters(os_roots=True)
    assert reason(alone, system) is None
    assert reason(alone, authority) == "untrusted"
    assert reason(alone, system, "other.example.com") == "hostname-mismatch"
    added = TlsParameters(os_roots=True, root_cert_path=str(root_path))
    assert (reason(added, system), reason(added, authority)) == (None, None)
    without = TlsParameters(os_roots=True, default_roots=False, root_cert_path=str(root_path))
    assert (reason(without, system), reason(without, authority)) == ("untrusted", None)


def test_all_other_features_work_with_the_system_verifier(system: CertificateAuthority, tmp_path: Path) -> None:
    client = system.issue(usage="client", common_name="app")
    crl = tmp_path / "crl.pem"
    crl.write_bytes(system.revocation_list())
    parameters = TlsParameters(
        os_roots=True,
        common_name=True,
        crl_path=str(crl),
        client_certificate=ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem),
        key_log_path=str(tmp_path / "keys"),
        watch_certificate_request=True,
    )
    certificate = system.issue(NAME, san=False)
    pair = Pair("stdlib", parameters, NAME, certificate, client_ca_pem=system.root_pem).handshake()
    assert pair.client.facts.certificate_requested is True
    assert pair.server.getpeercert(binary_form=True) == client.der
    assert (tmp_path / "keys").read_text()
    crl.write_bytes(system.revocation_list([certificate]))
    with pytest.raises(CertificateError, match="certificate revoked"):
        Pair("stdlib", parameters, NAME, certificate).handshake()


@pytest.mark.parametrize("system_name", ["win32", "darwin"])
def test_revocation_lists_are_refused_if_the_verifier_ignores_them(
    system: CertificateAuthority, system_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crl = tmp_path / "crl.pem"
    crl.write_bytes(system.revocation_list())
    monkeypatch.setattr(sys, "platform", system_name)
    with pytest.raises(ConfigError, match="would not check the revocation lists"):
        TlsConnection(get_backend("stdlib"), TlsParameters(os_roots=True, crl_path=str(crl)), NAME)


def test_missing_truststore_is_refused_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdlib, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="cannot use the operating system's verifier") as caught:
        TlsConnection(stdlib.StdlibBackend(), TlsParameters(os_roots=True), NAME)
    assert "pip install 'babar-tls[truststore]'" in str(caught.value.remedy)


def test_other_backends_refuse_the_system_verifier(backend: str) -> None:
    """It is allowed if nothing is verified."""
    unverified = TlsParameters(os_roots=True, verify=TlsVerify.NONE)
    Pair(backend, unverified, NAME, CertificateAuthority().issue(NAME)).handshake()
    if backend != "stdlib":
        assert get_backend(backend).capabilities.os_roots is False
        with pytest.raises(ConfigError, match="cannot use the operating system's verifier"):
            TlsConnection(get_backend(backend), TlsParameters(os_roots=True), NAME)
