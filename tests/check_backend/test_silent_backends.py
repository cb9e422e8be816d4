"""Without `possession_proven` of the backend there is no channel binding, and no pin matches."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import ChannelBindingUnsupported, Config, ConfigError, Session, TlsVerify
from babar_tls.backends import Capabilities, StreamFacts, TlsParameters
from babar_tls.testing import CertificateAuthority, ScramServer

from .broken_backends import Backend, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Silent(Backend):
    """A backend that states only the fields without a default."""

    name = "silent"

    class stream(Stream):
        def facts(self) -> StreamFacts:
            found = super().facts()
            return StreamFacts(found.version, found.cipher, found.alpn)

    def __init__(self) -> None:
        super().__init__()
        found = self.capabilities
        self.capabilities = Capabilities(version=found.version, tls_versions=found.tls_versions)


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def server(authority: CertificateAuthority) -> Iterator[ScramServer]:
    with ScramServer({"app": "secret"}, authority.issue("localhost", "127.0.0.1")) as server:
        yield server


@pytest.fixture
def config(authority: CertificateAuthority, server: ScramServer, tmp_path: Path) -> Config:
    authority.write(tmp_path / "root.crt")
    return Config(
        host=server.host,
        port=server.port,
        user="app",
        password="secret",
        tls_backend=Silent(),
        tls_root_cert_path=str(tmp_path / "root.crt"),
        tls_default_roots=False,
    )


@pytest.mark.parametrize("verify", TlsVerify)
def test_unproven_certificate_gets_no_channel_binding(
    config: Config, server: ScramServer, verify: TlsVerify, caplog: pytest.LogCaptureFixture
) -> None:
    unproven = config.replace(tls_verify=verify)
    with pytest.raises(ChannelBindingUnsupported, match="proof that the server has the private key"):
        Session.connect(unproven.replace(channel_binding="require"))
    with Session.connect(unproven.replace(channel_binding="prefer")) as session:
        assert session.security.channel_binding_type is None
    assert [login.gs2_flag for login in server.logins] == ["n"]
    assert "has the private key" in caplog.text


def test_unproven_certificate_matches_no_pin(
    config: Config, server: ScramServer, authority: CertificateAuthority
) -> None:
    certificate = authority.issue("localhost")
    pin = f"sha256:{hashlib.sha256(certificate.der).hexdigest()}"
    with pytest.raises(ConfigError, match="proof that the server has the private key"):
        Session.connect(config.replace(tls_verify=TlsVerify.NONE, tls_pins=(pin,)))
    assert server.logins == []


def test_unstated_capabilities_default_to_false() -> None:
    """A new field must be added here, so that an unsafe default is noticed."""
    stated: dict[str, Any] = {"version": "0", "tls_versions": ()}
    defaults = {name: value for name, value in vars(Capabilities(**stated)).items() if name not in stated}
    assert defaults == {
        "channel_bindings": ("tls-server-end-point",),  # needs only the certificate from the backend
        "common_names": False,
        "crls": False,
        "key_log": False,
        "client_keys": (),
        "reports_certificate_request": False,
        "os_roots": False,
        "system_store": False,
        "selects_groups": "no",
        "selects_ciphers": "no",
        "fips": None,
        "unverified_proven": False,
    }
    assert StreamFacts._field_defaults == {"possession_proven": False, "certificate_requested": None}
    assert TlsParameters().verify is TlsVerify.FULL
